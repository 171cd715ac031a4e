"""Tables with holes, of several series, of counts, and the same task in other libraries.

    python benchmarks/tables.py --dataset holes [--seeds 0 1 2] [--json FILE]
    python benchmarks/tables.py --dataset files|noise|counts|clients [--seeds 0 1 2] [--json FILE]
    python benchmarks/tables.py --dataset zones --data FOLDER [--seeds 0] [--json FILE]
    python benchmarks/tables.py --dataset meters --rows SeriesForecaster|skforecast|darts [...]

holes: a year of hourly load of a client (2013), with hours missing; scores of all windows of the
two months after it. "as they come" closes the ranks of the rows that are there. files: the five of
messy_files.py; the forecast of one period, its MAE in units of the series, and the share of steps
whose 5 % quantile is below zero. "as they come" takes the rows that have a value in the order of
the file, and forecasts what follows the last of them. noise: four series of different noise;
coverage of 80 % intervals of each over 66 days, after 700 hours. counts: Poisson counts of which 85
% are zero. clients: every twentieth of 321 clients, a week of days after three weeks, MAE in units
of each client's standard deviation. zones: every third of 18 utility zones of GEFCom2012, a model
of the year before 2007-08-09 for the forecasts of the days after, to 2008-06-29; means over zones.
meters: from the bundled CSV to the next day with 90 % intervals and a backtest of 30 days; lines
are those of the function without its imports, and MAE is in units of each meter's standard
deviation. The peers get the hole filled by straight lines, the hour and the weekday of every step,
and gradient boosting with 168 lags, which is what their guides begin with.
"""

import inspect
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from messy_files import FILES
from paper import make_parser, write_table
from sklearn.base import clone

from skdeepdive import DeepDIVEForecaster, SeriesForecaster, calendar_factors, sliding_windows
from skdeepdive.datasets import electricity_csv, load_electricity
from skdeepdive.metrics import rrse_score

WEEK = {"n_timesteps": 168, "horizon": 24}


def holes(seed):
    """Score a fit to a year with missing hours, as they come and by SeriesForecaster."""
    load = load_electricity(as_frame=True).data[["client_320"]]["2013-01-01":"2014-02-28"]
    year, test = load[:"2013-12-31"], load["2013-12-25":]
    random = np.random.default_rng(seed)
    days = random.permutation(np.arange(1, 50))[:10, None] * 168 + np.arange(24)
    missing = {
        "none": [],
        "36 hours": random.choice(8700, 36, replace=False),
        "240 hours": random.choice(8700, 240, replace=False),
        "10 days": days.ravel(),
    }
    for name, rows in missing.items():
        table = year.drop(year.index[rows])
        yield f"{name}, as they come", label_scores(fit_rows(table, seed), test)
        for how, mended in {
            "left out": table,
            "filled": table.resample("h").mean().interpolate(limit=3),
        }.items():
            forecaster = SeriesForecaster(make_model(seed), calendar=["hour"], **WEEK)
            try:
                yield f"{name}, {how}", label_scores(forecaster.fit(mended).forecaster_, test)
            except ValueError:  # no window without a hole
                continue


def fit_rows(table, seed):
    """Fit to the rows of a table, whatever their times are."""
    X, y, origin = sliding_windows(table.reset_index(drop=True), **WEEK)
    return make_model(seed).fit(X, y, calendar_factors(table.index[origin], ["hour"]))


def label_scores(model, test):
    X, y, origin = sliding_windows(test, **WEEK)
    hours = calendar_factors(test.index[origin], ["hour"])["hour"]
    return {
        "rrse": rrse_score(y, model.predict(X)),
        "accuracy of hour": float((model.predict_cluster(X) == hours).mean()),
    }


def files(seed):
    """Forecast from files, as their rows come and by SeriesForecaster."""
    for name, file in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.csv"
            file.write(path, seed)
            forecaster = file.fit(path, make_model(seed))
            rows = pd.read_csv(path, **file.options)[[file.column]].dropna().to_numpy()
        last = list(file.true)[-1]
        yield f"{name}, as they come", file_scores(file, {last: forecast_rows(rows, forecaster)})
        low_and_forecast = [forecaster.predict_quantiles(0.05), forecaster.predict()]
        found = {
            key: [one if key is None else one.loc[key] for one in low_and_forecast]
            for key in file.true
        }
        yield f"{name}, SeriesForecaster", file_scores(file, found)


def forecast_rows(rows, like):
    """Forecast what follows rows, whatever their times are; return 5 % quantiles and forecasts."""
    X, y, _ = sliding_windows(rows, like.n_timesteps, like.horizon)
    model, last = clone(like.forecaster).fit(X, y), rows[None, -like.n_timesteps :]
    return model.predict_quantiles(last, 0.05)[0], model.predict(last)[0]


def file_scores(file, found):
    """Compare 5 % quantiles and forecasts of every series with what comes."""
    errors, is_below = [], []
    for key, (low, forecast) in found.items():
        error = np.ravel(forecast) - file.true[key]
        errors.append(np.abs(error).mean() / file.units.get(key, 1))
        is_below.append((np.ravel(low) < 0).mean())
    return {"mae": np.mean(errors), "share below zero": np.mean(is_below)}


def noise(seed):
    """Cover four series, whose noise is a different share of their daily period."""
    n_train, n_rows = 700, 2300
    random = np.random.default_rng(seed)
    day = 5 + np.sin(np.arange(n_rows) * np.pi / 12)
    scales = {"a": (1, 0.3), "b": (1, 0.05), "c": (5, 2.5), "d": (50, 1.0)}
    series = {
        name: (unit * day + scale * random.normal(size=n_rows))[:, None]
        for name, (unit, scale) in scales.items()
    }
    X, y, *_ = sliding_windows([values[:n_train] for values in series.values()], 48, 24)
    model = make_model(seed).fit(X, y)
    coverage = {
        f"coverage of {name}": cover(model, series[name][n_train - 48 :]) for name in series
    }
    yield "windows one series after the other", coverage

    hours = pd.date_range("2014-01-01", periods=n_rows, freq="h")
    parts = {name: pd.DataFrame(values, hours, ["y"]) for name, values in series.items()}
    forecaster = SeriesForecaster(make_model(seed), n_timesteps=48, horizon=24)
    table = pd.concat(parts, names=["id", "time"])
    backtest = forecaster.backtest(table, hours[n_train], every=24, quantiles=[0.1, 0.9])
    coverage = backtest.scores("id")["coverage_80"]
    yield "SeriesForecaster", {f"coverage of {name}": coverage[name] for name in series}


def cover(model, values):
    """Return the share of the values of every day that lie within 80 % intervals."""
    X, y, _ = sliding_windows(values, 48, 24, stride=24)
    low, high = np.moveaxis(model.predict_quantiles(X, [0.1, 0.9]), -1, 0)
    return float(((low <= y) & (y <= high)).mean())


def counts(seed):
    """Cover counts, most of which are zero, with and without a bound."""
    hours = pd.date_range("2014-01-01", periods=4000, freq="h")
    sales = np.random.default_rng(seed).poisson(0.163, size=4000)
    table = pd.DataFrame({"sales": sales}, hours)
    for name, bounds in {"no bounds": None, "bounds=(0, None)": (0, None)}.items():
        forecaster = SeriesForecaster(make_model(seed), n_timesteps=48, horizon=24, bounds=bounds)
        backtest = forecaster.backtest(table, hours[2666], every=24, quantiles=[0.1, 0.5, 0.9])
        found = backtest.scores().iloc[0]
        below = (backtest.forecasts["sales"].drop(columns="true") < 0).to_numpy().mean()
        scores = {"coverage": found["coverage_80"], "pinball": found["pinball"]}
        yield name, {**scores, "share below zero": float(below)}


def clients(seed):
    """Forecast clients by a model each, and by one model of a few or of all."""
    load = load_electricity("clients_321", as_frame=True).data[:"2014-12-24"]
    load = load.loc[:, load[:"2014-12-17"].std() > 0]
    some = list(load.columns[::20])
    groups = {"a model each": [[c] for c in some], "one model": [some], "of all": [[*load]]}
    for name, parts in groups.items():
        start = time.perf_counter()
        scores = pd.concat([backtest_panel(load[part], "2014-12-18", seed) for part in parts])
        scores = scores.loc[some]
        mae = (scores["mae"] / load[:"2014-12-17"].std()[some]).mean()
        seconds = time.perf_counter() - start
        yield name, {"mae": mae, "coverage": scores["coverage_80"].mean(), "seconds": seconds}


def zones(seed, data):
    """Forecast zones by a model each, and by one model of all."""
    path = Path(data) / "gefcom2012_load.csv.gz"
    load = pd.read_csv(path, index_col=0, parse_dates=True).filter(like="zone_")["2006-08-09":]
    load = load.drop(columns=["zone_02", "zone_07"]).iloc[:, ::3]  # both are multiples of zone 3
    for name, parts in {"a model each": [[zone] for zone in load], "one model": [[*load]]}.items():
        start = time.perf_counter()
        scores = pd.concat([backtest_panel(load[part], "2007-08-09", seed) for part in parts])
        means = scores[["rrse", "mase", "coverage_80"]].mean()
        means = means.rename({"coverage_80": "coverage"}).to_dict()
        yield name, {**means, "seconds": time.perf_counter() - start}


def backtest_panel(load, start, seed):
    """Score the forecasts of each column of a wide table as one series of many."""
    load = load.rename_axis("time")
    panel = load.melt(var_name="id", value_name="load", ignore_index=False).reset_index()
    forecaster = SeriesForecaster(
        make_model(seed), id="id", time="time", calendar=["hour", "weekday"], **WEEK
    )
    return forecaster.backtest(panel, start, every=24, quantiles=[0.1, 0.9]).scores("id")


def meters(seed, rows):
    """Do the same task by several libraries."""
    path = electricity_csv()
    true = pd.read_csv(path, index_col="time", parse_dates=True)
    for name in rows:
        task = TASKS[name]
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mae = task(path, seed)
        seconds = time.perf_counter() - start
        lines = inspect.getsource(task).splitlines()[1:-1]  # without signature and result
        scores = {client: mae[client] / true[client].std() for client in true}
        each = {f"mae {client}": value for client, value in scores.items()}
        yield (
            name,
            {**each, "lines": sum("import" not in line for line in lines), "seconds": seconds},
        )


# fmt: off
def by_series_forecaster(path, seed):
    table = pd.read_csv(path, index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
    forecaster = SeriesForecaster(
        DeepDIVEForecaster(random_state=seed), n_timesteps=168, horizon=24,
        calendar=["hour", "weekday"], bounds=(0, None),
    ).fit(table)
    forecaster.predict_quantiles([0.05, 0.5, 0.95])
    backtest = forecaster.backtest(table, "2014-11-10", every=24)
    return backtest.scores()["mae"]


def by_skforecast(path, seed):
    from lightgbm import LGBMRegressor
    from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster
    from skforecast.recursive import ForecasterRecursive
    table = pd.read_csv(path, index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer").asfreq("h").interpolate()
    hours = pd.date_range(table.index[0], periods=len(table) + 24, freq="h")
    calendar = pd.DataFrame({"hour": hours.hour, "weekday": hours.weekday}, index=hours)
    folds = TimeSeriesFold(steps=24, initial_train_size="2014-11-09 23:00:00+00:00", refit=False)
    mae = {}
    for client in table:
        model = LGBMRegressor(random_state=seed, verbose=-1, n_jobs=1)
        forecaster = ForecasterRecursive(estimator=model, lags=168)
        forecaster.fit(table[client], exog=calendar[:-24], store_in_sample_residuals=True)
        forecaster.predict_interval(24, exog=calendar[-24:], interval=[0.05, 0.95])
        scores, _ = backtesting_forecaster(
            forecaster, table[client], folds, metric="mean_absolute_error",
            exog=calendar[:-24], show_progress=False, n_jobs=1,
        )
        mae[client] = scores.iloc[0, 0]
    return mae


def by_darts(path, seed):
    from darts import TimeSeries, concatenate
    from darts.metrics import mae as mean_absolute_error
    from darts.models import LightGBMModel
    table = pd.read_csv(path, index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer").tz_convert(None)
    mae = {}
    for client in table:
        series = TimeSeries.from_series(table[client].asfreq("h").interpolate())
        encoders = {"datetime_attribute": {"future": ["hour", "dayofweek"]}}
        options = {
            "lags": 168, "lags_future_covariates": (0, 24), "output_chunk_length": 24,
            "add_encoders": encoders, "random_state": seed, "verbose": -1, "n_jobs": 1,
        }
        model = LightGBMModel(likelihood="quantile", quantiles=[0.05, 0.5, 0.95], **options)
        model.fit(series).predict(24, num_samples=200)
        past, _ = series.split_before(pd.Timestamp("2014-11-10"))
        model = LightGBMModel(**options)
        model.fit(past)
        days = model.historical_forecasts(
            series, start=pd.Timestamp("2014-11-10"), forecast_horizon=24, stride=24,
            retrain=False, last_points_only=False,
        )
        mae[client] = mean_absolute_error(series, concatenate(days))
    return mae
# fmt: on


TASKS = {
    "SeriesForecaster": by_series_forecaster,
    "skforecast": by_skforecast,
    "darts": by_darts,
}
DATASETS = {"holes": holes, "files": files, "noise": noise, "counts": counts, "clients": clients}


def make_model(seed):
    return DeepDIVEForecaster(random_state=seed)


def main(arguments):
    runs = {}
    for seed in arguments.seeds:
        if arguments.dataset == "meters":
            rows = meters(seed, arguments.rows)
        elif arguments.dataset == "zones":
            rows = zones(seed, arguments.data)
        else:
            rows = DATASETS[arguments.dataset](seed)
        for name, scores in rows:
            print(f"seed {seed}, {name}: {scores}", flush=True)
            runs.setdefault(name, []).append(scores)
    write_table(arguments, runs.items(), 24)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*of the windows touch")
    parser = make_parser(__doc__.splitlines()[0], "holes")
    parser.add_argument("--rows", nargs="+", choices=TASKS, default=["SeriesForecaster"])
    next(a for a in parser._actions if a.dest == "dataset").choices = [*DATASETS, "zones", "meters"]
    main(parser.parse_args())
