"""Check a series: its values, the columns to forecast and the timestamps of its rows."""

import numbers
import sys
from typing import Any

import numpy as np

from .checks import is_number, naming, shortened

# About 36 billion years about 1970, which NumPy's calendar is exact in.
_MOST_SECONDS = 2**60


def check_series(series: Any) -> np.ndarray:
    """Return the values of a series, one row per time step and, in two dimensions, per channel."""
    if isinstance(series, np.ma.MaskedArray):
        raise TypeError(
            "'series' must not be a masked array, since the windows would lose the mask. Pass "
            "series.filled(np.nan)."
        )
    if getattr(getattr(series, "index", None), "nlevels", 1) > 1:
        raise ValueError(
            "'series' must have one row per time step, got an index of several levels, whose "
            "windows would cross from one series to the next. Pass a list of them: "
            "[part.droplevel(0) for _, part in series.groupby(level=0)]."
        )
    with naming("series"):
        values = series.to_numpy() if hasattr(series, "iloc") else np.asarray(series)
    if hasattr(series, "iloc") and values.dtype == object and _holds_numbers(series):
        # Missing nullable values, or numbers next to booleans: pandas falls back to objects.
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"'series' must hold real numbers, got {_other_columns(series)}dtype {values.dtype}. "
            "Make numbers of text by pandas.to_numeric(column, errors='coerce'), or drop columns "
            "that hold none."
        )
    if values.ndim not in (1, 2):
        raise ValueError(
            "'series' must have shape (n_steps,) or (n_steps, n_channels), got shape "
            f"{values.shape}. Reshape it so that time is the first axis."
        )
    if values.ndim == 2 and values.shape[1] == 0:
        raise ValueError(
            f"'series' must have at least one channel, got shape {values.shape}. Pass the "
            "columns to cut into windows."
        )
    return values


def _other_columns(series: Any) -> str:
    """Name the columns of a DataFrame that do not hold numbers."""
    if not (hasattr(series, "columns") and hasattr(series, "iloc")):
        return ""
    others = [name for name, dtype in series.dtypes.items() if dtype.kind not in "biuf"]
    return f"the columns {shortened(others)} in "


def _holds_numbers(frame: Any) -> bool:
    """Whether every column of a DataFrame, or a Series, is numeric."""
    dtypes = frame.dtypes if hasattr(frame, "columns") else [frame.dtype]
    # Nullable and Arrow dtypes have the `kind` of the NumPy dtype they stand for.
    return all(dtype.kind in "biuf" for dtype in dtypes)


def select_targets(values: np.ndarray, targets: Any, columns: Any) -> np.ndarray:
    """Return the channels that `targets` names or counts, without a copy where they are a slice."""
    if values.ndim == 1:
        raise ValueError(
            f"'targets' must be None for a 1-D series, got {targets!r}. Leave it out, or pass the "
            "series with shape (n_steps, n_channels)."
        )
    names = None if columns is None else list(columns)
    if isinstance(targets, str) or not np.iterable(targets):
        targets = [targets]
    elif isinstance(targets, tuple) and names is not None and targets in names:
        # Columns of a MultiIndex are named by tuples.
        targets = [targets]
    positions = [_target_position(target, values.shape[1], names) for target in targets]
    if not positions:
        raise ValueError(
            "'targets' must name at least one channel, got none. Leave it None to forecast all."
        )
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    if step == 0 or any(np.diff(positions) != step):
        return values[:, positions]
    # A step from the first position would end at -1, which a slice reads as the last one.
    stop = positions[-1] + step
    return values[:, slice(positions[0], None if stop < 0 else stop, step)]


def _target_position(target: Any, n_channels: int, names: list | None) -> int:
    if isinstance(target, (bool, np.bool_)):
        raise TypeError(
            f"'targets' must hold positions or column names, got {target!r}. Pass "
            "np.flatnonzero(mask) in place of a mask."
        )
    if is_number(target, numbers.Integral):
        position = int(target)
        if not -n_channels <= position < n_channels:
            advice = ""
            if names is not None and target in names:
                advice = (
                    " Integers are positions, whatever the names of the columns: pass "
                    f"series.columns.get_loc({target!r})."
                )
            raise ValueError(
                f"'targets' must lie between {-n_channels} and {n_channels - 1} for a series of "
                f"{n_channels} channels, got {position}.{advice}"
            )
        return position % n_channels
    if names is None:
        raise TypeError(
            f"'targets' must hold integer positions for a series without column names, got "
            f"{target!r}. Pass positions, or the series as a DataFrame."
        )
    if names.count(target) != 1:
        found = "is not one" if target not in names else "stands more than once"
        listed = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        raise ValueError(
            f"'targets' must name columns of 'series', but {target!r} {found} among {listed}. "
            "Pass another name, or positions."
        )
    return names.index(target)


def check_timestamps(name: str, index: Any) -> Any:
    """Return a DatetimeIndex for pandas input, a datetime64 ndarray otherwise; never with NaT.

    A period is taken for its first moment.
    """
    pandas: Any = sys.modules.get("pandas")
    is_pandas = pandas is not None and isinstance(index, (pandas.Index, pandas.Series))
    if isinstance(index, np.ma.MaskedArray):
        raise TypeError(f"{name!r} must not be a masked array. Fill or drop its masked values.")
    with naming(name):
        if is_pandas and isinstance(index.dtype, pandas.PeriodDtype):
            index = getattr(index, "dt", index).to_timestamp()
        stamps: Any = index if is_pandas else np.asarray(index)
    if getattr(stamps.dtype, "kind", None) != "M":
        of_rows = isinstance(getattr(index, "index", None), getattr(pandas, "DatetimeIndex", ()))
        hint = f"series.{name}" if of_rows else "pandas.to_datetime(...) or a datetime64 array"
        raise TypeError(
            f"{name!r} must hold timestamps, got dtype {stamps.dtype} ({type(index).__name__}). "
            f"Pass {hint}."
        )
    if stamps.ndim != 1:
        raise ValueError(
            f"{name!r} must be one-dimensional, got shape {stamps.shape}. Pass one timestamp per "
            "row."
        )
    if is_pandas:
        stamps = pandas.DatetimeIndex(stamps)
    n_missing = int((stamps.isna() if is_pandas else np.isnat(stamps)).sum())
    if n_missing:
        raise ValueError(
            f"{name!r} must not hold NaT, got {n_missing} of them. Fill or drop those rows first."
        )
    return stamps


def check_spacing(index: Any) -> None:
    """Raise unless rows dated by pandas are in order, none of them twice and none missing.

    A step of two thirds to three halves of the median step is taken for one step, since months
    differ and clocks are not exact. Where the `freq` of time stamps is set, pandas has seen to it.
    """
    pandas: Any = sys.modules.get("pandas")
    if pandas is None or not isinstance(index, pandas.DatetimeIndex | pandas.PeriodIndex):
        return
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise ValueError(f"'series' must have dated rows, got NaT in row {row}. Drop such rows.")
    steps = np.diff(index.asi8)  # of time stamps in UTC, of periods by their count
    if len(steps) == 0:
        return
    median = np.median(steps)
    is_regular = isinstance(index, pandas.DatetimeIndex) and index.freq is not None
    is_uneven = (3 * steps < 2 * median) | (2 * steps > 3 * median)
    localize = "series.tz_localize(zone, ambiguous='infer')"
    mean = "series.groupby(level=0).mean()"
    for is_bad, demand, advice in (
        (steps < 0, "in the order of time", sort_advice(index, localize, "series.sort_index()")),
        (
            steps == 0,
            "one per time step",
            mean_advice(index, localize, copies_call("series"), mean),
        ),
        (is_uneven & (not is_regular), "evenly spaced in time", None),
    ):
        if is_bad.any():
            row = int(np.argmax(is_bad)) + 1
            raise ValueError(
                f"'series' must have rows {demand}, got {index[row]} in row {row} after "
                f"{index[row - 1]}. {advice or _fill(index, median)}"
            )


def sort_advice(index: Any, localize: str, sort: str) -> str:
    """Return what to do about rows out of order, by the calls given.

    The hour that a local clock shows twice runs back in time, and sorting would mix both.
    """
    if not _is_naive(index) or index.is_unique:
        return f"Call {sort}."
    return (
        f"Where a local clock was put back, first call {localize}, on rows from the oldest to the "
        f"newest: sorting would mix the hours that it shows twice. Only then call {sort}."
    )


def mean_advice(index: Any, localize: str, copies: str, mean: str) -> str:
    """Return what to do about doubled rows, by the calls given.

    Means of the hour that a local clock shows twice would be of two hours.
    """
    if not _is_naive(index):
        return f"Call {mean}."
    return (
        f"Where a local clock was put back, first call {localize}; where that fails, drop copies "
        f"of rows before it, by {copies}. Only then call {mean}."
    )


def _is_naive(index: Any) -> bool:
    """Whether time stamps have no time zone; periods have none, but follow no clock."""
    return getattr(index, "tz", True) is None


def copies_call(name: str) -> str:
    """Return the call that drops rows of the same time and values as one before."""
    return f"{name}[~{name}.reset_index().duplicated().to_numpy()]"


def _fill(index: Any, step: float) -> str:
    """Return the advice for rows that are missing."""
    pandas: Any = sys.modules["pandas"]
    dated, freq, business = "series", "freq", ""
    if isinstance(index, pandas.PeriodIndex):
        dated, freq = "series.to_timestamp()", repr(index.freqstr)
    elif (span := pandas.Timedelta(int(step), unit=index.unit)) == pandas.Timedelta(days=1):
        freq, business = "'D'", " Business days are evenly spaced after series.asfreq('B')."
    elif span < pandas.Timedelta(days=28):
        freq = repr(pandas.tseries.frequencies.to_offset(span).freqstr)
    return (
        f"{dated}.resample({freq}).mean() has a row for every step, with NaN where none was: fill "
        "these, or cut the parts between them one by one. To take the rows as they come, pass "
        f"series.reset_index(drop=True).{business}"
    )


def to_seconds(name: str, wall: np.ndarray) -> np.ndarray:
    """Round timestamps of any unit down to seconds, where they have the same labels."""
    with naming(name, "must hold timestamps of a unit such as seconds"):
        if np.datetime_data(wall.dtype)[0] == "generic":
            raise ValueError("they have none")
        seconds = wall.astype("M8[s]")
    # Years beyond what seconds can count wrap around without a word.
    is_coarse = np.promote_types(wall.dtype, "M8[s]") == seconds.dtype
    wrapped = is_coarse and np.any(seconds.astype(wall.dtype) != wall)
    if wrapped or np.any(np.abs(seconds.astype(np.int64)) > _MOST_SECONDS):
        raise ValueError(f"{name!r} must lie within some billions of years about 1970.")
    return seconds
