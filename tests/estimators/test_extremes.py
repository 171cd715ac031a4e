"""The edges of what is allowed: magnitudes, constants, single steps, many classes, clocks."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive._data.rows import check_finite
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

SMALL = {"n_hidden": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
MODELS = {
    "both": DeepDIVEForecaster(n_conditional=2, n_clusters=3, **SMALL),
    "conditional": DeepDIVEForecaster(n_conditional=2, latent="conditional", **SMALL),
    "marginal": DeepDIVEForecaster(n_clusters=3, latent="marginal", **SMALL),
    "VAE": VAEForecaster(n_latent=2, **SMALL),
    "β-TCVAE": BetaTCVAEForecaster(n_latent=2, **SMALL),
}
every_model = pytest.mark.parametrize("name", MODELS)


def make_windows(n_timesteps=6, horizon=3, n_steps=80):
    noise = 0.1 * np.random.default_rng(0).standard_normal(n_steps)
    X, y, origin = sliding_windows(np.sin(np.arange(n_steps)) + noise, n_timesteps, horizon)
    return X, y, origin % 3


def fit(name, X, y, factors=None, **parameters):
    model = clone(MODELS[name]).set_params(**parameters)
    return model.fit(X, y, factors) if isinstance(model, DeepDIVEForecaster) else model.fit(X, y)


def all_outputs(model, X):
    found = [model.predict(X), model.transform(X), model.reconstruct(X)]
    if isinstance(model, DeepDIVEForecaster):
        found += [*model.predict(X, return_std=True), model.predict_quantiles(X)]
        found += [model.sample(X, 3, random_state=0), model.score_samples(X)]
        parts = model.attribute(X)
        found += [parts.level, parts.linear, parts.window, parts.conditional]
    return found


def assert_usable(model, X):
    for values in all_outputs(model, X):
        assert np.isfinite(values).all()


@every_model
@pytest.mark.parametrize("magnitude", [1e-300, 1e-30, 1e30, 1e299])
def test_forecasts_follow_any_magnitude(name, magnitude):
    X, y, codes = make_windows()
    expected = fit(name, X, y, codes).predict(X)
    model = fit(name, X * magnitude, y * magnitude, codes)
    np.testing.assert_allclose(model.predict(X * magnitude) / magnitude, expected, atol=1e-3)
    assert_usable(model, X * magnitude)


@every_model
@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_single_precision_has_room_for_extremes(name, magnitude):
    X, y, codes = make_windows()
    X, y = (X * magnitude).astype(np.float32), (y * magnitude).astype(np.float32)
    assert_usable(fit(name, X, y, codes), X)


def test_spreads_below_the_normal_numbers_count_as_none():
    X, y, codes = make_windows()
    assert_usable(fit("both", 1e-318 * X, 1e-318 * y, codes), 1e-318 * X)


@every_model
@pytest.mark.parametrize("value", [0.0, -7.3, 1e-30, 1e30])
def test_a_constant_series_is_forecast_as_that_constant(name, value):
    X, y, codes = make_windows()
    X, y = np.full_like(X, value), np.full_like(y, value)
    model = fit(name, X, y, codes)
    # The unit of a constant is 1. DeepDIVE starts at the last value, the baselines learn the level.
    atol = 0 if isinstance(model, DeepDIVEForecaster) else 0.5
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-6, atol=atol)
    assert_usable(model, X)


@every_model
@pytest.mark.parametrize("shape", [(6,), (6, 1), (1,), (1, 1), (1, 5), (3, 2)])
@pytest.mark.parametrize("horizon", [(), (1,), (9,), (1, 1)])
def test_one_step_one_channel_and_long_horizons(name, shape, horizon):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, *shape)), rng.standard_normal((20, *horizon))
    model = fit(name, X, y, np.arange(20) % 2)
    assert model.predict(X).shape == y.shape
    assert_usable(model, X)
    assert_usable(model, X[:1])


@every_model
def test_two_windows_are_the_fewest(name):
    X, y, codes = make_windows()
    assert_usable(fit(name, X[:2], y[:2], codes[:2], validation_gap=0), X)
    with pytest.raises(ValueError, match="'X' .* 1 sample.* minimum of 2"):
        fit(name, X[:1], y[:1])


@every_model
@pytest.mark.parametrize("n_distinct", [1, 2])
def test_duplicated_windows_train(name, n_distinct):
    X, y, _ = make_windows()
    X, y = np.tile(X[:n_distinct], (20, 1)), np.tile(y[:n_distinct], (20, 1))
    model = fit(name, X, y, np.arange(20 * n_distinct) % n_distinct if n_distinct > 1 else None)
    assert_usable(model, X)


def test_windows_that_hardly_differ_about_a_large_mean_train():
    rng = np.random.default_rng(0)
    X = np.array([1e8, -3.0, 5.0, 0.1]) + 1e-9 * rng.standard_normal((30, 4))
    assert_usable(fit("both", X, X[:, :2], np.arange(30) % 2), X)


@pytest.mark.parametrize("n_steps", [600, 30_000])
@pytest.mark.parametrize("other", [0, 1])
def test_straight_lines_train(n_steps, other):
    """Nothing is left of them where the last value is subtracted, but for rounding errors."""
    line = np.arange(n_steps) / n_steps
    noise = np.random.default_rng(0).standard_normal((n_steps, other))
    X, y, _ = sliding_windows(np.column_stack([noise, line]), 24, 6)
    model = DeepDIVEForecaster(n_clusters=2, **{**SMALL, "batch_size": 1000}).fit(X, y)
    found, true = model.predict(X[-50:])[..., -1], y[-50:, :, -1]
    np.testing.assert_allclose(found, true, atol=0.05 * line.std())


def test_ten_thousand_classes_train_and_come_back():
    X, y, _ = make_windows(n_timesteps=2, horizon=1, n_steps=60)
    classes = np.arange(10_000)
    model = DeepDIVEForecaster(n_marginal=2, n_conditional=2, **SMALL)
    model.partial_fit(X, y, classes[: len(X)], classes=classes)
    assert len(model.factor_classes_[0]) == 10_000
    assert np.isin(model.predict_cluster(X), classes).all()
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("n_windows_each", [1, 2, 3])
def test_classes_nearly_as_many_as_windows_are_fitted(n_windows_each):
    X, y, _ = make_windows(n_steps=900)
    labels = np.random.default_rng(0).permutation(len(X)) // n_windows_each
    model = DeepDIVEForecaster(n_marginal=2, n_conditional=2, **SMALL).fit(X, y, labels)
    assert len(model.factor_classes_[0]) == -(-len(X) // n_windows_each)
    assert_usable(model, X)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("mark", [-1, np.nan, None])
def test_batches_without_a_label_train(mark):
    X, y, codes = make_windows()
    labels = codes.astype(object)
    labels[6:] = mark  # in batches of four nearly all have none
    model = clone(MODELS["both"]).set_params(batch_size=4).fit(X, y, labels)
    assert_usable(model, X)
    assert np.isin(model.predict_cluster(X), codes).all()
    model.partial_fit(X, y, np.full(len(X), -1))
    assert_usable(model, X)


@pytest.mark.parametrize("name", ["both", "VAE"])
def test_validation_windows_at_an_absurd_distance_are_refused(name):
    X, y, codes = make_windows()
    for which in ("X", "y"):
        far = {"X": X.copy(), "y": y.copy()}
        far[which][-1, 0] = 1e30
        with pytest.raises(ValueError, match=f"'{which}' must not be farther than 1e.15"):
            fit(name, far["X"], far["y"], codes)


@pytest.mark.parametrize("value", [1.1e300, -1.7e308])
def test_values_that_leave_no_room_are_refused(value):
    with pytest.raises(
        ValueError, match="'X' must be finite, but it contains values beyond 1e.300"
    ):
        check_finite("X", np.full((2, 3, 1), value))


def test_results_beyond_the_range_of_single_precision_are_refused():
    X, y, codes = make_windows()
    model = fit("both", X, y * 1e30, codes)
    far = np.full((1, X.shape[1]), 1e20, np.float32)
    assert np.isfinite(model.predict(far.astype(np.float64))).all()
    with pytest.raises(ValueError, match="'X' must be closer .* beyond the range of float32"):
        model.predict(far)


@pytest.mark.parametrize("magnitude", [1e-300, 1.0, 1e200])
def test_the_score_has_no_unit(magnitude):
    X, y, codes = make_windows()
    scores = [fit("both", X * m, y * m, codes).score(X * m, y * m) for m in (1.0, magnitude)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


# Clocks


def clock(zone, start="2020-01-01", periods=366 * 24):
    return pd.date_range(start, periods=periods, freq="h", tz="UTC").tz_convert(zone)


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"]
)
def test_calendar_factors_show_the_local_clock_all_year(zone):
    index = clock(zone)
    found = calendar_factors(index, ["minute", "hour", "weekday", "day", "month", "quarter"])
    attributes = ["minute", "hour", "day_of_week", "day", "month", "quarter"]
    expected = np.stack([getattr(index, name) for name in attributes], axis=1)
    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_clocks_put_back_show_an_hour_twice_and_put_forward_none():
    hour = calendar_factors(clock("Europe/Berlin"), ["hour"])["hour"]
    autumn = hour[hour.index.strftime("%Y-%m-%d") == "2020-10-25"]
    spring = hour[hour.index.strftime("%Y-%m-%d") == "2020-03-29"]
    assert autumn.tolist() == [0, 1, 2, 2, *range(3, 24)]
    assert spring.tolist() == [0, 1, *range(3, 24)]


@pytest.mark.parametrize("date", ["2020-03-29 02:30", "2020-10-25 02:30"])
def test_dates_that_a_clock_change_skips_or_repeats_are_errors(date):
    index = clock("Europe/Berlin")
    origin = np.arange(10, len(index) - 5)
    with pytest.raises(ValueError, match="'dates' must be local times of Europe/Berlin, or have"):
        split_windows(origin, 3, dates=[date], index=index)
    first, second = split_windows(origin, 3, dates=[f"{date}+01:00"], index=index)
    assert first.stop < second.start + 3


@pytest.mark.parametrize("unit", ["ns", "ps", "fs"])
def test_fine_units_are_read_like_coarse_ones(unit):
    stamps = np.array([-1, 0, 1]).astype(f"M8[{unit}]")
    found = calendar_factors(stamps, ["minute", "hour", "weekday", "month"])
    assert found.tolist() == [[59, 23, 2, 12], [0, 0, 3, 1], [0, 0, 3, 1]]


@pytest.mark.parametrize(("unit", "count"), [("Y", 2**62), ("D", 2**62), ("s", -(2**63) + 1)])
def test_years_beyond_the_calendar_are_errors(unit, count):
    with pytest.raises(ValueError, match="'index' must"):
        calendar_factors(np.array([count]).astype(f"M8[{unit}]"), ["day"])
