"""Displays of forecasts, training, labels and latent dimensions, drawn with matplotlib."""

from ._forecast import ForecastDisplay

__all__ = ["ForecastDisplay"]
