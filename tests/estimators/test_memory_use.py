"""What fits take of memory, each in a process of its own.

Pages of a mapped file count as resident although the system can drop them at any time: what counts
is anonymous memory, which it cannot.
"""

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster, sliding_windows

STATUS = Path("/proc/self/status")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="the system does not tell kinds of memory"),
]


class Use(NamedTuple):
    """Most memory above that before, in MB, and the time that it took."""

    anonymous: float
    resident: float
    seconds: float


def measure(run, *arguments):
    """Run something in a new process that has nothing but the imports of this file."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, run, *arguments).result()


def _measure(run, *arguments):
    before, start, finished = _memory(), time.perf_counter(), threading.Event()
    peak = before

    def watch():
        nonlocal peak
        while not finished.wait(0.01):
            peak = np.maximum(peak, _memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run(*arguments)
    finally:
        finished.set()
        watcher.join()
    return Use(*(peak - before).tolist(), time.perf_counter() - start)


def _memory():
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return np.array([int(lines[name].split()[0]) / 2**10 for name in ("RssAnon", "VmRSS")])


# A series larger than what a fit may take

N_ROWS, N_CHANNELS = 2_000_000, 256


@pytest.fixture
def series_on_disk(tmp_path):
    """Two gigabytes of noisy days, written piece by piece and removed at the end."""
    path, rng = tmp_path / "series", np.random.default_rng(0)
    phase = rng.uniform(0, 24, N_CHANNELS)
    day = np.sin(2 * np.pi * (np.arange(24)[:, None] + phase) / 24).astype(np.float32)
    n_days = 1000
    try:
        with path.open("wb") as file:
            for first in range(0, N_ROWS, 24 * n_days):
                noise = rng.standard_normal((24 * n_days, N_CHANNELS), dtype=np.float32)
                (np.tile(day, (n_days, 1)) + 0.3 * noise)[: N_ROWS - first].tofile(file)
        yield path
    finally:
        path.unlink()


def fit_from_disk(path):
    series = np.memmap(path, np.float32, "r", shape=(N_ROWS, N_CHANNELS))
    X, y, origin = sliding_windows(series, n_timesteps=48, horizon=12, stride=47)
    factors = np.stack([origin % 24, origin // 24 % 7], axis=1)
    assert np.shares_memory(X, series)
    assert len(X) > 40_000
    DeepDIVEForecaster(max_epochs=1, random_state=0).fit(X, y, factors)


def test_a_fit_to_two_gigabytes_on_disk_takes_less_than_one_of_memory(series_on_disk):
    assert series_on_disk.stat().st_size > 2e9
    used = measure(fit_from_disk, series_on_disk)
    assert used.anonymous < 1000, used


# As many classes as windows


def fit_many_classes(n_timesteps, n_windows_each):
    n_windows = 10_000
    noise = 0.1 * np.random.default_rng(0).standard_normal(n_windows + n_timesteps + 11)
    series = np.sin(2 * np.pi * np.arange(len(noise)) / 24) + noise
    X, y, _ = sliding_windows(series, n_timesteps, horizon=12)
    labels = np.random.default_rng(0).permutation(n_windows) // n_windows_each
    DeepDIVEForecaster(n_marginal=2, max_epochs=1, random_state=0).fit(X, y, labels)


@pytest.mark.parametrize(("n_timesteps", "n_windows_each"), [(24, 1), (24, 10), (168, 4)])
def test_a_fit_to_thousands_of_classes_takes_less_than_two_gigabytes(n_timesteps, n_windows_each):
    used = measure(fit_many_classes, n_timesteps, n_windows_each)
    assert used.anonymous < 2000, used
