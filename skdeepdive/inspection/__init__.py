"""Displays of forecasts, training, labels and latent dimensions, drawn with matplotlib."""

from ._confusion import FactorConfusionDisplay
from ._forecast import ForecastDisplay
from ._history import TrainingHistoryDisplay

__all__ = ["FactorConfusionDisplay", "ForecastDisplay", "TrainingHistoryDisplay"]
