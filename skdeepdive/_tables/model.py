"""What was learnt from the series of a table: forecasts of them, in their units."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._data.scores import mean_r2
from .calibration import SeriesErrors, forecast_and_scale
from .cutting import Design, Scaling, WindowSet, cut
from .dates import future_index
from .labels import known_labels
from .layout import naming_table
from .reading import DatedSeries
from .training import TrainingSet


@dataclass(frozen=True)
class SeriesModel:
    """A forecaster of windows, with what makes them of series.

    Its methods take the last rows of every series, and the covariates of the steps to come as
    `known`, `(n_series, horizon, n_covariates)`, both in the units of the table.

    Parameters
    ----------
    forecaster : estimator
        Fitted.
    design : Design
    scalings : dict of Scaling, or None
        By id; None: series are not scaled.
    errors : SeriesErrors, or None
        What quantiles and draws are made of; None: the forecaster makes them.
    bounds : ndarray of shape (2, n_targets)
        The least and the greatest value of every target.
    """

    forecaster: Any
    design: Design
    scalings: dict[Hashable, Scaling] | None
    errors: SeriesErrors | None
    bounds: np.ndarray

    @naming_table()
    def forecast(self, series: Sequence[DatedSeries], known: np.ndarray | None) -> np.ndarray:
        """Return forecasts `(n_series, horizon, n_targets)`."""
        X, options, scaling = self._inputs(series, known)
        return self._to_units(self.forecaster.predict(X, **options), scaling)

    @naming_table()
    def quantiles(
        self, series: Sequence[DatedSeries], known: np.ndarray | None, levels: np.ndarray
    ) -> np.ndarray:
        """Return quantiles `(n_series, horizon, n_targets, n_levels)`."""
        X, options, scaling = self._inputs(series, known)
        if self.errors is None:
            found = self.forecaster.predict_quantiles(X, levels, **options)
        else:
            errors = np.stack([self.errors.quantiles(one.id, levels) for one in series])
            found = self._about_forecast(X, options, errors)
        return self._to_units(found, scaling)

    @naming_table()
    def draw(
        self,
        series: Sequence[DatedSeries],
        known: np.ndarray | None,
        n_draws: int,
        generator: np.random.RandomState,
    ) -> np.ndarray:
        """Return futures `(n_series, horizon, n_targets, n_draws)`."""
        X, options, scaling = self._inputs(series, known)
        if self.errors is None:
            found = self.forecaster.sample(X, n_draws, random_state=generator, **options)
        else:
            errors = np.stack([self.errors.draw(one.id, n_draws, generator) for one in series])
            found = self._about_forecast(X, options, errors)
        return self._to_units(found, scaling)

    @naming_table()
    def score(self, series: Sequence[DatedSeries]) -> float:
        """Return R² of the forecasts of all windows that are used."""
        design = self.design
        origins = [design.usable_origins(one) for one in series]
        pairs = [(one, rows) for one, rows in zip(series, origins, strict=True) if len(rows)]
        if sum(len(rows) for _, rows in pairs) < 2:
            raise ValueError(
                "'table' must hold at least two windows without a hole to score forecasts, each of "
                f"n_timesteps + horizon = {design.n_timesteps + design.horizon} rows."
            )
        series, origins = map(list, zip(*pairs, strict=True))
        windows = cut(series, origins, self._scalings_of(series), design)
        options = known_options(self.forecaster, self.design, windows, [one.id for one in series])
        forecast = self.forecaster.predict(windows.X, **options)
        with np.errstate(over="ignore", invalid="ignore"):
            score = mean_r2(*(part.reshape(len(part), -1) for part in (windows.y, forecast)))
        if not np.isfinite(score):
            raise ValueError("'table' is too far from the forecasts for R² to be a number.")
        return score

    def _inputs(
        self, series: Sequence[DatedSeries], known: np.ndarray | None
    ) -> tuple[np.ndarray, dict[str, Any], Scaling | None]:
        """Return windows, what comes with them, and the scalings of the targets."""
        X, scaling = np.stack([one.values for one in series]), None
        scalings = self._scalings_of(series)
        if scalings is not None:
            every = Scaling(*(np.stack(part)[:, None] for part in zip(*scalings, strict=True)))
            X, scaling = every.apply(X), every.of_channels(self.design.targets)
            scaling = _without_constant(scaling, X[..., self.design.targets])
            known = known if known is None else every.of_channels(self.design.known).apply(known)
        if self.design.step_calendar:
            indexes = [future_index(one.index, self.design.horizon) for one in series]
            features = np.stack([self.design.step_features(index) for index in indexes])
            parts = [features] if known is None else [known, features]
            known = np.concatenate(parts, axis=2).astype(X.dtype)
        origins, ids = series[0].index[-1:], np.array([one.id for one in series])
        origins = origins.append([one.index[-1:] for one in series[1:]])
        options = known_labels(self.forecaster, self.design, origins, ids)
        return X, options if known is None else {**options, "future_covariates": known}, scaling

    def _scalings_of(self, series: Sequence[DatedSeries]) -> list[Scaling] | None:
        """Return the scalings of series; those that `fit` has not seen are scaled by themselves."""
        if self.scalings is None:
            return None
        return [self.scalings.get(one.id) or Scaling.of(one.values) for one in series]

    def _about_forecast(self, X: np.ndarray, options: dict, errors: np.ndarray) -> np.ndarray:
        """Add errors `(n_series, n, horizon, n_targets)` to forecasts, in units of their scale."""
        forecast, scale = forecast_and_scale(self.forecaster, X, options)
        return np.moveaxis(forecast[:, None] + scale[:, None] * errors, 1, -1)

    def _to_units(self, values: np.ndarray, scaling: Scaling | None) -> np.ndarray:
        """Return what was forecast of every series in the units of the table, within bounds."""
        trailing = (1,) * (values.ndim - 3)
        if scaling is not None:
            parts = (part.reshape(*part.shape, *trailing) for part in scaling)
            values = Scaling(*parts).invert(values)
        low, high = self.bounds.reshape(2, -1, *trailing)
        return np.clip(values, low, high)


def _without_constant(scaling: Scaling, windows: np.ndarray) -> Scaling:
    """Return the scaling of forecasts: those of channels that never varied are their location.

    Such a channel has the scale 1, and a window that is at the location at every step.
    """
    moves = (np.nan_to_num(windows) != 0).any(axis=1, keepdims=True)
    return scaling._replace(scale=np.where(moves | (scaling.scale != 1), scaling.scale, 0.0))


def known_options(
    forecaster: Any, design: Design, windows: WindowSet, ids: Sequence
) -> dict[str, Any]:
    """Return what a fitted forecaster takes besides windows."""
    own = np.array(ids)[windows.number]
    return windows.options() | known_labels(forecaster, design, windows.stamps, own)


def make_model(forecaster: Any, training: TrainingSet, bounds: np.ndarray) -> SeriesModel:
    """Return the model of a fitted forecaster, calibrated on the validation windows.

    The forecaster's own quantiles serve a single series, where it has them.
    """
    ids = [one.id for one in training.series]
    scalings = training.scalings
    by_id = None if scalings is None else dict(zip(ids, scalings, strict=True))
    is_calibrated = hasattr(forecaster, "predict_quantiles") and hasattr(forecaster, "sample")
    errors = None
    if len(ids) > 1 or scalings is not None or not is_calibrated:
        windows = training.validation_windows()
        options = known_options(forecaster, training.design, windows, ids)
        errors = SeriesErrors.of(forecaster, windows, ids, options)
    return SeriesModel(forecaster, training.design, by_id, errors, bounds)
