"""Hourly electricity loads of Portuguese clients: all hours of all clients."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._download import Remote, fetch_file
from skdeepdive.datasets._electricity import make_bunch

_PATH = "electricity/electricity.txt.gz"
_REMOTE = Remote(
    filename="electricity.txt.gz",
    urls=(
        "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/master/" + _PATH,
        "https://github.com/TorchSpatiotemporal/multivariate-time-series-data/raw/master/" + _PATH,
    ),
    # The source publishes no sum; several projects that download it publish this one.
    sha256="3c4c069588198c1fcc95cace7bb69c99922129edfd673b7286661dad20badefa",
)


def fetch_electricity(
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    as_frame: bool = False,
    n_retries: int = 3,
) -> Bunch:
    """Load the complete hourly electricity loads with their true timestamps, downloading them once.

    The file that Lai et al. [1]_ made from the UCI data ElectricityLoadDiagrams20112014 [2]_,
    CC BY 4.0: 26304 hours (2012-01-01 00:00 to 2014-12-31 23:00) x 321 clients.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Folder for downloaded data; the file is kept in its subfolder ``skdeepdive``. None is the
        folder of :func:`sklearn.datasets.get_data_home`. Nothing is written elsewhere.
    download_if_missing : bool, default=True
        If False, raise an OSError where the file is missing or damaged.
    as_frame : bool, default=False
        If True, `data` and `factors` are pandas DataFrames over hourly timestamps.
    n_retries : int, default=3
        How often to try again after the download failed, with growing delays.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes that :func:`load_electricity` describes. `data`
        has shape (26304, 321), and `filename` is the path of the file.

    Raises
    ------
    ImportError
        If pooch is not installed (``pip install "skdeepdive[datasets]"``), or `as_frame` is True
        and pandas is not.
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
    The file is verified by its SHA-256 sum on every call; a damaged one is downloaded anew.
    A download that is broken off leaves nothing behind. pooch announces every download on standard
    error; ``pooch.get_logger().setLevel("WARNING")`` silences it.

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
    path = fetch_file(_REMOTE, data_home, download_if_missing, n_retries)
    data = np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
    return make_bunch(
        data, first_row=0, clients=range(data.shape[1]), as_frame=as_frame, filename=str(path)
    )
