"""Numbers of the calendar for every step, to be covariates of forecasts."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checks import naming
from .series import check_timestamps, to_seconds

_DAY = 86_400  # seconds
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def calendar_features(
    index: ArrayLike,
    names: Sequence[str] = ("hour", "weekday", "day_of_year"),
    *,
    holidays: Mapping | Iterable | None = None,
) -> Any:
    """Turn timestamps into numbers that a forecast can know in advance.

    They describe every step, and are made to be `future_covariates`: cut them as `y` is cut, by
    :func:`~skdeepdive.sliding_windows`. (:func:`~skdeepdive.calendar_factors` makes labels of
    windows instead.)

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, Series of either, or datetime64 ndarray, of shape (n_steps,)
        Timestamps of all steps, of the horizon after the last window as well. Time-zone-aware ones
        are read as the local wall clock of their zone.
    names : sequence of str, default=("hour", "weekday", "day_of_year")
        What to describe, among

        - ``"hour"``: time of the day, the sine and cosine of one and of two cycles a day,
        - ``"weekday"``: seven columns, 1 on their own day,
        - ``"day_of_year"``: sine and cosine of a cycle a year.
    holidays : container of dates, default=None
        Days that get a 1 in a last column, ``holiday``: dates, strings such as "2012-12-25",
        timestamps, or a mapping with dates as its keys, such as those of the holidays package.

    Returns
    -------
    features : DataFrame or ndarray of shape (n_steps, n_features)
        For pandas input a DataFrame with names and the index of the input; for NumPy input an
        array.

    Raises
    ------
    TypeError
        If `index` does not hold timestamps, or `names` is a single string.
    ValueError
        If `index` is not 1-D or holds NaT, a name is unknown, or `holidays` are no dates.

    See Also
    --------
    skdeepdive.DeepDIVEForecaster.fit : Takes them as `future_covariates`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import calendar_features, sliding_windows
    >>> days = np.arange("2012-12-24", "2012-12-29", dtype="datetime64[D]")
    >>> features = calendar_features(days, ["day_of_year"], holidays=["2012-12-25"])
    >>> features[:, 2]
    array([0., 1., 0., 0., 0.])
    >>> _, covariates, _ = sliding_windows(features, n_timesteps=2, horizon=1)
    >>> covariates.shape
    (3, 1, 3)
    """
    names = _check_names(names)
    stamps = check_timestamps("index", index)
    wall = stamps if isinstance(stamps, np.ndarray) else stamps.tz_localize(None).to_numpy()
    seconds = to_seconds("index", wall)
    columns = {name: part for group in names for name, part in _FEATURES[group](seconds).items()}
    if holidays is not None:
        columns["holiday"] = _is_holiday(seconds.astype("M8[D]"), holidays)
    features = np.stack(list(columns.values()), axis=1).astype(np.float64)
    if wall is stamps:
        return features
    rows = getattr(index, "index", index)  # of a Series
    return sys.modules["pandas"].DataFrame(features, index=rows, columns=list(columns))


def _check_names(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"'names' must be a sequence of names, got the string {names!r}.")
    names = list(names)
    unknown = [name for name in names if name not in _FEATURES]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(f"'names' must be some of {', '.join(_FEATURES)}, each once, got {names}.")
    return names


def _cycles(name: str, phase: np.ndarray, n_cycles: int = 1) -> dict[str, np.ndarray]:
    """Sine and cosine of so many cycles, and of fewer, in a period of length one."""
    columns = {}
    for k in range(1, n_cycles + 1):
        ending = "" if k == 1 else f"_{k}"
        columns[f"{name}_sin{ending}"] = np.sin(2 * np.pi * k * phase)
        columns[f"{name}_cos{ending}"] = np.cos(2 * np.pi * k * phase)
    return columns


def _hour(seconds: np.ndarray) -> dict[str, np.ndarray]:
    return _cycles("hour", seconds.astype(np.int64) % _DAY / _DAY, n_cycles=2)


def _weekday(seconds: np.ndarray) -> dict[str, np.ndarray]:
    day = (seconds.astype("M8[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    return {name: day == k for k, name in enumerate(_WEEKDAYS)}


def _day_of_year(seconds: np.ndarray) -> dict[str, np.ndarray]:
    year = seconds.astype("M8[Y]")
    first, next_first = (y.astype("M8[D]").astype(np.int64) for y in (year, year + 1))
    day = seconds.astype("M8[D]").astype(np.int64)
    return _cycles("day_of_year", (day - first) / (next_first - first))


_FEATURES: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {
    "hour": _hour,
    "weekday": _weekday,
    "day_of_year": _day_of_year,
}


def _is_holiday(days: np.ndarray, holidays: Mapping | Iterable) -> np.ndarray:
    """Tell which days are among some dates, each distinct day once.

    A mapping is asked for its keys one by one: it may make them only then.
    """
    distinct, place = np.unique(days, return_inverse=True)
    if isinstance(holidays, Mapping):
        found = np.array([day in holidays for day in distinct.tolist()], dtype=bool)
    else:
        with naming("holidays", "must be dates"):
            found = np.isin(distinct, np.array(list(holidays), dtype="M8[D]"))
    return found[place]
