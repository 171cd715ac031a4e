"""Data without variation: constant series and channels, labels and covariates that tell nothing."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score

from skdeepdive import DeepDIVEForecaster, SeriesForecaster, sliding_windows
from skdeepdive._data.scores import mean_r2
from skdeepdive._start.sums import PENALTIES, Moments
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.inspection import EmbeddingDisplay, FactorConfusionDisplay

mpl.use("Agg")
N_STEPS = 400
SMALL = {"n_hidden": 4, "max_epochs": 1, "random_state": 0}
MODELS = {
    "both": DeepDIVEForecaster(**SMALL),
    "conditional": DeepDIVEForecaster(latent="conditional", **SMALL),
    "marginal": DeepDIVEForecaster(latent="marginal", **SMALL),
    "VAE": VAEForecaster(**SMALL),
    "β-TCVAE": BetaTCVAEForecaster(**SMALL),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_constant = pytest.mark.parametrize("value", [7.0, 0.1, -1e9 - 0.1])


def live_series(seed=0):
    noise = np.random.default_rng(seed).standard_normal(N_STEPS)
    return 5 + np.sin(np.arange(N_STEPS) * np.pi / 12) + 0.1 * noise


def cut(*channels):
    series = channels[0] if len(channels) == 1 else np.column_stack(channels)
    return sliding_windows(series, 24, 6)


def constant(value=3.0):
    return np.full(N_STEPS, value)


def outputs(model, X, **options):
    """Return everything that a model says of windows."""
    found = [model.predict(X, **options), model.transform(X), model.reconstruct(X)]
    if isinstance(model, DeepDIVEForecaster):
        found += [*model.predict(X, return_std=True, **options)]
        found += [model.predict_quantiles(X, **options), model.score_samples(X)]
        found += [model.sample(X, 3, random_state=0, **options)]
        parts = model.attribute(X, **options)
        found += [parts.level, parts.linear, parts.window, parts.conditional]
    return found


def assert_finite(values):
    assert all(np.isfinite(part).all() for part in values)


def assert_certain(model, X, expected, target=slice(None), **options):
    """Forecasts, and all that says how sure they are, are some values and nothing else."""
    forecast, deviation = model.predict(X, return_std=True, **options)
    np.testing.assert_array_equal(forecast[..., target], expected)
    np.testing.assert_array_equal(deviation[..., target], 0)
    for found in (model.predict_quantiles(X, **options), model.sample(X, 3, **options)):
        np.testing.assert_array_equal(np.moveaxis(found, -1, 0)[..., target], expected)


# Constant series


@every_model
@every_constant
def test_a_constant_series_is_forecast_exactly(name, value):
    X, y, _ = cut(constant(value))
    model = clone(MODELS[name]).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), value)
    assert_finite(outputs(model, X))
    assert model.score(X, y) == 1.0


@pytest.mark.parametrize("labelled", [False, True])
def test_a_constant_series_has_intervals_of_width_zero(labelled):
    X, y, origin = cut(constant(7.0))
    model = clone(MODELS["both"]).fit(X, y, origin % 24 if labelled else None)
    assert_certain(model, X, 7.0)


@pytest.mark.parametrize("n_steps", [60, 503, 3000])
def test_any_number_of_windows_of_a_constant_series_is_fitted(n_steps):
    X, y, _ = sliding_windows(np.full(n_steps, 7.0), 24, 6)
    assert_certain(clone(MODELS["both"]).fit(X, y), X, 7.0)


@pytest.mark.parametrize("first", [7.0, None])
def test_chunks_of_a_constant_series_train(first):
    series = live_series() if first is None else constant(first)
    (X, y, _), (X_dead, y_dead, _) = cut(series), cut(constant(7.0))
    model = clone(MODELS["both"]).partial_fit(X, y).partial_fit(X_dead, y_dead)
    assert_finite(outputs(model, X_dead))
    np.testing.assert_allclose(model.predict(X_dead), 7.0, atol=0 if first else 0.5)


def test_a_model_of_a_constant_series_learns_from_one_that_varies():
    (X_dead, y_dead, _), (X, y, _) = cut(constant(7.0)), cut(live_series())
    model = clone(MODELS["both"]).set_params(warm_start=True).fit(X_dead, y_dead).fit(X, y)
    assert_finite(outputs(model, X))
    assert model.score(X, y) > 0.9


@every_model
def test_noise_far_below_the_level_is_a_series_like_any_other(name):
    noise = np.random.default_rng(0).standard_normal(N_STEPS)
    X, y, _ = cut(7 * (1 + 1e-12 * noise))
    model = clone(MODELS[name]).fit(X, y)
    assert_finite(outputs(model, X))
    np.testing.assert_allclose(model.predict(X), y, atol=1e-10)


@every_model
@pytest.mark.parametrize("constant_part", [slice(0, 330), slice(250, None)])
def test_a_series_that_is_constant_in_training_or_in_validation_only_is_fitted(name, constant_part):
    series = live_series()
    series[constant_part] = 7.0
    X, y, _ = cut(series)
    assert_finite(outputs(clone(MODELS[name]).fit(X, y), X))


def test_a_series_with_a_single_jump_has_folds_without_variation():
    series = constant(7.0)
    series[200] = 8.0
    X, y, origin = cut(series)
    model = clone(MODELS["both"]).fit(X, y, origin % 24)
    np.testing.assert_array_equal(model.predict(X[-50:]), 7.0)
    assert_finite(outputs(model, X))


@every_model
def test_constant_windows_tell_nothing_of_their_futures(name):
    X, y, _ = cut(live_series())
    X = np.full_like(X, 3.0)
    model = clone(MODELS[name]).fit(X, y)
    assert_finite(outputs(model, X))
    np.testing.assert_allclose(model.predict(X), y.mean(), atol=0.3)


@pytest.mark.parametrize("name", ["both", "conditional", "marginal"])
def test_constant_futures_of_windows_that_vary_are_forecast_exactly(name):
    X, y, _ = cut(live_series())
    model = clone(MODELS[name]).fit(X, np.full_like(y, 7.0))
    assert_certain(model, X, 7.0)


# Constant channels


@pytest.mark.parametrize("how", ["fit", "labels", "partial_fit", "warm_start", "covariates"])
@pytest.mark.parametrize("value", [3.0, 0.1])
def test_a_dead_channel_is_forecast_exactly_beside_live_ones(how, value):
    X, y, origin = cut(live_series(), constant(value), live_series(1))
    model, half, options = clone(MODELS["both"]), len(X) // 2, {}
    if how == "partial_fit":
        model.partial_fit(X[:half], y[:half]).partial_fit(X[half:], y[half:])
    elif how == "warm_start":
        model.set_params(warm_start=True).fit(X[:half], y[:half]).fit(X[half:], y[half:])
    elif how == "covariates":
        options["future_covariates"] = y[..., :1] ** 2
        model.fit(X, y, **options)
    else:
        model.fit(X, y, origin % 24 if how == "labels" else None)
    assert_certain(model, X, value, target=1, **options)
    assert_finite(outputs(model, X, **options))


@pytest.mark.parametrize("name", ["VAE", "β-TCVAE"])
def test_baselines_forecast_a_dead_channel_exactly(name):
    X, y, _ = cut(live_series(), constant(0.1))
    forecast = clone(MODELS[name]).fit(X, y).predict(X)
    np.testing.assert_array_equal(forecast[..., 1], 0.1)
    assert np.ptp(forecast[..., 0]) > 0


def test_a_dead_channel_that_comes_to_life_is_continued():
    X, y, _ = cut(live_series(), constant(3.0))
    model = clone(MODELS["both"]).fit(X, y)
    X = X[-1:].copy()
    X[:, -1, 1] = 4.0
    assert np.abs(model.predict(X)[..., 1] - 4.0).max() < 1.0


def test_steps_that_never_vary_do_not_enter_the_score():
    (X, y, _), live = cut(live_series(), constant(3.0)), live_series()
    model = clone(MODELS["both"]).fit(X, y)
    expected = r2_score(y[..., 0], model.predict(X)[..., 0])
    assert model.score(X, y) == pytest.approx(expected, abs=1e-9)
    assert expected > 0.9
    nights = cut(np.where(np.arange(N_STEPS) % 24 < 8, 0.0, live))
    X, y = (part[5::24] for part in nights[:2])  # three hours of the night, and three of the day
    varies = np.ptp(y, axis=0) > 0
    assert varies.tolist() == [False] * 3 + [True] * 3
    model = clone(MODELS["both"]).fit(*nights[:2])
    expected = r2_score(y[:, varies], model.predict(X)[:, varies])
    assert model.score(X, y) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("found", "score"), [(3.0, 1.0), (3.1, 0.0)])
def test_the_score_of_what_never_varies_is_that_of_scikit_learn(found, score):
    assert mean_r2(np.full((5, 2), 3.0), np.full((5, 2), found)) == score


def test_gaps_have_no_part_in_what_varies():
    true = np.array([[1.0, 2.0], [np.nan, 2.0], [3.0, np.nan], [2.0, 2.0]])
    found = np.array([[1.0, 2.1], [1.0, 2.1], [3.0, 2.1], [2.5, 2.1]])
    assert mean_r2(true, found) == pytest.approx(1 - 0.25 / 2)


@every_model
@pytest.mark.parametrize("others", ["copies", "sum"])
def test_channels_that_others_determine_are_fitted(name, others):
    a, b = live_series(), live_series(1)
    X, y, _ = cut(a, a, a) if others == "copies" else cut(a, b, a + b)
    model = clone(MODELS[name]).fit(X, y)
    assert_finite(outputs(model, X))
    if isinstance(model, DeepDIVEForecaster):
        assert model.score(X, y) > 0.9


# Rounding


@pytest.mark.parametrize("penalty", PENALTIES)
def test_inputs_that_do_not_vary_have_no_weight(penalty):
    rng = np.random.default_rng(0)
    live = rng.standard_normal((1, 5000, 1))
    inputs = torch.from_numpy(np.concatenate([live, np.full((1, 5000, 3), np.pi)], axis=2))
    moments = Moments.of((part, 2 * part[..., :1]) for part in inputs.split(64, dim=1))
    weight, intercept = moments.ridge(penalty)
    assert weight[0, 0, 0] == pytest.approx(2 / (1 + penalty / 4), rel=0.05)
    np.testing.assert_allclose(weight[0, 1:], 0, atol=1e-6)
    np.testing.assert_allclose(intercept, 0, atol=0.1)


def test_a_regression_without_the_part_that_varied_is_solved():
    jump = torch.zeros(1, 4000, 6, dtype=torch.float64)
    jump[:, :7] = 1e3 * torch.from_numpy(np.random.default_rng(0).standard_normal((7, 6)))
    jump += np.pi
    parts = [Moments.of([(part, part[..., :1])]) for part in (jump, jump[:, :10])]
    weight, intercept = (parts[0] - parts[1]).ridge(1e-6)
    assert_finite([weight.numpy(), intercept.numpy()])


# Labels and covariates


def labels_of(kind, n):
    numbers = np.arange(n)
    return {
        "one each": numbers,
        "one class in training": numbers >= n - 40,
        "a class in validation only": np.where(numbers < n - 40, numbers % 2, 2),
        "others after the half": np.where(numbers < n // 2, "a", "b"),
        "one window of a class": numbers == 0,
        "none in training": np.where(numbers < n - 60, -1, numbers % 2),
        "none in validation": np.where(numbers < n - 90, numbers % 2, -1),
    }[kind]


every_kind = pytest.mark.parametrize(
    "kind",
    [
        *("one each", "one class in training", "a class in validation only"),
        *("others after the half", "one window of a class", "none in training"),
        "none in validation",
    ],
)


@every_kind
@pytest.mark.parametrize("series", ["live", "constant"])
def test_labels_that_tell_nothing_leave_the_forecast_alone(kind, series):
    X, y, _ = cut(live_series() if series == "live" else constant(7.0))
    labels = labels_of(kind, len(X))
    model = clone(MODELS["both"]).fit(X, y, labels)
    assert_finite([*outputs(model, X), model.predict_cluster_proba(X)])
    assert np.isin(model.predict_cluster(X), labels).all()
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("kind", ["one each", "others after the half"])
def test_labels_that_change_from_chunk_to_chunk_are_learnt(kind):
    X, y, _ = cut(live_series())
    labels, half = labels_of(kind, len(X)), len(X) // 2
    model = clone(MODELS["both"]).partial_fit(X[:half], y[:half], labels[:half], np.unique(labels))
    model.partial_fit(X[half:], y[half:], labels[half:])
    assert_finite(outputs(model, X))
    assert model.score(X, y) > 0.9


@every_model
@pytest.mark.parametrize("later", [0.0, 1.0, 1e6])
def test_covariates_that_were_constant_in_training_may_move_later(name, later):
    X, y, _ = cut(live_series())
    known = np.full((*y.shape, 1), 2.0)
    model = clone(MODELS[name]).fit(X, y, future_covariates=known)
    expected = model.predict(X, future_covariates=known)
    moved = model.predict(X, future_covariates=known + later)
    assert np.isfinite(moved).all()
    if isinstance(model, DeepDIVEForecaster):
        np.testing.assert_allclose(moved, expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["copies", "a jump", "in validation only", "tiny", "far out"])
def test_covariates_that_tell_little_leave_the_forecast_alone(kind):
    X, y, origin = cut(live_series())
    steps = origin[:, None] + np.arange(6)
    noise = np.random.default_rng(0).standard_normal(N_STEPS + 6)[steps]
    known = {
        "copies": np.stack([noise, noise], axis=2),
        "a jump": (steps > N_STEPS // 2) * 1.0,
        "in validation only": np.where(steps > N_STEPS - 70, noise, 2.0),
        "tiny": 1 + 1e-14 * noise,
        "far out": 1e8 + noise,
    }[kind]
    model = clone(MODELS["both"]).fit(X, y, future_covariates=known)
    assert_finite(outputs(model, X, future_covariates=known))
    assert model.score(X, y, future_covariates=known) > 0.9


# Tables


def table(**columns):
    index = pd.date_range("2020", periods=N_STEPS, freq="h", name="time")
    return pd.DataFrame(columns, index=index)


def stacked(**series):
    frames = {name: table(load=values) for name, values in series.items()}
    return pd.concat(frames, names=["id"])


def series_forecaster(name="both", **options):
    return SeriesForecaster(clone(MODELS[name]), n_timesteps=24, horizon=6, **options)


@pytest.mark.parametrize("name", ["both", "VAE"])
def test_a_constant_table_is_forecast_exactly(name):
    forecaster = series_forecaster(name).fit(table(load=constant(7.0)))
    for found in (forecaster.predict(), forecaster.predict_quantiles(), forecaster.sample(3)):
        np.testing.assert_array_equal(found, 7.0)


@pytest.mark.parametrize("options", [{}, {"calendar": ["hour"]}, {"gaps": "keep"}])
def test_a_dead_column_is_forecast_exactly(options):
    frame = table(load=live_series(), dead=constant())
    forecaster = series_forecaster(**options).fit(frame)
    for found in (forecaster.predict(), forecaster.predict_quantiles(), forecaster.sample(3)):
        np.testing.assert_array_equal(found["dead"], 3.0)
    assert forecaster.score(frame) > 0.9


@pytest.mark.parametrize(
    ("name", "options"),
    [("both", {}), ("both", {"calendar": ["hour"]}), ("both", {"id_as_factor": True}), ("VAE", {})],
)
def test_a_constant_series_is_forecast_exactly_among_others(name, options):
    frame = stacked(a=live_series(), b=constant(7.0), c=3 * live_series(1))
    forecaster = series_forecaster(name, **options).fit(frame)
    for found in (forecaster.predict(), forecaster.predict_quantiles(), forecaster.sample(3)):
        np.testing.assert_array_equal(found.loc["b"], 7.0)
        assert (np.ptp(found.loc["a"], axis=0) > 0).all()


def test_a_series_that_was_constant_in_training_is_continued_where_it_moves():
    frame = stacked(a=live_series(), b=constant(7.0))
    forecaster = series_forecaster().fit(frame)
    frame.loc[frame.index[-12:], "load"] = 8.0
    forecast = forecaster.predict(frame).loc["b"].to_numpy()
    assert (forecast != 7.0).all()
    np.testing.assert_allclose(forecast, 8.0, atol=2.0)


# Displays


def test_one_cluster_is_drawn():
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y, origin = cut(constant(7.0))
    model = clone(MODELS["both"]).fit(X, y)
    display = EmbeddingDisplay.from_estimator(model, X)
    assert set(display.codes) == {0}
    display = FactorConfusionDisplay.from_estimator(model, X, np.zeros(len(X), dtype=int))
    assert display.confusion_matrix.tolist() == [[len(X)]]
    with pytest.raises(ValueError, match="'classes' must have at least two classes"):
        FactorConfusionDisplay.from_estimator(model, X, origin % 2)
    plt.close("all")
