"""Devices, generators, and batches of windows as tensors."""

from dataclasses import dataclass

import numpy as np
import torch


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name; "auto" takes CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def make_generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a generator of its own, so that torch's global one stays untouched."""
    return torch.Generator(device=device).manual_seed(seed)


@dataclass(frozen=True)
class Scaling:
    """Affine standardisation of the last axis: (values - loc) / scale.

    Computed in the precision of the values, so that an offset far above the scale costs a double
    no digits; the networks' single precision comes after.
    """

    loc: np.ndarray
    scale: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Standardise a batch, of shape (..., n_channels), to float32."""
        dtype = np.result_type(values.dtype, np.float32)
        scaled = np.subtract(values, self.loc.astype(dtype), dtype=dtype)
        scaled /= self.scale.astype(dtype)
        return scaled.astype(np.float32, copy=False)

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Return standardised values to their own units."""
        return values * self.scale + self.loc


@dataclass(frozen=True)
class WindowData:
    """Windows, futures and labels that stay where they are until a batch of them is asked for."""

    X: np.ndarray
    y: np.ndarray | None
    labels: np.ndarray | None
    x_scaling: Scaling
    y_scaling: Scaling
    device: torch.device

    def __len__(self) -> int:
        return len(self.X)

    def batch(self, rows):
        """Gather rows (a slice or an index array) as standardised float32 tensors."""
        x = self._tensor(self.x_scaling.apply(self.X[rows]))
        y = None if self.y is None else self._tensor(self.y_scaling.apply(self.y[rows]))
        labels = None if self.labels is None else self._tensor(self.labels[rows])
        return x, y, labels

    def batches(self, batch_size: int):
        """Yield consecutive batches of all rows."""
        for start in range(0, len(self), batch_size):
            yield self.batch(slice(start, start + batch_size))

    def part(self, rows: slice) -> "WindowData":
        """Return the rows of a slice, as views."""
        labels = None if self.labels is None else self.labels[rows]
        y = None if self.y is None else self.y[rows]
        return WindowData(self.X[rows], y, labels, self.x_scaling, self.y_scaling, self.device)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
