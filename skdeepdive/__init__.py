"""Interpretable deep forecasting of time-series windows behind the scikit-learn interface."""

# While these load, they walk the stack of imports again and again: here it is as short as can be.
import sklearn  # noqa: F401
import torch  # noqa: F401

from ._forecaster import DeepDIVEForecaster
from ._version import __version__ as __version__
from .windows import calendar_factors, sliding_windows, split_windows

__all__ = ["DeepDIVEForecaster", "calendar_factors", "sliding_windows", "split_windows"]
