"""Windows and futures with values missing."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.nn.forecast import with_expected_scale

SMALL = {"n_hidden": 8, "max_epochs": 2, "random_state": 0}
MODELS = {
    "both": DeepDIVEForecaster(n_conditional=4, n_clusters=3, **SMALL),
    "conditional": DeepDIVEForecaster(n_conditional=4, latent="conditional", **SMALL),
    "marginal": DeepDIVEForecaster(n_clusters=3, latent="marginal", **SMALL),
    "VAE": VAEForecaster(n_latent=4, **SMALL),
    "β-TCVAE": BetaTCVAEForecaster(n_latent=4, **SMALL),
}
every_model = pytest.mark.parametrize("name", MODELS)
N_TRAIN = 500


def make_series(n=800, seed=0):
    """A day of 24 steps, twice: the second channel is later by a quarter and noisier."""
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(n)[:, None] - [0, 6]) / 24
    return 5 + np.sin(angle) + [0.1, 0.2] * random.standard_normal(angle.shape)


def lose(series, part=0.1, seed=0):
    return np.where(np.random.default_rng(seed).random(series.shape) < part, np.nan, series)


def make_windows(series):
    X, y, origin = sliding_windows(series, n_timesteps=36, horizon=12)
    return X, y, origin % 24


def fit(name, series):
    X, y, hour = (part[:N_TRAIN] for part in make_windows(series))
    model = clone(MODELS[name])
    return (
        model.fit(X, y, factors=hour) if isinstance(model, DeepDIVEForecaster) else model.fit(X, y)
    )


def all_outputs(model, X):
    found = [model.predict(X), model.transform(X), *model.reconstruct(X, return_std=True)]
    if isinstance(model, DeepDIVEForecaster):
        found += [*model.predict(X, return_std=True), model.predict_quantiles(X)]
        found += [model.sample(X, 3, random_state=0), model.score_samples(X)]
        parts = model.attribute(X)
        found += [parts.level, parts.linear, parts.window]
    return found


@pytest.fixture(scope="module")
def with_gaps():
    return fit("both", lose(make_series()))


@pytest.fixture(scope="module")
def complete():
    return fit("both", make_series())


@every_model
@pytest.mark.parametrize("part", [0.1, 0.6])
def test_every_output_is_finite(name, part):
    series = lose(make_series(), part)
    X, _, _ = make_windows(series)
    for values in all_outputs(fit(name, series), X[N_TRAIN:]):
        assert np.isfinite(values).all()


@every_model
def test_models_of_complete_windows_take_gaps(name):
    model = fit(name, make_series())
    X, _, _ = make_windows(lose(make_series()))
    for values in all_outputs(model, X[N_TRAIN:]):
        assert np.isfinite(values).all()


def test_gaps_cost_little_accuracy(complete, with_gaps):
    X, y, hour = (part[N_TRAIN:] for part in make_windows(make_series()))
    lossy, lossy_y, _ = (part[N_TRAIN:] for part in make_windows(lose(make_series())))
    assert with_gaps.score(X, y) > complete.score(X, y) - 0.01
    assert with_gaps.score(lossy, y) > complete.score(X, y) - 0.02
    assert with_gaps.score(lossy, lossy_y) > complete.score(X, y) - 0.03
    read = with_gaps.predict_cluster(lossy)
    assert (
        np.mean(read.ravel() == hour) > np.mean(complete.predict_cluster(X).ravel() == hour) - 0.05
    )


def test_forecasts_do_not_shrink_by_what_is_missing_in_futures():
    X, y, _ = make_windows(make_series())
    lossy = np.where(np.random.default_rng(0).random(y.shape) < 0.5, np.nan, y)
    forecasts = [
        clone(MODELS["conditional"]).fit(X[:N_TRAIN], futures[:N_TRAIN]).predict(X[N_TRAIN:])
        for futures in (y, lossy)
    ]
    spread = [np.std(forecast - 5) for forecast in forecasts]
    assert spread[1] == pytest.approx(spread[0], rel=0.03)
    np.testing.assert_allclose(forecasts[1], forecasts[0], atol=0.25)


def test_gaps_are_filled_more_closely_than_by_interpolation(with_gaps):
    X = make_windows(make_series())[0][N_TRAIN:]
    lossy = make_windows(lose(make_series()))[0][N_TRAIN:]
    missing = np.isnan(lossy)
    filled = with_gaps.reconstruct(lossy)
    steps, linear = np.arange(X.shape[1]), lossy.copy()
    for channel in (channel for window in linear for channel in window.T):
        known = ~np.isnan(channel)
        channel[:] = np.interp(steps, steps[known], channel[known])
    assert np.std((filled - X)[missing]) < 0.9 * np.std((linear - X)[missing])


def test_deviations_of_filled_values_are_those_of_their_errors(with_gaps):
    series = make_series(3000, seed=1)
    X, lossy = make_windows(series)[0], make_windows(lose(series))[0]
    missing = np.isnan(lossy)
    filled, deviation = with_gaps.reconstruct(lossy, return_std=True)
    ratio = np.square(((filled - X) / deviation)[missing]).mean()
    assert 0.7 < ratio < 1.4
    # Elsewhere it is that of the likelihood, which is one for every channel.
    for channel, hidden in zip(deviation.T, missing.T, strict=True):
        assert len(np.unique(channel[~hidden])) == 1


def test_complete_windows_are_reconstructed_as_ever(complete):
    X = make_windows(make_series())[0][N_TRAIN:]
    decoded = complete.inverse_transform(complete.transform(X))
    np.testing.assert_allclose(complete.reconstruct(X), decoded, rtol=1e-6)


def test_intervals_widen_where_the_window_tells_less(complete):
    X, y, _ = (part[N_TRAIN:] for part in make_windows(make_series()))
    lossy = X.copy()
    lossy[:, -12:] = np.nan
    widths, covered = [], []
    for windows in (X, lossy):
        low, high = np.moveaxis(complete.predict_quantiles(windows, [0.05, 0.95]), -1, 0)
        widths.append((high - low).mean())
        covered.append(((low <= y) & (y <= high)).mean())
    assert widths[1] > 1.01 * widths[0]
    assert covered[1] > covered[0] - 0.05


def test_a_window_without_values_is_forecast_by_the_mean(with_gaps):
    X, _, _ = make_windows(make_series())
    nothing = np.full_like(X[:1], np.nan)
    np.testing.assert_allclose(with_gaps.predict(nothing), 5, atol=0.8)
    width = np.ptp(with_gaps.predict_quantiles(nothing, [0.05, 0.95]), axis=-1)
    assert width.mean() > 1  # that of a window with all values is about half of it


def test_a_channel_without_values_takes_what_the_other_tells(with_gaps):
    X, y, _ = (part[N_TRAIN:] for part in make_windows(make_series()))
    lossy = X.copy()
    lossy[:, :, 1] = np.nan
    assert with_gaps.score(lossy, y) > 0.85


def test_densities_of_windows_with_and_without_gaps_are_comparable(with_gaps):
    X = make_windows(make_series())[0][N_TRAIN:]
    lossy = make_windows(lose(make_series(), 0.3))[0][N_TRAIN:]
    density, of_lossy = with_gaps.score_samples(X), with_gaps.score_samples(lossy)
    assert abs(density.mean() - of_lossy.mean()) < 2 * density.std()
    strange = lossy.copy()
    strange[:, ::5] += 3
    assert (with_gaps.score_samples(strange) < of_lossy).mean() > 0.99


def test_gaps_of_one_window_leave_the_others_alone(complete):
    X, _, _ = make_windows(make_series())
    lossy = X.copy()
    lossy[0, 0] = np.nan
    np.testing.assert_allclose(complete.predict(lossy)[1:], complete.predict(X)[1:], rtol=1e-6)


def test_the_score_is_of_the_values_that_are_known(with_gaps):
    X, y, _ = (part[N_TRAIN:] for part in make_windows(make_series()))
    lossy = y.copy()
    lossy[:100, 3:] = np.nan
    columns = [
        with_gaps.score(X[100:] if step >= 3 else X, y[100:] if step >= 3 else y)
        for step in range(2)
    ]
    assert np.isfinite(columns).all()
    lossy_score = with_gaps.score(X, lossy)
    assert lossy_score != with_gaps.score(X, y)
    assert lossy_score == pytest.approx(with_gaps.score(X, y), abs=0.02)


def test_a_step_counts_in_the_score_though_its_first_value_is_missing(with_gaps):
    X, y, _ = (part[N_TRAIN:] for part in make_windows(make_series()))
    lossy = y.copy()
    lossy[0, 3:] = np.nan
    wrong = lossy.copy()
    wrong[1:, 3:] = wrong[1:, 3:][::-1]
    assert with_gaps.score(X, lossy) == pytest.approx(with_gaps.score(X, y), abs=1e-3)
    assert with_gaps.score(X, wrong) < with_gaps.score(X, lossy) - 0.1


def test_futures_without_any_pair_of_known_values_have_no_score(with_gaps):
    X, y, _ = make_windows(make_series())
    with pytest.raises(ValueError, match="'y' must hold at least two windows with the same step"):
        with_gaps.score(X[:3], np.full_like(y[:3], np.nan))


@pytest.mark.parametrize("dtype", ["float64", "Float64"])
def test_tables_may_have_gaps(dtype):
    X, y, _ = make_windows(lose(make_series()[:, 0]))
    table, futures = (pd.DataFrame(part).astype(dtype) for part in (X, y))
    table.columns = [f"t{step}" for step in range(X.shape[1])]
    model = clone(MODELS["conditional"])
    expected = clone(model).fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(table, futures).predict(table), expected)


def test_gaps_pass_a_pipeline_and_cross_validation():
    X, y, _ = make_windows(lose(make_series()[:, 0]))
    pipeline = make_pipeline(StandardScaler(), MODELS["conditional"])
    scores = cross_val_score(pipeline, X, y, cv=3)
    assert (scores > 0.8).all()


def test_models_go_on_with_gaps():
    X, y, hour = make_windows(lose(make_series()))
    model = clone(MODELS["both"])
    for part in np.array_split(np.arange(len(X)), 3):
        model.partial_fit(X[part], y[part], factors=hour[part], classes={"factor0": np.arange(24)})
    assert np.isfinite(model.predict(X)).all()
    assert model.score(X, y) > 0.5
    warm = fit("both", lose(make_series())).set_params(warm_start=True)
    assert warm.fit(X, y, factors=hour).score(X, y) > 0.8


@every_model
def test_saved_models_fill_the_same_gaps(name, tmp_path):
    X, _, _ = make_windows(lose(make_series()))
    model = fit(name, lose(make_series()))
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    for found, expected in zip(
        all_outputs(loaded, X[N_TRAIN:]), all_outputs(model, X[N_TRAIN:]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_channel_that_is_never_observed_is_named():
    X, y, _ = make_windows(make_series())
    X = X.copy()
    X[:, :, 1] = np.nan
    with pytest.raises(ValueError, match=r"'X' must have values in every channel.* but channel 1"):
        clone(MODELS["conditional"]).fit(X, y)


def test_a_step_that_is_never_observed_is_named():
    X, y, _ = make_windows(make_series())
    y = y.copy()
    y[:, 4, 1] = np.nan
    with pytest.raises(ValueError, match=r"'y' must have values at every step.*step 4 of target 1"):
        clone(MODELS["conditional"]).fit(X, y)


def test_covariates_must_be_known():
    X, y, _ = make_windows(make_series())
    covariates = np.zeros((*y.shape[:2], 1))
    covariates[3] = np.nan
    with pytest.raises(
        ValueError, match=r"'future_covariates' must be finite, but it contains NaN"
    ):
        clone(MODELS["conditional"]).fit(X, y, future_covariates=covariates)


@pytest.mark.parametrize("argument", ["X", "y"])
def test_infinity_is_no_gap(argument):
    X, y, _ = make_windows(lose(make_series()))
    windows = {"X": X.copy(), "y": y.copy()}
    windows[argument][5, 2, 0] = np.inf
    with pytest.raises(ValueError, match=rf"'{argument}' must be finite, but it contains infinity"):
        clone(MODELS["conditional"]).fit(**windows)


@pytest.mark.parametrize("seed", range(12))
def test_random_gaps_have_a_right_result_or_a_named_error(seed):
    random = np.random.default_rng(seed)
    n, n_timesteps, horizon = random.integers([8, 1, 1], [60, 30, 8])
    n_channels = random.integers(1, 4)
    X, y = (
        random.standard_normal((n, n_timesteps, n_channels)),
        random.standard_normal((n, horizon)),
    )
    X, y = (lose(part, random.choice([0, 0.1, 0.9]), seed) for part in (X, y))
    if random.random() < 0.3:
        X[random.integers(n)] = np.nan
    factors = random.integers(0, 3, n) if random.random() < 0.5 else None
    model = DeepDIVEForecaster(n_conditional=2, n_clusters=2, validation_gap=0, **SMALL)
    error = None
    try:
        model.fit(X, y, factors=factors)
    except ValueError as raised:
        error = str(raised)
    if error is not None:
        assert error.startswith(("'X' ", "'y' "))
        return
    for values in all_outputs(model, X):
        assert np.isfinite(values).all()


def test_scale_of_windows_is_that_of_windows_with_their_gaps_drawn(with_gaps):
    X, _, _ = make_windows(lose(make_series(seed=1), part=0.5))
    x = torch.from_numpy(with_gaps._x_scaling.apply(X[:20], np.float64))
    module = with_gaps.module_
    completion, window = module.features.completion, module.features(x)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2000, len(completion.mean), generator=generator)
    drawn = window.x + completion.deviate(x, noise)
    scales = torch.stack([module.features.standardise(filled).scale for filled in drawn])
    expected = scales.square().mean(0).sqrt()
    own = with_expected_scale(module, window).scale
    assert (own > 1.004 * window.scale).all()
    np.testing.assert_allclose(own, expected, rtol=0.002)
