"""Read a table as series with a row at every step of their frequency, NaN where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._data.checks import shortened
from .._data.rows import LARGEST
from .dates import check_order, in_zone_of, infer_freq, regular_index
from .layout import Layout, import_pandas


@dataclass(frozen=True)
class DatedSeries:
    """The rows of one series, evenly spaced.

    Parameters
    ----------
    id : hashable
        What tells the series from the others of its table; None where it is the only one.
    index : DatetimeIndex or PeriodIndex of shape (n_steps,)
        Every step of the frequency.
    values : ndarray of shape (n_steps, n_channels)
        NaN where the table has no value.
    """

    id: Any
    index: Any
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: slice) -> DatedSeries:
        """Return some of the rows, without a copy."""
        return DatedSeries(self.id, self.index[rows], self.values[rows])


class Table(NamedTuple):
    """The series of a table, by id in the order of their first rows.

    Parameters
    ----------
    series : list of DatedSeries
    columns : list
        Names of the channels.
    id_name : hashable
        What the ids are called; None for a single series without one.
    """

    series: list[DatedSeries]
    columns: list
    id_name: Any


def read_table(
    table: Any,
    layout: Layout,
    freq: Any = None,
    columns: Sequence | None = None,
    earlier: Any = None,
) -> Table:
    """Read the series of a table.

    Parameters
    ----------
    table : DataFrame or Series
        Of pandas or polars; its rows are dated by the index or by the column `layout.time`.
    layout : Layout
    freq : str or offset, default=None
        The frequency of the rows. None: it is inferred.
    columns : sequence, default=None
        The channels to read. None: all columns.
    earlier : DatetimeIndex or PeriodIndex, default=None
        Times of the table of fit, in whose time zone these are to be. None: there is none.

    Raises
    ------
    TypeError
        If it is no table, is not dated, or has channels that are not numeric.
    ValueError
        If rows are out of order, doubled or between steps, columns are missing, or times are not
        dated as earlier ones.
    """
    frame = _to_frame(table, layout)
    ids, frame = _take_ids(frame, layout)
    if earlier is not None:
        frame = frame.set_axis(in_zone_of(earlier, frame.index, layout), axis=0)
    frame = _take_channels(frame, layout, columns)
    parts = _split(frame, ids, layout)
    n_levels = 1 if ids is None or layout.id is not None else 2
    for _, part in parts:
        check_order(part.index, layout, n_levels)
    freq = infer_freq([part.index for _, part in parts], freq, layout)
    series = [_to_series(key, part, freq, layout) for key, part in parts]
    return Table(series, list(frame.columns), None if ids is None else ids.name)


def _to_frame(table: Any, layout: Layout) -> Any:
    """Return a DataFrame of pandas."""
    pandas = import_pandas()
    if isinstance(table, pandas.Series):
        return table.to_frame("value" if table.name is None else table.name)
    if isinstance(table, pandas.DataFrame):
        return table
    is_polars = type(table).__module__.split(".")[0] == "polars"
    if is_polars and hasattr(table, "collect"):
        raise TypeError(f"{layout.name!r} must be a DataFrame, got LazyFrame. Call its collect().")
    if is_polars and hasattr(table, "columns"):
        if layout.time is None:
            raise ValueError(
                f"'time' must name the column of {layout.name!r} that dates its rows, since tables "
                "of polars have no index, got None."
            )
        return pandas.DataFrame({name: _polars_column(table[name]) for name in table.columns})
    raise TypeError(
        f"{layout.name!r} must be a DataFrame or Series of pandas, or a DataFrame of polars, got "
        f"{type(table).__name__}. Date the rows of an array with pandas.DataFrame(values, "
        "index=pandas.date_range(start, periods=len(values), freq='h'))."
    )


def _polars_column(column: Any) -> Any:
    """Return a column of polars as one of pandas; moments keep their time zone."""
    pandas = import_pandas()
    zone = getattr(column.dtype, "time_zone", None)
    values = pandas.Series(column.to_numpy())
    return values if zone is None else values.dt.tz_localize("UTC").dt.tz_convert(zone)


def _take_ids(frame: Any, layout: Layout) -> tuple[Any, Any]:
    """Return the id of every row, or None, and the channels with a dated index."""
    pandas = import_pandas()
    others = [key for key in layout.keys if list(frame.columns).count(key) != 1]
    if others:
        raise ValueError(
            f"'id' and 'time' must each name a column of {layout.name!r}, "
            f"{shortened(list(frame))}, got {others[0]!r}."
        )
    ids = None if layout.id is None else frame[layout.id]
    index = frame.index if layout.time is None else frame[layout.time]
    if layout.time is None and frame.index.nlevels == 2:
        ids, index = (frame.index.get_level_values(level) for level in (0, 1))
        if _are_dated(ids) and not _are_dated(index):
            raise TypeError(
                f"{layout.name!r} must be dated by the last level of its index, (id, time), got "
                f"times in the first. Call {layout.name}.swaplevel()."
            )
    if getattr(index, "nlevels", 1) > 1:
        raise ValueError(
            f"{layout.name!r} must have an index of at most two levels, (id, time), got "
            f"{index.nlevels}. Join the levels that make the id."
        )
    stamps = _to_stamps(index, layout).rename(index.name or "time")
    if ids is not None:
        ids = pandas.Series(np.asarray(ids), index=stamps, name=ids.name or "id")
        if ids.isna().any():
            row = int(np.argmax(ids.isna()))
            raise ValueError(
                f"{layout.name!r} must have an id in every row, got none in row {row}."
            )
    return ids, frame.drop(columns=layout.keys).set_axis(stamps, axis=0)


def _to_stamps(index: Any, layout: Layout) -> Any:
    """Return the time of rows as a DatetimeIndex or PeriodIndex."""
    pandas = import_pandas()
    stamps = index if isinstance(index, pandas.Index) else pandas.Index(index)
    if pandas.api.types.is_string_dtype(stamps) or stamps.dtype == object:
        # Other formats are ambiguous: 01/02 is a day in January or in February.
        try:
            stamps = pandas.DatetimeIndex(pandas.to_datetime(stamps, format="ISO8601"))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{layout.name!r} must be dated, got {stamps[0]!r} in the first row. Convert the "
                "times with pandas.to_datetime(times, format=...), those with several UTC offsets "
                "with pandas.to_datetime(times, utc=True).tz_convert(zone)."
            ) from error
    if not _are_dated(stamps):
        advice = "Call set_index on the column of times, or name it"
        if layout.time is not None:
            advice = "Convert it with pandas.to_datetime, seconds since 1970 by unit='s'"
        raise TypeError(
            f"{layout.name!r} must be dated by its index or by the column that 'time' names, got "
            f"one of dtype {stamps.dtype}. {advice}."
        )
    return stamps


def _are_dated(index: Any) -> bool:
    pandas = import_pandas()
    return isinstance(index, pandas.DatetimeIndex | pandas.PeriodIndex)


def _take_channels(frame: Any, layout: Layout, columns: Sequence | None) -> Any:
    """Return the columns that are channels; all of them must be numeric."""
    if columns is not None:
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise ValueError(
                f"{layout.name!r} must have the columns {shortened(list(columns))}, got none named "
                f"{', '.join(map(repr, missing))}."
            )
        frame = frame[list(columns)]
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"{layout.name!r} must have columns of one level, got {frame.columns.nlevels}. Name "
            "them anew with set_axis(names, axis=1)."
        )
    if not frame.columns.is_unique:
        raise ValueError(f"{layout.name!r} must have distinct column names, got {list(frame)}.")
    others = [name for name, dtype in frame.dtypes.items() if dtype.kind not in "biuf"]
    if others or not len(frame.columns):
        raise TypeError(
            f"{layout.name!r} must have columns of numbers, got "
            f"{f'others in {shortened(others)}' if others else 'none'}. Read numbers with decimal "
            "commas by read_csv(decimal=','), make numbers of other text by "
            "pandas.to_numeric(column, errors='coerce'), drop columns that hold none, and name ids "
            "and times by 'id' and 'time'."
        )
    return frame


def _split(frame: Any, ids: Any, layout: Layout) -> list[tuple[Any, Any]]:
    """Return ids and the rows of each."""
    if not len(frame):
        raise ValueError(f"{layout.name!r} must have rows, got none.")
    if ids is None:
        return [(None, frame)]
    codes, labels = import_pandas().factorize(ids)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    return [(label, frame.iloc[of_id]) for label, of_id in zip(labels, rows, strict=True)]


def _to_series(key: Any, frame: Any, freq: Any, layout: Layout) -> DatedSeries:
    index, positions = regular_index(frame.index, freq, layout)
    is_single = all(str(dtype) == "float32" for dtype in frame.dtypes)
    dtype = np.float32 if is_single else np.float64
    found = frame.to_numpy(dtype=dtype, na_value=np.nan)
    largest = min(LARGEST, float(np.finfo(dtype).max))
    is_far = np.abs(found) > largest  # false where there is NaN
    if is_far.any():
        row, column = np.argwhere(is_far)[0]
        kind = "infinity" if np.isinf(found[row, column]) else f"values beyond {LARGEST:g}"
        raise ValueError(
            f"{layout.name!r} must not hold {kind}, got it in column {frame.columns[column]!r} at "
            f"{frame.index[row]}. Replace it by NaN where a value is missing."
        )
    if len(positions) == len(index):
        return DatedSeries(key, index, found)
    values = np.full((len(index), found.shape[1]), np.nan, dtype)
    values[positions] = found
    return DatedSeries(key, index, values)
