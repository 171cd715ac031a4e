"""Interpretable deep forecasting of time-series windows behind the scikit-learn interface."""

from ._forecaster import DeepDIVEForecaster
from ._version import __version__ as __version__
from .windows import calendar_factors, sliding_windows, split_windows

__all__ = ["DeepDIVEForecaster", "calendar_factors", "sliding_windows", "split_windows"]
