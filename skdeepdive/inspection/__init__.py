"""Displays of forecasts, training, labels and latent dimensions, and channels' importance."""

from ._attention import AttentionDisplay
from ._confusion import FactorConfusionDisplay
from ._embedding import EmbeddingDisplay
from ._forecast import ForecastDisplay
from ._history import TrainingHistoryDisplay
from ._importance import channel_importance
from ._information import MutualInformationDisplay
from ._reading import DisentanglementDisplay
from ._series import SeriesForecastDisplay
from ._traversal import TraversalDisplay

__all__ = [
    "AttentionDisplay",
    "DisentanglementDisplay",
    "EmbeddingDisplay",
    "FactorConfusionDisplay",
    "ForecastDisplay",
    "MutualInformationDisplay",
    "SeriesForecastDisplay",
    "TrainingHistoryDisplay",
    "TraversalDisplay",
    "channel_importance",
]
