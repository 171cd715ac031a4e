"""Interpretable deep forecasting of time-series windows behind the scikit-learn interface."""

from ._forecaster import DeepDIVEForecaster
from .windows import calendar_factors, sliding_windows, split_windows

__version__ = "0.1.0"

__all__ = ["DeepDIVEForecaster", "calendar_factors", "sliding_windows", "split_windows"]
