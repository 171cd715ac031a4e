"""Affine scaling of channels and targets."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """Standardise the last axis: (values - loc) / scale.

    It is computed in the precision of the values where that is higher than what is asked for: an
    offset far above the scale costs a double no digits.
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
    """The scaling of values that are standardised already."""

    def apply(self, values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Return values as `dtype`."""
        return values.astype(dtype, copy=False)


STANDARDISED = _Standardised(np.zeros(1), np.ones(1))
