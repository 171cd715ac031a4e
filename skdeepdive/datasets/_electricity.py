"""Hourly electricity loads of Portuguese clients."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skdeepdive._data.checks import check_choice
from skdeepdive.datasets._base import load_arrays, load_description, make_calendar_bunch

_SUBSETS = ("clients_2", "clients_321")


def load_electricity(subset: str = "clients_2", *, as_frame: bool = False) -> Bunch:
    """Load hourly electricity loads with their true timestamps.

    Two slices of the 26304 hours x 321 clients that Lai et al. [1]_ made from the UCI data
    ElectricityLoadDiagrams20112014 [2]_; CC BY 4.0.

    ============================  ================  ================
    Subset                        ``"clients_2"``   ``"clients_321"``
    ============================  ================  ================
    Hours                         26304 (3 years)   840 (35 days)
    Clients                       2 (0 and 320)     321 (all)
    First hour                    2012-01-01 00:00  2014-11-27 00:00
    Last hour                     2014-12-31 23:00  2014-12-31 23:00
    Labels that vary enough       all               hour, weekday
    ============================  ================  ================

    Parameters
    ----------
    subset : {"clients_2", "clients_321"}, default="clients_2"
        The slice to load.
    as_frame : bool, default=False
        If True, `data` and `factors` are pandas DataFrames over hourly timestamps.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : float32 ndarray or DataFrame of shape (n_hours, n_clients)
            Loads, integer-valued, in the unit of the file of [1]_; see `DESCR`.
        timestamps : datetime64 ndarray of shape (n_hours,)
            Hours, on the Portuguese clock.
        feature_names : list of str
            ``"client_000"`` to ``"client_320"``: the number is the column of the client, counted
            from 0, in the file of [1]_.
        factors : int64 ndarray or DataFrame of shape (n_hours, 3)
            Hour (0 to 23), weekday (0 is Monday) and month (1 to 12) of every row; for windows
            take those of their origins.
        factor_names : list of str
            ``["hour", "weekday", "month"]``, the columns of `factors`.
        DESCR : str
            Description of the data, with its caveats.
        filename : str
            Name of the file the data was read from.

    Raises
    ------
    ValueError
        If `subset` is unknown.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    fetch_electricity : Download all hours of all clients.
    skdeepdive.sliding_windows : Cut the loads into windows and their futures.

    References
    ----------
    .. [1] G. Lai, W.-C. Chang, Y. Yang, H. Liu, "Modeling Long- and Short-Term Temporal Patterns
       with Deep Neural Networks", SIGIR 2018, arXiv:1703.07015.
    .. [2] A. Trindade, "ElectricityLoadDiagrams20112014", UCI Machine Learning Repository, 2015,
       doi:10.24432/C58C86.

    Examples
    --------
    >>> from skdeepdive.datasets import load_electricity
    >>> electricity = load_electricity()
    >>> electricity.data.shape, electricity.feature_names
    ((26304, 2), ['client_000', 'client_320'])
    >>> electricity.factors[0]  # midnight, a Sunday, January
    array([0, 6, 1])
    """
    filename = f"electricity_{check_choice('subset', subset, _SUBSETS)}.npz"
    arrays = load_arrays(filename)
    return make_bunch(
        arrays["series"].astype(np.float32, order="C"),
        first_row=int(arrays["first_row"]),
        clients=arrays["clients"],
        as_frame=as_frame,
        filename=filename,
    )


def make_bunch(
    data: np.ndarray, *, first_row: int, clients: Iterable[int], as_frame: bool, filename: str
) -> Bunch:
    """Make the result of a loader of a part of the file of Lai et al., or of all of it.

    `first_row` and `clients` are the first row and the columns of the part in the file, counted
    from 0.
    """
    hours = np.timedelta64(1, "h") * (np.arange(len(data)) + first_row)
    return make_calendar_bunch(
        data,
        timestamps=np.datetime64("2012-01-01T00:00:00") + hours,
        feature_names=[f"client_{client:03d}" for client in clients],
        as_frame=as_frame,
        DESCR=load_description("electricity.rst"),
        filename=filename,
    )


def electricity_csv() -> Path:
    """Return the path of a CSV file of hourly electricity loads, as meters export them.

    The loads of :func:`load_electricity`, clients 0 and 320, from 2014-08-01 to 2014-12-09, in
    columns ``time``, ``client_000`` and ``client_320``; CC BY 4.0 [1]_. Times are those of the
    Portuguese clock. The hour from 01:00 on 2014-10-26, when the clock was put back, has two rows;
    from 2014-09-17 09:00 to 2014-09-18 20:00 there are none.

    Returns
    -------
    path : Path

    See Also
    --------
    skdeepdive.SeriesForecaster : Forecast such a table.

    Notes
    -----
    What was changed: the rows of the 36 hours were left out, and the load at 01:00 on 2014-10-26,
    which is that of two hours, was divided among its two rows.

    References
    ----------
    .. [1] A. Trindade, "ElectricityLoadDiagrams20112014", UCI Machine Learning Repository, 2015,
       doi:10.24432/C58C86.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdeepdive.datasets import electricity_csv
    >>> table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
    >>> table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
    >>> table.shape
    (3109, 2)
    """
    return Path(str(resources.files("skdeepdive.datasets") / "data" / "electricity_meters.csv"))
