"""Forecast errors of DeepDIVE beside its peers: LSTNet's horizons, and ETTh1's long ones.

    python benchmarks/forecast.py --data FOLDER --dataset gefcom2012 [--seeds 0 1 2]

Every method, DeepDIVE and peers alike, makes one forecast of the whole horizon from each window.
For the horizons 3, 6, 12 and 24 of the LSTNet protocol that one 24-step forecast is scored at its
3rd, 6th, 12th and 24th step, and over all steps. RRSE is LSTNet's: over all entries in the units
of the source, where the largest series decide; again with values standardised per channel, where
those that change most after the training rows decide (in GEFCom2012 zone 10, which rises by four
standard deviations); and as the mean of every channel's own. MSE and MAE are of standardised
values, as in the literature on ETTh1.

Data sets told the weather or the calendar come with covariates of the horizon, for the models that
use them. Everything is chosen on the validation windows. Seconds hold all from tuning to
forecasting on one thread, for NHITS and TiDE without the search that led to their settings; they
are indicative only. LightGBM, NHITS and TiDE join in where requirements-peers.txt is installed.
"""

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone
from functools import partial
from importlib import metadata, util
from pathlib import Path

import numpy as np
import peers
import torch
from benchmark_data import LOADERS
from threadpoolctl import threadpool_limits

import skdeepdive
from skdeepdive import DeepDIVEForecaster
from skdeepdive.metrics import corr_score, rrse_score

DATASETS = ["gefcom2012", "etth1", "electricity", "electricity-full"]
TOLD = ["gefcom2012-weather", "gefcom2012-noisy-weather", "electricity-calendar"]
LSTNET_STEPS = [3, 6, 12, 24]
ETTH1_HORIZONS = [96, 192, 336, 720]
LIBRARIES = ["numpy", "pandas", "scikit-learn", "torch", "neuralforecast"]


def deepdive(data, seed, **parameters):
    return deepdive_forecasts(fit_deepdive(data, seed, **parameters), data)


def fit_deepdive(data, seed, *callbacks, **parameters):
    """Fit the forecaster with its defaults, on the training and validation windows."""
    train, validation, _ = data.parts
    model = DeepDIVEForecaster(
        validation_fraction=(validation.stop - validation.start) / validation.stop,
        validation_gap=validation.start - train.stop,  # the windows between the parts
        random_state=seed,
        **parameters,
    )
    if callbacks:  # which scikit-learn has from 1.9
        model.set_callbacks(*callbacks)
    known = slice(validation.stop)
    told = data.known_in_advance(known)
    return model.fit(data.X[known], data.y[known], factors=data.factors.iloc[known], **told)


def deepdive_forecasts(model, data):
    forecasts = (
        model.predict(data.X[part], **data.known_in_advance(part)) for part in data.parts[1:]
    )
    return peers.Forecasts(*forecasts, {"epochs": model.n_iter_})


DETERMINISTIC = {"seasonal naive": peers.seasonal_naive, "ridge": peers.ridge}
RANDOM = {
    "NLinear": peers.nlinear,
    "MLPRegressor": peers.mlp,
    "HistGradientBoosting": peers.boosting,
    "LightGBM": peers.lightgbm,
    "TiDE": peers.tide,
    "NHITS": peers.nhits,
    "NHITS, windows scaled": partial(peers.nhits, scaler_type="robust"),
    "DeepDIVE": deepdive,
}
MODELS = {**DETERMINISTIC, **RANDOM}
TOLD_MODELS = ["HistGradientBoosting", "LightGBM", "NHITS", "TiDE", "DeepDIVE"]  # use covariates
TOLD_ONLY = ["LightGBM", "TiDE"]  # that join in only where covariates are told
PACKAGES = {"LightGBM": "lightgbm", "NHITS": "neuralforecast", "TiDE": "neuralforecast"}


def scores(data, part, forecasts):
    """Score the forecasts of a part: ``{step or "all": {measure: value}}``."""
    y = data.y[part]
    steps = {"all": slice(None)}
    if y.shape[1] == LSTNET_STEPS[-1]:
        steps = {**{str(step): slice(step - 1, step) for step in LSTNET_STEPS}, **steps}
    return {
        name: {
            "rrse": rrse_score(data.in_units(y[:, at]), data.in_units(forecasts[:, at])),
            "rrse standardised": rrse_score(y[:, at], forecasts[:, at]),
            "rrse of channels": channel_rrse(y[:, at], forecasts[:, at]),
            "corr": corr_score(y[:, at], forecasts[:, at]),
            "mse": float(np.square(y[:, at] - forecasts[:, at]).mean(dtype=np.float64)),
            "mae": float(np.abs(y[:, at] - forecasts[:, at]).mean(dtype=np.float64)),
        }
        for name, at in steps.items()
    }


def channel_rrse(y, forecasts):
    """Mean of the channels' own RRSE; unlike the others it is not ruled by a few channels."""
    varying = np.flatnonzero(np.ptp(y, axis=(0, 1)) > 0)
    return float(np.mean([rrse_score(y[..., c], forecasts[..., c]) for c in varying]))


def run(name, data, seed, parameters):
    start = time.perf_counter()
    forecasts = MODELS[name](data, seed, **parameters)
    seconds = time.perf_counter() - start
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "chosen": forecasts.chosen,
        "validation": scores(data, data.parts[1], forecasts.validation),
        "test": scores(data, data.parts[2], forecasts.test),
    }


def summary(runs, part):
    """Mean and standard deviation over the runs: ``{step: {measure: [mean, deviation]}}``."""
    return {
        step: {
            measure: [
                float(np.mean(values)),
                float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            ]
            for measure in measures
            for values in [[run[part][step][measure] for run in runs]]
        }
        for step, measures in runs[0][part].items()
    }


def compare(data, models, seeds, parameters, report):
    """Run every model with every seed, once if it is not random; report after each model."""
    results = {}
    for name in models:
        runs = [
            run(name, data, seed, parameters.get(name, {}))
            for seed in (seeds if name in RANDOM else seeds[:1])
        ]
        results[name] = {
            "runs": runs,
            "validation": summary(runs, "validation"),
            "test": summary(runs, "test"),
        }
        print_model(name, results[name])
        report(results)
    return results


def print_model(name, result):
    runs = result["runs"]
    seconds = np.mean([run["seconds"] for run in runs])
    chosen = [run["chosen"] for run in runs]
    print(f"{name}, {len(runs)} run(s), {seconds:.0f} s each (indicative); chosen: {chosen}")
    for step, measures in result["test"].items():
        cells = [f"{measure} {m:.4f} ({sd:.4f})" for measure, (m, sd) in measures.items()]
        print(f"    {step:>4}  " + "  ".join(cells), flush=True)


def available(models, data):
    """Leave out what is not installed, if it is not asked for by name."""
    if models:
        return models
    told = data.covariates is not None
    models = TOLD_MODELS if told else [name for name in MODELS if name not in TOLD_ONLY]
    if told and data.told is None:  # networks take covariates by rows
        models = [name for name in models if PACKAGES.get(name) != "neuralforecast"]
    found = [name for name in models if _is_installed(name)]
    if found != models:
        print("Install benchmarks/requirements-peers.txt to compare with LightGBM, NHITS and TiDE.")
    return found


def _is_installed(name):
    package = PACKAGES.get(name.split(",")[0])
    return package is None or util.find_spec(package) is not None


def environment(libraries=LIBRARIES):
    versions = {name: version(name) for name in libraries}
    versions["skdeepdive"] = skdeepdive.__version__
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "revision": revision(),
        "versions": {"python": platform.python_version(), **versions},
    }


def revision():
    """Commit of the checkout that this file is in, if it is in one."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() or None


def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def main(arguments):
    horizons = ETTH1_HORIZONS if arguments.dataset == "etth1" else LSTNET_STEPS[-1:]
    parameters = {"DeepDIVE": {"max_epochs": arguments.max_epochs}} if arguments.max_epochs else {}
    results = {**environment(), "dataset": arguments.dataset, "seeds": arguments.seeds}
    for horizon in arguments.horizons or horizons:
        data = LOADERS[arguments.dataset](arguments.data, horizon=horizon)
        title = f"{data.X.shape[1]} -> {horizon}"
        counts = ", ".join(str(part.stop - part.start) for part in data.parts)
        print(f"\n{data.name}, {len(data.channels)} channels, {title} hours, windows: {counts}")
        print("test error: mean (standard deviation)", flush=True)

        def report(measured, title=title):
            results[title] = measured
            if arguments.json:
                Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")

        compare(data, available(arguments.models, data), arguments.seeds, parameters, report)


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data files; see benchmark_data.py")
    parser.add_argument("--dataset", choices=DATASETS + TOLD, default="electricity")
    parser.add_argument("--horizons", type=int, nargs="+", help="default: those of the literature")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=MODELS, help="default: all")
    parser.add_argument("--max-epochs", type=int, help="of DeepDIVE, for a quick look")
    parser.add_argument("--json", help="where to write the results, after every model")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        main(parse())
