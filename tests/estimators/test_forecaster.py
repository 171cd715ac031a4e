"""What the estimator promises: shapes, units, labels, seeds and errors."""

import copy
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score, r2_score

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._estimators.fit import Plan
from skdeepdive._estimators.run import FitRun
from skdeepdive._train import phases
from skdeepdive._train.distributed import Processes

PERIOD = 12


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 4, "n_marginal": 8, "n_clusters": 3, "max_epochs": 2}
    return DeepDIVEForecaster(**{**small, "batch_size": 64, "random_state": 0, **parameters})


def make_series(n_steps=220, n_channels=None, seed=0):
    """A noisy sine, shifted a little from channel to channel."""
    shifts = 0 if n_channels is None else 2 * np.arange(n_channels)
    angle = 2 * np.pi * np.add.outer(np.arange(n_steps), shifts) / PERIOD
    return np.sin(angle) + 0.1 * np.random.default_rng(seed).standard_normal(angle.shape)


def make_windows(n_timesteps=PERIOD, horizon=4, **series):
    X, y, origin = sliding_windows(make_series(**series), n_timesteps, horizon)
    return X, y, origin % PERIOD


def fit(model=None, *, n_channels=None):
    X, y, _ = make_windows(n_channels=n_channels)
    return (model or make_model()).fit(X, y), X, y


@pytest.fixture(scope="module")
def fitted():
    """A model of one channel with known hours; tests must not refit it."""
    X, y, hour = make_windows()
    return make_model().fit(X, y, factors=hour)


@pytest.fixture(scope="module")
def fitted_3d():
    """A model of three channels and two factors; tests must not refit it."""
    X, y, hour = make_windows(n_channels=3)
    factors = pd.DataFrame({"hour": hour, "half": np.where(hour < 6, "first", "second")})
    return make_model().fit(X, y, factors=factors)


# Shapes


@pytest.mark.parametrize("n_channels", [None, 1, 3])
@pytest.mark.parametrize("horizon", [1, 4])
def test_forecasts_have_the_shape_of_the_futures(n_channels, horizon):
    X, y, _ = make_windows(n_channels=n_channels, horizon=horizon)
    model = make_model().fit(X, y)
    assert model.predict(X[:7]).shape == (7, *y.shape[1:])
    assert model.reconstruct(X[:7]).shape == (7, *X.shape[1:])
    assert model.predict_cluster(X[:7]).shape == (7,)
    assert (model.horizon_, model.n_targets_) == (horizon, n_channels or 1)
    assert (model.n_timesteps_, model.n_channels_) == (PERIOD, n_channels or 1)
    assert model.n_features_in_ == PERIOD


@pytest.mark.parametrize("n_channels", [None, 3])
def test_one_dimensional_futures_give_one_dimensional_forecasts(n_channels):
    X, y, _ = make_windows(n_channels=n_channels)
    y = y.reshape(len(y), -1)[:, 0]
    assert make_model().fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize("shape", ["1-D", "2-D", "3-D"])
def test_the_same_future_in_another_shape_gets_the_same_forecast(shape):
    X, y, _ = make_windows(horizon=1)
    expected = make_model().fit(X, y[:, 0]).predict(X)
    y = {"1-D": y[:, 0], "2-D": y, "3-D": y[:, :, None]}[shape]
    np.testing.assert_array_equal(make_model().fit(X, y).predict(X), expected.reshape(y.shape))


@pytest.mark.parametrize("targets", [[2, 0], [1], 2])
def test_a_part_of_the_channels_can_be_forecast(targets):
    X, y, _ = sliding_windows(make_series(n_channels=3), PERIOD, 4, targets=targets)
    model = make_model().fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.n_channels_ == 3
    assert model.score(X, y) > 0.8


def test_flattened_windows_give_the_same_results_as_windows_with_channels():
    X, y, hour = make_windows(n_channels=3)
    flat = X.reshape(len(X), -1)
    model = make_model().fit(X, y, factors=hour)
    flat_model = make_model(n_channels=3).fit(flat, y, factors=hour)
    np.testing.assert_array_equal(flat_model.predict(flat), model.predict(X))
    np.testing.assert_array_equal(flat_model.transform(flat), model.transform(X))
    np.testing.assert_array_equal(flat_model.predict_cluster(flat), model.predict_cluster(X))
    reconstruction = flat_model.reconstruct(flat)
    assert reconstruction.shape == flat.shape
    np.testing.assert_array_equal(reconstruction.reshape(X.shape), model.reconstruct(X))
    assert (flat_model.n_timesteps_, flat_model.n_features_in_) == (PERIOD, 3 * PERIOD)


@pytest.mark.parametrize("n_timesteps", [1, 3])
@pytest.mark.parametrize("n_channels", [None, 2])
def test_the_horizon_may_be_longer_than_the_window(n_timesteps, n_channels):
    X, y, _ = make_windows(n_timesteps=n_timesteps, horizon=20, n_channels=n_channels)
    model = make_model().fit(X, y)
    assert model.predict(X).shape == y.shape
    assert np.isfinite(model.predict(X)).all()
    assert model.reconstruct(X).shape == X.shape


@pytest.mark.parametrize("n_samples", [3, 10, 64, 65, 81, 129])
def test_fewer_windows_than_a_batch_and_a_last_batch_of_one_train(n_samples):
    X, y, _ = make_windows()
    model = make_model(validation_fraction=1e-3, validation_gap=0)
    model.fit(X[:n_samples], y[:n_samples])
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.history_["validation_loss"]).all()


def test_batches_of_one_window_train():
    X, y, hour = make_windows()
    model = make_model(batch_size=1, max_epochs=1).fit(X[:40], y[:40], factors=hour[:40])
    assert np.isfinite(model.predict(X)).all()


# Types


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("f4", np.float32),
        ("f8", np.float64),
        ("f2", np.float64),
        (">f8", np.float64),
        ("g", np.float64),
        ("i1", np.float64),
        ("i8", np.float64),
        ("u2", np.float64),
        ("?", np.float64),
    ],
)
def test_single_precision_gives_single_and_all_else_double(fitted, dtype, expected):
    X, _, _ = make_windows()
    X = (3 * X + 5).astype(dtype)
    for values in (fitted.predict(X), fitted.transform(X), fitted.reconstruct(X)):
        assert values.dtype == expected
        assert values.dtype.isnative
    assert fitted.inverse_transform(fitted.transform(X)).dtype == expected
    assert fitted.predict_cluster_proba(X).dtype == expected


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(np.ndarray.tolist, id="list"),
        pytest.param(pd.DataFrame, id="DataFrame"),
        pytest.param(lambda a: pd.DataFrame(a).convert_dtypes(), id="nullable DataFrame"),
        pytest.param(lambda a: torch.tensor(a), id="tensor"),
        pytest.param(lambda a: a.astype(object), id="objects"),
        pytest.param(np.asfortranarray, id="Fortran order"),
        pytest.param(lambda a: a[::-1].copy()[::-1], id="negative strides"),
        pytest.param(lambda a: a.astype(">f8"), id="big-endian"),
    ],
)
def test_any_container_of_the_same_numbers_gives_the_same_forecasts(convert):
    X, y, hour = (array.copy() for array in make_windows())
    expected = make_model().fit(X, y, factors=hour).predict(X)
    model = make_model().fit(convert(X), convert(y), factors=hour)
    np.testing.assert_allclose(model.predict(convert(X)), expected, rtol=0, atol=1e-6)


def test_small_integers_do_not_overflow():
    X, y, _ = make_windows()
    X, y = (np.round(50 * values + 100) for values in (X, y))
    model = make_model().fit(X, y)
    small = make_model().fit(X.astype(np.uint8), y.astype(np.uint8))
    np.testing.assert_allclose(
        small.predict(X.astype(np.uint8)), model.predict(X), rtol=0, atol=1e-4
    )
    assert small.score(X.astype(np.uint8), y.astype(np.uint8)) > 0.9


def test_memory_mapped_windows_are_accepted(tmp_path, fitted):
    series = make_series()
    mapped = np.memmap(tmp_path / "series", np.float64, "w+", shape=series.shape)
    mapped[:] = series
    X, y, origin = sliding_windows(mapped, PERIOD, 4)
    model = make_model().fit(X, y, factors=origin % PERIOD)
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


def test_inputs_are_not_changed_and_may_be_read_only():
    X, y, hour = (array.copy() for array in make_windows())
    before = [array.copy() for array in (X, y, hour)]
    for array in (X, y, hour):
        array.flags.writeable = False
    model = make_model().fit(X, y, factors=hour)
    for output in (model.predict, model.predict_cluster, model.transform, model.reconstruct):
        output(X)
    model.score(X, y)
    for array, original in zip((X, y, hour), before, strict=True):
        np.testing.assert_array_equal(array, original)


def test_views_of_a_writeable_series_are_not_changed():
    series = make_series()
    before = series.copy()
    X = np.lib.stride_tricks.as_strided(series, (200, PERIOD), 2 * series.strides)
    make_model().fit(X, series[20:].copy()).predict(X)
    np.testing.assert_array_equal(series, before)


# The embedding


def test_latent_dimensions_are_named_after_their_factors(fitted_3d):
    X, _, _ = make_windows(n_channels=3)
    names = fitted_3d.get_feature_names_out()
    assert names.tolist() == [
        *(f"hour_{j}" for j in range(8)),
        "half_0",
        *(f"conditional_{j}" for j in range(4)),
    ]
    assert fitted_3d.transform(X).shape == (len(X), len(names))


def test_a_factor_has_at_most_one_dimension_less_than_classes():
    X, y, hour = make_windows()
    names = make_model(n_marginal=3).fit(X, y, factors=hour).get_feature_names_out()
    assert [name for name in names if name.startswith("factor0")] == [
        "factor0_0",
        "factor0_1",
        "factor0_2",
    ]


def test_the_embedding_can_be_a_data_frame(fitted):
    X, _, _ = make_windows()
    model = copy.deepcopy(fitted).set_output(transform="pandas")
    frame = model.transform(pd.DataFrame(X, index=np.arange(len(X)) + 7))
    assert frame.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert frame.index[0] == 7
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(X))
    np.testing.assert_array_equal(model.reconstruct(X), fitted.reconstruct(X))


@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
@pytest.mark.parametrize("n_channels", [None, 2])
def test_reconstruction_is_the_decoded_embedding(latent, n_channels):
    model, X, _ = fit(make_model(latent=latent), n_channels=n_channels)
    decoded = model.inverse_transform(model.transform(X))
    assert decoded.shape == X.shape
    np.testing.assert_array_equal(decoded, model.reconstruct(X))


def test_reconstructions_come_in_the_units_of_the_windows():
    X, y, _ = make_windows()
    X, y = 1000 + 50 * X, 1000 + 50 * y
    model = make_model(max_epochs=40).fit(X, y)
    assert r2_score(X.ravel(), model.reconstruct(X).ravel()) > 0.5


def test_fit_transform_passes_factors_on(fitted):
    X, y, hour = make_windows()
    embedding = make_model().fit_transform(X, y, factors=hour)
    np.testing.assert_array_equal(embedding, fitted.transform(X))


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(lambda hour: hour, id="integers"),
        pytest.param(lambda hour: hour.astype(np.int8), id="small integers"),
        pytest.param(lambda hour: 100 * hour - 500, id="spaced integers"),
        pytest.param(lambda hour: np.array([f"at {h:02d}" for h in hour]), id="strings"),
        pytest.param(lambda hour: hour < 6, id="booleans"),
        pytest.param(lambda hour: np.datetime64("2020-01-01") + hour, id="dates"),
    ],
)
def test_clusters_come_back_in_the_labels_given(labels):
    X, y, hour = make_windows()
    factors = labels(hour)
    model = make_model().fit(X, y, factors=factors)
    assigned = model.predict_cluster(X)
    assert assigned.dtype == factors.dtype
    assert set(assigned.tolist()) <= set(factors.tolist())
    assert (assigned == factors).mean() > 0.8
    np.testing.assert_array_equal(model.factor_classes_[0], np.unique(factors))


@pytest.mark.parametrize("unlabelled", [0, 5])
def test_whole_floats_are_integers_with_and_without_nan_among_them(unlabelled):
    X, y, hour = make_windows()
    factors = hour + 0.0
    factors[:unlabelled] = np.nan
    assigned = make_model().fit(X, y, factors=factors).predict_cluster(X)
    assert assigned.dtype == np.int64
    assert (assigned == hour).mean() > 0.8


@pytest.mark.parametrize("unknown", [-1, None, np.nan])
def test_unlabelled_windows_are_assigned_a_known_label(unknown):
    X, y, hour = make_windows()
    factors = np.array([f"at {h:02d}" for h in hour], dtype=object)
    factors[np.random.default_rng(0).random(len(hour)) < 0.3] = unknown
    model = make_model().fit(X, y, factors=factors)
    truth = np.array([f"at {h:02d}" for h in hour])
    np.testing.assert_array_equal(model.factor_classes_[0], np.unique(truth))
    assert (model.predict_cluster(X) == truth).mean() > 0.8


def test_labels_that_are_known_for_the_validation_windows_only_train():
    X, y, hour = make_windows()
    factors = hour.copy()
    factors[:-20] = -1
    model = make_model(validation_fraction=0.2).fit(X, y, factors=factors)
    assert np.isfinite(model.predict(X)).all()
    assert set(model.predict_cluster(X)) <= set(range(PERIOD))


def test_a_class_that_only_validation_windows_have_is_kept():
    X, y, hour = make_windows()
    factors = np.where(np.arange(len(X)) >= len(X) - 5, 99, hour)
    model = make_model().fit(X, y, factors=factors)
    assert 99 in model.factor_classes_[0]
    assert np.isfinite(model.predict_cluster_proba(X)).all()


def test_what_an_unknown_label_is_written_as_does_not_matter():
    X, y, hour = make_windows()
    hidden = np.arange(len(hour)) % 5 == 0
    by_number = make_model().fit(X, y, factors=np.where(hidden, -1, hour))
    by_nan = make_model().fit(X, y, factors=np.where(hidden, np.nan, hour))
    np.testing.assert_array_equal(by_number.predict(X), by_nan.predict(X))


def test_one_factor_gives_one_dimension_and_several_give_columns(fitted, fitted_3d):
    X, _, _ = make_windows()
    assert fitted.predict_cluster(X).shape == (len(X),)
    assert fitted.predict_cluster_proba(X).shape == (len(X), PERIOD)
    X, _, hour = make_windows(n_channels=3)
    assigned = fitted_3d.predict_cluster(X)
    assert assigned.shape == (len(X), 2)
    assert [proba.shape[1] for proba in fitted_3d.predict_cluster_proba(X)] == [PERIOD, 2]
    # Each column keeps the type of its labels.
    assert isinstance(assigned[0, 0], (int, np.integer))
    assert isinstance(assigned[0, 1], str)
    assert (assigned[:, 0] == hour).mean() > 0.8
    assert (assigned[:, 1] == np.where(hour < 6, "first", "second")).mean() > 0.8


@pytest.mark.parametrize(
    ("factors", "names"),
    [
        (lambda hour: hour, ["factor0"]),
        (lambda hour: hour[:, None], ["factor0"]),
        (lambda hour: np.stack([hour, hour // 6], axis=1), ["factor0", "factor1"]),
        (lambda hour: pd.Series(hour, name="hour"), ["hour"]),
        (lambda hour: pd.DataFrame({"hour": hour, "half": hour // 6}), ["hour", "half"]),
        (lambda hour: None, ["cluster"]),
    ],
)
def test_factor_names_are_those_of_the_columns(factors, names):
    X, y, hour = make_windows()
    model = make_model().fit(X, y, factors=factors(hour))
    assert model.factor_names_ == names
    assert len(model.factor_classes_) == len(names)


def test_priors_are_mixtures_whose_posteriors_are_the_cluster_probabilities(fitted_3d):
    X, _, _ = make_windows(n_channels=3)
    first, probabilities = 0, fitted_3d.predict_cluster_proba(X)
    for prior, expected in zip(fitted_3d.factor_priors_, probabilities, strict=True):
        n_classes, n_dims = prior.centres.shape
        b = fitted_3d.transform(X)[:, first : first + n_dims]
        components = [
            norm(centre, scale).pdf(b).prod(axis=1)
            for centre, scale in zip(prior.centres, prior.scales, strict=True)
        ]
        assert prior.weights.sum() == pytest.approx(1)
        joint = prior.weights * np.column_stack(components)
        np.testing.assert_allclose(joint / joint.sum(axis=1, keepdims=True), expected, atol=1e-9)
        assert expected.shape[1] == n_classes
        first += n_dims


def test_priors_are_copies_and_there_are_none_without_factors(fitted):
    X, y, _ = make_windows()
    before = fitted.factor_priors_[0].centres
    fitted.factor_priors_[0].centres[:] = 0
    np.testing.assert_array_equal(fitted.factor_priors_[0].centres, before)
    assert make_model(latent="conditional").fit(X, y).factor_priors_ == []
    assert not hasattr(make_model(), "factor_priors_")


def test_cluster_probabilities_sum_to_one_and_are_largest_at_the_assignment(fitted, fitted_3d):
    X, _, _ = make_windows()
    proba = fitted.predict_cluster_proba(X)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(
        fitted.factor_classes_[0][proba.argmax(axis=1)], fitted.predict_cluster(X)
    )
    X, _, _ = make_windows(n_channels=3)
    assigned = fitted_3d.predict_cluster(X)
    for j, proba in enumerate(fitted_3d.predict_cluster_proba(X)):
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
        classes = fitted_3d.factor_classes_[j]
        assert classes[proba.argmax(axis=1)].tolist() == assigned[:, j].tolist()


def make_groups():
    """Windows of a sine, a ramp and a step."""
    random = np.random.default_rng(0)
    time = np.arange(16)
    shapes = [np.sin(2 * np.pi * time / 8), time / 4 - 2, np.where(time < 8, 1.5, -1.5)]
    group = random.integers(3, size=300)
    return np.array(shapes)[group] + 0.1 * random.standard_normal((300, 16)), group


@pytest.mark.parametrize("latent", ["both", "marginal"])
def test_well_separated_groups_are_discovered(latent):
    values, group = make_groups()
    model = make_model(latent=latent, max_epochs=5).fit(values[:, :12], values[:, 12:])
    assigned = model.predict_cluster(values[:, :12])
    assert adjusted_rand_score(group, assigned) > 0.9
    assert set(assigned) == {0, 1, 2}


def test_no_more_clusters_are_discovered_than_there_are_distinct_windows():
    X, y, _ = make_windows()
    X, y = np.tile(X[:2], (20, 1)), np.tile(y[:2], (20, 1))
    model = make_model(n_clusters=8).fit(X, y)
    assert len(model.factor_classes_[0]) == 2


def test_without_marginal_dimensions_there_are_no_clusters():
    model, X, _ = fit(make_model(latent="conditional"))
    assert not hasattr(model, "predict_cluster")
    assert not hasattr(model, "predict_cluster_proba")
    with pytest.raises(AttributeError, match="predict_cluster"):
        model.predict_cluster(X)
    assert model.get_feature_names_out().tolist() == [f"conditional_{j}" for j in range(4)]
    assert model.factor_names_ == []


def test_factors_do_nothing_without_marginal_dimensions():
    X, y, hour = make_windows()
    model = make_model(latent="conditional")
    np.testing.assert_array_equal(
        clone(model).fit(X, y).predict(X), clone(model).fit(X, y, factors=hour).predict(X)
    )


def test_the_marginal_dimensions_can_stand_alone():
    X, y, hour = make_windows()
    model = make_model(latent="marginal").fit(X, y, factors=hour)
    assert model.transform(X).shape == (len(X), 8)
    assert not any(name.startswith("conditional") for name in model.get_feature_names_out())
    assert model.score(X, y) > 0.9
    assert (model.predict_cluster(X) == hour).mean() > 0.8


# Units


@pytest.mark.parametrize("magnitude", [1e-30, 1e-6, 1e-3, 1e3, 1e9, 1e30])
@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
def test_forecasts_and_reconstructions_scale_with_the_data(magnitude, latent):
    X, y, _ = (array.copy() for array in make_windows())
    model = make_model(latent=latent).fit(X, y)
    scaled = make_model(latent=latent).fit(magnitude * X, magnitude * y)
    for name in ("predict", "reconstruct"):
        outputs = getattr(scaled, name)(magnitude * X) / magnitude
        np.testing.assert_allclose(outputs, getattr(model, name)(X), rtol=0, atol=1e-3)


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e9])
def test_single_precision_holds_the_same_magnitudes(magnitude):
    X, y, _ = make_windows()
    X, y = ((magnitude * values).astype(np.float32) for values in (X, y))
    assert make_model().fit(X, y).score(X, y) > 0.9


def test_channels_of_all_magnitudes_are_forecast_alike():
    X, y, _ = make_windows()
    factors = np.array([1, 1e9, 1e-6])
    X, y = X[..., None] * factors, y[..., None] * factors
    forecast = make_model().fit(X, y).predict(X) / factors
    np.testing.assert_allclose(forecast[..., 1], forecast[..., 0], rtol=0, atol=0.05)
    np.testing.assert_allclose(forecast[..., 2], forecast[..., 0], rtol=0, atol=0.05)


@pytest.mark.parametrize("offset", [1e6, -1e9, 1e12])
def test_a_small_signal_on_a_large_offset_is_forecast(offset):
    model, X, y = fit()
    error = model.fit(offset + X, offset + y).predict(offset + X) - (offset + y)
    assert np.sqrt(np.mean(error**2)) < 0.25 * y.std()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 1e9, 1e-6])
def test_a_constant_channel_is_forecast_as_such_beside_one_that_varies(value):
    X, y, _ = make_windows()
    X, y = (np.stack([values, np.full_like(values, value)], axis=2) for values in (X, y))
    model = make_model().fit(X, y)
    forecast = model.predict(X)
    np.testing.assert_allclose(forecast[..., 1], value, rtol=1e-9, atol=1e-3)
    assert r2_score(y[..., 0], forecast[..., 0]) > 0.9
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.transform(X)).all()


def test_a_channel_that_was_constant_in_training_may_vary_later():
    X, y, _ = make_windows()
    X, y = (np.stack([values, np.ones_like(values)], axis=2) for values in (X, y))
    model = make_model().fit(X, y)
    assert np.isfinite(model.predict(np.random.default_rng(0).normal(1, 100, X.shape))).all()


# Randomness


@pytest.fixture
def global_generators():
    """Compare the states of the global generators, and torch's threads, before and after."""
    before = np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    yield
    state = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before[0], state, strict=True))
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == torch.get_num_threads()


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)], ids=str)
@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
@pytest.mark.usefixtures("global_generators")
def test_fitting_leaves_global_generators_alone(random_state, latent):
    model, X, _ = fit(make_model(random_state=random_state, latent=latent))
    model.predict(X)
    model.transform(X)
    model.reconstruct(X)


def test_the_global_generators_do_not_change_a_seeded_fit(fitted):
    X, y, hour = make_windows()
    state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        np.random.seed(99)  # noqa: NPY002
        torch.manual_seed(99)
        model = make_model().fit(X, y, factors=hour)
    finally:
        np.random.set_state(state[0])  # noqa: NPY002
        torch.set_rng_state(state[1])
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


@pytest.mark.parametrize("discover", [True, False])
def test_the_same_seed_gives_the_same_model_to_the_last_bit(discover):
    X, y, hour = make_windows()
    factors = None if discover else hour
    first = make_model(random_state=3).fit(X, y, factors=factors)
    second = make_model(random_state=3).fit(X, y, factors=factors)
    for name in ("predict", "transform", "reconstruct", "predict_cluster", "predict_cluster_proba"):
        np.testing.assert_array_equal(getattr(first, name)(X), getattr(second, name)(X))
    np.testing.assert_array_equal(
        first.history_["validation_loss"], second.history_["validation_loss"]
    )


def test_refitting_starts_anew(fitted):
    X, y, hour = make_windows()
    model = make_model().fit(X[:50] + 3, y[:50] + 3)
    model.fit(X, y, factors=hour)
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    assert vars(model).keys() == vars(fitted).keys()


@pytest.mark.parametrize("other", [1, None])
def test_another_seed_gives_another_model(other):
    model, X, _ = fit(make_model(random_state=0))
    different, _, _ = fit(make_model(random_state=other))
    assert not np.array_equal(model.transform(X), different.transform(X))


def test_no_seed_gives_another_model_every_time():
    first, X, _ = fit(make_model(random_state=None))
    second, _, _ = fit(make_model(random_state=None))
    assert not np.array_equal(first.transform(X), second.transform(X))


def test_a_random_state_instance_is_drawn_from():
    random = np.random.RandomState(5)
    first, X, _ = fit(make_model(random_state=random))
    second, _, _ = fit(make_model(random_state=random))
    again, _, _ = fit(make_model(random_state=np.random.RandomState(5)))
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    assert not np.array_equal(first.transform(X), second.transform(X))


def test_two_threads_at_once_give_the_same_as_one_after_the_other(fitted):
    X, y, hour = make_windows()

    def run(_):
        return make_model().fit(X, y, factors=hour).predict(X)

    with ThreadPoolExecutor(2) as pool:
        for forecast in pool.map(run, range(4)):
            np.testing.assert_array_equal(forecast, fitted.predict(X))


def test_several_threads_can_predict_with_one_model(fitted):
    X, _, _ = make_windows()
    expected = fitted.predict(X)
    with ThreadPoolExecutor(4) as pool:
        for forecast in pool.map(lambda _: fitted.predict(X), range(20)):
            np.testing.assert_array_equal(forecast, expected)


# Invariants of prediction


@pytest.mark.parametrize("name", ["predict", "transform", "reconstruct", "predict_cluster_proba"])
def test_permuted_windows_give_permuted_outputs(fitted, name):
    X, _, _ = make_windows()
    output = getattr(fitted, name)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(output(X[order]), output(X)[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_entries", [1, PERIOD, 100, 2**22])
@pytest.mark.parametrize(
    "output",
    [
        lambda model, X: model.predict(X),
        lambda model, X: np.stack(model.predict(X, return_std=True)),
        lambda model, X: model.predict_quantiles(X),
        lambda model, X: model.score_samples(X),
        lambda model, X: model.transform(X),
        lambda model, X: model.reconstruct(X),
        lambda model, X: model.predict_cluster_proba(X),
    ],
)
def test_the_batch_size_of_inference_changes_nothing(fitted, monkeypatch, n_entries, output):
    X, _, _ = make_windows()
    expected = output(fitted, X)
    monkeypatch.setattr("skdeepdive._estimators.base._INFERENCE_ENTRIES", n_entries)
    np.testing.assert_allclose(output(fitted, X), expected, rtol=0, atol=1e-12)


def test_the_order_of_windows_in_memory_changes_nothing(fitted):
    X, _, _ = make_windows()
    np.testing.assert_allclose(fitted.predict(X.copy()), fitted.predict(X), rtol=0, atol=1e-12)


def test_predicting_does_not_change_the_model(fitted):
    X, y, _ = make_windows()
    before = joblib.hash(fitted)
    fitted.predict(X)
    fitted.transform(X)
    fitted.reconstruct(X)
    fitted.predict_cluster(X)
    fitted.score(X, y)
    assert joblib.hash(fitted) == before


# Training


def fit_by_losses(monkeypatch, losses, **parameters):
    """Fit with validation windows that say such losses, of the start and of every epoch."""
    told = iter(losses)
    monkeypatch.setattr(phases, "evaluate_loss", lambda *a, **k: {"validation_loss": next(told)})
    X, y, _ = make_windows()
    return make_model(latent="conditional", **parameters).fit(X, y)


def test_without_early_stopping_all_epochs_are_run_and_the_last_weights_kept(monkeypatch):
    X, _, _ = make_windows()
    losses, options = [3.0, 1.0, 2.0, 2.0], {"n_iter_no_change": 1}
    model = fit_by_losses(monkeypatch, losses, max_epochs=3, early_stopping=False, **options)
    stopped = fit_by_losses(monkeypatch, losses, max_epochs=3, **options)
    # With losses that fall, the last weights are the best.
    last = fit_by_losses(monkeypatch, [4.0, 3.0, 2.0, 1.0], max_epochs=3, **options)
    assert (stopped.n_iter_, model.n_iter_, last.n_iter_) == (2, 3, 3)
    np.testing.assert_array_equal(model.transform(X), last.transform(X))
    assert not np.array_equal(stopped.transform(X), last.transform(X))


def test_early_stopping_waits_its_patience_and_keeps_the_best_weights(monkeypatch):
    X, _, _ = make_windows()
    losses = [5.0, 4.0, 3.0, 3.5, 3.0, 3.2, 1.0]  # the last is never asked for
    model = fit_by_losses(monkeypatch, losses, max_epochs=20, n_iter_no_change=3)
    best = fit_by_losses(monkeypatch, losses, max_epochs=20, n_iter_no_change=2)
    assert (model.n_iter_, best.n_iter_) == (5, 4)
    np.testing.assert_array_equal(model.predict(X), best.predict(X))
    np.testing.assert_array_equal(model.transform(X), best.transform(X))


def test_the_validation_loss_falls():
    model, _, _ = fit(make_model(latent="conditional", max_epochs=15, early_stopping=False))
    losses = model.history_["validation_loss"][model.history_["phase"] == "interleaved"]
    assert losses[-1] < losses[0]


def test_the_history_is_one_table_of_epochs():
    X, y, hour = make_windows()
    model = make_model(max_epochs=3, early_stopping=False).fit(X, y, factors=hour)
    assert type(model.history_) is dict
    assert {type(column) for column in model.history_.values()} == {np.ndarray}
    history = pd.DataFrame(model.history_)
    assert len(history) == len(model.history_["epoch"])
    interleaved = history[history["phase"] == "interleaved"]
    assert interleaved["epoch"].tolist() == [1, 2, 3]
    assert model.n_iter_ == 3
    assert set(history["phase"]) == {"marginal", "interleaved", "forecast"}
    others = interleaved.drop(columns=["phase", "squared_error", "validation_squared_error"])
    assert np.isfinite(others.to_numpy(dtype=float)).all()
    assert history.loc[history["phase"] == "marginal", "log_py"].isna().all()
    forecast = history[history["phase"] == "forecast"]
    assert np.isfinite(forecast["squared_error"]).all()
    assert (forecast["validation_squared_error"] == forecast["validation_loss"]).all()


def test_the_last_windows_are_for_validation_and_do_not_enter_the_scale():
    X, y, _ = make_windows()
    model = make_model(validation_fraction=0.2).fit(X, y)
    X, y = X.copy(), y.copy()
    X[-len(X) // 5 :] *= 100
    y[-len(y) // 5 :] *= 100
    changed = make_model(validation_fraction=0.2).fit(X, y)
    np.testing.assert_allclose(changed._x_scaling.scale, model._x_scaling.scale, rtol=0.01)
    np.testing.assert_allclose(changed._y_scaling.scale, model._y_scaling.scale, rtol=0.01)


@pytest.mark.parametrize("shape", ["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_score_is_r2_over_all_steps_and_targets(shape, weighted):
    X, y, _ = make_windows(n_channels=2)
    y = {"1-D": y[:, 0, 0], "2-D": y[:, :, 0], "3-D": y}[shape]
    model = make_model().fit(X, y)
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    flat = (len(y), -1)
    expected = r2_score(y.reshape(flat), model.predict(X).reshape(flat), sample_weight=weight)
    assert model.score(X, y, sample_weight=weight) == pytest.approx(expected)
    assert expected > 0.9


@pytest.mark.parametrize("constant", [0.0, 0.7, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_that_never_changes_does_not_enter_the_score(fitted, constant, dtype):
    X, y, _ = make_windows()
    y = y.copy()
    y[:, 1] = constant
    rest = np.delete(y, 1, axis=1), np.delete(fitted.predict(X), 1, axis=1)
    expected = r2_score(*rest)
    assert fitted.score(X.astype(dtype), y.astype(dtype)) == pytest.approx(expected, rel=1e-4)


# Side effects


@pytest.mark.parametrize("latent", ["both", "conditional"])
def test_fitting_creates_no_files_and_prints_nothing(tmp_path, monkeypatch, capfd, latent):
    monkeypatch.chdir(tmp_path)
    model, X, _ = fit(make_model(latent=latent, verbose=0))
    model.predict(X)
    assert list(tmp_path.iterdir()) == []
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_progress_goes_to_standard_error(capfd):
    fit(make_model(verbose=1))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "epoch" in captured.err


def test_without_tqdm_progress_is_a_line_an_epoch(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(make_model(verbose=1, latent="conditional"))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("interleaved epoch 1: validation_loss ")
    assert lines[-1].startswith("forecast epoch 2: validation_loss ")


BAD_REFITS = {
    "infinity": lambda X, y: (np.where(X > 0, np.inf, X), y, None),
    "length of y": lambda X, y: (X, y[:-1], None),
    "factors": lambda X, y: (X, y, np.zeros(len(X), int)),
    "other windows, bad factors": lambda X, y: (X[:, :5], y[:, :2], np.zeros(len(X), int)),
    "named columns, bad y": lambda X, y: (
        pd.DataFrame(X[:, :2], columns=["a", "b"]), y[:, :0], None
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_REFITS)
def test_a_failed_refit_leaves_the_model_as_it_was(fitted, bad):
    X, y, _ = make_windows()
    model = copy.deepcopy(fitted)
    before = joblib.hash(model)
    bad_X, bad_y, factors = BAD_REFITS[bad](X, y)
    with pytest.raises(ValueError, match="X|y|factors|feature"):
        model.fit(bad_X, bad_y, factors=factors)
    assert joblib.hash(model) == before
    assert model.n_features_in_ == PERIOD
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


def test_an_interrupted_refit_leaves_the_model_as_it_was(fitted, monkeypatch):
    X, y, _ = make_windows()
    model = copy.deepcopy(fitted)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skdeepdive._estimators.fit.train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :5], y[:, :2])
    assert model.n_features_in_ == PERIOD
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))


def test_a_failed_first_fit_leaves_the_model_unfitted():
    X, y, _ = make_windows()
    model = make_model()
    with pytest.raises(ValueError, match="'y' must have one entry"):
        model.fit(X, y[:-1])
    assert vars(model) == model.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.predict(X)


def test_diverging_training_says_which_term_and_what_to_lower():
    X, y, _ = make_windows()
    message = r"term '\w+' became .* Lower 'learning_rate'"
    with (
        pytest.warns(ConvergenceWarning, match=message),
        pytest.raises(FloatingPointError, match=message),
    ):
        make_model(learning_rate=1e30, latent="conditional", max_epochs=30).fit(X, y)


# Copies

_FIT = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from skdeepdive import DeepDIVEForecaster
X, y, hour, out = sys.argv[1:]
model = DeepDIVEForecaster(
    n_hidden=16, n_conditional=4, n_marginal=8, n_clusters=3, max_epochs=2, batch_size=64,
    random_state=0,
)
X = np.load(X)
model.fit(X, np.load(y), factors=np.load(hour))
np.save(out, model.predict(X))
"""


def run_python(code, *arguments):
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def test_a_fresh_process_trains_the_same_model(tmp_path):
    paths = [tmp_path / name for name in ("X.npy", "y.npy", "hour.npy")]
    X, y, hour = (array.copy() for array in make_windows())
    for path, array in zip(paths, (X, y, hour), strict=True):
        np.save(path, array)
    run_python(_FIT, *paths, tmp_path / "out.npy")
    expected = make_model().fit(X, y, factors=hour).predict(X)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_a_fit_does_not_load_the_compiler_of_torch(tmp_path):
    load = "import sys, numpy; from skdeepdive import DeepDIVEForecaster"
    fit = (
        "DeepDIVEForecaster(n_hidden=8, max_epochs=1, validation_gap=0)"
        ".fit(numpy.eye(40)[..., None], numpy.eye(40))"
    )
    run_python(f"{load}; {fit}; assert 'torch._dynamo' not in sys.modules")


def test_a_clone_is_unfitted_and_has_the_same_parameters(fitted):
    X, _, _ = make_windows()
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        cloned.predict(X)


def test_the_representation_shows_what_was_set():
    assert repr(DeepDIVEForecaster(n_hidden=32)) == "DeepDIVEForecaster(n_hidden=32)"
    assert "DeepDIVEForecaster" in DeepDIVEForecaster()._repr_html_()


def test_a_notebook_shows_what_was_learned_and_nothing_private(fitted):
    page = re.sub(r"(?s)<(style|script).*?</\1>", "", fitted._repr_html_())
    shown = set(re.findall(r"\w+", page))
    attributes = {name for name in vars(fitted) if name.endswith("_")}
    assert not [name for name in vars(fitted) if name.startswith("_") and name in shown]
    if "Fitted attributes" in page:  # from scikit-learn 1.9
        assert attributes <= shown
        assert set(fitted.get_feature_names_out()) <= shown


# Errors


def put(array, value):
    """Return a copy whose last entry is another value."""
    array = array.copy()
    array.flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(lambda X, y: (X[:, 0], y), ValueError, "'X' must have shape", id="1-D X"),
        pytest.param(
            lambda X, y: (X[..., None, None], y), ValueError, "'X' must have shape", id="4-D X"
        ),
        pytest.param(
            lambda X, y: (X, y[..., None, None]), ValueError, "'y' must have shape", id="4-D y"
        ),
        pytest.param(
            lambda X, y: (put(X, np.inf), y), ValueError, "'X' must be finite.*inf", id="inf in X"
        ),
        pytest.param(
            lambda X, y: (X, np.full_like(y, np.nan)), ValueError, "'y' must have values", id="NaN"
        ),
        pytest.param(
            lambda X, y: (X, put(y, -np.inf)), ValueError, "'y' must be finite.*inf", id="inf in y"
        ),
        pytest.param(
            lambda X, y: (X, y[:-1]), ValueError, "'y' must have one entry for each", id="short y"
        ),
        pytest.param(
            lambda X, y: (X, y[:, :0]), ValueError, "'y' must have shape", id="no steps in y"
        ),
        pytest.param(lambda X, y: (X[:0], y[:0]), ValueError, "0 sample", id="no windows"),
        pytest.param(lambda X, y: (X[:1], y[:1]), ValueError, "minimum of 2", id="one window"),
        pytest.param(
            lambda X, y: (X.astype(str), y), ValueError, "'X' must hold numbers", id="strings in X"
        ),
        pytest.param(
            lambda X, y: (put(X.astype(object), "a"), y),
            ValueError,
            "'X' must hold numbers",
            id="a string in X",
        ),
        pytest.param(
            lambda X, y: (X, y.astype(str)), ValueError, "'y' must hold numbers", id="strings in y"
        ),
        pytest.param(lambda X, y: (X + 0j, y), ValueError, "Complex data", id="complex X"),
        pytest.param(lambda X, y: (X, y + 0j), ValueError, "Complex data", id="complex y"),
        pytest.param(lambda X, y: (X, None), ValueError, "requires y to be passed", id="y is None"),
    ],
)
def test_windows_and_futures_that_are_not_as_described_are_rejected(change, error, message):
    X, y, _ = make_windows()
    X, y = change(X, y)
    with pytest.raises(error, match=message):
        make_model().fit(X, y)


def test_channels_that_contradict_n_channels_are_rejected():
    X, y, _ = make_windows(n_channels=3)
    with pytest.raises(ValueError, match="'n_channels' is 2, but 'X' has 3 channels"):
        make_model(n_channels=2).fit(X, y)


def test_too_few_windows_for_the_validation_split_are_rejected():
    X, y, _ = make_windows()
    with pytest.raises(ValueError, match="'validation_fraction' 0.9 leaves none of the 4 windows"):
        make_model(validation_fraction=0.9).fit(X[:4], y[:4])


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (lambda hour: hour[:-1], ValueError, "'factors' must have one entry for each"),
        (lambda hour: 0 * hour, ValueError, "'factor0' .* must have at least two classes"),
        (lambda hour: 0 * hour - 1, ValueError, "'factor0' .* has no labelled window"),
        (lambda hour: hour + 0.5, ValueError, "'factor0' .* must hold discrete labels"),
        (lambda hour: ["a", *hour[1:].tolist()], TypeError, "'factor0' .* mixes strings"),
        (lambda hour: hour[:, None, None], ValueError, "'factors' must be an array of shape"),
        (
            lambda hour: pd.DataFrame({"hour": hour, "month": 0 * hour}),
            ValueError,
            "'month' .* must have at least two classes",
        ),
    ],
)
def test_factors_that_are_no_labels_of_the_windows_are_rejected(factors, error, message):
    X, y, hour = make_windows()
    with pytest.raises(error, match=message):
        make_model().fit(X, y, factors=factors(hour))


_OUTPUTS = ["predict", "transform", "reconstruct", "predict_cluster", "predict_cluster_proba"]


@pytest.mark.parametrize("name", _OUTPUTS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, :5], "X has 5 features, but DeepDIVEForecaster is expecting 12"),
        (lambda X: X[..., None], r"'X' must have shape \(n_samples, 12\), as in fit, got"),
        (lambda X: X[0], r"'X' must have shape.*Reshape your data: X\.reshape\(1, 12\) is one"),
        (lambda X: pd.Series(X[0]), r"Reshape your data: X\.to_numpy\(\)\.reshape\(1, 12\) is one"),
        (lambda X: X[:0], "0 sample"),
        (lambda X: put(X, np.inf), "'X' must be finite.*inf"),
        (lambda X: X.astype(str), "'X' must hold numbers"),
    ],
)
def test_windows_unlike_those_of_fit_are_rejected(fitted, name, change, message):
    X, _, _ = make_windows()
    with pytest.raises(ValueError, match=message):
        getattr(fitted, name)(change(X))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda X: X[..., :2], id="other channels"),
        pytest.param(lambda X: X[:, :5], id="other time steps"),
        pytest.param(lambda X: X.reshape(len(X), -1), id="flattened"),
        pytest.param(lambda X: X[..., 0], id="one channel, 2-D"),
    ],
)
def test_other_channels_and_time_steps_than_in_fit_are_rejected(fitted_3d, change):
    X, _, _ = make_windows(n_channels=3)
    with pytest.raises(ValueError, match=r"'X' must have shape \(n_samples, 12, 3\), as in fit"):
        fitted_3d.predict(change(X))


@pytest.mark.parametrize("of_one", [lambda X: X[0], lambda X: X[0].ravel()])
def test_a_single_window_is_rejected_with_advice_that_helps(fitted_3d, of_one):
    X, _, _ = make_windows(n_channels=3)
    with pytest.raises(ValueError, match="Reshape your data: X.reshape") as raised:
        fitted_3d.predict(of_one(X))
    shape = re.search(r"X\.reshape\((.*?)\)", str(raised.value))[1]
    X_of_one = of_one(X).reshape(*map(int, shape.split(", ")))
    np.testing.assert_allclose(fitted_3d.predict(X_of_one), fitted_3d.predict(X[:1]), rtol=1e-12)


def test_columns_in_another_order_than_in_fit_are_rejected():
    X, y, _ = make_windows()
    frame = pd.DataFrame(X, columns=[f"lag {j}" for j in range(PERIOD)])
    model = make_model().fit(frame, y)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:, :-1], r"'y' must have shape \(205, 4\), as the forecasts, got \(205, 3\)"),
        (lambda y: y[..., None], r"'y' must have shape \(205, 4\), as the forecasts"),
        (lambda y: y[:, 0], r"'y' must have shape \(205, 4\), as the forecasts, got \(205,\)"),
        (lambda y: y[:-1], "'y' must have one entry for each of the 205 windows"),
        (lambda y: None, "'y' must be an array"),
    ],
)
def test_the_score_of_other_futures_than_those_of_fit_is_an_error(fitted, change, message):
    X, y, _ = make_windows()
    with pytest.raises(ValueError, match=message):
        fitted.score(X, change(y))


@pytest.mark.parametrize("n_columns", [1, 11, 13])
def test_embeddings_with_other_columns_are_rejected(fitted, n_columns):
    with pytest.raises(ValueError, match=f"'Z' must have 12 columns.*, got {n_columns}."):
        fitted.inverse_transform(np.zeros((3, n_columns)))


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.zeros(12), "Expected 2D array"),
        (np.zeros((2, 12, 1)), "dim 3"),
        (np.full((2, 12), np.nan), "Z contains NaN"),
    ],
)
def test_embeddings_that_are_no_table_of_numbers_are_rejected(fitted, Z, message):
    with pytest.raises(ValueError, match=message):
        fitted.inverse_transform(Z)


@pytest.mark.parametrize("name", ["predict", "transform", "inverse_transform", "reconstruct"])
def test_an_unfitted_model_says_so(name):
    X, _, _ = make_windows()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(make_model(), name)(X)


def test_an_unfitted_model_has_no_names_and_no_score():
    X, y, _ = make_windows()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_model().get_feature_names_out()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_model().score(X, y)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_model().predict_cluster_proba(X)


def test_the_memory_layout_of_windows_does_not_change_the_model():
    X, y, hour = make_windows()
    view = make_model().fit(X, y, factors=hour).predict(X)
    copy = make_model().fit(X.copy(), y.copy(), factors=hour).predict(X)
    np.testing.assert_allclose(view, copy, rtol=1e-4, atol=1e-4)


def test_read_only_embeddings_are_decoded():
    X, y, _ = make_windows()
    model = make_model().set_output(transform="pandas").fit(X, y)
    Z = model.transform(X)
    values = Z.to_numpy()
    values.flags.writeable = False
    np.testing.assert_array_equal(model.inverse_transform(Z), model.inverse_transform(values))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda X, y: (X[:2], y[:2]), id="two windows"),
        pytest.param(lambda X, y: (np.ones_like(X), y), id="constant X"),
        pytest.param(lambda X, y: (np.ones_like(X), np.ones_like(y)), id="constant X and y"),
    ],
)
def test_windows_that_hold_no_clusters_train_without_factors(change):
    X, y = change(*make_windows()[:2])
    assert np.isfinite(make_model(validation_gap=0).fit(X, y).predict(X)).all()


@pytest.mark.parametrize("shape", [(205, 0, 2), (205, 3, 0)])
def test_windows_without_steps_or_channels_are_rejected(shape):
    with pytest.raises(ValueError, match="'X' must have at least one step and one channel"):
        make_model().fit(np.zeros(shape), np.zeros(205))


def test_clusters_of_an_unfitted_model_are_an_error():
    X, _, _ = make_windows()
    with pytest.raises(NotFittedError):
        make_model().predict_cluster(X)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_fit_does_not_depend_on_the_gradient_mode(context):
    X, y, hour = make_windows()
    expected = make_model().fit(X, y, factors=hour).predict(X)
    with context():
        model = make_model().fit(X, y, factors=hour)
    np.testing.assert_array_equal(model.predict(X), expected)


def test_fit_works_under_another_default_precision():
    X, y, hour = make_windows()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        forecasts = make_model().fit(X, y, factors=hour).predict(X)
    finally:
        torch.set_default_dtype(before)
    assert np.isfinite(forecasts).all()


def test_masked_arrays_are_rejected():
    X, y, _ = make_windows()
    with pytest.raises(TypeError, match="'X' must not be a masked array"):
        make_model().fit(np.ma.masked_less(X, 0), y)


def test_the_score_of_strings_is_an_error(fitted):
    X, y, _ = make_windows()
    with pytest.raises(ValueError, match="'y' must hold numbers"):
        fitted.score(X, y.astype(str))


def test_a_single_value_as_y_is_an_error():
    X, _, _ = make_windows()
    with pytest.raises(ValueError, match="'y' must be an array, got the single value 3"):
        make_model().fit(X, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_that_require_gradients_are_taken_as_values(dtype):
    X, y, hour = make_windows()
    tensor = torch.tensor(X).to(dtype).requires_grad_()
    as_array = tensor.detach().float().numpy()
    model = make_model().fit(tensor, torch.tensor(y), factors=hour)
    expected = make_model().fit(as_array, y, factors=hour).predict(as_array)
    np.testing.assert_array_equal(model.predict(tensor), expected)


@pytest.mark.parametrize(("n_windows", "batch_size"), [(20, 16), (1000, 25), (20_000, 256)])
def test_few_windows_are_trained_in_small_batches(n_windows, batch_size):
    run = FitRun(DeepDIVEForecaster(), None, None, Plan.ANEW, Processes())
    assert run._batch_size(int(0.8 * n_windows)) == batch_size


@pytest.mark.parametrize("n_timesteps", [24, 100])  # below and above the limit of the joint map
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda y: y[..., ::-1], id="other order"),
        pytest.param(lambda y: 1000 * y, id="other unit"),
        pytest.param(lambda y: y[..., [7, 41]], id="two targets"),
    ],
)
def test_targets_need_neither_the_order_nor_the_unit_of_the_channels(n_timesteps, change):
    random = np.random.default_rng(0)
    hour, phase = np.arange(500)[:, None], random.uniform(0, 24, 50)
    series = 10 + np.sin(2 * np.pi * (hour + phase) / 24) + 0.1 * random.normal(size=(500, 50))
    X, y, _ = sliding_windows(series, n_timesteps, 6)
    y = change(y)
    model = make_model(max_epochs=2).fit(X[:300], y[:300])
    assert model.score(X[310:], y[310:]) > 0.9


def test_a_factor_must_not_be_named_like_the_conditional_dimensions():
    X, y, hour = make_windows()
    with pytest.raises(ValueError, match="must not name a factor 'conditional'"):
        make_model().fit(X, y, factors=pd.Series(hour, name="conditional"))
