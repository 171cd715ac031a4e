"""
Compare with baselines on electricity load
==========================================

The data are hourly loads of Portuguese clients. The model encodes a week of load into an embedding
with separate dimensions for hour, weekday, month and everything else, and decodes the next day from
it. Last week's values, ridge regression and a multilayer perceptron are the baselines. All choices
(penalties, epochs, variants) are made on validation windows. The test windows come later in time
than training and validation windows. At the end, a CSV file as meters export it becomes a forecast
of the next day, with dates.

Run it with ``--short`` for a quick look.
"""

# sphinx_gallery_thumbnail_path = "electricity.png"
import argparse
import itertools
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

from skdeepdive import DeepDIVEForecaster, SeriesForecaster, sliding_windows, split_windows
from skdeepdive.datasets import electricity_csv, load_electricity
from skdeepdive.inspection import SeriesForecastDisplay
from skdeepdive.metrics import rrse_score

N_TIMESTEPS, HORIZON = 168, 24
FEW = 10  # clients that one regression can look at jointly
BEFORE_THE_HOLIDAYS = ["2014-12-11", "2014-12-18", "2014-12-25"]  # the test part ends there
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def load(subset, dates=None, stride=1):
    """Cut the clients' loads, standardised by their training hours, into windows and parts.

    The labels of the windows are dated by their ends. Mean and spread lead back to the loads.
    """
    data = load_electricity(subset)
    options = {"n_timesteps": N_TIMESTEPS, "horizon": HORIZON, "stride": stride}
    _, _, origin = sliding_windows(data.data, **options)
    parts = split_windows(origin, HORIZON, dates=dates, index=data.timestamps)
    hours = data.data[: origin[parts[0]][-1] + HORIZON + 1]
    mean, spread = hours.mean(axis=0), np.where(hours.std(axis=0) > 0, hours.std(axis=0), 1)
    series = ((data.data - mean) / spread).astype("float32")
    X, y, origin = sliding_windows(series, **options)
    ends = data.timestamps[origin]
    factors = pd.DataFrame(data.factors[origin], ends, columns=data.factor_names)
    return X, y, factors, parts, (mean, spread)


def forecast(model, variant, X, y, fit, at):
    """Fit a regression to windows and futures less the last value, and forecast other windows.

    "own": one model for each client; "shared": one model for any client; "joint": all at once.
    """
    if variant == "own":
        clients = [(X[..., [c]], y[..., [c]]) for c in range(X.shape[2])]
        forecasts = [forecast(model, "joint", *client, fit, at) for client in clients]
        return np.concatenate(forecasts, axis=2)
    last = X[:, -1:]
    rows = {"joint": len, "shared": lambda a: len(a) * a.shape[1]}[variant]
    past, future = ((a - last).transpose(0, 2, 1).astype(float) for a in (X, y))
    flat = [a.reshape(rows(a), -1) for a in (past[fit], future[fit], past[at])]
    predicted = clone(model).fit(*flat[:2]).predict(flat[2])
    return predicted.reshape(-1, X.shape[2], HORIZON).transpose(0, 2, 1) + last[at]


def best_on_validation(models, variants, X, y, parts):
    """Forecast the test windows with the model and variant that do best on validation windows."""
    train, validation, test = parts[:3]

    def validation_error(candidate):
        predicted = forecast(*candidate, X, y, train, validation)
        return np.square(predicted - y[validation]).mean()

    best = min(itertools.product(models, variants), key=validation_error)
    return forecast(*best, X, y, train, test)


def ridge(X, y, parts):
    """Forecast by the best of ridge regressions; of all clients jointly only if they are few."""
    variants = ["own", "shared", "joint"] if X.shape[2] <= FEW else ["own", "shared"]
    return best_on_validation([Ridge(10.0**power) for power in range(5)], variants, X, y, parts)


def mlp(X, y, parts, seed=0):
    """Forecast by the better of multilayer perceptrons for any client and for all jointly."""
    model = MLPRegressor(
        hidden_layer_sizes=(256,), early_stopping=True, n_iter_no_change=5, random_state=seed
    )
    variants = ["shared", "joint"] if X.shape[2] <= FEW else ["shared"]
    return best_on_validation([model], variants, X, y, parts)


def deepdive(X, y, factors, parts, max_epochs, seed=0):
    """Fit DeepDIVE with the same validation windows as the baselines, and a progress bar."""
    train, validation = parts[:2]
    model = DeepDIVEForecaster(
        max_epochs=max_epochs,
        validation_fraction=(validation.stop - validation.start) / validation.stop,
        validation_gap=validation.start - train.stop,  # the windows between the parts
        random_state=seed,
        verbose=1,
    )
    known = slice(train.start, validation.stop)
    return model.fit(X[known], y[known], factors=factors.iloc[known])


def compare(title, X, y, factors, parts, max_epochs):
    """Print a table of test errors and the label accuracies; return the fitted forecaster."""
    test = parts[2]
    start = time.perf_counter()
    model = deepdive(X, y, factors, parts, max_epochs)
    seconds = time.perf_counter() - start
    forecasts = {
        "last week's value": X[test, :HORIZON],
        "ridge": ridge(X, y, parts),
        "MLPRegressor": mlp(X, y, parts),
        "DeepDIVEForecaster": model.predict(X[test]),
    }
    print(f"\n{title}: {N_TIMESTEPS} h in, {HORIZON} h out, {test.stop - test.start} test windows")
    print(f"{'':<20}{'RRSE':>8}{'MAE':>8}")
    for name, predicted in forecasts.items():
        mae = np.abs(predicted - y[test]).mean()
        print(f"{name:<20}{rrse_score(y[test], predicted):>8.4f}{mae:>8.4f}")
    accuracy = (model.predict_cluster(X[test]) == factors.iloc[test].to_numpy()).mean(axis=0)
    each = ", ".join(f"{n} {a:.2f}" for n, a in zip(factors.columns, accuracy, strict=True))
    print(f"accuracy of the labels on the test windows: {each}")
    print(f"fitted in {seconds:.0f} s, {model.n_iter_} epochs")
    return model


def plot_forecasts(axes, model, X, y, ends, test, scale, n_days=7):
    """Draw a week of forecasts, each made at midnight, in the unit of the loads."""
    midnights = test.start + np.flatnonzero(ends[test].hour == 23)[:n_days]
    hours = pd.date_range(ends[midnights[0]], periods=n_days * HORIZON + 1, freq="h")[1:]
    mean, spread = scale
    true, predicted = (
        a.reshape(len(hours), -1) * spread + mean
        for a in (y[midnights], model.predict(X[midnights]))
    )
    for client, ax in enumerate(axes):
        ax.plot(hours, true[:, client], color="0.35", label="true load")
        ax.plot(hours, predicted[:, client], color="C1", label="forecast, a day at a time")
        ax.set(title=f"Client {('000', '320')[client]}", xlabel="time", ylabel="load")
        ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    lines, names = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(lines, names, loc="outside upper left", ncols=2, frameon=False)


def plot_embedding(axes, model, X, factors, test):
    """Draw the first two marginal dimensions of hour and weekday, coloured by their labels."""
    embedding = pd.DataFrame(model.transform(X[test]), columns=model.get_feature_names_out())
    labels = factors.iloc[test]
    for ax, name, colours in zip(axes, ["hour", "weekday"], ["twilight", "Dark2"], strict=True):
        levels = np.sort(labels[name].unique())
        points = ax.scatter(
            embedding[f"{name}_0"], embedding[f"{name}_1"], c=labels[name], s=3, alpha=0.5,
            cmap=plt.get_cmap(colours, len(levels)), vmin=levels[0] - 0.5, vmax=levels[-1] + 0.5,
        )  # fmt: skip
        bar = ax.figure.colorbar(points, ax=ax, label=name)
        bar.solids.set_alpha(1)
        if name == "weekday":
            bar.set_ticks(levels, labels=[WEEKDAYS[level] for level in levels])
        ax.set(xlabel=f"{name}_0", ylabel=f"{name}_1", title=f"Embedding coloured by {name}")
        ax.set_aspect("equal", adjustable="datalim")


def next_day(max_epochs, path="next_day.png"):
    """Forecast the day after the last row of a CSV file, and write its picture."""
    table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
    forecaster = SeriesForecaster(
        DeepDIVEForecaster(max_epochs=max_epochs, random_state=0),
        n_timesteps=N_TIMESTEPS, horizon=HORIZON, calendar=["hour", "weekday"], bounds=(0, None),
    ).fit(table)  # fmt: skip
    counts = forecaster.windows_.iloc[0]
    print(f"\n{electricity_csv().name}: {counts['missing']} of {counts['steps']} hours are missing")
    print(f"{counts['left_out']} of {counts['windows']} windows touch them and are left out")
    print(forecaster.predict().round(1).iloc[::6].to_string())
    true = load_electricity(as_frame=True).data["2014-12-01":].tz_localize("Europe/Lisbon")
    display = SeriesForecastDisplay.from_estimator(forecaster, truth=true, unit="load")
    display.figure_.savefig(path, dpi=120)
    print(f"figure: {path}")


def main(short=False, path="electricity.png"):
    """Run both comparisons, write their figure, and end with a day that is yet to come."""
    n_epochs = 4 if short else "auto"
    X, y, factors, parts, scale = load("clients_2", stride=5 if short else 1)
    model = compare("Two clients, three years", X, y, factors, parts, n_epochs)

    *wide, _ = load("clients_321", BEFORE_THE_HOLIDAYS)
    wide[2] = wide[2].drop(columns="month")  # the slice has two months only
    compare("321 clients, 35 days", *wide, n_epochs)

    figure, axes = plt.subplots(2, 2, figsize=(11, 8.4), layout="constrained")
    figure.get_layout_engine().set(hspace=0.08)
    if short:  # forecasts a day apart need all windows
        X, y, factors, parts, scale = load("clients_2")
    plot_forecasts(axes[0], model, X, y, factors.index, parts[2], scale)
    plot_embedding(axes[1], model, X, factors, parts[2])
    figure.savefig(path, dpi=120)
    print(f"\nfigure: {path}")
    next_day(n_epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--short", action="store_true", help="fewer windows and epochs")
    parser.add_argument("--figure", default="electricity.png", help="where to write the figure")
    arguments = parser.parse_args()
    main(arguments.short, arguments.figure)
