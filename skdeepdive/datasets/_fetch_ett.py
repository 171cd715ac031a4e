"""Loads and oil temperature of electricity transformers (ETT-small)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skdeepdive._data.checks import check_choice
from skdeepdive.datasets._base import load_description, make_calendar_bunch
from skdeepdive.datasets._download import Remote, fetch_file

_FOLDER = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"
# The source publishes no sums; several projects that download the files publish these.
_SUMS = {
    "ETTh1": "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    "ETTh2": "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
    "ETTm1": "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
    "ETTm2": "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd",
}
_REMOTES = {
    name: Remote(f"{name}.csv", (f"{_FOLDER}{name}.csv",), sha256) for name, sha256 in _SUMS.items()
}
_FEATURE_NAMES = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
# Ends of the parts of the usual split, in hours: 12, 4 and 4 months of 30 days.
_SPLIT_HOURS = (8640, 11520, 14400)


def fetch_ett(
    name: str = "ETTh1",
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    as_frame: bool = False,
    n_retries: int = 3,
) -> Bunch:
    """Load the loads and oil temperature of an electricity transformer, downloading them once.

    One of the four files of Zhou et al. [1]_, CC BY-ND 4.0, from 2016-07-01 00:00 to 2018-06-26.

    ====================  ==================  =======================
    Name                  ETTh1, ETTh2        ETTm1, ETTm2
    ====================  ==================  =======================
    Transformer           1, 2                1, 2
    Interval              1 hour              15 minutes
    Rows                  17420               69680
    Last row              2018-06-26 19:00    2018-06-26 19:45
    ====================  ==================  =======================

    Parameters
    ----------
    name : {"ETTh1", "ETTh2", "ETTm1", "ETTm2"}, default="ETTh1"
        The file to load.
    data_home : str, path-like or None, default=None
        Folder for downloaded data; the file is kept in its subfolder ``skdeepdive``. None is the
        folder of :func:`sklearn.datasets.get_data_home`. Nothing is written elsewhere.
    download_if_missing : bool, default=True
        If False, raise an OSError where the file is missing or damaged.
    as_frame : bool, default=False
        If True, `data` and `factors` are pandas DataFrames over the timestamps.
    n_retries : int, default=3
        How often to try again after the download failed, with growing delays.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : float32 ndarray or DataFrame of shape (n_steps, 7)
            Six loads, in the unit of the file, and the oil temperature in degrees Celsius.
        timestamps : datetime64 ndarray of shape (n_steps,)
            Time of every row.
        feature_names : list of str
            ``["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]``; see `DESCR`.
        factors : int64 ndarray or DataFrame of shape (n_steps, 3)
            Hour (0 to 23), weekday (0 is Monday) and month (1 to 12) of every row; for windows
            take those of their origins.
        factor_names : list of str
            ``["hour", "weekday", "month"]``, the columns of `factors`.
        splits : dict of str to slice
            Rows of the parts ``"train"``, ``"validation"`` and ``"test"`` that published results
            are on; see `DESCR`.
        DESCR : str
            Description of the data, with its caveats.
        filename : str
            Path of the file the data was read from.

    Raises
    ------
    ImportError
        If pooch is not installed (``pip install "skdeepdive[datasets]"``), or `as_frame` is True
        and pandas is not.
    OSError
        If the file is missing or damaged, and `download_if_missing` is False or the download
        failed.
    TypeError or ValueError
        If `name` is unknown, or another argument is of the wrong type or out of range.

    See Also
    --------
    fetch_electricity : Hourly loads of 321 clients.
    skdeepdive.sliding_windows : Cut the series into windows and their futures.

    Notes
    -----
    The file is verified by its SHA-256 sum on every call; a damaged one is downloaded anew.
    A download that is broken off leaves nothing behind. pooch announces every download on standard
    error; ``pooch.get_logger().setLevel("WARNING")`` silences it.

    References
    ----------
    .. [1] H. Zhou, S. Zhang, J. Peng, S. Zhang, J. Li, H. Xiong, W. Zhang, "Informer: Beyond
       Efficient Transformer for Long Sequence Time-Series Forecasting", AAAI 2021,
       arXiv:2012.07436.

    Examples
    --------
    >>> from skdeepdive.datasets import fetch_ett
    >>> ett = fetch_ett()  # doctest: +SKIP
    >>> ett.data[ett.splits["train"]].shape  # doctest: +SKIP
    (8640, 7)
    """
    remote = _REMOTES[check_choice("name", name, tuple(_REMOTES))]
    steps_per_hour = 4 if name.startswith("ETTm") else 1
    path = fetch_file(remote, data_home, download_if_missing, n_retries)
    timestamps, data = _read_series(path)
    return make_calendar_bunch(
        data,
        timestamps,
        list(_FEATURE_NAMES),
        as_frame=as_frame,
        splits=_make_splits(steps_per_hour),
        DESCR=load_description("ett.rst"),
        filename=str(path),
    )


def _read_series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read timestamps (n_steps,) and values (n_steps, 7)."""
    times = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0, dtype="U19")
    data = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8), dtype=np.float32)
    return times.astype("datetime64[s]"), data


def _make_splits(steps_per_hour: int) -> dict[str, slice]:
    train, validation, test = (hours * steps_per_hour for hours in _SPLIT_HOURS)
    return {
        "train": slice(0, train),
        "validation": slice(train, validation),
        "test": slice(validation, test),
    }
