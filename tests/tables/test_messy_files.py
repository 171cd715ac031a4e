"""Five files as users have them, each from the file to a dated forecast in at most six lines."""

import inspect

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster, SeriesForecaster

pd = pytest.importorskip("pandas")


def make_forecaster(**parameters):
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    return SeriesForecaster(model, **parameters)


def course(n_rows, period, seed=0):
    noise = np.random.default_rng(seed).normal(scale=0.1, size=n_rows)
    return np.round(50 + 10 * np.sin(2 * np.pi * np.arange(n_rows) / period) + noise, 2)


# What is in the files


def write_local_clock(path):
    """Hours of a clock that is put back, twenty of them missing, a row doubled."""
    hours = pd.date_range("2014-10-01", periods=1000, freq="h", tz="Europe/Lisbon")
    table = pd.DataFrame({"load": course(1000, 24)}, hours.tz_localize(None).rename("time"))
    table = table.drop(table.index[200:220])
    pd.concat([table[:700], table[699:]]).to_csv(path)


def write_offsets(path):
    """Newest first, with the offset from UTC, and some values missing."""
    hours = pd.date_range("2014-10-01", periods=1000, freq="h", tz="Europe/Lisbon", name="time")
    table = pd.DataFrame({"load": course(1000, 24)}, hours)
    table.iloc[300:305] = np.nan
    table[::-1].to_csv(path)


def write_two_meters(path):
    """Two meters below each other, days before months, commas for points, one of them shorter."""
    hours = pd.date_range("2014-01-05", periods=900, freq="h").strftime("%d.%m.%Y %H:%M")
    parts = [
        pd.DataFrame({"Meter": meter, "Zeit": hours[-n:], "kWh": unit * course(n, 24, n)})
        for meter, n, unit in [("A17", 900, 1), ("B03", 500, 1000)]
    ]
    pd.concat(parts).to_csv(path, sep=";", decimal=",", index=False)


def write_prices(path):
    """Prices of business days, without holidays, and with the name of the day."""
    days = pd.bdate_range("2012-01-02", periods=500, name="date")
    table = pd.DataFrame({"weekday": days.day_name(), "price": course(500, 5)}, days)
    table.drop(days[[80, 81, 259]]).to_csv(path)


def write_months(path):
    """Sales of months, some of them zero."""
    months = pd.period_range("1990-01", periods=300, freq="M", name="month")
    pd.DataFrame({"sales": np.maximum(course(300, 12) - 45, 0)}, months).to_csv(path)


# What a user does with them


def forecast_local_clock(path):
    table = pd.read_csv(path, index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer").groupby(level=0).mean()
    forecaster = make_forecaster(n_timesteps=72, horizon=24, calendar=["hour"]).fit(table)
    return forecaster.predict()


def forecast_offsets(path):
    table = pd.read_csv(path)
    table.index = pd.to_datetime(table.pop("time"), utc=True).dt.tz_convert("Europe/Lisbon")
    forecaster = make_forecaster(n_timesteps=72, horizon=24).fit(table.sort_index())
    return forecaster.predict()


def forecast_two_meters(path):
    table = pd.read_csv(path, sep=";", decimal=",")
    table["Zeit"] = pd.to_datetime(table["Zeit"], format="%d.%m.%Y %H:%M")
    forecaster = make_forecaster(n_timesteps=72, horizon=24, id="Meter", time="Zeit").fit(table)
    return forecaster.predict()


def forecast_prices(path):
    table = pd.read_csv(path, index_col="date", parse_dates=True)
    forecaster = make_forecaster(n_timesteps=20, horizon=5).fit(table[["price"]])
    return forecaster.predict()


def forecast_months(path):
    table = pd.read_csv(path, index_col="month", parse_dates=True).to_period("M")
    forecaster = make_forecaster(n_timesteps=24, horizon=12, bounds=(0, None)).fit(table)
    return forecaster.predict()


# The first time that is forecast, the steps of a period (as many are forecast), the steps before.
FILES = {
    "local clock": (write_local_clock, forecast_local_clock, "2014-11-11 15:00:00+00:00", 24, 1000),
    "offsets": (write_offsets, forecast_offsets, "2014-11-11 15:00:00+00:00", 24, 1000),
    "two meters": (write_two_meters, forecast_two_meters, "2014-02-11 12:00:00", 24, 900),
    "prices": (write_prices, forecast_prices, "2013-12-02 00:00:00", 5, 500),
    "months": (write_months, forecast_months, "2015-01", 12, 300),
}


@pytest.mark.parametrize(("write", "forecast", "first", "n", "before"), FILES.values(), ids=FILES)
def test_a_messy_file_becomes_a_dated_forecast_in_six_lines(
    write, forecast, first, n, before, tmp_path
):
    write(tmp_path / "file.csv")
    found = forecast(tmp_path / "file.csv")
    assert len(inspect.getsource(forecast).splitlines()) - 1 <= 6
    one = found if found.index.nlevels == 1 else found.loc["A17"]
    assert [str(one.index[0]), len(one)] == [first, n]
    assert np.isfinite(found.to_numpy()).all()
    true = 50 + 10 * np.sin(2 * np.pi * np.arange(before, before + n) / n)
    true = np.maximum(true - 45, 0) if write is write_months else true
    assert np.abs(one.to_numpy()[:, 0] - true).max() < 2
