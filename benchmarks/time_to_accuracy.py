"""Wall time to the validation error of ridge regression + 1 %, and to the end of a fit.

    python benchmarks/time_to_accuracy.py [--data FOLDER --dataset gefcom2012] [--json FILE]

DeepDIVE beside NHITS and DLinear of neuralforecast and the perceptron of scikit-learn, in one
process, on one thread: the methods take turns, seed by seed. The target is 1.01 times the mean
squared error of ridge regression (peers.py) on all validation windows, of values standardised per
channel. Every method is checked against it while it is fitted, as it would forecast if the fit
stopped there: DeepDIVE after every epoch, the networks of neuralforecast whenever they are
validated, every 25 to 200 steps. The perceptron, of 256 hidden units, stops early by a random tenth
of the training windows and is checked at its end. The time to the target is that of the first check
that meets it, so DeepDIVE, which starts at ridge regression, has to wait for the end of its first
epoch, of labels. The time to the best peer is that to the lowest validation error that any of the
others ends with. A fit has converged when its own early stopping or its last step ends it.

The clock holds the whole fit, with all of its checks. Those of DeepDIVE come on top of its own
validation, and no fit needs them, so it is fitted once more without them for the time in which it
converges; those of the others are their validation. The clock leaves out
imports, the cutting of windows, the forecasts of the test windows (but for ridge regression, which
is over in seconds), and the search for settings.

The peers are given care: weights of the best check, early stopping by the validation windows,
settings chosen on them for every data set, and training windows that are drawn faster than
neuralforecast does (peers.py). Of the settings tried that are within 1 % of the lowest validation
error, peers.py has those that reach the target first or, where none do, those of the lowest error;
--search tries all of SEARCHED. DeepDIVE has its defaults. All methods choose something on the
validation windows (ridge its penalty, DeepDIVE also how much of its correction is kept, all the
others their best check), so the errors on the test windows stand beside; nothing is chosen by
those.
"""

import argparse
import importlib
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import peers
import torch
from benchmark_data import LOADERS
from forecast import deepdive_forecasts, environment, fit_deepdive
from sklearn.model_selection import ParameterGrid
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

DATASETS = ["electricity", "gefcom2012", "etth1"]
TOLERANCE = 1.01
GOALS = ["target", "best peer", "converge"]
# As columns of the table, in this order.
SCORES = [
    *(f"{score} to {goal}" for score in ("seconds", "ratio") for goal in GOALS),
    "mse",
    "validation mse",
]
SEARCHED = {
    "DLinear": {
        "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3],
        "scaler_type": ["identity", "robust"],
    },
    "NHITS": {
        "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3],
        "max_steps": [250, 1000],  # the learning rate halves three times on the way
        "scaler_type": ["identity", "robust"],
        "mlp_units": [3 * [[width, width]] for width in (64, 128, 512)],  # 512 by default
    },
}


class Epochs:
    """Report the validation error of what a fit would leave after every epoch, and at its end."""

    def __init__(self, data, report):
        self.data, self.report = data, report

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        forecast = fitted_estimator.predict(self.data.X[self.data.parts[1]])
        self.report(peers.squared_error(self.data, forecast))

    def teardown(self, estimator, context):
        pass


def ridge(data, seed, report):
    forecasts = peers.ridge(data)
    report(peers.squared_error(data, forecasts.validation))
    return lambda: forecasts


def perceptron(data, seed, report):
    network = MLPRegressor(hidden_layer_sizes=(256,), early_stopping=True, random_state=seed)
    model = make_pipeline(StandardScaler(), network)
    train = data.parts[0]
    model.fit(*(part[train].reshape(train.stop - train.start, -1) for part in (data.X, data.y)))

    def predict(part):
        windows, shape = data.X[part], data.y[part].shape
        return model.predict(windows.reshape(len(windows), -1)).reshape(shape)

    forecasts = peers.Forecasts(predict(data.parts[1]), predict(data.parts[2]), {})
    report(peers.squared_error(data, forecasts.validation))
    return lambda: forecasts


def network(name, data, seed, report, **changes):
    settings = {**peers.network_settings(name, data), **changes}
    fitted = peers.fit_network(name, data, seed, settings, report)
    return lambda: peers.network_forecasts(fitted, data, settings)


def deepdive(data, seed, report):
    model = fit_deepdive(data, seed, Epochs(data, report))
    return lambda: deepdive_forecasts(model, data)


# (data, seed, function that is told the validation error of every check) -> function that forecasts
NETWORKS = {name: partial(network, name) for name in SEARCHED}
METHODS = {"ridge": ridge, "MLPRegressor": perceptron, **NETWORKS, "DeepDIVE": deepdive}


def run(name, data, seed, **settings):
    """Fit on the clock, forecast off it."""
    curve = []
    began = time.perf_counter()

    def report(error):
        curve.append([time.perf_counter() - began, error])

    forecast = METHODS[name](data, seed, report, **settings)
    seconds = time.perf_counter() - began
    if name == "DeepDIVE":
        seconds = seconds_without_checks(data, seed)
    forecasts = forecast()
    test = np.square(data.y[data.parts[2]] - forecasts.test).mean(dtype=np.float64)
    return {
        "method": name,
        "seed": seed,
        "chosen": forecasts.chosen,
        "curve": curve,
        "seconds to converge": seconds,
        "mse": float(test),
        "validation mse": peers.squared_error(data, forecasts.validation),
    }


def seconds_without_checks(data, seed):
    """Return the seconds of a fit that is not checked."""
    began = time.perf_counter()
    fit_deepdive(data, seed)
    return time.perf_counter() - began


def seconds_to(target, curve):
    """Return when a curve first meets the target, or None."""
    return next((seconds for seconds, error in curve if error <= target), None)


def turn(data, seed):
    """Run every method once; compare its times with those of DeepDIVE."""
    runs = {name: run(name, data, seed) for name in METHODS}
    target = TOLERANCE * runs["ridge"]["validation mse"]
    peer = min(each["validation mse"] for name, each in runs.items() if name in NETWORKS)
    for measured in runs.values():
        measured["seconds to target"] = seconds_to(target, measured["curve"])
        # The weights of a peer's best check are kept in single precision, so allow for rounding.
        measured["seconds to best peer"] = seconds_to(peer * (1 + 1e-5), measured["curve"])
    for measured in runs.values():
        for goal in GOALS:
            times = [each[f"seconds to {goal}"] for each in (measured, runs["DeepDIVE"])]
            measured[f"ratio to {goal}"] = None if None in times else times[0] / times[1]
    return runs


def cell(values):
    """Mean and standard deviation; in how many runs there is a value, if not in all."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"{len(known)} of {len(values)} runs" if known else "not reached"
    return [float(np.mean(known)), float(np.std(known, ddof=len(known) > 1))]


def shown(cell):
    return cell if isinstance(cell, str) else "{:.4g} ({:.2g})".format(*cell)


def compare(data, seeds, report):
    """Let the methods take turns; report after every turn."""
    turns = []
    for seed in seeds:
        turns.append(turn(data, seed))
        rows = {
            name: {score: cell([runs[name][score] for runs in turns]) for score in SCORES}
            for name in METHODS
        }
        print(f"\n{data.name}, {len(turns)} run(s) of each method: mean (standard deviation)")
        for name, scores in rows.items():
            print(
                f"{name:<10}" + ", ".join(f"{k} {shown(v)}" for k, v in scores.items()), flush=True
            )
        report({**rows, "runs": [run for runs in turns for run in runs.values()]})


def search(data, seed):
    """Print what every setting of the peers reaches on the validation windows, and when."""
    target = TOLERANCE * run("ridge", data, seed)["validation mse"]
    print(f"{data.name}: the target is {target:.4f}")
    for name, grid in SEARCHED.items():
        for settings in ParameterGrid(grid):
            found = run(name, data, seed, **settings)
            print(
                f"{name} {settings}: validation MSE {found['validation mse']:.4f}, seconds to "
                f"target {seconds_to(target, found['curve'])}, "
                f"to converge {found['seconds to converge']:.1f}",
                flush=True,
            )


def main(arguments):
    importlib.import_module("neuralforecast")  # off the clock
    data = LOADERS[arguments.dataset](arguments.data)
    if arguments.search:
        search(data, arguments.seeds[0])
        return
    origin = {**environment(), "dataset": arguments.dataset, "seeds": arguments.seeds}

    def report(results):
        if arguments.json:
            Path(arguments.json).write_text(json.dumps({**origin, **results}, indent=1) + "\n")

    compare(data, arguments.seeds, report)


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data files; see benchmark_data.py")
    parser.add_argument("--dataset", choices=DATASETS, default="electricity")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--search", action="store_true", help="try settings of the peers instead")
    parser.add_argument("--json", help="where to write the results, after every seed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        main(parse())
