"""Hourly electricity loads of Portuguese clients: all hours of all clients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._download import BadFileError, Remote, open_cache
from skdeepdive.datasets._electricity import load_electricity, make_bunch

_PATH = "electricity/electricity.txt.gz"
_REMOTE = Remote(
    filename="electricity.txt.gz",
    urls=(
        "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/master/" + _PATH,
        "https://github.com/TorchSpatiotemporal/multivariate-time-series-data/raw/master/" + _PATH,
    ),
    checksum="git:df158a9fff65428ece107200432a72c992d5e4e9",
)
_SHAPE = (26304, 321)
_FIRST_VALUES = (14, 69, 234, 415, 215, 1056, 29, 840)
# Where the bundled slices lie in the file.
_SLICES: dict[str, Any] = {"clients_2": np.s_[:, [0, 320]], "clients_321": np.s_[-840:]}


def fetch_electricity(
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    as_frame: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch:
    """Load the complete hourly electricity loads with their true timestamps, downloading them once.

    The file that Lai et al. [1]_ made from the UCI data ElectricityLoadDiagrams20112014 [2]_,
    CC BY 4.0: 26304 hours (2012-01-01 00:00 to 2014-12-31 23:00) x 321 clients.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Folder for downloaded data; the file is kept in its subfolder ``skdeepdive``. None is the
        folder of :func:`sklearn.datasets.get_data_home`: that of the environment variable
        ``SCIKIT_LEARN_DATA``, or else ``~/scikit_learn_data``. Nothing is written elsewhere.
    download_if_missing : bool, default=True
        If False, raise an OSError where the file is missing or damaged.
    as_frame : bool, default=False
        If True, `data` and `factors` are pandas DataFrames over hourly timestamps.
    n_retries : int, default=3
        How often to try again after all addresses failed.
    delay : float, default=1.0
        Seconds before trying again.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : float32 ndarray or DataFrame of shape (26304, 321)
            Loads, integer-valued, in the unit of the file of [1]_; see `DESCR`.
        timestamps : datetime64 ndarray of shape (26304,)
            Hours, on the Portuguese clock.
        feature_names : list of str
            ``"client_000"`` to ``"client_320"``.
        factors : int64 ndarray or DataFrame of shape (26304, 3)
            Hour (0 to 23), weekday (0 is Monday) and month (1 to 12) of every row; for windows
            take those of their origins.
        factor_names : list of str
            ``["hour", "weekday", "month"]``, the columns of `factors`.
        DESCR : str
            Description of the data, with its caveats.
        filename : str
            Path of the file the data was read from.

    Raises
    ------
    ImportError
        If the file must be downloaded and pooch is not installed (``pip install
        "skdeepdive[datasets]"``), or `as_frame` is True and pandas is not.
    OSError
        If the file is missing or damaged, and `download_if_missing` is False or no address has
        the right file.
    TypeError or ValueError
        If an argument is of the wrong type or out of range.

    See Also
    --------
    load_electricity : Two slices of the same data that come with the package.
    skdeepdive.sliding_windows : Cut the loads into windows and their futures.

    Notes
    -----
    The file is verified by the id it has in the git repository of [1]_, by its shape and first
    values, and must agree with the slices of :func:`load_electricity`. It is verified on every
    call; a damaged file is downloaded anew. A download that is broken off leaves nothing behind.

    References
    ----------
    .. [1] G. Lai, W.-C. Chang, Y. Yang, H. Liu, "Modeling Long- and Short-Term Temporal Patterns
       with Deep Neural Networks", SIGIR 2018, arXiv:1703.07015.
    .. [2] A. Trindade, "ElectricityLoadDiagrams20112014", UCI Machine Learning Repository, 2015,
       doi:10.24432/C58C86.

    Examples
    --------
    >>> from skdeepdive.datasets import fetch_electricity
    >>> electricity = fetch_electricity()  # doctest: +SKIP
    >>> electricity.data.shape  # doctest: +SKIP
    (26304, 321)
    """
    cache = open_cache(data_home, download_if_missing, n_retries, delay)
    data = cache.fetch(_REMOTE, _read_loads)
    return make_bunch(
        data.astype(np.float32),
        first_row=0,
        clients=range(data.shape[1]),
        as_frame=as_frame,
        filename=str(cache.path(_REMOTE)),
    )


def _read_loads(path: Path) -> np.ndarray:
    """Read int32 loads of shape (26304, 321) and check what is known of them."""
    try:
        data = np.loadtxt(path, delimiter=",", dtype=np.int32, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise BadFileError(f"it holds no table of integers ({error})") from error
    if data.shape != _SHAPE:
        raise BadFileError(f"it has {data.shape} rows and columns instead of {_SHAPE}")
    if not np.array_equal(data[0, : len(_FIRST_VALUES)], _FIRST_VALUES):
        raise BadFileError(f"its first values are not {_FIRST_VALUES}")
    for subset, where in _SLICES.items():
        if not np.array_equal(data[where], load_electricity(subset).data):
            raise BadFileError(f"it disagrees with load_electricity({subset!r})")
    return data
