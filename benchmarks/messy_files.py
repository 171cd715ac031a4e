"""Five CSV files as users have them, each from the file to a dated forecast in at most six lines.

The series have a period, which is forecast once, and a little noise. tables.py compares forecasts
with the course that goes on without noise; tests/tables/test_messy_files.py tests the same lines.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from skdeepdive import SeriesForecaster

NOISE = 0.1


def course(first, last, period):
    """Return the values of some steps without noise."""
    return 50 + 10 * np.sin(2 * np.pi * np.arange(first, last) / period)


def measured(n_rows, period, seed):
    """Return the first values of a series, as they are in a file."""
    noise = np.random.default_rng(seed).normal(scale=NOISE, size=n_rows)
    return np.round(course(0, n_rows, period) + noise, 2)


# What is in the files


def write_local_clock(path, seed=0):
    """Hours of a clock that is put back, twenty of them missing, a row doubled."""
    hours = pd.date_range("2014-10-01", periods=1000, freq="h", tz="Europe/Lisbon")
    table = pd.DataFrame({"load": measured(1000, 24, seed)}, hours.tz_localize(None).rename("time"))
    table = table.drop(table.index[200:220])
    pd.concat([table[:700], table[699:]]).to_csv(path)


def write_offsets(path, seed=0):
    """Newest first, with the offset from UTC, and some values missing."""
    hours = pd.date_range("2014-10-01", periods=1000, freq="h", tz="Europe/Lisbon", name="time")
    table = pd.DataFrame({"load": measured(1000, 24, seed)}, hours)
    table.iloc[300:305] = np.nan
    table[::-1].to_csv(path)


def write_two_meters(path, seed=0):
    """Two meters below each other, days before months, commas for points, one of them shorter."""
    hours = pd.date_range("2014-01-05", periods=900, freq="h").strftime("%d.%m.%Y %H:%M")
    parts = [
        pd.DataFrame({"Meter": meter, "Zeit": hours[-n:], "kWh": unit * measured(n, 24, seed + n)})
        for meter, n, unit in [("A17", 900, 1), ("B03", 500, 1000)]
    ]
    pd.concat(parts).to_csv(path, sep=";", decimal=",", index=False)


def write_prices(path, seed=0):
    """Prices of business days, without holidays, and with the name of the day."""
    days = pd.bdate_range("2012-01-02", periods=500, name="date")
    table = pd.DataFrame({"weekday": days.day_name(), "price": measured(500, 5, seed)}, days)
    table.drop(days[[80, 81, 259]]).to_csv(path)


def write_months(path, seed=0):
    """Sales of months, some of them zero."""
    months = pd.period_range("1990-01", periods=300, freq="M", name="month")
    pd.DataFrame({"sales": np.maximum(measured(300, 12, seed) - 45, 0)}, months).to_csv(path)


# What a user does with them


def forecast_local_clock(path, model):
    table = pd.read_csv(path, index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer").groupby(level=0).mean()
    return SeriesForecaster(model, n_timesteps=72, horizon=24, calendar=["hour"]).fit(table)


def forecast_offsets(path, model):
    table = pd.read_csv(path)
    table.index = pd.to_datetime(table.pop("time"), utc=True).dt.tz_convert("Europe/Lisbon")
    return SeriesForecaster(model, n_timesteps=72, horizon=24).fit(table.sort_index())


def forecast_two_meters(path, model):
    table = pd.read_csv(path, sep=";", decimal=",")
    table["Zeit"] = pd.to_datetime(table["Zeit"], format="%d.%m.%Y %H:%M")
    return SeriesForecaster(model, n_timesteps=72, horizon=24, id="Meter", time="Zeit").fit(table)


def forecast_prices(path, model):
    table = pd.read_csv(path, index_col="date", parse_dates=True)
    return SeriesForecaster(model, n_timesteps=20, horizon=5).fit(table[["price"]])


def forecast_months(path, model):
    table = pd.read_csv(path, index_col="month", parse_dates=True).to_period("M")
    return SeriesForecaster(model, n_timesteps=24, horizon=12, bounds=(0, None)).fit(table)


@dataclass(frozen=True)
class MessyFile:
    """A file, what is done with it, and what comes after its last row.

    Parameters
    ----------
    write : callable
        Called with a path and a seed.
    fit : callable
        Called with a path and a forecaster of windows; returns a fitted SeriesForecaster.
    first : str
        The first time that is forecast.
    true : dict of ndarray
        What comes, without noise, by id; None where there is a single series.
    column : str
        What is forecast, as the file names it.
    options : dict, default: none
        What pandas has to know to read the file.
    units : dict of float, default: none
        By id, where it is not 1.
    """

    write: Callable
    fit: Callable
    first: str
    true: dict
    column: str
    options: dict = field(default_factory=dict)
    units: dict = field(default_factory=dict)


def next_day(n_rows):
    return course(n_rows, n_rows + 24, 24)


FILES = {
    "local clock": MessyFile(
        write_local_clock,
        forecast_local_clock,
        "2014-11-11 15:00:00+00:00",
        {None: next_day(1000)},
        "load",
    ),
    "offsets": MessyFile(
        write_offsets,
        forecast_offsets,
        "2014-11-11 15:00:00+00:00",
        {None: next_day(1000)},
        "load",
    ),
    "two meters": MessyFile(
        write_two_meters,
        forecast_two_meters,
        "2014-02-11 12:00:00",
        {"A17": next_day(900), "B03": 1000 * next_day(500)},
        "kWh",
        {"sep": ";", "decimal": ","},
        {"B03": 1000},
    ),
    "prices": MessyFile(
        write_prices, forecast_prices, "2013-12-02 00:00:00", {None: course(500, 505, 5)}, "price"
    ),
    "months": MessyFile(
        write_months,
        forecast_months,
        "2015-01",
        {None: np.maximum(course(300, 312, 12) - 45, 0)},
        "sales",
    ),
}
