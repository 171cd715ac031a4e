"""Fitting further: what stays, what is learnt, and what cannot change."""

import numpy as np
import pytest
from sklearn.base import clone

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive.datasets import load_electricity

PERIOD = 12


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 4, "max_epochs": 2, "warm_start": True}
    return DeepDIVEForecaster(**{**small, "batch_size": 64, "random_state": 0, **parameters})


def make_windows(level=0.0, n_steps=300, seed=0):
    """A noisy sine with its phase as label."""
    noise = np.random.default_rng(seed).standard_normal(n_steps)
    series = level + np.sin(2 * np.pi * np.arange(n_steps) / PERIOD) + 0.1 * noise
    X, y, origin = sliding_windows(series, PERIOD, 4)
    return X, y, origin % PERIOD // 3


def test_scaling_and_classes_stay():
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase)
    scaling = model._x_scaling
    later = make_windows(level=5.0, seed=1)
    model.fit(later[0], later[1], np.where(later[2] == 3, -1, later[2]))
    assert model._x_scaling is scaling
    assert model.factor_classes_[0].tolist() == [0, 1, 2, 3]


def test_without_it_a_fit_starts_anew():
    first, second = make_windows(), make_windows(level=5.0, seed=1)
    again = make_model(warm_start=False).fit(*first).fit(*second)
    alone = make_model(warm_start=False).fit(*second)
    np.testing.assert_array_equal(again.predict(second[0]), alone.predict(second[0]))


def test_training_goes_on_where_it_ended():
    X, y, phase = make_windows()
    model = make_model(max_epochs=8, early_stopping=False).fit(X, y, phase)
    before = model.history_["validation_log_px"][model.history_["phase"] == "interleaved"]
    model.set_params(learning_rate=1e-9).fit(X, y, phase)  # steps too small to move anything
    after = model.history_["validation_log_px"][model.history_["phase"] == "interleaved"]
    np.testing.assert_allclose(after, before[-1], atol=1e-3)
    assert before[-1] > before[0] + 1e-2


def test_the_same_data_and_seed_give_the_same_model():
    runs = [make_model().fit(*make_windows()).fit(*make_windows(seed=1)) for _ in range(2)]
    X = make_windows()[0]
    np.testing.assert_array_equal(runs[0].predict(X), runs[1].predict(X))


def test_a_fit_that_fails_leaves_the_model_as_it_was():
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase)
    forecast, history = model.predict(X), model.history_
    with pytest.raises(ValueError, match="has the label 7"):
        model.fit(X, y, np.where(phase == 3, 7, phase))
    np.testing.assert_array_equal(model.predict(X), forecast)
    assert model.history_ is history


def test_clusters_that_were_discovered_train_on():
    X, y, _ = make_windows()
    model = make_model(n_clusters=3).fit(X, y)
    model.fit(X, y)
    assert model.factor_names_ == ["cluster"]
    assert np.isfinite(model.predict(X)).all()


def test_conditional_dimensions_alone_train_on():
    X, y, phase = make_windows()
    model = make_model(latent="conditional").fit(X, y)
    assert np.isfinite(model.fit(X, y, phase).predict(X)).all()


def test_labels_may_be_missing_in_later_data():
    X, y, phase = make_windows()
    model = make_model(max_epochs=4).fit(X, y, phase)
    before = (model.predict_cluster(X) == phase).mean()
    assert (model.fit(X, y).predict_cluster(X) == phase).mean() > before - 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_hidden": 8}, "'n_hidden' must stay"),
        ({"n_conditional": 3, "n_hidden": 8}, "'n_hidden', 'n_conditional' must stay"),
        ({"latent": "conditional"}, "'latent' must stay"),
    ],
)
def test_sizes_cannot_change(change, message):
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase).set_params(**change)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, phase)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda X, y: (X[:, 1:], y), "X has 11 features, but DeepDIVEForecaster is expecting 12"),
        (lambda X, y: (X, y[:, 1:]), r"'y' must have shape \(n_samples, 4\) as before, got"),
        (lambda X, y: (X, y[:, 0]), r"'y' must have shape \(n_samples, 4\) as before, got"),
        (lambda X, y: (X, np.where(y > 0.9, np.inf, y)), "'y'"),
    ],
)
def test_shapes_cannot_change(cut, message):
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase)
    with pytest.raises(ValueError, match=message):
        model.fit(*cut(X, y), phase)


def test_a_future_of_one_step_is_asked_for_by_its_shape():
    X, y, _ = make_windows()
    model = make_model().fit(X, y[:, 0])
    with pytest.raises(ValueError, match=r"'y' must have shape \(n_samples,\) as before, got"):
        model.fit(X, y)


def test_clusters_that_were_found_cannot_be_given_labels_later():
    X, y, phase = make_windows()
    model = make_model().fit(X, y)
    with pytest.raises(ValueError, match="A model begun without 'factors' takes none later"):
        model.fit(X, y, phase)


def test_names_of_factors_cannot_change():
    X, y, phase = make_windows()
    model = make_model().fit(X, y, phase)
    with pytest.raises(ValueError, match=r"must have the columns \['factor0'\] as before"):
        model.fit(X, y, np.stack([phase, phase], axis=1))


def test_the_parameter_is_a_flag():
    with pytest.raises(TypeError, match="'warm_start'"):
        make_model(warm_start="yes").fit(*make_windows())


def test_what_one_client_taught_helps_to_forecast_another_of_whom_little_is_known():
    load = load_electricity(as_frame=True).data
    weekday = calendar_factors(load.index, ["weekday"])

    def windows(client, rows):
        X, y, origin = sliding_windows(load.iloc[rows, [client]].to_numpy(), 168, 24, stride=3)
        return X, y, weekday.iloc[rows].iloc[origin]

    def error(model, windows):
        return np.square(model.predict(windows[0]) - windows[1]).mean()

    known, new = windows(0, slice(0, 15000)), windows(1, slice(15000, 16100))
    later = windows(1, slice(16100, 19000))
    model = make_model(n_hidden=64, n_conditional=8, max_epochs=3, batch_size="auto")
    alone = error(clone(model).fit(*new), later)
    before = error(model.fit(*known), later)
    tuned = error(model.fit(*new), later)
    assert tuned < alone
    assert tuned < 0.5 * before


@pytest.mark.parametrize("n_targets", [1, 3])
def test_the_forecast_of_new_windows_is_adapted_in_closed_form(n_targets):
    """Other steps of the window, which did not matter in the first windows, are found at once."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6, n_targets))
    first, later = (X[:, steps] + 0.1 * rng.normal(size=(600, 3, n_targets))
                    for steps in (slice(3, None), slice(0, 3)))  # fmt: skip
    model = make_model(latent="conditional", max_epochs=1).fit(X[:300], first[:300])
    assert model.score(X[500:], later[500:]) < 0
    assert model.fit(X[300:500], later[300:500]).score(X[500:], later[500:]) > 0.95
