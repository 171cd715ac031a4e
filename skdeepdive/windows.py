"""Windows over a time series, labels from its calendar, and chronological splits.

A window is drawn from the rows of a series like this (``n_timesteps=5, gap=2, horizon=3``)::

    row      0   1   2   3   4   5   6   7   8   9
             x   x   x   x   x   .   .   y   y   y
             `-- n_timesteps -'  gap     horizon
                             |
                          origin

The origin is the last observed row; the forecast covers the rows
``origin + 1 + gap`` to ``origin + gap + horizon``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._data.checks import check_flag, check_integer, naming
from ._data.cutting import check_rows, cut_recordings, cut_series, is_recordings
from ._data.series import check_timestamps, to_seconds

__all__ = ["calendar_factors", "sliding_windows", "split_windows"]

# More than any series has; sums of a few are still integers of 64 bits.
_MOST_STEPS = 2**53

_PART_NAMES = {
    2: ("the training part", "the test part"),
    3: ("the training part", "the validation part", "the test part"),
}


def sliding_windows(
    series: ArrayLike,
    n_timesteps: int,
    horizon: int,
    *,
    gap: int = 0,
    stride: int = 1,
    targets: int | str | Sequence[int] | Sequence[str] | None = None,
    drop_nan: bool = False,
) -> tuple[np.ndarray, ...]:
    """Cut a series into input windows, their futures and their forecast origins.

    Nothing is copied: `X` and `y` are read-only views of `series`, so windows cost no memory
    beyond the series itself, and a memory-mapped series stays on disk until a batch is read.
    Windows of several recordings are copied, as are those that `drop_nan` leaves.

    Parameters
    ----------
    series : array-like of shape (n_steps,) or (n_steps, n_channels), or list of them
        One row per time step, oldest first, evenly spaced in time; boolean, integer or real
        floating dtype. NumPy arrays of any memory layout, memory maps, and pandas Series and
        DataFrames. Values are not looked at, so NaN passes through. Where pandas dates the rows,
        none may be missing, doubled or out of order; ``series.tz_localize(zone,
        ambiguous="infer")`` makes the steps even of a local clock that is put forward and back.
        Lists, and DataFrames that hold columns of several dtypes or in several blocks, are
        converted to one array first, which copies the series once. A list of arrays or DataFrames
        is one of recordings, which are cut one by one.
    n_timesteps : int
        Length of the input windows, in steps.
    horizon : int
        Length of the futures, in steps.
    gap : int, default=0
        Steps between the origin and the first step to forecast. "One value, 24 steps ahead" is
        ``horizon=1, gap=23``; "the next 24 values" is ``horizon=24, gap=0``.
    stride : int, default=1
        Steps from one window to the next.
    targets : int, column name, or sequence of either, default=None
        Channels to forecast, in the order of the last axis of `y`; None takes all. An integer is
        a position (negative ones count from the end) even if the columns of a DataFrame are
        named by integers; anything else is a column name. Positions that are evenly spaced keep
        `y` a view of `series`; other selections copy the selected columns once, never the
        windows.
    drop_nan : bool, default=False
        Whether windows are left out that hold NaN, or whose futures do.

    Returns
    -------
    X : ndarray of shape (n_windows, n_timesteps) or (n_windows, n_timesteps, n_channels)
        Input windows, with a channel axis if `series` has one. Read-only view.
    y : ndarray of shape (n_windows, horizon) or (n_windows, horizon, n_targets)
        Futures; ``y[i]`` holds the rows ``origin[i] + 1 + gap`` to ``origin[i] + gap + horizon``.
        A single target keeps its axis, ``n_targets=1``. Read-only view.
    origin : ndarray of shape (n_windows,)
        Row of the last observed step of every window.
    recording : ndarray of shape (n_windows,)
        Number of the recording of every window. Only for a list of recordings, of which `origin`
        then counts the rows.

    Raises
    ------
    TypeError
        If an argument that counts steps is not an integer, or `series` is not numeric.
    ValueError
        If `series` is not 1-D or 2-D, is too short for one window, has an index of several levels
        or dates that are not evenly spaced, a count is out of range, or `targets` is empty or
        names a channel that does not exist; if recordings have different channels.

    Warns
    -----
    UserWarning
        If recordings are too short for one window: they are left out.

    See Also
    --------
    calendar_factors : Labels for the windows, from ``index[origin]``.
    split_windows : Chronological parts without shared futures.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.windows import sliding_windows
    >>> X, y, origin = sliding_windows(np.arange(10), n_timesteps=4, horizon=2, stride=3)
    >>> X
    array([[0, 1, 2, 3],
           [3, 4, 5, 6]])
    >>> y
    array([[4, 5],
           [7, 8]])
    >>> origin
    array([3, 6])
    """
    n_timesteps = check_integer("n_timesteps", n_timesteps, minimum=1)
    horizon = check_integer("horizon", horizon, minimum=1)
    gap = check_integer("gap", gap, minimum=0)
    stride = check_integer("stride", stride, minimum=1)
    drop_nan = check_flag("drop_nan", drop_nan)
    lengths = (n_timesteps, gap, horizon)
    if not is_recordings(series):
        values = check_rows(series, lengths)
        return cut_series(series, values, lengths, stride, targets, drop_nan)
    recordings: Any = series
    return cut_recordings(recordings, lengths, stride, targets, drop_nan)


def calendar_factors(index: ArrayLike, names: Sequence[str]) -> Any:
    """Read calendar labels, such as the hour or the weekday, from timestamps.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, Series of either, or datetime64 ndarray, of shape \
(n_samples,)
        Timestamps in any order and of any unit; a period is taken for its first moment.
        Time-zone-aware ones are read as the local wall clock of their zone. For the labels of
        windows, pass ``index[origin]``.
    names : sequence of str
        Factors to read, among

        - ``"minute"``: 0 to 59,
        - ``"hour"``: 0 to 23,
        - ``"weekday"``: 0 (Monday) to 6 (Sunday),
        - ``"day"``: day of the month, 1 to 31,
        - ``"month"``: 1 to 12,
        - ``"quarter"``: 1 to 4.

    Returns
    -------
    factors : DataFrame or ndarray of shape (n_samples, n_names)
        Integer labels, one column per name. For pandas input a DataFrame with the names as its
        columns and the index of the input (for a DatetimeIndex, that index itself); for NumPy
        input an int64 array.

    Raises
    ------
    TypeError
        If `index` does not hold timestamps, or `names` is a single string.
    ValueError
        If `index` is not 1-D or holds NaT, or `names` is empty, has a name twice or an unknown
        one.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.windows import calendar_factors
    >>> days = np.array(["2012-01-01T23", "2012-01-02T00"], dtype="datetime64[h]")
    >>> calendar_factors(days, ["hour", "weekday", "month"])
    array([[23,  6,  1],
           [ 0,  0,  1]])
    """
    names = _check_factor_names(names)
    stamps = check_timestamps("index", index)
    wall = stamps
    if not isinstance(stamps, np.ndarray):
        wall = stamps.tz_localize(None).to_numpy()
    seconds = to_seconds("index", wall)
    labels = np.empty((len(wall), len(names)), dtype=np.int64)
    for column, name in enumerate(names):
        labels[:, column] = _CALENDAR[name](seconds)
    if wall is stamps:
        return labels
    rows = getattr(index, "index", index)  # of a Series
    return sys.modules["pandas"].DataFrame(labels, index=rows, columns=names)


def split_windows(
    origin: ArrayLike,
    horizon: int,
    *,
    gap: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    dates: Sequence[Any] | None = None,
    index: ArrayLike | None = None,
) -> tuple[slice, ...]:
    """Split windows into chronological parts that share no future value.

    The rows of the series are cut into consecutive parts, and a window belongs to the part that
    holds all rows it forecasts. Windows whose future straddles a cut belong to no part, so no
    value to be forecast in one part is a target of another. The *inputs* of the first windows of
    a part do reach back over the cut: at that time those values are known, and the forecasting
    literature evaluates in this way.

    Parameters
    ----------
    origin : array-like of shape (n_windows,)
        Row of the last observed step of every window, increasing; the third output of
        :func:`sliding_windows`.
    horizon : int
        Length of the futures the windows were drawn with, in steps.
    gap : int, default=0
        The gap the windows were drawn with, in steps.
    fractions : sequence of float, default=(0.6, 0.2, 0.2)
        Share of the rows in each part, summing to 1. Not used if `dates` is given.
    dates : sequence of str, datetime64 or Timestamp, default=None
        First timestamp of the second and every later part, increasing: ``n_parts - 1`` of them.
        Needs `index`. If `index` has a time zone, dates without one are local times in it.
    index : DatetimeIndex, PeriodIndex, Series of either, or datetime64 ndarray, of shape \
(n_steps,), default=None
        Timestamps of all rows of the series (not of the windows), sorted. Without `dates` only
        its length matters; if None, the series is taken to end with the last target row.

    Returns
    -------
    parts : tuple of slice
        One slice into the windows per part, so that ``X[parts[0]]`` is a view: training,
        validation and test windows for the default `fractions`.

    Raises
    ------
    TypeError
        If `origin`, `horizon` or `gap` are not integers, `index` does not hold timestamps while
        `dates` is given, or `dates` is a single date.
    ValueError
        If `origin` is not increasing, `fractions` are not positive or do not sum to 1, `dates`
        are unsorted, outside `index` or given without it, `index` is unsorted or too short, or a
        part is left without windows.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.windows import sliding_windows, split_windows
    >>> X, y, origin = sliding_windows(np.arange(100), n_timesteps=10, horizon=5)
    >>> train, validation, test = split_windows(origin, horizon=5)
    >>> [(int(y[part].min()), int(y[part].max())) for part in (train, validation, test)]
    [(10, 59), (60, 79), (80, 99)]
    """
    horizon = check_integer("horizon", horizon, minimum=1)
    gap = check_integer("gap", gap, minimum=0)
    origin = _check_origin(origin)
    n_covered = int(origin[-1]) + gap + horizon + 1
    with naming("index", "must be one-dimensional"):
        n_steps = n_covered if index is None else np.shape(index)[0]
    if n_steps < n_covered:
        raise ValueError(
            f"'index' must cover the {n_covered} rows that the windows reach, got {n_steps} "
            "timestamps. Pass the index of the whole series, not that of the windows."
        )
    cuts = _cuts_at_fractions(fractions, n_steps) if dates is None else _cuts_at(dates, index)
    edges = [0, *cuts, n_steps]
    # All targets lie in rows [start, stop) when start - 1 - gap <= origin < stop - gap - horizon.
    starts = np.searchsorted(origin, np.subtract(edges[:-1], 1 + gap))
    stops = np.searchsorted(origin, np.subtract(edges[1:], gap + horizon))
    names = _PART_NAMES.get(len(starts), [f"part {k + 1}" for k in range(len(starts))])
    for k, name in enumerate(names):
        if starts[k] >= stops[k]:
            raise ValueError(
                f"{'fractions' if dates is None else 'dates'!r} must leave windows for every "
                f"part, but none has all its {horizon} target rows in {name}, rows "
                f"{edges[k]}:{edges[k + 1]}. Make that part longer, or lower 'horizon'."
            )
    return tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))


def _check_factor_names(names: Any) -> list[str]:
    if isinstance(names, str) or not np.iterable(names):
        raise TypeError(f"'names' must be a list of factor names, got {names!r}. Pass [{names!r}].")
    names = list(names)
    valid = ", ".join(map(repr, _CALENDAR))
    if not names:
        raise ValueError(f"'names' must name at least one factor among {valid}, got none.")
    for name in names:
        if not isinstance(name, str) or name not in _CALENDAR:
            raise ValueError(f"'names' must be among {valid}, got {name!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"'names' must be distinct, got {names!r}. Name every factor once.")
    return names


# Casting datetime64 to a coarser unit rounds down, before 1970 too: differences of casts count
# units within the next larger one. Day 0 of the epoch was a Thursday, weekday 3.
def _minute(time: np.ndarray) -> np.ndarray:
    return (time.astype("M8[m]") - time.astype("M8[h]")).astype(np.int64)


def _hour(time: np.ndarray) -> np.ndarray:
    return (time.astype("M8[h]") - time.astype("M8[D]")).astype(np.int64)


def _weekday(time: np.ndarray) -> np.ndarray:
    return (time.astype("M8[D]").astype(np.int64) + 3) % 7


def _day(time: np.ndarray) -> np.ndarray:
    return (time.astype("M8[D]") - time.astype("M8[M]")).astype(np.int64) + 1


def _month(time: np.ndarray) -> np.ndarray:
    return time.astype("M8[M]").astype(np.int64) % 12 + 1


def _quarter(time: np.ndarray) -> np.ndarray:
    return (_month(time) - 1) // 3 + 1


_CALENDAR = {
    "minute": _minute,
    "hour": _hour,
    "weekday": _weekday,
    "day": _day,
    "month": _month,
    "quarter": _quarter,
}


def _check_origin(origin: Any) -> np.ndarray:
    with naming("origin"):
        origin = np.asarray(origin)
    if origin.dtype.kind not in "iu":
        raise TypeError(
            f"'origin' must hold integer row positions, got dtype {origin.dtype}. Pass the third "
            "output of sliding_windows."
        )
    if origin.ndim != 1 or not len(origin):
        raise ValueError(
            f"'origin' must have shape (n_windows,) with at least one window, got {origin.shape}."
        )
    origin = origin.astype(np.int64)
    if origin[0] < 0 or np.any(origin[1:] <= origin[:-1]):
        raise ValueError(
            "'origin' must be increasing and non-negative. Pass the third output of "
            "sliding_windows before shuffling."
        )
    if origin[-1] > _MOST_STEPS:
        raise ValueError(f"'origin' must be at most {_MOST_STEPS}, got {origin[-1]}.")
    return origin


def _cuts_at_fractions(fractions: Any, n_steps: int) -> list[int]:
    with naming("fractions"):
        shares = np.asarray(fractions)
    if (
        shares.dtype.kind not in "iuf"
        or shares.ndim != 1
        or not len(shares)
        or not np.all(shares > 0)
    ):
        raise ValueError(
            f"'fractions' must be a sequence of positive numbers, got {fractions!r}. Leave out "
            "the parts you do not need."
        )
    with np.errstate(over="ignore"):
        total = shares.sum()
    if abs(total - 1) > 1e-6:
        raise ValueError(
            f"'fractions' must sum to 1, got {fractions!r} with sum {total:g}. Divide them by "
            "their sum."
        )
    # 0.7 + 0.1 falls short of 0.8 in binary: without the allowance a cut would lose a row.
    return [int(cut + 1e-6) for cut in np.cumsum(shares)[:-1] * n_steps]


def _cuts_at(dates: Any, index: Any) -> list[int]:
    if index is None:
        raise ValueError("'dates' needs 'index', the timestamps of the rows of the series.")
    if isinstance(dates, str) or not np.iterable(dates):
        raise TypeError(f"'dates' must be a list of dates, got {dates!r}. Pass [{dates!r}].")
    stamps = check_timestamps("index", index)
    zone = getattr(stamps, "tz", None)
    instants = [_instant(date, zone) for date in dates]
    if not instants:
        raise ValueError("'dates' must hold at least one date, got none. Or leave it None.")
    rows = stamps
    if not isinstance(stamps, np.ndarray):
        rows = (stamps if zone is None else stamps.tz_convert(None)).to_numpy()
    if np.any(rows[1:] < rows[:-1]):
        raise ValueError("'index' must be sorted. Sort the series by time before cutting it.")
    if any(later <= earlier for earlier, later in pairwise(instants)):
        raise ValueError(f"'dates' must be increasing, got {list(map(str, dates))}. Sort them.")
    for date, instant in zip(dates, instants, strict=True):
        if not rows[0] < instant <= rows[-1]:
            raise ValueError(
                f"'dates' must lie after the first and not after the last timestamp of 'index', "
                f"{stamps[0]} and {stamps[-1]}, got {date!s}."
            )
    return [int(np.searchsorted(rows, instant)) for instant in instants]


_NOT_A_DATE = "'dates' must hold dates such as '2014-01-01', got {!r}."


def _instant(date: Any, zone: Any) -> np.datetime64:
    """Convert a date to datetime64, in UTC if `zone` is set."""
    if zone is not None:
        try:
            stamp = sys.modules["pandas"].Timestamp(date)
        except (TypeError, ValueError) as error:
            raise ValueError(_NOT_A_DATE.format(date)) from error
        with naming("dates", f"must be local times of {zone}, or have a time zone"):
            stamp = stamp.tz_localize(zone) if stamp.tz is None else stamp
        return stamp.tz_convert(None).to_datetime64()
    if getattr(date, "tzinfo", None) is not None:
        raise ValueError(
            f"'dates' must have no time zone when 'index' has none, got {date!s}. Drop it, or "
            "localize the index."
        )
    date = date.to_datetime64() if hasattr(date, "to_datetime64") else date
    try:
        instant = np.datetime64(date)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(_NOT_A_DATE.format(date)) from error
    if np.isnat(instant):
        raise ValueError(f"'dates' must not hold missing dates, got {date!r}. Drop it.")
    return instant
