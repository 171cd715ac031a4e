"""Cut a series, or recordings one by one, into windows and their futures."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .checks import naming, shortened
from .series import check_series, check_spacing, select_targets


def is_recordings(series: Any) -> bool:
    """Whether a series is a list of several: arrays that differ in shape, or of two dimensions.

    Arrays of one dimension and of the same length are the rows of one series.
    """
    if not isinstance(series, list | tuple):
        return False
    shapes = {getattr(item, "shape", ()) for item in series}
    return len(shapes) > 1 or any(len(shape) > 1 for shape in shapes)


def check_rows(series: Any, lengths: tuple[int, int, int]) -> np.ndarray:
    """Return the values of a series, which must hold n_timesteps, gap and horizon rows."""
    values = check_series(series)
    check_spacing(getattr(series, "index", None))
    if len(values) < sum(lengths):
        is_list = isinstance(series, list | tuple) and hasattr(next(iter(series), None), "shape")
        advice = " Recordings of one channel have shape (n_steps, 1)." if is_list else ""
        raise ValueError(
            "'series' must have at least n_timesteps + gap + horizon = "
            f"{' + '.join(map(str, lengths))} = {sum(lengths)} rows, got {len(values)}. Pass a "
            f"longer series or lower one of the three.{advice}"
        )
    return values


def cut_series(
    series: Any,
    values: np.ndarray,
    lengths: tuple[int, int, int],
    stride: int,
    targets: Any,
    drop_nan: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the windows of one series, their futures and their origins."""
    n_timesteps, gap, horizon = lengths
    future = values
    if targets is not None:
        with naming("targets"):
            future = select_targets(values, targets, getattr(series, "columns", None))
    origin = np.arange(n_timesteps - 1, len(values) - gap - horizon, stride)
    X = _rolling_view(values, n_timesteps)[: len(values) - sum(lengths) + 1 : stride]
    y = _rolling_view(future, horizon)[n_timesteps + gap :: stride]
    if drop_nan:
        has_nan = _any_nan(values, n_timesteps)[origin + 1 - n_timesteps]
        has_nan |= _any_nan(future, horizon)[origin + 1 + gap]
        if has_nan.any():
            return X[~has_nan], y[~has_nan], origin[~has_nan]
    return X, y, origin


def cut_recordings(
    recordings: Sequence[Any],
    lengths: tuple[int, int, int],
    stride: int,
    targets: Any,
    drop_nan: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the windows of recordings, their futures and origins, and the recordings' numbers."""
    parts = []
    for number, values in _long_enough(recordings, lengths):
        with _naming_recording(number):
            cut = cut_series(recordings[number], values, lengths, stride, targets, drop_nan)
        parts.append((*cut, np.full(len(cut[0]), number)))
    X, y, origin, recording = map(np.concatenate, zip(*parts, strict=True))
    return X, y, origin, recording


def _long_enough(
    recordings: Sequence[Any], lengths: tuple[int, int, int]
) -> list[tuple[int, np.ndarray]]:
    """Return numbers and values of the recordings that hold a window; warn of the others."""
    found, short = [], []
    for number, recording in enumerate(recordings):
        if np.shape(recording)[:1] < (sum(lengths),):
            short.append(number)
            continue
        with _naming_recording(number):
            found.append((number, check_rows(recording, lengths)))
    needed = f"n_timesteps + gap + horizon = {sum(lengths)} rows"
    if not found:
        raise ValueError(f"'series' must have a recording of at least {needed}, got none.")
    of_steps = sorted({values.shape[1:] for _, values in found})
    if len(of_steps) > 1:
        raise ValueError(
            "'series' must be recordings of the same channels, got steps of the shapes "
            f"{of_steps}. Select the channels that all of them have."
        )
    if short:
        warnings.warn(
            f"{len(short)} of {len(recordings)} recordings have fewer than {needed} and are left "
            f"out: {shortened(short)}.",
            UserWarning,
            stacklevel=4,
        )
    return found


@contextmanager
def _naming_recording(number: int) -> Iterator[None]:
    """Name a recording in errors about it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"Recording {number} of 'series': {error}") from error


def _rolling_view(values: np.ndarray, length: int) -> np.ndarray:
    # The window axis comes last from NumPy; time belongs before the channels.
    return np.moveaxis(sliding_window_view(values, length, axis=0), -1, 1)


def _any_nan(values: np.ndarray, length: int) -> np.ndarray:
    """Tell which windows of a length hold NaN."""
    rows = np.isnan(values).reshape(len(values), -1).any(axis=1)
    return np.asarray(sliding_window_view(rows, length).any(axis=-1))
