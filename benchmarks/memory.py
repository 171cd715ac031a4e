"""Peak memory of a fit on float32 views of 26,304 hours x 321 series, 168 h in and 24 h out.

    python benchmarks/memory.py [--hours 26304] [--epochs 1]

By default the fit has its own number of epochs.
The windows would take 5 GB; the limit is 10 times the series plus 300 MB above what the process
takes with the series loaded.
"""

import argparse
import resource
import time

import numpy as np

from skdeepdive import DeepDIVEForecaster, sliding_windows


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def make_series(n_hours, n_series=321):
    random = np.random.default_rng(0)
    series = np.empty((n_hours, n_series), dtype=np.float32)
    phase = random.uniform(0, 24, n_series)
    for start in range(0, n_hours, 1000):
        hour = np.arange(start, min(start + 1000, n_hours))[:, None]
        noise = random.normal(scale=0.3, size=(len(hour), n_series))
        series[hour[:, 0]] = np.sin(2 * np.pi * (hour + phase) / 24) + noise
    return series


def main(n_hours, n_epochs):
    series = make_series(n_hours)
    X, y, origin = sliding_windows(series, n_timesteps=168, horizon=24)
    factors = np.stack([origin % 24, origin // 24 % 7], axis=1)
    baseline, start = peak_megabytes(), time.perf_counter()
    model = DeepDIVEForecaster(max_epochs=n_epochs or "auto", random_state=0).fit(
        X, y, factors=factors
    )
    megabytes, seconds = peak_megabytes() - baseline, time.perf_counter() - start
    size = series.nbytes / 2**20
    print(f"series {size:.0f} MB, windows {X.nbytes / 2**30:.1f} GB")
    print(f"peak above baseline {megabytes:.0f} MB, limit {10 * size + 300:.0f} MB")
    n_all = len(model.history_["epoch"])
    print(f"{len(X)} windows, {model.n_iter_} of {n_all} epochs interleaved, {seconds:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=26_304)
    parser.add_argument("--epochs", type=int)
    arguments = parser.parse_args()
    main(arguments.hours, arguments.epochs)
