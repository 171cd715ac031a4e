"""Bad tables by machine: a dated forecast comes of them, or an error that names an argument."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from random_inputs import SCALARS, SPECIAL, Unreadable, assert_finite, outcome, try_examples

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.baselines import VAEForecaster

N_ROWS, N_TIMESTEPS, HORIZON = 40, 4, 2
SMALL = {"n_hidden": 4, "max_epochs": 1, "batch_size": 64, "random_state": 0}
FORECASTERS = {
    "DeepDIVE": DeepDIVEForecaster(n_conditional=2, n_clusters=2, **SMALL),
    "VAE": VAEForecaster(n_latent=2, **SMALL),
}


def make_table(n_rows=N_ROWS, start="2020-03-28"):
    rng = np.random.default_rng(0)
    values = {"a": np.arange(n_rows) % 3 + rng.standard_normal(n_rows), "b": rng.random(n_rows)}
    return pd.DataFrame(values, pd.date_range(start, periods=n_rows, freq="h", name="time"))


def stacked(table, names=("id", "time")):
    return pd.concat({"x": table, "y": table + 1}, names=list(names))


# Ways to change the rows, the columns and the dates of a table.
ROWS = {
    "all": lambda t: t,
    "backwards": lambda t: t[::-1],
    "twice": lambda t: pd.concat([t, t]),
    "one twice": lambda t: t.iloc[[0, *range(len(t))]],
    "a hole": lambda t: t.drop(t.index[10:12]),
    "many holes": lambda t: t.drop(t.index[::5]),
    "few": lambda t: t[:5],
    "one": lambda t: t[:1],
    "none": lambda t: t[:0],
    "in any order": lambda t: t.sample(frac=1, random_state=0),
    "every third": lambda t: t[::3],
    "an outlier of time": lambda t: t.rename({t.index[-1]: pd.Timestamp("2200")}),
}
COLUMNS = {
    "all": lambda t: t,
    "a series": lambda t: t.iloc[:, 0],
    "a series without a name": lambda t: t.iloc[:, 0].rename(None),
    "one": lambda t: t.iloc[:, :1],
    "none": lambda t: t.iloc[:, :0],
    "of one name": lambda t: t.set_axis(["a"] * t.shape[1], axis=1),
    "of two levels": lambda t: pd.concat({"a": t}, axis=1),
    "numbered": lambda t: t.set_axis(range(t.shape[1]), axis=1),
    "named by nothing": lambda t: t.set_axis([None, *t.columns[1:]], axis=1),
    "with text": lambda t: t.assign(c="q"),
    "with dates": lambda t: t.assign(c=pd.Timestamp("2020")),
    "with flags": lambda t: t.assign(c=True),
    "with categories": lambda t: t.assign(c=pd.Categorical(["q"] * len(t))),
    "nullable": lambda t: t.convert_dtypes(),
    "objects": lambda t: t.astype(object),
    "single precision": lambda t: t.astype("f4"),
    "complex": lambda t: t.astype(complex),
    "constant": lambda t: t * 0 + 0.1,
    "one constant": lambda t: t.assign(a=0.1),
    "missing": lambda t: t * np.nan,
    "missing at last": lambda t: t.mask(np.arange(t.size).reshape(t.shape) >= t.size - 3),
    "missing now and then": lambda t: t.where(np.arange(t.size).reshape(t.shape) % 7 > 0),
    "sparse": lambda t: t.astype(pd.SparseDtype("float64")),
    "huge": lambda t: t * 1e300,
    "tiny": lambda t: t * 1e-320,
}
DATES = {
    "as they are": lambda t: t,
    "local": lambda t: t.tz_localize("UTC").tz_convert("Europe/Berlin"),
    "without clock changes": lambda t: t.tz_localize("UTC"),
    "periods": lambda t: t.to_period("h"),
    "text": lambda t: t.set_axis(t.index.astype(str), axis=0),
    "text of another kind": lambda t: t.set_axis(t.index.strftime("%d/%m/%y %H"), axis=0),
    "numbers": lambda t: t.reset_index(drop=True),
    "days": lambda t: t.set_axis(pd.date_range("2020", periods=len(t)), axis=0),
    "months": lambda t: t.set_axis(pd.date_range("2020", periods=len(t), freq="MS"), axis=0),
    "a column": lambda t: t.reset_index(),
    "of Python": lambda t: t.set_axis(t.index.date, axis=0),
    "one missing": lambda t: t.set_axis([pd.NaT, *t.index[1:]], axis=0),
    "a little off": lambda t: t.set_axis(t.index + pd.to_timedelta(np.arange(len(t)), "s"), axis=0),
    "ids": stacked,
    "ids without names": lambda t: stacked(t, (None, None)),
    "ids and dates as columns": lambda t: stacked(t).reset_index(),
    "ids after the dates": lambda t: stacked(t).swaplevel(),
    "three levels": lambda t: pd.concat({"z": stacked(t)}),
    "one id shorter": lambda t: stacked(t)[:-30],
    "one id missing": lambda t: stacked(t).rename({"y": np.nan}, level=0),
}
NO_TABLES = [*SCALARS, np.ones((N_ROWS, 2)), [make_table()], {"a": make_table()}, Unreadable()]


@st.composite
def tables(draw):
    """A table that is changed in some way or other, or something else."""
    if draw(st.integers(0, 11)) == 0:
        return draw(st.sampled_from(NO_TABLES))
    table = make_table()
    for ways in (ROWS, COLUMNS, DATES):
        if draw(st.booleans()):
            change = ways[draw(st.sampled_from(list(ways)))]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    table = change(table)
                except Exception:  # not every change makes sense after every other
                    return table
    if draw(st.integers(0, 5)) == 0 and isinstance(table, pd.DataFrame) and table.size:
        table = table.copy()
        row, column = draw(st.integers(0, len(table) - 1)), draw(st.integers(0, table.shape[1] - 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                table.iloc[row, column] = draw(st.sampled_from(SPECIAL))
            except Exception:  # a column of categories has no such value
                return table
    return table


NAMES = st.sampled_from([None, "a", ["a"], ["b"], ["a", "b"], "c", ["c"], 0, [0], [], "time", "id"])
CALENDAR = st.sampled_from([None, [], ["hour"], ["hour", "weekday"], ["nothing"], "hour"])
PARAMETERS = {
    "n_timesteps": st.sampled_from([1, 3, 20, 60]),
    "horizon": st.sampled_from([1, 5, 40]),
    "targets": NAMES,
    "future_covariates": NAMES,
    "calendar": CALENDAR,
    "step_calendar": CALENDAR,
    "id": st.sampled_from([None, "id", "a", "c", ["id"]]),
    "time": st.sampled_from([None, "time", "a", "c", ["time"]]),
    "freq": st.sampled_from([None, "h", "D", "MS", "15min", "x", pd.Timedelta("1h")]),
    "stride": st.sampled_from([1, 2, 50]),
    "bounds": st.sampled_from([None, (0, None), (None, 1), (2, 1), {"a": (0, 9)}, {"c": (0, 1)}]),
    "scale_ids": st.booleans(),
    "id_as_factor": st.booleans(),
    "gaps": st.sampled_from(["drop", "keep", "fill"]),
}


@st.composite
def parameters(draw, most=3):
    """Some of the parameters, sensible or not."""
    names = draw(st.sets(st.sampled_from(list(PARAMETERS)), max_size=most))
    return {
        name: draw(PARAMETERS[name] if draw(st.integers(0, 4)) else st.sampled_from(SCALARS))
        for name in names
    }


def make(name="DeepDIVE", **options):
    sizes = {"n_timesteps": N_TIMESTEPS, "horizon": HORIZON}
    return SeriesForecaster(FORECASTERS[name], **{**sizes, **options})


def quietly(call, *args, **kwargs):
    """Return the outcome of a call, which may warn of holes and of series that are short."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* windows touch one of|.* series do not", UserWarning)
        warnings.filterwarnings("ignore", ".* cannot be forecast", UserWarning)
        return outcome(call, *args, **kwargs)


def check_forecast(forecast, forecaster):
    if forecast is None:
        return
    assert_finite(forecast.to_numpy(dtype=float))
    assert len(forecast) % forecaster.horizon == 0
    assert len(forecast) > 0
    assert forecast.index.is_unique


# Properties


def fitting(data):
    forecaster = make(data.draw(st.sampled_from(list(FORECASTERS))), **data.draw(parameters()))
    table = data.draw(tables())
    if quietly(forecaster.fit, table) is None:
        return
    if forecaster.future_covariates is None:
        check_forecast(quietly(forecaster.predict), forecaster)
        check_forecast(quietly(forecaster.predict_quantiles), forecaster)
        check_forecast(quietly(forecaster.sample, 2, random_state=0), forecaster)
    assert_finite(quietly(forecaster.score, table))


def fitting_panels(data):
    """Series of several ids, some of them without variation, short or with holes."""
    kinds = [ROWS["all"], ROWS["a hole"], ROWS["few"], ROWS["many holes"], COLUMNS["constant"]]
    kinds += [COLUMNS["one constant"], COLUMNS["missing at last"], COLUMNS["huge"]]
    chosen = data.draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=4))
    keys = data.draw(st.sampled_from([["x", "y", "z", "w"], [3, 1, 2, 0], [True, False, 2, "q"]]))
    parts = dict(zip(keys, (change(make_table()) for change in chosen), strict=False))
    table = pd.concat(parts, names=["id", "time"])
    forecaster = make(data.draw(st.sampled_from(list(FORECASTERS))), **data.draw(parameters(2)))
    if quietly(forecaster.fit, table) is not None and forecaster.future_covariates is None:
        check_forecast(quietly(forecaster.predict), forecaster)
        check_forecast(quietly(forecaster.predict_quantiles), forecaster)


@cache
def fitted(kind):
    table = make_table()
    if kind == "known":
        return make(future_covariates=["b"], calendar=["hour"]).fit(table)
    return make().fit(stacked(table) if kind == "panel" else table)


def forecasting(data):
    forecaster = fitted(data.draw(st.sampled_from(["series", "panel"])))
    table, value = data.draw(tables()), data.draw(st.sampled_from(SCALARS))
    few = [v for v in SCALARS if not isinstance(v, int | np.uint64) or abs(int(v)) < 10]
    calls = {
        "predict": lambda: quietly(forecaster.predict, table),
        "quantiles": lambda: quietly(forecaster.predict_quantiles, value),
        "quantiles of a table": lambda: quietly(forecaster.predict_quantiles, 0.5, table),
        "sample": lambda: quietly(forecaster.sample, data.draw(st.sampled_from(few))),
        "seed": lambda: quietly(forecaster.sample, 2, random_state=value),
        "last rows": lambda: quietly(forecaster.last_rows, table),
        "score": lambda: quietly(forecaster.score, table),
    }
    name = data.draw(st.sampled_from(list(calls)))
    result = calls[name]()
    if name == "score":
        assert_finite(result)
    elif name != "last rows":
        check_forecast(result, forecaster)


def forecasting_with_covariates(data):
    forecaster = fitted("known")
    future = make_table(6, "2020-03-29 16:00")
    if data.draw(st.booleans()):
        changes = {**ROWS, **COLUMNS, **DATES}
        try:
            future = changes[data.draw(st.sampled_from(list(changes)))](future)
        except Exception:  # not every change makes sense for so short a table
            return
    else:
        future = data.draw(st.one_of(tables(), st.sampled_from(NO_TABLES)))
    call = data.draw(st.sampled_from([forecaster.predict, forecaster.predict_quantiles]))
    check_forecast(quietly(call, future=future), forecaster)


def backtesting(data):
    forecaster = make("VAE", **data.draw(parameters(1)))
    table = data.draw(tables()) if data.draw(st.booleans()) else make_table()
    start = "2020-03-29 10:00"
    options = {"every": 2, "refit": False, "quantiles": [0.1, 0.9]}
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(["start", *options]))
        value = data.draw(st.sampled_from([*SCALARS, "2020-03-29T02:30+02:00", "1900", "2100"]))
        start, options = (value, options) if name == "start" else (start, {**options, name: value})
    result = quietly(forecaster.backtest, table, start, **options)
    if result is not None:
        assert not np.isinf(result.forecasts.to_numpy(dtype=float)).any()  # NaN has no forecast
        by = data.draw(st.sampled_from([None, "step", "target", ["step", "target"], "no", 1]))
        scores = outcome(result.scores, by)
        assert scores is None or not (scores["mae"] < 0).any()


PROPERTIES = [
    *(fitting, fitting_panels, forecasting, forecasting_with_covariates, backtesting),
]
every_property = pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)


@every_property
def test_any_table_gives_a_forecast_or_an_error_that_names_it(check):
    try_examples(check, 24, derandomize=True)


@pytest.mark.slow
@every_property
def test_thousands_of_tables_give_a_forecast_or_an_error_that_names_it(check):
    try_examples(check, 300)
