"""Backtests equal a loop by hand, know nothing of the future, and are scored by groups."""

import numpy as np
import pytest
from fakes import KnownForecaster, LastValueForecaster
from sklearn.metrics import mean_absolute_error, mean_pinball_loss

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.metrics import rrse_score

pd = pytest.importorskip("pandas")

N_TIMESTEPS, HORIZON = 24, 6
START = "2014-10-29"


def make_table(n_rows=400, seed=0):
    hours = pd.date_range("2014-10-15", periods=n_rows, freq="h", tz="Europe/Lisbon", name="time")
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(n_rows, 2))
    time = np.arange(n_rows)
    columns = {"load": 5 + np.sin(time * np.pi / 12), "wind": np.cos(time * np.pi / 12)}
    return pd.DataFrame(columns, hours) + noise


def make_panel():
    parts = {name: make_table(n, seed) for seed, (name, n) in enumerate([("a", 400), ("b", 420)])}
    return pd.concat(parts, names=["meter"])


def make_forecaster(forecaster=None, **parameters):
    if forecaster is None:
        forecaster = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    sizes = {"n_timesteps": N_TIMESTEPS, "horizon": HORIZON}
    return SeriesForecaster(forecaster, **{**sizes, **parameters})


def rows_before(table, moment):
    return table[table.index.get_level_values("time") < moment]


@pytest.mark.parametrize("refit", [False, 3, True])
@pytest.mark.parametrize("table", [make_table(), make_panel()], ids=["single", "panel"])
def test_a_backtest_equals_the_loop_by_hand_bit_by_bit(table, refit):
    backtest = make_forecaster().backtest(table, START, every=12, refit=refit, quantiles=[0.1])
    times = table.index.get_level_values("time").unique()
    firsts = times[times >= pd.Timestamp(START, tz=times.tz)][::12]
    every = {False: 1000, True: 1}.get(refit, refit)
    n_checked = 0
    for i, first in enumerate(firsts):
        before = rows_before(table, first)
        if i % every == 0:
            by_hand = make_forecaster().fit(before)
        forecast, quantiles = by_hand.predict(before), by_hand.predict_quantiles([0.1], before)
        if len(rows_before(table, first + pd.Timedelta("6h"))) < len(before) + len(forecast):
            continue  # the future of one series is no longer in the table
        origin = first - pd.Timedelta("1h")
        found = backtest.forecasts.xs(origin, level="origin").droplevel("step")
        for target in ("load", "wind"):
            found_there = found[target].loc[forecast.index]
            np.testing.assert_array_equal(found_there["forecast"], forecast[target])
            np.testing.assert_array_equal(found_there[0.1], quantiles[target][0.1])
            np.testing.assert_array_equal(found_there["true"], table.loc[forecast.index, target])
        n_checked += 1
    assert n_checked >= 3


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("table", [make_table(), make_panel()], ids=["single", "panel"])
def test_no_value_after_an_origin_changes_its_forecast(table, refit):
    backtest = make_forecaster().backtest(table, START, every=12, refit=refit)
    cut = pd.Timestamp(START, tz="Europe/Lisbon") + pd.Timedelta("12h")
    altered = table.copy()
    altered.loc[table.index.get_level_values("time") >= cut] *= -3
    again = make_forecaster().backtest(altered, START, every=12, refit=refit)
    origins = backtest.forecasts.index.get_level_values("origin")
    early = origins < cut
    assert set(origins[early].unique()) == {cut - pd.Timedelta("13h"), cut - pd.Timedelta("1h")}
    kind = [("load", "forecast"), ("wind", "forecast")]
    pd.testing.assert_frame_equal(
        again.forecasts.loc[early, kind], backtest.forecasts.loc[early, kind]
    )
    assert not again.forecasts.loc[~early, kind].equals(backtest.forecasts.loc[~early, kind])


def test_a_backtest_does_not_depend_on_what_was_fitted_before():
    table = make_table()
    forecaster = make_forecaster(LastValueForecaster())
    fresh = forecaster.backtest(table, START).forecasts
    assert not hasattr(forecaster, "forecaster_")
    forecaster.fit(table)
    fitted = forecaster.forecaster_
    pd.testing.assert_frame_equal(forecaster.backtest(table, START).forecasts, fresh)
    assert forecaster.forecaster_ is fitted


def test_fits_at_a_time_change_nothing():
    table = make_table()
    one, two = (
        make_forecaster(LastValueForecaster())
        .backtest(table, START, every=6, refit=2, n_jobs=n_jobs)
        .forecasts
        for n_jobs in (None, 2)
    )
    pd.testing.assert_frame_equal(one, two)


def test_rows_have_their_origin_time_and_step():
    table = make_table()
    forecasts = make_forecaster(LastValueForecaster()).backtest(table, START, every=24).forecasts
    assert forecasts.index.names == ["origin", "time", "step"]
    origin, time, step = (forecasts.index.get_level_values(k) for k in range(3))
    assert time[0] == pd.Timestamp(START, tz="Europe/Lisbon")
    assert ((time - origin) == step * pd.Timedelta("1h")).all()
    assert origin.unique().hour.tolist() == [23, 23, 23]
    np.testing.assert_array_equal(forecasts["load", "true"], table.loc[time, "load"])
    np.testing.assert_array_equal(forecasts["load", "forecast"], table.loc[origin, "load"])


def test_a_window_with_a_hole_has_no_forecast_and_no_score():
    table = make_table()
    table.loc["2014-10-29 20:00":"2014-10-29 21:00", "wind"] = np.nan
    backtest = make_forecaster(LastValueForecaster()).backtest(table, START, every=24)
    found = backtest.forecasts["load", "forecast"].groupby("origin").count()
    assert found.tolist() == [6, 0, 6]
    assert backtest.scores()["n"].tolist() == [12, 12]


def test_covariates_are_those_of_the_table():
    table = make_table()
    forecaster = make_forecaster(KnownForecaster(), targets=["load"], future_covariates=["wind"])
    forecasts = forecaster.backtest(table, START, every=24).forecasts
    time = forecasts.index.get_level_values("time")
    np.testing.assert_array_equal(forecasts["load", "forecast"], table.loc[time, "wind"])


def test_periods_and_short_series_are_taken():
    months = pd.period_range("2000-01", periods=120, freq="M", name="time")
    table = pd.concat(
        {"old": pd.DataFrame({"sales": np.arange(120.0)}, months),
         "new": pd.DataFrame({"sales": np.arange(40.0)}, months[80:])},
        names=["shop"],
    )  # fmt: skip
    forecaster = make_forecaster(LastValueForecaster(), n_timesteps=12)
    with pytest.warns(UserWarning, match="no part in the fit: 'new'"):
        forecasts = forecaster.backtest(table, "2007-06", every=6).forecasts
    origins = forecasts.index.get_level_values("origin")
    assert origins.min() == pd.Period("2007-05", "M")
    assert forecasts.loc["new"].index[0][0] == pd.Period("2007-11", "M")  # from 12 months on


def test_series_that_begin_after_the_start_do_not_hold_it_up():
    table = make_table()
    panel = pd.concat({"late": table[-40:], "early": table[:-20]}, names=["meter"])
    forecaster = make_forecaster(LastValueForecaster())
    forecasts = forecaster.backtest(panel, START, every=6).forecasts
    first = {meter: forecasts.loc[meter].index[0][1] for meter in ("early", "late")}
    assert first["early"] == pd.Timestamp(START, tz="Europe/Lisbon")
    # From the first of every sixth hour that has a window before it.
    assert pd.Timedelta("24h") <= first["late"] - table.index[-40] < pd.Timedelta("30h")


# Scores


@pytest.fixture(scope="module")
def backtest():
    return make_forecaster(LastValueForecaster()).backtest(
        make_panel(), START, every=6, quantiles=[0.1, 0.5, 0.9]
    )


def test_scores_are_those_of_the_values_of_each_group(backtest):
    scores = backtest.scores(["meter", "target", "step"])
    found = backtest.forecasts.xs("a", level="meter").xs(3, level="step")["wind"].dropna()
    row = scores.loc[("a", "wind", 3)]
    assert row["n"] == len(found)
    assert row["mae"] == pytest.approx(mean_absolute_error(found["true"], found["forecast"]))
    assert row["rrse"] == pytest.approx(rrse_score(found["true"], found["forecast"]))
    losses = [mean_pinball_loss(found["true"], found[q], alpha=q) for q in (0.1, 0.5, 0.9)]
    assert row["pinball"] == pytest.approx(np.mean(losses))
    inside = (found[0.1] <= found["true"]) & (found["true"] <= found[0.9])
    assert row["coverage_80"] == inside.mean()
    history = rows_before(make_panel().loc["a"], START)["wind"]
    naive = history.diff(HORIZON).abs().mean()
    assert row["mase"] == pytest.approx(row["mae"] / naive)


@pytest.mark.parametrize("by", [None, "target", "step", "meter", ["meter", "step"], "origin"])
def test_scores_have_a_row_for_each_group(backtest, by):
    scores = backtest.scores(by)
    names = ["target"] if by is None else [by] if isinstance(by, str) else by
    assert scores.index.names == names
    assert scores["n"].sum() == backtest.forecasts["load", "true"].size * 2
    assert scores.columns.tolist() == ["n", "mae", "rrse", "mase", "pinball", "coverage_80"]
    assert np.isfinite(scores.to_numpy()).all()


def test_scores_without_quantiles_have_no_loss_of_them():
    backtest = make_forecaster(LastValueForecaster()).backtest(make_table(), START)
    assert backtest.scores().columns.tolist() == ["n", "mae", "rrse", "mase"]


@pytest.mark.parametrize("by", ["day", [], ["step", "day"], 1])
def test_unknown_levels_are_refused(backtest, by):
    with pytest.raises(ValueError, match="'by' must name levels of the forecasts among"):
        backtest.scores(by)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"start": "2015-01-01"}, ValueError, "'start' must leave horizon = 6 rows"),
        ({"start": "1900"}, ValueError, "'start' must leave rows before it to fit to, got none"),
        ({"start": "soon"}, ValueError, "'start' must be a date such as '2014-10-01'"),
        ({"start": "2014-10-15 12:00"}, ValueError, "some 36 rows without a hole"),
        ({"start": START, "every": 0}, ValueError, "'every' must"),
        ({"start": START, "refit": 0}, ValueError, "'refit' must"),
        ({"start": START, "refit": "often"}, TypeError, "'refit' must be an integer or a flag"),
        ({"start": START, "quantiles": [1.5]}, ValueError, "'quantiles' must"),
    ],
)
def test_what_cannot_be_backtested_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        make_forecaster(LastValueForecaster()).backtest(make_table(), **arguments)
