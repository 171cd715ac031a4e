"""Windows, futures, labels and covariates: gathered in batches, cut into folds and parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from .devices import to_tensor
from .scaling import STANDARDISED, Scaling
from .series_sums import series_of

# Folds of the training windows that out-of-fold forecasts are made for.
_N_FOLDS = 6
# Blocks of consecutive validation windows: errors of neighbouring windows are correlated.
N_BLOCKS = 8
# Values that are gathered at once: few enough for the cache (1 MB in single precision).
_GATHERED_ENTRIES = 2**18
# Futures that are looked at together.
_CHUNK = 1024
# Values of a series that is standardised as a whole (64 MB in single precision).
_MOST_COPIED = 2**24
# Responses of a batch of windows to classes, at most (64 MB in double precision).
_RESPONSES = 2**23


@dataclass(frozen=True)
class Batch:
    """Windows, futures, labels and covariates of one step, from the data to the loss.

    Attributes
    ----------
    x : tensor of shape (n, n_timesteps, n_channels)
        Standardised windows; what is missing in them is filled.
    y : tensor of shape (n, horizon, n_targets)
        Their futures, in units of the model; what is missing is filled.
    labels : tensor of shape (n, n_factors)
        Codes of classes, -1 where unlabelled.
    covariates : tensor of shape (n, horizon, n_covariates), default=None
        Standardised covariates, known for the horizon; None where there are none.
    features : tensor of shape (n, n_kept), default=None
        Of the windows, as `WindowFeatures.keep` returns them; None where they were not computed
        before.
    pooled : tensor of shape (n, n_pooled), default=None
        Pooled features of the windows; None where they were not computed before.
    means : tensor of shape (n, n_means), default=None
        Of the latent variables, as `DeepDIVE.means_for_forecast` returns them; None where they were
        not computed before.
    observed : tensor of shape (n, n_timesteps, n_channels), default=None
        Whether values of the windows were observed; None: all were.
    weights : tensor of shape (n, horizon, n_targets), default=None
        Of the values of the futures: 0 for those that are missing, and for the others such that the
        mean of the weights over all windows is 1; None: all were observed.
    """

    x: torch.Tensor
    y: torch.Tensor
    labels: torch.Tensor
    covariates: torch.Tensor | None = None
    features: torch.Tensor | None = None
    pooled: torch.Tensor | None = None
    means: torch.Tensor | None = None
    observed: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def weigh(self, values: torch.Tensor) -> torch.Tensor:
        """Weigh values of the futures, so that sums over windows are of what was observed."""
        return values if self.weights is None else values * self.weights


@dataclass(frozen=True)
class WindowData:
    """Windows and what belongs to them, gathered and standardised when a batch is asked for.

    Where `X` has gaps, `complete` fills standardised windows, and `completed` are these, if they
    are kept. Where `y` has gaps, `shares` are the parts of the futures that were observed,
    `(horizon, n_targets)`, and `expect` says what to fill gaps with, given windows and covariates:
    without it, zeros.
    """

    X: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    x_scaling: Scaling
    y_scaling: Scaling
    device: torch.device
    dtype: type = np.float32
    covariates: np.ndarray | None = None
    covariate_scaling: Scaling = STANDARDISED
    features: np.ndarray | None = None
    pooled: np.ndarray | None = None
    means: np.ndarray | None = None
    complete: Callable[[torch.Tensor], torch.Tensor] | None = None
    completed: np.ndarray | None = None
    shares: torch.Tensor | None = None
    expect: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None

    @property
    def has_gaps(self) -> bool:
        """Whether values of windows or futures are missing."""
        return self.complete is not None or self.shares is not None

    @property
    def n_covariates(self) -> int:
        """Number of covariates of the horizon."""
        return 0 if self.covariates is None else self.covariates.shape[2]

    def standardised(self) -> "WindowData":
        """Return the same windows and futures, standardised once where they are views of series.

        Series too long for a copy, and windows of any other kind, are standardised batch by batch.
        """
        X, x_scaling = _standardised(self.X, self.x_scaling, self.dtype)
        y, y_scaling = _standardised(self.y, self.y_scaling, self.dtype)
        data = replace(self, X=X, y=y, x_scaling=x_scaling, y_scaling=y_scaling)
        if self.covariates is None:
            return data
        scaled = _standardised(self.covariates, self.covariate_scaling, self.dtype)
        return replace(data, covariates=scaled[0], covariate_scaling=scaled[1])

    def __len__(self) -> int:
        return len(self.X)

    @property
    def window_size(self) -> int:
        """Number of values of a window."""
        return self.X[0].size

    def batch(self, rows: slice | np.ndarray) -> Batch:
        """Gather rows, a slice or an index array, as standardised tensors on the device."""
        x = self._gather(self.X, self.x_scaling, rows)
        y = self._gather(self.y, self.y_scaling, rows)
        covariates = observed = weights = None
        if self.covariates is not None:
            gathered = self._gather(self.covariates, self.covariate_scaling, rows)
            covariates = to_tensor(gathered, self.device)
        features, pooled, means = (
            None if part is None else to_tensor(part[rows], self.device)
            for part in (self.features, self.pooled, self.means)
        )
        x, y, labels = (to_tensor(part, self.device) for part in (x, y, self.labels[rows]))
        if self.complete is not None:
            observed, x = ~x.isnan(), self._complete(x, rows)
        if self.shares is not None:
            known = ~y.isnan()
            weights = known / self.shares
            expected = torch.zeros_like(y) if self.expect is None else self.expect(x, covariates)
            y = torch.where(known, y, expected)
        return Batch(x, y, labels, covariates, features, pooled, means, observed, weights)

    def with_gaps_weighed(self) -> "WindowData":
        """Return the same windows; what is missing in their futures has no weight."""
        observed = np.zeros(self.y.shape[1:])
        for start in range(0, len(self), _CHUNK):
            observed += (~np.isnan(self.y[start : start + _CHUNK])).sum(axis=0)
        shares = np.maximum(observed, 1.0) / len(self)
        return replace(self, shares=torch.as_tensor(shares, dtype=torch.float32).to(self.device))

    def _complete(self, x: torch.Tensor, rows: slice | np.ndarray) -> torch.Tensor:
        if self.completed is not None:
            return to_tensor(self.completed[rows], self.device)
        return self.complete(x)  # type: ignore[misc]  # there are gaps

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield consecutive batches of all rows."""
        for start in range(0, len(self), batch_size):
            yield self.batch(slice(start, start + batch_size))

    def collect(self, compute: Callable[[Batch], torch.Tensor], n_classes: int = 0) -> np.ndarray:
        """Compute something of all windows, batch by batch: `(n, ...)`.

        `n_classes` is that of :func:`rows_per_batch`.
        """
        batches = self.batches(rows_per_batch(self, n_classes))
        return torch.cat([compute(batch).cpu() for batch in batches]).numpy()

    def sample(self, n: int, seed: int) -> "WindowData | WindowSample":
        """Return n windows drawn without replacement, in their order; all where there are fewer."""
        if len(self) <= n:
            return self
        rows = np.random.default_rng(seed).choice(len(self), n, replace=False)
        return WindowSample(self, np.sort(rows))

    def take(self, rows: np.ndarray) -> "WindowSample":
        """Return the rows of an index array."""
        return WindowSample(self, rows)

    def part(self, rows: slice) -> "WindowData":
        """Return the rows of a slice, as views."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            labels=self.labels[rows],
            covariates=rows_of(self.covariates, rows),
            features=rows_of(self.features, rows),
            pooled=rows_of(self.pooled, rows),
            means=rows_of(self.means, rows),
            completed=rows_of(self.completed, rows),
        )

    def _gather(self, values: np.ndarray, scaling: Scaling, rows: Any) -> np.ndarray:
        """Standardise rows, few at a time: memory is slower than arithmetic."""
        is_slice = isinstance(rows, slice)
        chosen = values[rows] if is_slice else rows  # a slice gives a view
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


def rows_of(part: np.ndarray | None, rows: Any) -> np.ndarray | None:
    """Return rows of an array, if there is one."""
    return None if part is None else part[rows]


def _standardised(windows: np.ndarray, scaling: Scaling, dtype: type) -> tuple[np.ndarray, Scaling]:
    n, n_timesteps, n_channels = windows.shape
    series = None if (n + n_timesteps) * n_channels > _MOST_COPIED else series_of(windows)
    if series is None:
        return windows, scaling
    scaled = scaling.apply(series, dtype)
    # torch warns of arrays that may not be written to; nobody writes to these.
    views = sliding_window_view(scaled, windows.shape[1], axis=0, writeable=True)
    return views.transpose(0, 2, 1), STANDARDISED


@dataclass(frozen=True)
class WindowSample:
    """Some rows of a `WindowData`, gathered only when a batch is asked for."""

    data: WindowData
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        """Codes of classes, `(n, n_factors)`."""
        return self.data.labels[self.rows]

    def take(self, rows: np.ndarray) -> "WindowSample":
        """Return the rows of an index array."""
        return WindowSample(self.data, self.rows[rows])

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        return self.data.device

    @property
    def window_size(self) -> int:
        """Number of values of a window."""
        return self.data.window_size

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield consecutive batches of the sample."""
        for start in range(0, len(self), batch_size):
            yield self.data.batch(self.rows[start : start + batch_size])


def rows_per_batch(data: WindowData | WindowSample, n_classes: int = 0) -> int:
    """Count the windows that make a batch of about 2**21 values, 16 MB in double precision."""
    return count_rows(2**21, data.window_size, n_classes)


def count_rows(n_values: int, size: int, n_classes: int) -> int:
    """Count the windows that together have `n_values`, given the size of one.

    They are fewer where their responses to many classes would take more memory.
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
