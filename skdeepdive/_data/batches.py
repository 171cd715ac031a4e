"""Windows, futures and labels: scaled, gathered in batches, cut into folds and parts."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from .devices import to_tensor
from .series_sums import series_of

# Parts of the training windows that linear forecasts are fitted without.
_N_FOLDS = 6

# Consecutive parts of the held-out windows: within one, neighbours tell much the same.
N_BLOCKS = 8

# Values that are gathered at once: few enough for the cache (1 MB in single precision).
_GATHERED_ENTRIES = 2**18

# Values of a series that is standardised as a whole (64 MB in single precision).
_MOST_COPIED = 2**24

# Responses of a batch of windows to classes, at most (64 MB in double precision).
_RESPONSES = 2**23


@dataclass(frozen=True)
class Scaling:
    """Affine standardisation of the last axis: (values - loc) / scale.

    Computed in the precision of the values where that is higher than what is asked for, so that
    an offset far above the scale costs a double no digits.
    """

    loc: np.ndarray
    scale: np.ndarray

    def apply(self, values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Standardise values and return them as `dtype`."""
        working = np.result_type(values.dtype, dtype)
        scaled = np.subtract(values, self.loc.astype(working), dtype=working)
        scaled /= self.scale.astype(working)
        return scaled.astype(dtype, copy=False)

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Return standardised values to their own units."""
        return values * self.scale + self.loc


class _Standardised(Scaling):
    """That of values which are standardised already."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1), np.ones(1))

    def apply(self, values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Return values as `dtype`."""
        return values.astype(dtype, copy=False)


@dataclass(frozen=True)
class WindowData:
    """Windows, futures and labels that stay where they are until a batch of them is asked for."""

    X: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    x_scaling: Scaling
    y_scaling: Scaling
    device: torch.device
    dtype: type = np.float32

    def standardised(self) -> "WindowData":
        """Return the same windows and futures, standardised once where they are views of series.

        Series too long for a copy, and windows of any other kind, are standardised batch by batch.
        """
        X, x_scaling = _standardised(self.X, self.x_scaling, self.dtype)
        y, y_scaling = _standardised(self.y, self.y_scaling, self.dtype)
        return replace(self, X=X, y=y, x_scaling=x_scaling, y_scaling=y_scaling)

    def __len__(self) -> int:
        return len(self.X)

    def batch(self, rows):
        """Gather rows (a slice or an index array) as standardised tensors on the device."""
        x, y = (
            self._gather(self.X, self.x_scaling, rows),
            self._gather(self.y, self.y_scaling, rows),
        )
        return self._tensor(x), self._tensor(y), self._tensor(self.labels[rows])

    def batches(self, batch_size: int):
        """Yield consecutive batches of all rows."""
        for start in range(0, len(self), batch_size):
            yield self.batch(slice(start, start + batch_size))

    def sample(self, n: int, seed: int) -> "WindowData | WindowSample":
        """Return n windows drawn without replacement, in their order; all where there are fewer."""
        if len(self) <= n:
            return self
        rows = np.random.default_rng(seed).choice(len(self), n, replace=False)
        return WindowSample(self, np.sort(rows))

    def part(self, rows: slice) -> "WindowData":
        """Return the rows of a slice, as views."""
        return replace(self, X=self.X[rows], y=self.y[rows], labels=self.labels[rows])

    def _gather(self, values: np.ndarray, scaling: Scaling, rows) -> np.ndarray:
        """Standardise rows, few at a time: memory is slower than arithmetic."""
        is_slice = isinstance(rows, slice)
        chosen = values[rows] if is_slice else rows  # of a slice there is a view
        size = max(1, _GATHERED_ENTRIES // values[0].size)
        if len(chosen) <= size:
            return scaling.apply(chosen if is_slice else values[chosen], self.dtype)
        gathered = np.empty((len(chosen), *values.shape[1:]), dtype=self.dtype)
        for start in range(0, len(chosen), size):
            few = chosen[start : start + size]
            gathered[start : start + size] = scaling.apply(
                few if is_slice else values[few], self.dtype
            )
        return gathered

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return to_tensor(array, self.device)


def _standardised(windows: np.ndarray, scaling: Scaling, dtype: type) -> tuple[np.ndarray, Scaling]:
    n, n_timesteps, n_channels = windows.shape
    series = None if (n + n_timesteps) * n_channels > _MOST_COPIED else series_of(windows)
    if series is None:
        return windows, scaling
    scaled = scaling.apply(series, dtype)
    # torch warns of arrays that may not be written to; nobody writes to these.
    views = sliding_window_view(scaled, windows.shape[1], axis=0, writeable=True)
    return views.transpose(0, 2, 1), _Standardised()


@dataclass(frozen=True)
class WindowSample:
    """Some of the windows, which stay where they are, too."""

    data: WindowData
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        return self.data.device

    def batches(self, batch_size: int):
        """Yield consecutive batches of the sample."""
        for start in range(0, len(self), batch_size):
            yield self.data.batch(self.rows[start : start + batch_size])


def rows_per_batch(data: WindowData, n_classes: int = 0) -> int:
    """Windows that make a batch of about 2**21 values, 16 MB in double precision."""
    return count_rows(2**21, data.X[0].size, n_classes)


def count_rows(n_values: int, size: int, n_classes: int) -> int:
    """Count the windows of some size that have so many values.

    They are fewer where each has a response to so many classes that these would take more memory.
    """
    return max(1, min(n_values // size, _RESPONSES // max(1, n_classes)))


def fold_bounds(n: int) -> np.ndarray:
    """Bounds of the consecutive folds of n windows; no fold where they would be too small."""
    n_folds = _N_FOLDS if n >= 2 * _N_FOLDS else 0
    return np.linspace(0, n, n_folds + 1).astype(int)


def consecutive_folds(data: WindowData) -> list[WindowData]:
    """Cut data into consecutive folds."""
    bounds = fold_bounds(len(data))
    return [data.part(slice(*pair)) for pair in pairwise(bounds)]
