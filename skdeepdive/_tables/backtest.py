"""Forecasts from one origin after another, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from .dates import steps_of, to_moment
from .layout import import_pandas
from .reading import DatedSeries, Table
from .scores import score_table

_TRUE, _FORECAST = "true", "forecast"


@dataclass(frozen=True)
class Backtest:
    """Forecasts of a table as they would have been made, and how good they were.

    Parameters
    ----------
    forecasts : DataFrame
        A row for each id (where there are ids), origin and time, which are levels of its index, as
        is the step, from 1 to horizon. Columns are of two levels: the target, and ``"true"``,
        ``"forecast"`` or a quantile. Values are NaN where a window has a hole, or a true value is
        missing.
    naive_errors : DataFrame
        Mean absolute difference of every column from its value `horizon` steps earlier, over the
        rows before the first forecast, for every id (a row): what MASE is relative to.

    See Also
    --------
    skdeepdive.SeriesForecaster.backtest : Where it comes from.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdeepdive import DeepDIVEForecaster, SeriesForecaster
    >>> hours = pd.date_range("2014-03-01", periods=500, freq="h")
    >>> load = pd.Series(5 + np.sin(np.arange(500) * np.pi / 12), hours, name="load")
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> forecaster = SeriesForecaster(model, n_timesteps=48, horizon=24)
    >>> backtest = forecaster.backtest(load, "2014-03-18", every=24)
    >>> backtest.scores("step").shape  # n, mae, rrse and mase of every hour ahead
    (24, 4)
    """

    forecasts: Any
    naive_errors: Any

    def scores(self, by: str | Sequence[str] | None = None) -> Any:
        """Score the forecasts.

        Parameters
        ----------
        by : str or sequence of str, default=None
            What scores are computed for: "target" and levels of the index, such as "step", "id" or
            "origin". None: for each target.

        Returns
        -------
        scores : DataFrame
            A row for each group, and the columns

            - ``n``: number of values;
            - ``mae``: mean absolute error;
            - ``rrse``: root relative squared error, 1 for the mean of the group's true values;
            - ``mase``: mean absolute error, relative to `naive_errors` of id and target;
            - ``pinball``: mean quantile loss, where there are quantiles;
            - ``coverage_80`` and the like: share of values between two quantiles, such as 0.1 and
              0.9, where there are both.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        return score_table(self.forecasts, self.naive_errors, by)


def run_backtest(
    forecaster: Any,
    table: Table,
    start: Any,
    every: int,
    refit: bool | int,
    levels: np.ndarray | None,
    n_jobs: int | None,
    verbose: int,
) -> Backtest:
    """Forecast from all origins, one fit for each block of them."""
    firsts = _first_rows(table, start, every, forecaster.horizon)
    size = len(firsts) if refit is False else int(refit)
    blocks = [firsts[i : i + size] for i in range(0, len(firsts), size)]
    parts = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_forecast_block)(clone(forecaster), table, block, levels) for block in blocks
    )
    frame = import_pandas().concat([part for block in parts for part in block])
    naive = _naive_errors(table, firsts[0], forecaster.horizon)
    return Backtest(frame.sort_index(kind="stable"), naive)


def _first_rows(table: Table, start: Any, every: int, horizon: int) -> list:
    """Return the times of the first steps of all forecasts whose futures lie within the table."""
    indexes = [one.index for one in table.series]
    start = to_moment("start", start, indexes[0])
    later = [index[index >= start] for index in indexes]
    later = [index for index in later if len(index) >= horizon]
    if not later:
        raise ValueError(
            f"'start' must leave horizon = {horizon} rows of the table to forecast, got {start} "
            f"for a table that ends at {max(index[-1] for index in indexes)}. Choose an earlier "
            "one."
        )
    first = min(index[0] for index in later)
    last = max(index[-horizon] for index in later)
    return list(steps_of(first, indexes[0].freq, end=last)[::every])


def _forecast_block(
    forecaster: Any, table: Table, firsts: Sequence, levels: np.ndarray | None
) -> list:
    """Fit to the rows before the first of some times, and forecast from the row before each."""
    ends = [one.index.searchsorted(firsts[0]) for one in table.series]
    before = [one.rows(slice(end)) for one, end in zip(table.series, ends, strict=True) if end]
    if not before:
        raise ValueError(
            f"'start' must leave rows before it to fit to, got none before {firsts[0]}. Choose a "
            "later one."
        )
    forecaster._fit(Table(before, table.columns, table.id_name))
    return [_forecast_from(forecaster, table, first, levels) for first in firsts]


def _forecast_from(forecaster: Any, table: Table, first: Any, levels: np.ndarray | None) -> Any:
    """Return a frame of forecasts and true values, of all series that have a window there."""
    n_timesteps, horizon = forecaster.n_timesteps, forecaster.horizon
    pasts, futures = [], []
    for one in table.series:
        row = one.index.searchsorted(first)
        if n_timesteps <= row <= len(one) - horizon:
            pasts.append(one.rows(slice(row - n_timesteps, row)))
            futures.append(one.rows(slice(row, row + horizon)))
    values = _compare(forecaster, pasts, futures, levels)
    kinds = [_TRUE, _FORECAST, *([] if levels is None else levels.tolist())]
    pandas = import_pandas()
    columns = pandas.MultiIndex.from_product([forecaster.targets_, kinds], names=["target", "kind"])
    frames = [
        pandas.DataFrame(part.reshape(horizon, -1), _levels(past, future, table), columns)
        for part, past, future in zip(values, pasts, futures, strict=True)
    ]
    return pandas.concat(frames) if frames else None


def _compare(
    forecaster: Any,
    pasts: Sequence[DatedSeries],
    futures: Sequence[DatedSeries],
    levels: np.ndarray | None,
) -> np.ndarray:
    """Return true values, forecasts and quantiles, `(n_series, horizon, n_targets, n_kinds)`."""
    design = forecaster._model.design
    true = np.array([future.values[:, design.targets] for future in futures], dtype=float)
    n_kinds = 2 if levels is None else 2 + len(levels)
    values = np.full((*true.shape, n_kinds), np.nan)
    values[..., :1] = true[..., None]
    known = [future.values[:, design.known] for future in futures]
    usable = [
        i
        for i, past in enumerate(pasts)
        if design.is_usable(past.values) and np.isfinite(known[i]).all()
    ]
    if usable:
        latest = [pasts[i] for i in usable]
        ahead = np.stack([known[i] for i in usable]) if design.known else None
        values[usable, ..., 1] = forecaster._model.forecast(latest, ahead)
        if levels is not None:
            values[usable, ..., 2:] = forecaster._model.quantiles(latest, ahead, levels)
    return values


def _levels(past: DatedSeries, future: DatedSeries, table: Table) -> Any:
    """Return the index of a forecast: id, where there is one, origin, time and step."""
    pandas, n = import_pandas(), len(future)
    arrays = [past.index[[-1] * n], future.index, np.arange(1, n + 1)]
    names = ["origin", future.index.name, "step"]
    if table.id_name is not None:
        arrays, names = [pandas.Index([past.id] * n), *arrays], [table.id_name, *names]
    return pandas.MultiIndex.from_arrays(arrays, names=names)


def _naive_errors(table: Table, first: Any, lag: int) -> Any:
    """Return the mean absolute difference over some steps, before a time, of every channel."""
    rows = []
    for one in table.series:
        values = one.values[: one.index.searchsorted(first)]
        rows.append(_mean(np.abs(values[lag:] - values[:-lag])))
    ids = [one.id for one in table.series] if table.id_name is not None else None
    return import_pandas().DataFrame(rows, index=ids, columns=table.columns)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of every column over what it holds; NaN where this is nothing."""
    n = np.isfinite(values).sum(axis=0)
    return np.where(n > 0, np.nansum(values, axis=0) / np.maximum(n, 1), np.nan)
