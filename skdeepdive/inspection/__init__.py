"""Displays of forecasts, training, labels and latent dimensions, drawn with matplotlib."""

from ._confusion import FactorConfusionDisplay
from ._embedding import EmbeddingDisplay
from ._forecast import ForecastDisplay
from ._history import TrainingHistoryDisplay
from ._information import MutualInformationDisplay
from ._traversal import TraversalDisplay

__all__ = [
    "EmbeddingDisplay",
    "FactorConfusionDisplay",
    "ForecastDisplay",
    "MutualInformationDisplay",
    "TrainingHistoryDisplay",
    "TraversalDisplay",
]
