"""Several series in one table: cut, scaled and calibrated one by one."""

import numpy as np
import pytest
from fakes import LastValueForecaster, ToldForecaster

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.baselines import VAEForecaster

pd = pytest.importorskip("pandas")

N_TIMESTEPS, HORIZON = 24, 6


def make_panel(lengths=(300, 200, 250), zone=None):
    """Series that say who and when they are: 1000 times their number, plus their row."""
    hours = pd.date_range("2014-01-01", periods=max(lengths), freq="h", tz=zone)
    parts = [
        pd.DataFrame({"meter": f"m{k}", "time": hours[-n:], "load": 1000.0 * k + np.arange(n)})
        for k, n in enumerate(lengths)
    ]
    return pd.concat(parts, ignore_index=True)


def make_forecaster(forecaster=None, **parameters):
    forecaster = LastValueForecaster() if forecaster is None else forecaster
    layout = {"id": "meter", "time": "time", "n_timesteps": N_TIMESTEPS, "horizon": HORIZON}
    return SeriesForecaster(forecaster, **{**layout, **parameters})


def make_model(**parameters):
    return DeepDIVEForecaster(**{"n_hidden": 8, "max_epochs": 1, "random_state": 0, **parameters})


def test_no_window_crosses_from_one_series_to_the_next():
    fitted = make_forecaster(scale_ids=False).fit(make_panel()).forecaster_
    rows = np.concatenate([fitted.X_, fitted.y_], axis=1)[..., 0]
    assert (np.diff(rows, axis=1) == 1).all()
    assert np.unique(rows[:, 0] // 1000).tolist() == [0, 1, 2]


def test_validation_windows_are_from_the_end_of_each_series():
    forecaster = make_forecaster(scale_ids=False).fit(make_panel())
    fitted, report = forecaster.forecaster_, forecaster.windows_
    assert report.index.tolist() == ["m0", "m1", "m2"]
    assert report["windows"].tolist() == [271, 171, 221]
    assert report["validation"].tolist() == [54, 34, 44]
    n_valid = round(fitted.validation_fraction * len(fitted.y_))
    assert n_valid == 54 + 34 + 44
    for k, length in enumerate((300, 200, 250)):
        train, valid = (
            part[part[:, 0] // 1000 == k] - 1000 * k
            for part in (fitted.y_[:-n_valid, :, 0], fitted.y_[-n_valid:, :, 0])
        )
        assert valid.max() == length - 1
        assert train.max() == valid.min() - 1


def test_windows_are_in_the_order_of_time():
    fitted = make_forecaster(scale_ids=False, calendar=["hour"]).fit(make_panel()).forecaster_
    n_train = len(fitted.X_) - round(fitted.validation_fraction * len(fitted.X_))
    for part in (slice(n_train), slice(n_train, None)):
        assert fitted.factors_.index[part].is_monotonic_increasing
    hours = fitted.factors_.index.hour
    assert fitted.factors_["hour"].tolist() == hours.tolist()


def test_every_series_is_scaled_by_its_training_rows():
    panel = make_panel((300, 300))
    panel.loc[300:, "load"] = 50 + 1e4 * panel.loc[300:, "load"]
    forecaster = make_forecaster().fit(panel)
    X, y = forecaster.forecaster_.X_, forecaster.forecaster_.y_
    n_valid = round(forecaster.forecaster_.validation_fraction * len(X))
    np.testing.assert_allclose(X[::2], X[1::2], atol=1e-9)  # the unit no longer tells them apart
    rows = np.unique(np.concatenate([X[:-n_valid], y[:-n_valid]], axis=1))
    assert np.abs(rows).max() < 2
    forecast = forecaster.predict()["load"]
    np.testing.assert_allclose(forecast["m0"], 299)
    np.testing.assert_allclose(forecast["m1"], 50 + 1e4 * 1299)


def test_forecasts_have_a_level_for_the_id():
    forecaster = make_forecaster(make_model()).fit(make_panel(zone="Europe/Lisbon"))
    forecast = forecaster.predict()
    assert forecast.index.names == ["meter", "time"]
    assert forecast.index.levels[0].tolist() == ["m0", "m1", "m2"]
    assert str(forecast.index.levels[1].tz) == "Europe/Lisbon"
    assert forecast.shape == (18, 1)
    assert forecaster.predict_quantiles([0.1, 0.9]).shape == (18, 2)
    assert forecaster.sample(4, random_state=0).shape == (18, 4)


def test_an_index_of_two_levels_gives_the_same():
    panel = make_panel()
    long = make_forecaster(make_model()).fit(panel)
    indexed = make_forecaster(make_model(), id=None, time=None)
    indexed.fit(panel.set_index(["meter", "time"]))
    pd.testing.assert_frame_equal(long.predict(), indexed.predict())


def test_short_series_are_left_out_with_one_warning_that_names_them():
    panel = make_panel((300, 20, 30, 200))
    forecaster = make_forecaster()
    with pytest.warns(UserWarning, match="have no part in the fit: 'm1', 'm2'") as warned:
        forecaster.fit(panel)
    assert len(warned) == 1
    assert forecaster.windows_["training"].tolist()[1:3] == [0, 0]
    with pytest.warns(UserWarning, match=r"not forecast: 'm1' .20 rows.") as warned:
        forecast = forecaster.predict()
    assert len(warned) == 1
    # The third was too short to learn from, but a window can be made of it.
    assert forecast.index.levels[0].tolist() == ["m0", "m2", "m3"]


def test_a_series_that_fit_has_not_seen_is_forecast_in_its_own_unit():
    panel = make_panel((300, 300))
    forecaster = make_forecaster().fit(panel)
    other = panel[panel["meter"] == "m0"].assign(meter="new", load=lambda t: 7e6 + t["load"])
    np.testing.assert_allclose(forecaster.predict(other)["load"], 7e6 + 299)
    quantiles = forecaster.predict_quantiles([0.1, 0.9], other)
    assert quantiles.index.get_level_values("meter").unique().tolist() == ["new"]


@pytest.mark.parametrize("with_ids", [True, False])
def test_ids_are_needed_where_fit_had_them(with_ids):
    panel = make_panel()
    single = panel[panel["meter"] == "m0"].set_index("time")[["load"]]
    indexed = panel.set_index(["meter", "time"])
    forecaster = make_forecaster(id=None, time=None).fit(indexed if with_ids else single)
    with pytest.raises(ValueError, match="must have ids where that of fit had them"):
        forecaster.predict(single if with_ids else indexed)


def test_the_id_can_be_a_factor():
    fitted = make_forecaster(make_model(), id_as_factor=True, calendar=["hour"]).fit(make_panel())
    assert fitted.forecaster_.factor_names_ == ["hour", "id"]
    assert fitted.forecaster_.factor_classes_[1].tolist() == ["m0", "m1", "m2"]


def test_forecasts_are_told_the_ids_that_fit_had():
    panel = make_panel()
    forecaster = make_forecaster(ToldForecaster(), id_as_factor=True).fit(panel)
    others = panel.assign(meter=panel["meter"].replace("m1", "new"))
    forecaster.predict(others)
    assert forecaster.forecaster_.told_["id"].fillna("unknown").tolist() == ["m0", "unknown", "m2"]
    forecaster.score(panel)
    assert set(forecaster.forecaster_.told_["id"]) == {"m0", "m1", "m2"}


def test_a_single_series_has_no_id_for_a_factor():
    single = make_panel((300,)).set_index("time")[["load"]]
    with pytest.raises(ValueError, match="'id_as_factor' needs a table with ids"):
        make_forecaster(id=None, time=None, id_as_factor=True).fit(single)


def test_covariates_are_scaled_with_their_series():
    from fakes import KnownForecaster

    panel = make_panel((300, 300))
    panel["wind"] = panel["load"] * 2
    forecaster = make_forecaster(KnownForecaster(), future_covariates=["wind"])
    forecaster.fit(panel.groupby("meter").head(-HORIZON))
    fitted = forecaster.forecaster_
    np.testing.assert_allclose(fitted.known_, fitted.y_)  # both standardised
    future = panel.groupby("meter").tail(HORIZON)
    np.testing.assert_allclose(forecaster.predict(future=future)["load"], future["load"])
    with pytest.raises(ValueError, match=r"\['wind'\] for 'm1' from .* got no rows"):
        forecaster.predict(future=future[future["meter"] == "m0"])


def make_noisy_panel(n_rows=3000):
    """Four series whose noise is a different share of their daily period."""
    hours = pd.date_range("2014-01-01", periods=n_rows, freq="h")
    generator = np.random.default_rng(0)
    day = 5 + np.sin(np.arange(n_rows) * np.pi / 12)
    parts = []
    for name, unit, noise in [("a", 1, 0.3), ("b", 1, 0.05), ("c", 5, 2.5), ("d", 50, 1.0)]:
        load = unit * day + noise * generator.normal(size=n_rows)
        parts.append(pd.DataFrame({"meter": name, "time": hours, "load": load}))
    return pd.concat(parts)


FORECASTERS = {
    "deepdive": make_model(),
    "vae": VAEForecaster(n_hidden=8, max_epochs=1, random_state=0),
}


@pytest.mark.parametrize("forecaster", FORECASTERS.values(), ids=FORECASTERS)
def test_intervals_cover_every_series(forecaster):
    backtest = make_forecaster(forecaster).backtest(
        make_noisy_panel(), "2014-03-10", every=HORIZON, quantiles=[0.1, 0.9]
    )
    coverage = backtest.scores("meter")["coverage_80"]
    assert coverage.index.tolist() == ["a", "b", "c", "d"]
    assert coverage.between(0.75, 0.85).all(), coverage
