"""Scores of forecasts and of embeddings: NumPy arrays in, numbers out."""

from ._disentanglement import dci_scores, sap_score
from ._forecasts import corr_score, forecast_scorer, rrse_score
from ._information import mutual_information_gap
from ._reading import accuracy_above_chance

__all__ = [
    "accuracy_above_chance",
    "corr_score",
    "dci_scores",
    "forecast_scorer",
    "mutual_information_gap",
    "rrse_score",
    "sap_score",
]
