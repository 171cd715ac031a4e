"""Scores of dated forecasts, for groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .layout import import_pandas


def score_table(forecasts: Any, naive_errors: Any, by: str | Sequence[str] | None) -> Any:
    """Return a row of scores for each group of forecasts; :class:`Backtest` explains them."""
    by = "target" if by is None else by
    by = [by] if isinstance(by, str) or not np.iterable(by) else list(by)
    levels = ["target", *forecasts.index.names]
    unknown = [name for name in by if name not in levels]
    if unknown or not by:
        raise ValueError(f"'by' must name levels of the forecasts among {levels}, got {by}.")
    losses = _losses(forecasts, naive_errors)
    groups = losses.groupby(by)
    means = groups.mean()
    means.insert(0, "n", groups.size())
    spread = groups["true"].var(ddof=0)
    rrse = (means["square"] / spread.where(spread > 0)) ** 0.5
    means.insert(2, "rrse", rrse)
    return means.drop(columns=["true", "square"])


def _losses(forecasts: Any, naive_errors: Any) -> Any:
    """Return the losses of every forecast value that has a true one."""
    pandas = import_pandas()
    parts = {}
    for target in forecasts.columns.unique(level=0):
        found = forecasts[target].dropna()
        error = found["true"] - found["forecast"]
        losses = {"mae": error.abs(), "true": found["true"], "square": error**2}
        losses["mase"] = error.abs() / _naive_of(found, naive_errors[target])
        levels = [level for level in found.columns if not isinstance(level, str)]
        if levels:
            losses["pinball"] = sum(_pinball(found, level) for level in levels) / len(levels)
        losses |= dict(_coverages(found, levels))
        parts[target] = pandas.DataFrame(losses)
    return pandas.concat(parts, names=["target"])


def _naive_of(found: Any, errors: Any) -> np.ndarray:
    """Return the error of the naive forecast for the id of every row, NaN where it is zero."""
    errors = errors.where(errors > 0)
    if len(errors) == 1:
        return np.full(len(found), errors.iloc[0])
    return errors.reindex(found.index.get_level_values(0)).to_numpy()


def _pinball(found: Any, level: float) -> Any:
    """Return the quantile loss, whose mean is least at the quantile of a level."""
    error = found["true"] - found[level]
    return np.maximum(level * error, (level - 1) * error)


def _coverages(found: Any, levels: Sequence[float]) -> list[tuple[str, Any]]:
    """Return whether values lie between quantiles that leave out as much on either side."""
    pairs = [(low, high) for low in levels for high in levels if low < 0.5 < high]
    return [
        (f"coverage_{100 * (high - low):.6g}", found["true"].between(found[low], found[high]) * 1.0)
        for low, high in pairs
        if abs(low + high - 1) < 1e-9
    ]
