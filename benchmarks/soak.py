"""Fits and predictions of mixed kinds in one process: memory, global state, and threads at once.

    python benchmarks/soak.py [--fits 200] [--predictions 100] [--threads 8] [--minutes 10]
                              [--json FILE]

First come 200 fits, kinds taking turns, each followed by 100 predictions. After every turn of all
kinds the resident memory is recorded, and global state is compared with that at the start: random
generators, thread counts, warning filters, log handlers, environment, open files. Then threads fit,
predict, save and load for some minutes, and everything that they return is compared with what the
same calls returned one after the other. Memory is read from /proc, so this needs Linux.
"""

import argparse
import hashlib
import json
import logging
import os
import pickle
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from forecast import environment
from threadpoolctl import threadpool_info

from skdeepdive import DeepDIVEForecaster, SeriesForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

SMALL = {"n_hidden": 16, "max_epochs": 1, "random_state": 0}
N_TIMESTEPS, HORIZON = 24, 6


def make_data(seed, n=300):
    """Windows, futures, labels and covariates of a noisy wave, and the series as a table."""
    random = np.random.default_rng(seed)
    step = np.arange(n)
    series = np.stack([np.sin(2 * np.pi * step / 24), np.cos(2 * np.pi * step / 24)], axis=1)
    series += 0.2 * random.normal(size=series.shape)
    X, y, origin = sliding_windows(series, N_TIMESTEPS, HORIZON)
    labels = np.stack([origin % 24 // 6, origin // 24 % 3], axis=1)
    weather, *_ = sliding_windows(step % 24 / 24, HORIZON, 1)
    covariates = weather[N_TIMESTEPS : N_TIMESTEPS + len(X)]
    X, y, labels = (part[: len(covariates)] for part in (X, y, labels))
    index = pd.date_range("2024-01-01", periods=n, freq="h")
    return X, y, labels, covariates, pd.DataFrame(series, index, columns=["a", "b"])


def with_labels(data):
    X, y, labels, *_ = data
    model = DeepDIVEForecaster(**SMALL).fit(X, y, factors=labels)
    return model, [
        lambda: model.predict(X[:50]),
        lambda: model.predict(X[:50], factors=labels[:50]),
        lambda: model.predict_quantiles(X[:20], [0.1, 0.9]),
        lambda: model.sample(X[:5], 3, random_state=0),
        lambda: model.transform(X[:50]),
        lambda: model.predict_cluster(X[:50]),
        lambda: model.attribute(X[:10]).window,
        lambda: model.score_samples(X[:20]),
        lambda: model.reconstruct(X[:20]),
    ]


def with_clusters(data):
    X, y, *_ = data
    model = DeepDIVEForecaster(n_clusters=3, **SMALL).fit(X, y)
    return model, [lambda: model.predict_cluster_proba(X[:50]), lambda: model.predict(X[:50])]


def with_covariates(data):
    X, y, labels, covariates, _ = data
    model = DeepDIVEForecaster(**SMALL)
    model.fit(X, y, factors=labels, future_covariates=covariates)
    return model, [lambda: model.predict(X[:50], future_covariates=covariates[:50])]


def with_gaps(data):
    X, y = data[0].copy(), data[1].copy()
    X[::3, 5:9, 0] = y[::4, 2, 1] = np.nan
    model = DeepDIVEForecaster(latent="conditional", **SMALL).fit(X, y)
    return model, [
        lambda: model.predict(X[:50]),
        lambda: model.reconstruct(X[:10], return_std=True)[1],
    ]


def in_chunks(data):
    X, y, labels, *_ = data
    model = DeepDIVEForecaster(**SMALL)
    for part in (slice(150), slice(150, None)):
        model.partial_fit(X[part], y[part], factors=labels[part])
    return model, [lambda: model.predict(X[:50])]


def again(data):
    X, y, labels, *_ = data
    model = DeepDIVEForecaster(warm_start=True, **SMALL).fit(X, y, factors=labels)
    model.fit(X[100:], y[100:], factors=labels[100:])
    return model, [lambda: model.predict(X[:50])]


def baseline(kind):
    def fitted(data):
        X, y, *_ = data
        model = kind(**SMALL).fit(X, y)
        return model, [lambda: model.predict(X[:50]), lambda: model.transform(X[:50])]

    return fitted


def of_table(data):
    table = data[-1]
    forecaster = DeepDIVEForecaster(**SMALL)
    model = SeriesForecaster(forecaster, n_timesteps=N_TIMESTEPS, horizon=HORIZON)
    model.fit(table)
    return model, [
        lambda: model.predict().to_numpy(),
        lambda: model.predict_quantiles([0.1, 0.9]).to_numpy(),
    ]


# data -> fitted model, and functions that predict
KINDS = [
    with_labels,
    with_clusters,
    with_covariates,
    with_gaps,
    in_chunks,
    again,
    baseline(VAEForecaster),
    baseline(BetaTCVAEForecaster),
    of_table,
]


def megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def global_state():
    """Return what no call may change, by name."""
    pools = sorted((info["filepath"], info["num_threads"]) for info in threadpool_info())
    return {
        "NumPy's generator": hashlib.md5(pickle.dumps(np.random.get_state())).hexdigest(),  # noqa: NPY002
        "PyTorch's generator": hashlib.md5(torch.get_rng_state().numpy()).hexdigest(),
        "threads": (torch.get_num_threads(), pools),
        "gradients": torch.is_grad_enabled(),
        "warning filters": list(warnings.filters),
        "log handlers": [list(logging.getLogger(name).handlers) for name in (None, "skdeepdive")],
        "environment": dict(os.environ),
        "open files": len(os.listdir("/proc/self/fd")),
        "living threads": threading.active_count(),
    }


def fit_and_predict(n_fits, n_predictions):
    """Run fits and predictions one after the other; return memory by turn, and what changed."""
    for kind in KINDS:  # what libraries load and keep comes first
        for predict in kind(make_data(0))[1]:
            predict()
    before, curve, changed = global_state(), [megabytes()], set()
    for i in range(n_fits):
        _, predictions = KINDS[i % len(KINDS)](make_data(i))
        for j in range(n_predictions):
            predictions[j % len(predictions)]()
        if i % len(KINDS) == len(KINDS) - 1:
            curve.append(megabytes())
            after = global_state()
            changed |= {name for name in before if after[name] != before[name]}
    return curve, sorted(changed)


def results(kind, seed, path):
    """Return what a fitted model predicts, and what it predicts once it is saved and loaded."""
    model, predictions = kind(make_data(seed))
    found = [np.asarray(predict()) for predict in predictions]
    model.save(path)
    loaded = type(model).load(path)
    X, _, _, covariates, _ = make_data(seed)
    if isinstance(model, SeriesForecaster):
        return [*found, loaded.predict().to_numpy()]
    known = {"future_covariates": covariates[:50]} if getattr(loaded, "n_covariates_", 0) else {}
    return [*found, loaded.predict(X[:50], **known)]


def in_threads(n_threads, minutes, folder):
    """Compare the results of threads with those of one; return numbers of calls and differences."""
    expected = {i: results(KINDS[i], 0, folder / f"serial{i}") for i in range(len(KINDS))}
    ends, numbers, different = time.monotonic() + 60 * minutes, count(), []

    def work(name):
        done = 0
        while time.monotonic() < ends:
            i = next(numbers) % len(KINDS)
            found = results(KINDS[i], 0, folder / f"thread{name}")
            done += 1
            if not all(map(np.array_equal, found, expected[i])):
                different.append(i)
        return done

    with ThreadPoolExecutor(n_threads) as pool:
        done = sum(pool.map(work, range(n_threads)))
    return done, different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--predictions", type=int, default=100)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    curve, changed = fit_and_predict(arguments.fits, arguments.predictions)
    print(f"megabytes by turn: {' '.join(f'{value:.0f}' for value in curve)}")
    print(f"global state that changed: {', '.join(changed) or 'none'}")
    with tempfile.TemporaryDirectory() as folder:
        done, different = in_threads(arguments.threads, arguments.minutes, Path(folder))
    print(f"{done} fits by {arguments.threads} threads, {len(different)} differ from serial ones")
    if arguments.json:
        found = {
            **environment(["numpy", "pandas", "scikit-learn", "torch"]),
            "fits": arguments.fits,
            "predictions": arguments.fits * arguments.predictions,
            "megabytes": [round(value, 1) for value in curve],
            "changed": changed,
            "fits by threads": done,
            "different": len(different),
        }
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
