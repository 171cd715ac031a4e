"""How much faster a grid is searched by two processes than by one.

    python benchmarks/grid_search.py [--repeats 5] [--hours 6000] [--epochs 5]

A grid of six candidates on three folds of two clients' load, 168 hours in and 24 out. Searches
with n_jobs=1 and n_jobs=2 take turns, and the median of their ratios counts: what else the machine
does then slows both. It is measured with the threads that are set and with OMP_NUM_THREADS=1, each
in a process of its own; the two workers of joblib are started before the clock. The goal is 1.5.
"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

import torch
from benchmark_data import DAY, WEEK
from joblib import Parallel, cpu_count, delayed
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from threadpoolctl import threadpool_info

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.datasets import load_electricity

GRID = {"n_conditional": [4, 8, 16], "n_hidden": [128, 256]}


def thread_counts():
    """Threads of torch, and of every pool of native threads in the process."""
    return torch.get_num_threads(), {p["filepath"]: p["num_threads"] for p in threadpool_info()}


def seconds(n_jobs, X, y, n_epochs):
    search = GridSearchCV(
        DeepDIVEForecaster(max_epochs=n_epochs, early_stopping=False, random_state=0),
        GRID,
        cv=TimeSeriesSplit(3, gap=DAY - 1),
        n_jobs=n_jobs,
        refit=False,  # the last fit is on all windows and has nobody to share it with
        error_score="raise",
    )
    began = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - began, search.cv_results_["mean_test_score"].tolist()


def measure(arguments):
    """Print a row of the table."""
    series = load_electricity().data[-arguments.hours :]
    X, y, _ = sliding_windows(series, WEEK, DAY)
    imports = (delayed(__import__)("skdeepdive") for _ in range(4))
    Parallel(n_jobs=2)(imports)
    seconds(1, X[:500], y[:500], 1)  # what is done once in a process
    before = thread_counts()
    pairs = []
    for _ in range(arguments.repeats):
        (one, scores), (two, same) = (seconds(n, X, y, arguments.epochs) for n in (1, 2))
        assert scores == same
        pairs.append((one, two))
    assert thread_counts() == before
    ratios = [one / two for one, two in pairs]
    setting = os.environ.get("OMP_NUM_THREADS", "not set")
    row = [setting, before[0], *(f"{median(s):.1f}" for s in zip(*pairs, strict=True))]
    row += [f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


def main(arguments):
    print(f"{cpu_count()} cores, {len(GRID['n_conditional']) * len(GRID['n_hidden'])} candidates")
    print("| OMP_NUM_THREADS | torch threads | 1 job (s) | 2 jobs (s) | ratio | range |")
    print("| --- | ---: | ---: | ---: | ---: | --- |", flush=True)
    default = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, __file__, *sys.argv[1:], "--measure"]
    for setting in ({}, {"OMP_NUM_THREADS": "1"}):
        subprocess.run(command, env={**default, **setting}, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hours", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    (measure if arguments.measure else main)(arguments)
