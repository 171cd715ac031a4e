"""Displays of forecasts, training, labels and latent dimensions, drawn with matplotlib."""

from ._forecast import ForecastDisplay
from ._history import TrainingHistoryDisplay

__all__ = ["ForecastDisplay", "TrainingHistoryDisplay"]
