"""Time and memory of a fit against the sizes of what it is given, one size at a time.

    python benchmarks/scaling.py [--json FILE] [--plot docs/scaling.png]

Windows are views of a series, and a fit takes one epoch in every phase, on one thread, in a process
of its own. Times are those of the processor, which other jobs hardly change. Memory is the peak
above what the process takes with the series loaded. Up to 4,096 values in a window the linear
forecast may look at all of them at a time, so that its moments grow with their square; from there
on every target looks at its own channel.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from forecast import environment
from memory import make_series, peak_megabytes

BASE = {
    "windows": 8000,
    "timesteps": 96,
    "channels": 8,
    "horizon": 24,
    "factors": 1,
    "covariates": 0,
}
CURVES = {
    "windows": [2000, 4000, 8000, 16_000, 32_000, 64_000],
    "timesteps": [24, 48, 96, 192, 384, 768],
    "channels": [1, 2, 4, 8, 16, 32, 64, 128],
    "horizon": [6, 12, 24, 48, 96, 192],
    "factors": [1, 2, 4, 8],
    "covariates": [1, 2, 4, 8, 16],
}
MEASURES = "time in seconds", "memory in megabytes"
PERIODS = [24, 7, 12, 5, 8, 6, 9, 10]  # of the labels of every factor


def measure(windows, timesteps, channels, horizon, factors, covariates):
    """Print seconds and megabytes of one fit."""
    from skdeepdive import DeepDIVEForecaster, sliding_windows

    series = make_series(windows + timesteps + horizon - 1, channels)
    X, y, origin = sliding_windows(series, timesteps, horizon)
    labels = np.stack([origin % period for period in PERIODS[:factors]], axis=1)
    told = {}
    if covariates:
        known = make_series(len(series), covariates)
        told["future_covariates"] = sliding_windows(known, timesteps, horizon)[1]
    small = X[:50, -4:, :1], y[:50, :1, :1]  # what is done once in a process
    DeepDIVEForecaster(max_epochs=1, random_state=0).fit(*small, factors=labels[:50])
    before, began = peak_megabytes(), time.process_time()
    DeepDIVEForecaster(max_epochs=1, random_state=0).fit(X, y, factors=labels, **told)
    seconds = time.process_time() - began
    values = seconds, peak_megabytes() - before
    print(json.dumps({name: [value, 0.0] for name, value in zip(MEASURES, values, strict=True)}))


def run(sizes):
    command = [sys.executable, __file__, "--measure", json.dumps(sizes)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def draw(measured, path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(CURVES), figsize=(15, 5), sharex="col", sharey="row", layout="constrained"
    )
    for column, (name, sizes) in zip(axes.T, CURVES.items(), strict=True):
        for ax, measure_name in zip(column, MEASURES, strict=True):
            values = [measured[f"{name} {size:,}"][measure_name][0] for size in sizes]
            ax.loglog(sizes, values, "o-", color="C0")
            slope = values[-1] / sizes[-1] * np.array(sizes)
            ax.loglog(sizes, slope, ":", color="grey", label="proportional")
            ax.grid(alpha=0.3)
        column[1].set_xlabel(name)
        column[1].set_xticks(sizes[::2], [f"{size:,}" for size in sizes[::2]])
        column[1].set_xticks([], minor=True)
    for ax, measure_name in zip(axes[:, 0], MEASURES, strict=True):
        ax.set_ylabel(measure_name)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=100)


def main(arguments):
    results = {**environment(), "dataset": "synthetic", "seeds": [0]}
    measured = {}
    for name, sizes in CURVES.items():
        for size in sizes:
            measured[f"{name} {size:,}"] = run({**BASE, name: size})
            cells = [f"{key} {value[0]:.1f}" for key, value in measured[f"{name} {size:,}"].items()]
            print(f"{name:>10} {size:>7,}: " + ", ".join(cells), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**results, **measured}, indent=1) + "\n")
    if arguments.plot:
        draw(measured, arguments.plot)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--plot", help="where to draw them")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(**options.measure)
    else:
        main(options)
