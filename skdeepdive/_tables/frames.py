"""Forecasts as frames with dates, and what a forecaster's parameters say about columns."""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .._data.checks import is_number, naming, shortened
from .layout import Layout, import_pandas
from .reading import DatedSeries, read_table


def dated_frame(
    values: np.ndarray,
    series: Sequence[DatedSeries],
    indexes: Sequence[Any],
    columns: Any,
    id_name: Any,
) -> Any:
    """Return values `(n_series, horizon, ...)` as a frame with the ids and times of its rows.

    Without a name of ids there is a single series, and a level less.
    """
    pandas = import_pandas()
    frames = [
        pandas.DataFrame(part.reshape(len(part), -1), index=index, columns=columns)
        for part, index in zip(values, indexes, strict=True)
    ]
    if id_name is None:
        return frames[0]
    return pandas.concat(frames, keys=[s.id for s in series], names=[id_name])


def column_levels(names: Sequence, others: Sequence, other_name: str) -> Any:
    """Return columns of two levels: those of the first, each with all of the others."""
    return import_pandas().MultiIndex.from_product([names, others], names=["target", other_name])


def as_list(names: Any) -> list:
    """Return names as a list, of which there are none in None and one in a single name."""
    if names is None:
        return []
    return [names] if isinstance(names, str) or not np.iterable(names) else list(names)


def check_columns(name: str, wanted: Any, columns: list) -> list:
    """Return the columns that a parameter names, as a list; there must be such columns."""
    wanted = as_list(wanted)
    with naming(name, "must name columns of the table"):
        unknown = [column for column in wanted if column not in columns]
        is_distinct = len(set(wanted)) == len(wanted)
    if unknown or not wanted or not is_distinct:
        raise ValueError(
            f"{name!r} must name columns of the table, each once, among {shortened(columns)}, got "
            f"{shortened(wanted)}."
        )
    return wanted


def check_key(name: str, key: Any) -> None:
    """Raise unless a parameter can be the name of a column, or is None."""
    if not isinstance(key, Hashable):
        raise TypeError(f"{name!r} must be the name of a column, or None, got {shortened(key)}.")


def check_names(name: str, names: Any) -> tuple:
    """Return names in a sequence, of which there are none in None."""
    if names is None:
        return ()
    if isinstance(names, str | bytes) or not np.iterable(names):
        raise TypeError(f"{name!r} must be a sequence of names, or None, got {shortened(names)}.")
    return tuple(names)


def check_bounds(bounds: Any, targets: list) -> np.ndarray:
    """Return the least and the greatest value of every target, (2, n_targets)."""
    of_each = bounds if isinstance(bounds, Mapping) else dict.fromkeys(targets, bounds)
    unknown = [name for name in of_each if name not in targets]
    if unknown:
        raise ValueError(f"'bounds' must name targets, {targets}, got {unknown[0]!r}.")
    return np.array([_check_pair(of_each.get(name)) for name in targets]).T


def _check_pair(pair: Any) -> tuple[float, float]:
    if pair is None:
        return -np.inf, np.inf
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2
    if not is_pair or not all(end is None or is_number(end, numbers.Real) for end in pair):
        raise TypeError(
            "'bounds' must be a pair of the least and the greatest value, such as (0, None), or a "
            f"dict of pairs by target, got {pair!r}."
        )
    low = -np.inf if pair[0] is None else float(pair[0])
    high = np.inf if pair[1] is None else float(pair[1])
    if not low < high:
        raise ValueError(f"'bounds' must have the least value below the greatest, got {pair!r}.")
    return low, high


def check_within(series: Sequence[DatedSeries], targets: Mapping, bounds: np.ndarray) -> None:
    """Raise where values of a table lie beyond the bounds of their target.

    Targets are positions of channels by their names.
    """
    for (name, channel), (low, high) in zip(targets.items(), bounds.T, strict=True):
        columns = [(one, one.values[:, channel]) for one in series]
        beyond = [
            (one.index[row], values[row])
            for one, values in columns
            for row in np.flatnonzero((values < low) | (values > high))
        ]
        if beyond:
            first, value = beyond[0]
            raise ValueError(
                f"'bounds' must hold for the table, got {len(beyond)} value(s) of {name!r} outside "
                f"[{low:g}, {high:g}], the first {value:g} at {first}. If they are errors, make "
                f"them NaN by {_within_call(name, low, high)}, then fill short holes by "
                "interpolate, or set gaps='keep'. If they are not, widen the bounds."
            )


def _within_call(name: Any, low: float, high: float) -> str:
    """Return the call that leaves what lies within bounds of a column."""
    column = f"table[{name!r}]"
    if np.isfinite([low, high]).all():
        return f"{column}.where({column}.between({low:g}, {high:g}))"
    return f"{column}.where({column} {f'>= {low:g}' if np.isfinite(low) else f'<= {high:g}'})"


def read_future(
    future: Any,
    layout: Layout,
    freq: Any,
    columns: list,
    series: Sequence[DatedSeries],
    indexes: Sequence[Any],
) -> np.ndarray:
    """Return covariates `(n_series, horizon, n_covariates)` of the steps to come.

    Raises
    ------
    ValueError
        If there is none at some step.
    """
    if future is None:
        raise ValueError(
            f"'future' must hold {columns} from {indexes[0][0]} to {indexes[0][-1]}, got None."
        )
    found = {s.id: s for s in read_table(future, layout, freq, columns, indexes[0]).series}
    parts = []
    for one, index in zip(series, indexes, strict=True):
        of_id = "" if one.id is None else f" for {one.id!r}"
        if one.id not in found:
            raise ValueError(
                f"'future' must hold {columns}{of_id} from {index[0]} to {index[-1]}, got no rows."
            )
        positions = found[one.id].index.get_indexer(index)
        values = found[one.id].values[positions].astype(one.values.dtype)
        values[positions < 0] = np.nan
        if np.isnan(values).any():
            row, column = np.argwhere(np.isnan(values))[0]
            n_missing = int(np.isnan(values).any(axis=1).sum())
            raise ValueError(
                f"'future' must hold {columns}{of_id} from {index[0]} to {index[-1]}, got no "
                f"{columns[column]!r} at {index[row]} ({n_missing} of {len(index)} steps are "
                "incomplete)."
            )
        parts.append(values)
    return np.stack(parts)
