"""Displays of forecasts, training, labels, latent dimensions and attention, by matplotlib."""

from ._attention import AttentionDisplay
from ._confusion import FactorConfusionDisplay
from ._embedding import EmbeddingDisplay
from ._forecast import ForecastDisplay
from ._history import TrainingHistoryDisplay
from ._information import MutualInformationDisplay
from ._series import SeriesForecastDisplay
from ._traversal import TraversalDisplay

__all__ = [
    "AttentionDisplay",
    "EmbeddingDisplay",
    "FactorConfusionDisplay",
    "ForecastDisplay",
    "MutualInformationDisplay",
    "SeriesForecastDisplay",
    "TrainingHistoryDisplay",
    "TraversalDisplay",
]
