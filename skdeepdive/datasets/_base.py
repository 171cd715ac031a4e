"""Reading the files that come with the package.

Series are stored as integers, losslessly. Differences along time (the first row is its own
difference) become non-negative as ``2 * d`` for ``d >= 0`` and ``-2 * d - 1`` otherwise, so that
small changes of either sign are small numbers; the little-endian bytes of these are stored as the
uint8 array ``planes`` of shape (n_bytes, n_channels, n_steps). The high planes are almost all
zero, so the file, a zip archive of .npy files, compresses well.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.windows import calendar_factors

CALENDAR_NAMES = ["hour", "weekday", "month"]


def load_arrays(filename: str) -> dict[str, np.ndarray]:
    """Load the arrays of an .npz file in ``data/``, those of ``planes`` decoded as ``series``."""
    # A resource need not be a file on disk: the package may be imported from a zip archive.
    path = resources.files("skdeepdive.datasets") / "data" / filename
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["series"] = _decode_series(arrays.pop("planes"))
    return arrays


def load_description(filename: str) -> str:
    """Load a text in ``descr/``."""
    path = resources.files("skdeepdive.datasets") / "descr" / filename
    return path.read_text(encoding="utf-8")


def make_calendar_bunch(
    data: np.ndarray,
    timestamps: np.ndarray,
    feature_names: list[str],
    *,
    as_frame: bool,
    **others: Any,
) -> Bunch:
    """Make the result of a loader of series (n_steps, n_channels) over regular timestamps.

    The factors are the calendar of every row. `as_frame` makes pandas DataFrames of them and of
    the series; `others` become further attributes.
    """
    index = timestamps
    if as_frame:
        pandas = _import_pandas()
        index = pandas.DatetimeIndex(timestamps, name="time", freq="infer")
        data = pandas.DataFrame(data, index=index, columns=feature_names)
    return Bunch(
        data=data,
        timestamps=timestamps,
        feature_names=feature_names,
        factors=calendar_factors(index, CALENDAR_NAMES),
        factor_names=list(CALENDAR_NAMES),
        **others,
    )


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "'as_frame=True' needs pandas, which is not installed. Install it, or pass "
            "as_frame=False for NumPy arrays."
        ) from error
    return pandas


def _decode_series(planes: np.ndarray) -> np.ndarray:
    """Decode integer series of shape (n_steps, n_channels); the encoding is explained above."""
    codes = sum(plane.astype(np.int32) << 8 * k for k, plane in enumerate(planes))
    differences = (codes >> 1) ^ -(codes & 1)
    return np.cumsum(differences, axis=1, dtype=np.int32).T
