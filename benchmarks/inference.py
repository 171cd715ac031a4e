"""What outputs and the import cost beside the bare module and the bare libraries.

    python benchmarks/inference.py [--windows 100000] [--threads 1] [--json FILE]

`predict` and `transform` of many windows, views of a series, beside calls of the fitted module on
batches of the same size that are standardised tensors already (goal: 0.9 of its rate or more); of
a single window, beside one call (goal: at most twice its time plus a millisecond); and
``import skdeepdive`` beside ``import torch, sklearn`` (goal: 1.1), each in a process of its own.
Both sides take turns, and the median of their ratios counts.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from forecast import environment
from memory import make_series
from threadpoolctl import threadpool_limits

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._estimators.base import _INFERENCE_ENTRIES

SHAPES = {"168 x 10": (168, 10), "24 x 1": (24, 1)}
OUTPUTS = {"predict": "forecast", "transform": "embed"}
N_IMPORTS = 15  # one of them may take a tenth longer than the next


def seconds(action, at_least=0.0):
    """Seconds of one call; of few milliseconds the mean of several."""
    n, began = 0, time.perf_counter()
    while not n or time.perf_counter() - began < at_least:
        action()
        n += 1
    return (time.perf_counter() - began) / n


def compare(first, second, repeats, at_least=0.0):
    """Median seconds of two actions that take turns, and of their ratios."""
    first(), second()  # what is done once
    pairs = [(seconds(first, at_least), seconds(second, at_least)) for _ in range(repeats)]
    return *map(median, zip(*pairs, strict=True)), median(a / b for a, b in pairs)


def fitted(n_timesteps, n_channels, n_windows):
    series = make_series(n_windows + n_timesteps + 23, n_channels)
    X, y, origin = sliding_windows(series, n_timesteps, 24)
    model = DeepDIVEForecaster(max_epochs=1, random_state=0)
    return model.fit(X[:3000], y[:3000], factors=origin[:3000] % 24), X


@torch.inference_mode()
def bare(module, method, batches):
    return [getattr(module, method)(x) for x in batches]


def measure_outputs(name, n_windows, repeats):
    model, X = fitted(*SHAPES[name], n_windows)
    batch_size = _INFERENCE_ENTRIES // X[0].size
    tensors = [
        model._to_tensor(model._check_windows(X[start : start + batch_size]))
        for start in range(0, len(X), batch_size)
    ]
    rows = {}
    for output, method in OUTPUTS.items():
        for title, windows, batches in (
            (f"{n_windows:,} windows", X, tensors),
            ("one window", X[:1], [tensors[0][:1]]),
        ):
            own, alone, ratio = compare(
                lambda output=output, windows=windows: getattr(model, output)(windows),
                lambda method=method, batches=batches: bare(model.module_, method, batches),
                repeats,
                at_least=0.2,
            )
            rows[f"{output}, {title} of {name}"] = {
                "time in milliseconds": [1e3 * own, 0.0],
                "module alone, time in milliseconds": [1e3 * alone, 0.0],
                "ratio": [ratio, 0.0],
            }
    return rows


def measure_import():
    def run(code):
        subprocess.run([sys.executable, "-c", code], check=True)

    own, alone, ratio = compare(
        lambda: run("import skdeepdive"), lambda: run("import torch, sklearn"), N_IMPORTS
    )
    return {
        "import skdeepdive": {
            "time in milliseconds": [1e3 * own, 0.0],
            "libraries alone, time in milliseconds": [1e3 * alone, 0.0],
            "ratio": [ratio, 0.0],
        }
    }


def main(arguments):
    results = {**environment(), "dataset": "synthetic", "seeds": [0]}
    results["note"] = f"{arguments.threads} thread(s)."
    measured = measure_import()
    for name in SHAPES:
        measured |= measure_outputs(name, arguments.windows, arguments.repeats)
    for name, row in measured.items():
        print(f"{name:<40} " + ", ".join(f"{key} {value:.3g}" for key, (value, _) in row.items()))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**results, **measured}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="where to write the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        main(options)
