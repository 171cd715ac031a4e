"""Interpretable deep forecasting of time-series windows behind the scikit-learn interface."""

# These load more slowly the more imports they are loaded from within (0.1 s from `_forecaster`).
import sklearn  # noqa: F401
import torch  # noqa: F401

from ._data.calendar import calendar_features
from ._estimators.classifier import FactorClassifier
from ._estimators.deepdive import DeepDIVEForecaster
from ._version import __version__ as __version__
from .tables import SeriesForecaster
from .windows import calendar_factors, sliding_windows, split_windows

__all__ = [
    "DeepDIVEForecaster",
    "FactorClassifier",
    "SeriesForecaster",
    "calendar_factors",
    "calendar_features",
    "sliding_windows",
    "split_windows",
]
