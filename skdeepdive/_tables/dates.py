"""Time stamps and periods of rows: their order, their frequency, and the steps to come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._data.series import mean_advice, sort_advice
from .layout import Layout

# So many steps for every row are taken for an error in a time stamp.
_MOST_STEPS_PER_ROW = 100
_ZONED = "times with a time zone"


def check_order(index: Any, layout: Layout, n_levels: int) -> None:
    """Raise unless the rows of a series are in the order of time, none of them twice."""
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise ValueError(
            f"{layout.name!r} must have dated rows, got NaT in row {row}. Drop such rows."
        )
    steps = np.diff(index.asi8)
    localize, mean = layout.localize_call(n_levels), layout.mean_call(n_levels)
    if layout.id is None and n_levels == 1:
        mean += ", or name the column that tells several series apart by 'id'"
    for is_bad, demand, advice in (
        (steps < 0, "in the order of time", sort_advice(index, localize, layout.sort_call())),
        (steps == 0, "one per time step", mean_advice(index, localize, layout.copies_call(), mean)),
    ):
        if is_bad.any():
            row = int(np.argmax(is_bad)) + 1
            raise ValueError(
                f"{layout.name!r} must have rows {demand}, got {index[row]} after "
                f"{index[row - 1]}. {advice}"
            )


def infer_freq(indexes: Sequence[Any], freq: Any, layout: Layout) -> Any:
    """Return the frequency of rows as an offset of pandas: the one given, or the commonest."""
    import pandas

    if freq is not None:
        try:
            return pandas.tseries.frequencies.to_offset(freq)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"'freq' must be a frequency of pandas, such as 'h', 'B' or 'MS', got {freq!r}."
            ) from error
    for index in indexes:
        if index.freq is not None:
            return index.freq
    longest = max((_longest_run(index) for index in indexes), key=len)
    if len(longest) < 3:
        raise ValueError(
            f"{layout.name!r} must have three rows in a row to show their frequency, got "
            f"{len(longest)}. Name it by 'freq', such as 'h'."
        )
    found = _freq_of(longest, layout)
    # Runs end at every weekend, so that those of business days look like days.
    is_daily = found == pandas.tseries.frequencies.to_offset("D")
    if is_daily and max(map(len, indexes)) > 5:
        found = found if any((i.day_of_week > 4).any() for i in indexes) else pandas.offsets.BDay()
    return found


def _freq_of(index: Any, layout: Layout) -> Any:
    """Return the frequency whose step is the commonest one of an index.

    Steps of a day or longer are counted by the local clock. Where rows are not at the steps of the
    frequency, this is found when they are compared.
    """
    import pandas

    wall = index.tz_localize(None)
    steps, counts = np.unique(np.diff(wall.asi8), return_counts=True)
    step = pandas.Timedelta(int(steps[counts.argmax()]), unit=wall.unit)
    if step < pandas.Timedelta(days=28):
        if 2 * counts.max() < counts.sum():
            raise ValueError(
                f"{layout.name!r} must have rows at the steps of a frequency, got steps of other "
                f"lengths, such as from {index[0]} to {index[1]} and {index[2]}. Call "
                "resample(freq).mean() on each series, with a frequency such as 'h'."
            )
        whole_days = step % pandas.Timedelta(days=1) == pandas.Timedelta(0)
        return pandas.tseries.frequencies.to_offset(f"{step.days}D" if whole_days else step)
    for freq in _calendar_freqs():
        if wall.equals(pandas.date_range(wall[0], wall[-1], freq=freq)):
            return freq
    raise ValueError(
        f"{layout.name!r} must have rows at the steps of a frequency, got steps of some "
        f"{step.days} days, such as from {index[0]} to {index[1]}. Name it by 'freq', or count "
        "months by periods: to_period('M')."
    )


def _calendar_freqs() -> list:
    """Return the frequencies of months, quarters and years."""
    from pandas import offsets

    ends = (offsets.MonthBegin, offsets.MonthEnd, offsets.BMonthBegin, offsets.BMonthEnd)
    quarters = (
        offsets.QuarterBegin,
        offsets.QuarterEnd,
        offsets.BQuarterBegin,
        offsets.BQuarterEnd,
    )
    years = (offsets.YearBegin, offsets.YearEnd, offsets.BYearBegin, offsets.BYearEnd)
    return [
        *(kind() for kind in ends),
        *(kind(startingMonth=month) for kind in quarters for month in (1, 2, 3)),
        *(kind(month=month) for kind in years for month in range(1, 13)),
    ]


def _longest_run(index: Any) -> Any:
    """Return the longest part whose steps are at most one and a half times the median."""
    if len(index) < 2:
        return index
    steps = np.diff(index.asi8)
    edges = np.flatnonzero(2 * steps > 3 * np.median(steps)) + 1
    edges = np.concatenate([[0], edges, [len(index)]])
    longest = np.diff(edges).argmax()
    return index[edges[longest] : edges[longest + 1]]


def regular_index(index: Any, freq: Any, layout: Layout) -> tuple[Any, np.ndarray]:
    """Return every step from the first row to the last, and the positions of rows among them.

    Raises
    ------
    ValueError
        If a row lies between two steps, or hardly any step has a row.
    """
    _check_density(index, freq, layout)
    steps = steps_of(index[0], freq, end=index[-1])
    positions = steps.get_indexer(index)
    if (positions < 0).any():
        row = int(np.argmax(positions < 0))
        raise ValueError(
            f"{layout.name!r} must have rows at the steps of the frequency {freq.freqstr!r}, got "
            f"{index[row]}, which is not one of those from {index[0]} on. {_spacing(index)}Name "
            f"another frequency by 'freq', or call resample({freq.freqstr!r}).mean() on each "
            "series."
        )
    return steps.rename(index.name), positions


def _spacing(index: Any) -> str:
    """Tell the commonest step from one row to the next."""
    import pandas

    steps, counts = np.unique(np.diff(index), return_counts=True)
    step = pandas.Timedelta(steps[counts.argmax()])
    return f"Of {counts.sum()} steps between rows, {counts.max()} are of {step}. "


def _check_density(index: Any, freq: Any, layout: Layout) -> None:
    """Raise where hardly any step has a row, before there is memory for all steps."""
    ten = index[0] + 10 * freq - index[0]
    n_steps = 10 * ((index[-1] - index[0]) / ten) if hasattr(ten, "value") else 0
    if n_steps > _MOST_STEPS_PER_ROW * (len(index) + 10):
        far = int(np.diff(index.asi8).argmax()) + 1
        raise ValueError(
            f"{layout.name!r} must have rows at most steps of the frequency {freq.freqstr!r}, got "
            f"{len(index)} rows for some {n_steps:.0f} steps; {index[far]} comes after "
            f"{index[far - 1]}. Name another frequency by 'freq', or drop rows that are far from "
            "the others."
        )


def future_index(index: Any, horizon: int) -> Any:
    """Return the `horizon` steps after the last one."""
    return steps_of(index[-1], index.freq, periods=horizon + 1)[1:].rename(index.name)


def steps_of(start: Any, freq: Any, end: Any = None, periods: int | None = None) -> Any:
    """Return the steps of a frequency from the first one on, as an index of its kind."""
    import pandas

    if isinstance(start, pandas.Period):
        return pandas.period_range(start, end, periods=periods, freq=freq)
    return pandas.date_range(start, end, periods=periods, freq=freq)


def in_zone_of(earlier: Any, index: Any, layout: Layout) -> Any:
    """Return times as earlier ones were given: in their time zone, whose hours are labels.

    Raises
    ------
    ValueError
        If only one of them has a time zone, or is of periods.
    """
    wanted, found = _kind(earlier), _kind(index)
    if wanted != found:
        raise ValueError(
            f"{layout.name!r} must be dated by {wanted} as the table of fit, got {found}. Call "
            f"{_dating_call(earlier, index)} on its times."
        )
    return index.tz_convert(earlier.tz) if wanted == _ZONED else index


def _kind(index: Any) -> str:
    if not hasattr(index, "tz"):
        return "periods"
    return "times without a time zone" if index.tz is None else _ZONED


def _dating_call(earlier: Any, index: Any) -> str:
    """Return the call that dates times as earlier ones are."""
    if not hasattr(earlier, "tz"):
        return f"to_period({earlier.freqstr!r})"
    if not hasattr(index, "tz"):
        return "to_timestamp()"
    if earlier.tz is None:
        return "tz_convert(zone).tz_localize(None)"
    return f"tz_localize({str(earlier.tz)!r})"


def to_moment(name: str, date: Any, index: Any) -> Any:
    """Return a date as an entry of an index: local to its time zone, or a period."""
    import pandas

    try:
        if isinstance(index, pandas.PeriodIndex):
            return pandas.Period(date, freq=index.freq)
        moment = pandas.Timestamp(date)
        return moment.tz_localize(index.tz) if moment.tz is None else moment.tz_convert(index.tz)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} must be a date such as '2014-10-01', got {date!r}.") from error
