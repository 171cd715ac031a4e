"""Learning chunk by chunk: what is as if all chunks were there, and what is of the latest."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive._start.continuation import ErrorMoments
from skdeepdive.datasets import load_electricity
from skdeepdive.metrics import rrse_score

PERIOD = 12


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 4, "batch_size": 64, "random_state": 0}
    return DeepDIVEForecaster(**{**small, **parameters})


def make_windows(level=0.0, n_steps=300, seed=0):
    """A noisy sine with its phase as label."""
    noise = np.random.default_rng(seed).standard_normal(n_steps)
    series = level + np.sin(2 * np.pi * np.arange(n_steps) / PERIOD) + 0.1 * noise
    X, y, origin = sliding_windows(series, PERIOD, 4)
    return X, y, origin % PERIOD // 3


def linear_windows(n=400, seed=0):
    """Futures that are a linear function of the windows, which is the same for every seed."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    return X, X @ np.random.default_rng(99).normal(size=(6, 2)) + 0.5 * rng.normal(size=(n, 2))


def in_chunks(model, *arrays, n_chunks, **options):
    for chunk in zip(*(np.array_split(a, n_chunks) for a in arrays), strict=True):
        model.partial_fit(*chunk, **options)
    return model


@cache
def real_windows():
    """Two clients' load, the days before the test days and these."""
    load = load_electricity(as_frame=True).data
    X, y, origin = sliding_windows(load.to_numpy(), 168, 24, stride=6)
    factors = calendar_factors(load.index[origin], ["hour", "weekday"])
    n = int(0.8 * len(X))
    gap = 168 // 6
    return (X[:n], y[:n], factors[:n]), (X[n + gap :], y[n + gap :], factors[n + gap :])


def relative_error(model, X, y):
    return rrse_score(y, model.predict(X))


@cache
def chunks_of_real_load():
    """Models after the first of eight chunks, after all of them, and after one fit."""
    train, _ = real_windows()
    model = make_model(n_hidden=64, n_conditional=8, batch_size="auto")
    first = None
    for rows in np.array_split(np.arange(len(train[0])), 8):
        chunk = slice(rows[0], rows[-1] + 1)
        model.partial_fit(train[0][chunk], train[1][chunk], train[2].iloc[chunk])
        first = first or pickle.loads(pickle.dumps(model))
    whole = make_model(n_hidden=64, n_conditional=8, batch_size="auto", max_epochs=1)
    return first, model, whole.fit(*train)


def test_chunks_of_real_load_forecast_about_as_well_as_all_windows_at_once():
    _, test = real_windows()
    first, model, whole = (relative_error(m, *test[:2]) for m in chunks_of_real_load())
    last_week = rrse_score(test[1], test[0][:, :24])
    assert model < 0.95 * first
    assert model < 1.1 * whole
    assert model < 0.9 * last_week


def test_chunks_of_real_load_teach_to_read_labels_about_as_well_as_all_windows_at_once():
    _, test = real_windows()
    first, model, whole = (
        (m.predict_cluster(test[0]) == test[2].to_numpy()).mean() for m in chunks_of_real_load()
    )
    assert model > first
    assert model > whole - 0.02


@pytest.mark.parametrize("n_chunks", [2, 5])
def test_the_linear_forecast_is_that_of_all_chunks(n_chunks):
    """It comes close to the map that made the data, however small the chunks."""
    X, y = linear_windows(2000)
    test = linear_windows(500, seed=1)
    start = make_model(latent="conditional").partial_fit(X[:40], y[:40])
    model = in_chunks(start, X[40:], y[40:], n_chunks=n_chunks)
    whole = make_model(latent="conditional", max_epochs=1).fit(X, y)
    assert model.score(*test) == pytest.approx(whole.score(*test), abs=2e-3)


def test_errors_of_two_chunks_add_up_to_those_of_both(monkeypatch):
    chunks = []
    with_more = ErrorMoments.with_more

    def spy(self, *data):
        chunks.append((self, ErrorMoments.of(*data), with_more(self, *data)))
        return chunks[-1][2]

    monkeypatch.setattr(ErrorMoments, "with_more", spy)
    in_chunks(make_model(), *make_windows()[:2], n_chunks=3)
    assert len(chunks) == 2
    before, own, after = chunks[0]  # after one chunk the forecast is still that of its windows
    assert after.train.n == before.train.n + own.train.n
    for name in ("x", "y", "xx", "xy", "yy"):
        total = getattr(before.train, name) + getattr(own.train, name)
        np.testing.assert_allclose(getattr(after.train, name), total, rtol=1e-5, atol=1e-3)


def test_a_class_that_comes_late_is_learnt():
    X, y, phase = make_windows(n_steps=1500)
    early, late = phase != 3, slice(500, None)
    model = make_model()
    model.partial_fit(X[:500][early[:500]], y[:500][early[:500]], phase[:500][early[:500]],
                      classes=[0, 1, 2, 3])  # fmt: skip
    assert not (model.predict_cluster(X) == 3).any()
    model.partial_fit(X[late], y[late], phase[late])
    test = make_windows(seed=1)
    assert (model.predict_cluster(test[0]) == test[2]).mean() > 0.9


def test_frequencies_of_classes_are_those_of_all_chunks():
    X, y, phase = make_windows(n_steps=600)
    model = make_model(validation_fraction=0.1)
    model.partial_fit(X[:200], y[:200], np.where(phase[:200] > 0, phase[:200], -1),
                      classes={"factor0": range(4)})  # fmt: skip
    model.partial_fit(X[200:], y[200:], phase[200:])
    weights = model.module_.priors[0].log_weights.exp().numpy()
    assert weights[0] == pytest.approx(0.25 * 400 / 600, abs=0.04)
    assert weights.sum() == pytest.approx(1.0)


def test_scaling_shapes_and_classes_stay():
    X, y, phase = make_windows()
    model = make_model().partial_fit(X, y, phase)
    scaling = model._x_scaling
    model.partial_fit(*make_windows(level=5.0, seed=1))
    assert model._x_scaling is scaling
    assert model.factor_classes_[0].tolist() == [0, 1, 2, 3]


def test_another_level_is_learnt_in_the_scaling_of_the_first_chunk():
    later = make_windows(level=5.0, seed=1)
    model = make_model().partial_fit(*make_windows()).partial_fit(*later)
    assert model.score(later[0], later[1]) > 0.9


@pytest.mark.parametrize("kind", ["discovered", "conditional", "marginal"])
def test_every_kind_of_latent_space_learns_in_chunks(kind):
    X, y, phase = make_windows()
    model = make_model(latent={"discovered": "both"}.get(kind, kind), n_clusters=3)
    model = in_chunks(model, X, y, *([phase] if kind == "marginal" else []), n_chunks=2)
    assert model.score(X, y) > 0.8


def test_the_correction_learns_on_from_chunk_to_chunk():
    """The amplitude of the future is the square of that of the window: no linear map."""
    rng = np.random.default_rng(0)
    amplitude = rng.uniform(-1, 1, size=(4000, 1))
    X = amplitude * np.sin(np.arange(8)) + 0.01 * rng.normal(size=(4000, 8))
    y = np.repeat(amplitude**2, 2, axis=1)
    model = make_model(latent="conditional", learning_rate=3e-3)
    scores = []
    for rows in np.array_split(np.arange(3600), 6):
        scores.append(model.partial_fit(X[rows], y[rows]).score(X[3600:], y[3600:]))
    assert scores[0] < 0.6
    assert scores[-1] > scores[0] + 0.2


def test_history_and_number_of_epochs_grow():
    X, y, phase = make_windows()
    model = in_chunks(make_model(), X, y, phase, n_chunks=3)
    assert model.n_iter_ == 3
    assert model.history_["phase"].tolist() == ["marginal", "interleaved", "forecast"] * 3
    assert len(pd.DataFrame(model.history_)) == 9


def test_memory_does_not_grow_with_the_number_of_chunks():
    model = make_model(latent="conditional")
    sizes = []
    for seed in range(3):
        model.partial_fit(*make_windows(seed=seed)[:2])
        sizes.append({name: a.shape for name, a in model._sums["errors"]["train"].items()
                      if name != "n"})  # fmt: skip
    assert sizes[0] == sizes[1] == sizes[2]


def test_the_same_chunks_and_seed_give_the_same_model():
    X, y, phase = make_windows()
    runs = [in_chunks(make_model(), X, y, phase, n_chunks=2) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].predict(X), runs[1].predict(X))


def test_a_pickled_model_goes_on_as_if_it_had_never_been_away():
    X, y, phase = make_windows()
    model = make_model().partial_fit(X, y, phase)
    opened = pickle.loads(pickle.dumps(model))
    more = make_windows(seed=1)
    np.testing.assert_array_equal(
        opened.partial_fit(*more).predict(X), model.partial_fit(*more).predict(X)
    )


def test_a_chunk_does_not_change_a_copy_made_before():
    X, y, phase = make_windows()
    model = make_model().partial_fit(X, y, phase)
    saved = pickle.dumps(model)
    copied = pickle.loads(saved)
    model.partial_fit(*make_windows(seed=1))
    assert pickle.dumps(copied) == pickle.dumps(pickle.loads(saved))


def test_a_fitted_model_learns_on(tmp_path):
    X, y, phase = make_windows()
    model = make_model(max_epochs=3).fit(X, y, phase)
    later = make_windows(level=3.0, seed=1)
    before, read = model.score(later[0], later[1]), model.predict_cluster(later[0]) == later[2]
    model.save(tmp_path / "model")
    loaded = DeepDIVEForecaster.load(tmp_path / "model")
    model.partial_fit(*later)
    assert model.score(later[0], later[1]) > before
    assert (model.predict_cluster(later[0]) == later[2]).mean() > read.mean() - 0.02
    np.testing.assert_array_equal(loaded.partial_fit(*later).predict(X), model.predict(X))


def test_fit_forgets_the_chunks():
    X, y, phase = make_windows()
    model = in_chunks(make_model(max_epochs=2), X, y, phase, n_chunks=2).fit(X, y, phase)
    alone = make_model(max_epochs=2).fit(X, y, phase)
    more = make_windows(seed=1)
    np.testing.assert_array_equal(
        model.partial_fit(*more).predict(X), alone.partial_fit(*more).predict(X)
    )
    assert model.n_iter_ == alone.n_iter_


def test_labels_may_be_missing_in_later_chunks():
    X, y, phase = make_windows(n_steps=600)
    model = make_model().partial_fit(X, y, phase)
    before = (model.predict_cluster(X) == phase).mean()
    model.partial_fit(X, y).partial_fit(X, y, np.where(np.arange(len(X)) % 2, phase, -1))
    assert (model.predict_cluster(X) == phase).mean() > before - 0.05


def test_small_chunks_do_no_harm():
    X, y, phase = make_windows(n_steps=700)
    model = make_model().partial_fit(X[:300], y[:300], phase[:300])
    test = make_windows(seed=1)
    before = model.score(*test[:2])
    for start in range(300, 680, 10):
        chunk = slice(start, start + 10)
        model.partial_fit(X[chunk], y[chunk], phase[chunk])
    assert model.score(*test[:2]) > before - 0.01
    assert (model.predict_cluster(test[0]) == test[2]).mean() > 0.95


def test_windows_on_disk_are_learnt_chunk_by_chunk(tmp_path):
    series = load_electricity(as_frame=True).data.iloc[:4000, :1].to_numpy(dtype=np.float32)
    np.save(tmp_path / "load.npy", series)
    on_disk = np.load(tmp_path / "load.npy", mmap_mode="r")
    model = make_model(latent="conditional")
    for start in range(0, 3600, 1200):
        X, y, _ = sliding_windows(on_disk[start : start + 1200], 48, 12)
        model.partial_fit(X, y)
    X, y, _ = sliding_windows(series[3600:], 48, 12)
    assert np.square(model.predict(X) - y).mean() < np.square(X[:, -24:-12] - y).mean()


def test_a_chunk_that_fails_leaves_the_model_as_it_was():
    X, y, phase = make_windows()
    model = make_model().partial_fit(X, y, phase)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="has the label 7, which is not among its classes"):
        model.partial_fit(X, y, np.where(phase == 3, 7, phase))
    assert vars(model) == before


def test_a_first_chunk_that_fails_leaves_the_model_unfitted():
    X, y, _ = make_windows()
    model = make_model()
    with pytest.raises(ValueError, match="'X'"):
        model.partial_fit(np.where(X > 1, np.inf, X), y)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (3, TypeError, r"'classes' must be a dict of all labels .* \['factor0'\].* got int"),
        ("abc", TypeError, "got str"),
        ({"hour": range(4)}, ValueError, r"of which there are \['factor0'\], got \['hour'\]"),
        ([0, 1, 2], ValueError, "the label 3, which is not among its classes: .0, 1, 2."),
        ([0.5, 1.25], ValueError, "discrete labels"),
        ([1], ValueError, "at least two classes"),
    ],
)
def test_bad_classes_are_refused(classes, error, message):
    with pytest.raises(error, match=message):
        make_model().partial_fit(*make_windows(), classes=classes)


def test_classes_need_factors():
    X, y, _ = make_windows()
    with pytest.raises(ValueError, match="'classes' are those of 'factors', .* got None"):
        make_model().partial_fit(X, y, classes=[0, 1])


def test_an_array_of_classes_is_for_a_single_factor():
    X, y, phase = make_windows()
    with pytest.raises(TypeError, match=r"names, \['factor0', 'factor1'\]"):
        make_model().partial_fit(X, y, np.stack([phase, phase], axis=1), classes=[0, 1, 2, 3])


def test_classes_cannot_change():
    model = make_model().partial_fit(*make_windows(), classes=[0, 1, 2, 3])
    model.partial_fit(*make_windows(seed=1), classes={"factor0": [3, 2, 1, 0]})
    with pytest.raises(ValueError, match=r"'classes' of factor 'factor0' must be \[0, 1, 2, 3\]"):
        model.partial_fit(*make_windows(), classes=[0, 1, 2, 3, 4])


def test_other_shapes_are_refused():
    X, y, phase = make_windows()
    model = make_model().partial_fit(X, y, phase)
    with pytest.raises(ValueError, match="X has 11 features, but DeepDIVEForecaster is expecting"):
        model.partial_fit(X[:, 1:], y, phase)
    with pytest.raises(ValueError, match=r"'y' must have shape \(n_samples, 4\) as before"):
        model.partial_fit(X, y[:, 1:], phase)


def test_named_factors_are_matched_by_name():
    X, y, phase = make_windows()
    labels = pd.DataFrame({"phase": phase})
    model = make_model().partial_fit(X, y, labels, classes={"phase": range(5)})
    assert model.factor_classes_[0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"must have the columns \['phase'\] as before"):
        model.partial_fit(X, y, pd.DataFrame({"other": phase}))


def test_a_scaler_and_the_model_learn_side_by_side():
    """As a pipeline has no partial_fit, its steps are told one after the other."""
    scaler, model = StandardScaler(), make_model()
    for seed in range(2):
        X, y, phase = make_windows(level=100.0, seed=seed)
        model.partial_fit(scaler.partial_fit(X).transform(X), y, phase)
    X, y, _ = make_windows(level=100.0, seed=3)
    assert make_pipeline(scaler, model).score(X, y) > 0.8


def test_factors_and_classes_are_requested_like_other_metadata():
    with sklearn.config_context(enable_metadata_routing=True):
        requests = make_model().set_partial_fit_request(factors=True, classes=True)
    assert requests.get_metadata_routing().partial_fit.requests == {
        "factors": True,
        "classes": True,
        "future_covariates": None,
    }
