"""Cut series into windows that touch no hole, and scale them series by series."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._data.calendar import calendar_features
from .._data.checks import naming
from .._data.rows import location_and_scale
from .reading import DatedSeries


class Scaling(NamedTuple):
    """Location and scale of every channel of a series."""

    loc: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scaling:
        """Compute the scaling of rows `(n_steps, n_channels)`; NaN has no part in it."""
        return cls(*location_and_scale(values[None]))

    def of_channels(self, channels: Sequence[int]) -> Scaling:
        """Return the scaling of some channels."""
        return Scaling(self.loc[..., channels], self.scale[..., channels])

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return values, channels last, in units of the scale."""
        return ((values - self.loc) / self.scale).astype(values.dtype, copy=False)

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Return values, channels last, in the units of the series."""
        return values * self.scale + self.loc


@dataclass(frozen=True)
class Design:
    """Lengths of windows in steps, and the channels that are forecast or known in advance.

    `step_calendar` names what is read off the local time of every step to come, `calendar` the
    factors that are read off that of a window's last row. `id_as_factor`: the id is a factor too.
    `keeps_gaps` says whether windows and futures of which some values are missing are used.
    """

    n_timesteps: int
    horizon: int
    stride: int
    targets: list[int]
    known: list[int]
    step_calendar: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    id_as_factor: bool = False
    keeps_gaps: bool = False

    @property
    def has_covariates(self) -> bool:
        """Whether something is known of every step to come."""
        return bool(self.known or self.step_calendar)

    def step_features(self, index: Any) -> np.ndarray:
        """Return numbers of the calendar for every step of an index, `(n_steps, n_features)`."""
        if not self.step_calendar:
            return np.empty((len(index), 0))
        with naming("step_calendar"):
            features: np.ndarray = calendar_features(index, self.step_calendar).to_numpy()
        return features

    def origins(self, series: DatedSeries) -> np.ndarray:
        """Return the origins of all windows whose futures end within a series."""
        return np.arange(self.n_timesteps - 1, len(series) - self.horizon, self.stride)

    def usable_origins(self, series: DatedSeries) -> np.ndarray:
        """Return the origins of windows that are used, with their futures.

        They have no hole, or, where gaps are kept, some value in the window, some in the future,
        and all that must be known in advance.
        """
        origins, missing = self.origins(series), np.isnan(series.values)
        first = origins + 1 - self.n_timesteps
        is_usable = self._are_usable(missing, first, self.n_timesteps)
        is_usable &= self._are_usable(missing[:, self.targets], origins + 1, self.horizon)
        unknown = missing[:, self.known].any(axis=1)
        return origins[is_usable & (_count(unknown, origins + 1, self.horizon) == 0)]

    def is_usable(self, window: np.ndarray) -> bool:
        """Tell whether a window `(n_timesteps, n_channels)` can be forecast."""
        observed = np.isfinite(window)
        return bool(observed.any() if self.keeps_gaps else observed.all())

    def _are_usable(self, missing: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
        """Tell which stretches of rows are used, given what is missing of every row."""
        if self.keeps_gaps:
            return _count(np.all(missing, axis=1), first, length) < length
        return _count(np.any(missing, axis=1), first, length) == 0

    def split(
        self, origins: np.ndarray, fraction: float, gap: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the origins of training and validation windows, whose futures share no step.

        `gap` is the number of windows between them, None: as many as share a step.
        """
        if not len(origins):
            return origins, origins
        n_valid = max(1, round(fraction * len(origins)))
        train, valid = np.split(origins, [len(origins) - n_valid])
        n_between = self.horizon - 1 if gap is None else gap * self.stride
        return train[train < valid[0] - n_between], valid


class WindowSet(NamedTuple):
    """Windows of several series, by the time of their origins.

    Parameters
    ----------
    X : ndarray of shape (n_windows, n_timesteps, n_channels)
    y : ndarray of shape (n_windows, horizon, n_targets)
    known : ndarray of shape (n_windows, horizon, n_covariates), or None
    stamps : DatetimeIndex or PeriodIndex of shape (n_windows,)
        The time of every origin.
    number : ndarray of shape (n_windows,)
        The position of every window's series.
    """

    X: np.ndarray
    y: np.ndarray
    known: np.ndarray | None
    stamps: Any
    number: np.ndarray

    def options(self) -> dict[str, Any]:
        """Return what a forecaster takes besides windows."""
        return {} if self.known is None else {"future_covariates": self.known}

    def take(self, rows: np.ndarray) -> WindowSet:
        """Return some of the windows, in the order given."""
        known = None if self.known is None else self.known[rows]
        return WindowSet(self.X[rows], self.y[rows], known, self.stamps[rows], self.number[rows])

    def then(self, others: WindowSet) -> WindowSet:
        """Return these windows and, after them, others."""
        known = None
        if self.known is not None and others.known is not None:
            known = np.concatenate([self.known, others.known])
        return WindowSet(
            np.concatenate([self.X, others.X]),
            np.concatenate([self.y, others.y]),
            known,
            self.stamps.append(others.stamps),
            np.concatenate([self.number, others.number]),
        )


def cut(
    series: Sequence[DatedSeries],
    origins: Sequence[np.ndarray],
    scalings: Sequence[Scaling] | None,
    design: Design,
) -> WindowSet:
    """Return the windows of some origins of every series, and their futures.

    Where a single series is not scaled and its origins are evenly spaced, `X` and `y` are views.
    """
    parts = []
    for i, (one, rows) in enumerate(zip(series, origins, strict=True)):
        values = one.values if scalings is None else scalings[i].apply(one.values)
        first = rows + 1
        parts.append(
            (
                _windows(values, first - design.n_timesteps, design.n_timesteps),
                _windows(values[:, _as_slice(design.targets)], first, design.horizon),
                _windows(_known(values, one.index, design), first, design.horizon),
            )
        )
    stamps = series[0].index[origins[0]]
    stamps = stamps.append([s.index[rows] for s, rows in zip(series[1:], origins[1:], strict=True)])
    number = np.repeat(np.arange(len(series)), [len(rows) for rows in origins])
    X, y, known = map(_join, zip(*parts, strict=True))
    windows = WindowSet(X, y, known if design.has_covariates else None, stamps, number)
    return windows if len(series) == 1 else windows.take(np.argsort(stamps.asi8, kind="stable"))


def _known(values: np.ndarray, index: Any, design: Design) -> np.ndarray:
    """Return what is known of every step: columns, and numbers of the calendar."""
    columns = values[:, _as_slice(design.known)]
    if not design.step_calendar:
        return columns
    return np.concatenate([columns, design.step_features(index)], axis=1).astype(values.dtype)


def _windows(values: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """Return `length` rows from every first one on; a view where first rows are evenly spaced."""
    view = np.moveaxis(sliding_window_view(values, length, axis=0), -1, 1)
    return view[_as_slice(first)]


def _as_slice(positions: Any) -> Any:
    """Return increasing, evenly spaced positions as a slice, which takes a view."""
    steps = np.unique(np.diff(positions)) if len(positions) > 1 else np.ones(1, dtype=int)
    if not len(positions) or len(steps) > 1 or steps[0] < 1:
        return positions
    return slice(int(positions[0]), int(positions[-1]) + 1, int(steps[0]))


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _count(is_bad: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """Count the bad rows among `length` ones from every first one on."""
    total = np.concatenate([[0], np.cumsum(is_bad)])
    return total[np.minimum(first + length, len(is_bad))] - total[first]


def take_latest(series: Sequence[DatedSeries], design: Design) -> list[DatedSeries]:
    """Return the last rows of every series of which a window can be made.

    Warns
    -----
    UserWarning
        If it can of some only.

    Raises
    ------
    ValueError
        If it can of none.
    """
    n_timesteps = design.n_timesteps
    latest = [one.rows(slice(-n_timesteps, None)) for one in series]
    usable = [one for one in latest if _problem(one, design) is None]
    others = [one for one in latest if _problem(one, design) is not None]
    if not usable:
        raise ValueError(
            f"'table' must end with n_timesteps = {n_timesteps} rows without a hole, got "
            f"{_problem(others[0], design)}. Give more rows, fit with gaps='keep', or fill the "
            "holes after resample."
        )
    if others:
        listed = [f"{one.id!r} ({_problem(one, design)})" for one in others[:10]]
        warnings.warn(
            f"{len(others)} of {len(series)} series do not end with n_timesteps = {n_timesteps} "
            f"rows without a hole, and are not forecast: {', '.join(listed)}"
            f"{', ...' if len(others) > 10 else ''}.",
            UserWarning,
            stacklevel=5,
        )
    return usable


def _problem(series: DatedSeries, design: Design) -> str | None:
    """Tell why the last rows of a series are no window."""
    if len(series) < design.n_timesteps:
        return f"{len(series)} rows"
    if design.is_usable(series.values):
        return None
    holes = np.flatnonzero(np.isnan(series.values).any(axis=1))
    return f"none at {series.index[holes[0]]}"
