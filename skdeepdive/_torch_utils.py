"""Devices, generators, and batches of windows as tensors."""

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, TypeVar
from weakref import ref

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import ThreadpoolController

from ._series_sums import series_of
from ._validation import naming

Module = TypeVar("Module", bound=torch.nn.Module)

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

# Values in a batch of windows from which on several threads work on a fit.
_VALUES_FOR_THREADS = 2**21


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name; "auto" takes CUDA where there is one, else the CPU."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if device is None or torch.device(device).type == "meta":
            raise TypeError("nothing can be computed there")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError, ValueError, ImportError) as error:
        raise ValueError(
            f'\'device\' must be "auto" or a torch device that this machine has, such as "cpu", '
            f"got {device!r}."
        ) from error


def device_or_cpu(device: str) -> torch.device:
    """Return the torch device of a name, or the CPU where this machine has no such device."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def to_array(name: str, values):
    """Return a torch tensor as a NumPy array, and everything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    with naming(name):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def to_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array, which may be a view, as a tensor on a device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def make_generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a generator of its own, so that torch's global one stays untouched."""
    return torch.Generator(device=device).manual_seed(seed)


def for_inference(module: Module, device: torch.device) -> Module:
    """Put a trained module on a device, in double precision where the device has it."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return module.requires_grad_(False).eval().to(dtype).to(device)


def to_numpy_dtype(dtype: torch.dtype) -> type:
    """Return the NumPy counterpart of torch's single or double precision."""
    return {torch.float32: np.float32, torch.float64: np.float64}[dtype]


def threads_for(n_values: int) -> AbstractContextManager:
    """Take small steps on one thread: more cost them more than they bring, on a busy machine most.

    Steps on many values keep the threads that are set.
    """
    return nullcontext() if n_values >= _VALUES_FOR_THREADS else _OneThread()


class _OneThread:
    """A cap on torch, BLAS and OpenMP, lifted at the end, whenever an interrupt comes.

    The lock is one that its owner may take again: a generator that an interrupt has orphaned in
    here is closed as soon as Python collects garbage, be it while another cap is put on.
    """

    _lock = threading.RLock()
    _inside: ClassVar[set[ref]] = set()  # weakly, as the end of an orphan may never begin
    _before: ClassVar[tuple[int, Any] | None] = None  # threads of torch, of all libraries

    def __init__(self) -> None:
        self._own: tuple[Any, int] | None = None

    def __enter__(self) -> None:
        try:
            self._put_on()
        except BaseException:
            self._lift()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self._lift()
        except KeyboardInterrupt:
            self._lift()
            raise

    def _put_on(self) -> None:
        with self._lock:
            self._restore_if_empty()
            self._inside.add(ref(self))
            before = self._before or (torch.get_num_threads(), _controller().limit(limits=None))
            _OneThread._before = before
            # A thread that comes while others are capped has inherited their cap of torch.
            self._own = _controller().select(user_api="openmp").limit(limits=None), before[0]
            self._own[0].__enter__()
            torch.set_num_threads(1)
            _controller().limit(limits=1)  # that of BLAS is one for all threads

    def _lift(self) -> None:
        with self._lock:
            self._inside.discard(ref(self))
            self._restore_if_empty()
            if self._own is not None:
                openmp, n_threads = self._own
                openmp.__exit__(None, None, None)
                torch.set_num_threads(n_threads)

    def _restore_if_empty(self) -> None:
        if self._before is not None and all(inside() is None for inside in self._inside):
            n_threads, libraries = self._before
            libraries.restore_original_limits()
            torch.set_num_threads(n_threads)
            self._inside.clear()
            _OneThread._before = None


@cache
def _controller() -> ThreadpoolController:
    """Find the libraries that have threads; to look for them takes milliseconds."""
    return ThreadpoolController()


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
