"""Conformal errors of every series: quantiles and samples of any forecaster."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .._data.scores import fill_errors
from .cutting import WindowSet

# A series with fewer validation windows is calibrated by the errors of all.
_ENOUGH = 100
# Errors kept for each series, and for all: more change quantiles by less than sampling error.
_KEPT = 1000
_SMALLEST = 1e-9


@dataclass(frozen=True)
class SeriesErrors:
    """Errors on validation windows, in units of the deviation that the forecaster expects.

    Whole futures are kept, and with them the dependence between steps and targets.

    Parameters
    ----------
    pooled : ndarray of shape (n_windows, horizon, n_targets)
        Errors of all series.
    own : dict of ndarray
        Errors of the series that have enough of them, by id.
    """

    pooled: np.ndarray
    own: dict[Hashable, np.ndarray]

    @classmethod
    def of(cls, forecaster: Any, windows: WindowSet, ids: Sequence, options: dict) -> SeriesErrors:
        """Compute the errors of a fitted forecaster on validation windows.

        `options` are what it takes besides windows.
        """
        forecast, scale = forecast_and_scale(forecaster, windows.X, options)
        errors = (windows.y - forecast) / scale
        errors = fill_errors(torch.from_numpy(errors)).numpy()
        parts = {key: errors[windows.number == number] for number, key in enumerate(ids)}
        pooled = [_thinned(part, max(1, _KEPT // len(ids))) for part in parts.values()]
        own = {key: _thinned(part, _KEPT) for key, part in parts.items() if len(part) >= _ENOUGH}
        return cls(np.concatenate(pooled), own)

    def quantiles(self, key: Hashable, levels: np.ndarray) -> np.ndarray:
        """Return quantiles of the errors of a series, (n_levels, horizon, n_targets)."""
        # The i-th of n ordered errors is the quantile i / (n + 1) of a further one.
        return np.quantile(self._of(key), levels, axis=0, method="weibull")

    def draw(self, key: Hashable, n_draws: int, generator: np.random.RandomState) -> np.ndarray:
        """Draw errors of a series, (n_draws, horizon, n_targets)."""
        errors = self._of(key)
        return errors[generator.randint(len(errors), size=n_draws)]

    def _of(self, key: Hashable) -> np.ndarray:
        return self.own.get(key, self.pooled)


def forecast_and_scale(
    forecaster: Any, X: np.ndarray, options: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts, and the deviations that the forecaster expects, 1 where it has none."""
    if "return_std" not in inspect.signature(forecaster.predict).parameters:
        forecast = forecaster.predict(X, **options)
        return forecast, np.ones_like(forecast)
    forecast, deviation = forecaster.predict(X, return_std=True, **options)
    return forecast, np.maximum(deviation, _SMALLEST)


def _thinned(errors: np.ndarray, most: int) -> np.ndarray:
    """Return evenly spaced ones of errors, at most so many."""
    return errors[:: max(1, -(-len(errors) // most))].copy()
