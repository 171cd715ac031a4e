"""Smartwatch recordings of shoulder exercises."""

from __future__ import annotations

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._base import load_arrays, load_description

_FILENAME = "watch_imu.npz"


def load_watch_imu() -> Bunch:
    """Load smartwatch accelerometer and gyroscope recordings of shoulder exercises.

    140 recordings at 50 Hz, of 947 to 2618 steps: one for each of 7 exercises, 10 subjects and 2
    sides. A part of the data of Burns et al. [1]_, BSD 3-clause licence (the notice is in
    ``LICENSE-watch_imu.txt`` beside the data).

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : list of 140 float32 ndarrays of shape (n_steps_i, 6)
            Recordings, one row per 20 ms.
        target : int64 ndarray of shape (140,)
            Exercise, as a position in `target_names`.
        target_names : list of str
            Abbreviations of the 7 exercises; `DESCR` spells them out.
        subject : int64 ndarray of shape (140,)
            Who wore the watch, 1 to 10. Split by subject: recordings of one person resemble each
            other.
        side : int64 ndarray of shape (140,)
            Arm that wore it, as a position in `side_names`.
        side_names : list of str
            ``["left", "right"]``.
        channels : list of str
            Names of the 6 columns: acceleration and angular velocity along x, y and z.
        units : list of str
            Their units: ``"g"`` and ``"rad/s"``.
        sampling_rate : float
            50.0, in Hz.
        DESCR : str
            Description of the data.
        filename : str
            Name of the file the data was read from.

    See Also
    --------
    skdeepdive.sliding_windows : Cut a recording into windows and their futures.

    References
    ----------
    .. [1] D. M. Burns, N. Leung, M. Hardisty, C. Whyne, P. Henry, S. McLachlin, "Shoulder
       physiotherapy exercise recognition: machine learning the inertial signals from a
       smartwatch", Physiological Measurement 39 (2018), arXiv:1802.01489.

    Examples
    --------
    >>> from skdeepdive.datasets import load_watch_imu
    >>> watch = load_watch_imu()
    >>> len(watch.data), watch.data[0].shape, watch.target_names[watch.target[0]]
    (140, (1333, 6), 'PEN')
    """
    arrays = load_arrays(_FILENAME)
    channels = arrays["channels"].tolist()
    samples = (arrays["series"] * arrays["scale"]).astype(np.float32, order="C")
    return Bunch(
        data=np.split(samples, arrays["offsets"][1:-1]),
        target=arrays["target"].astype(np.int64),
        target_names=arrays["target_names"].tolist(),
        subject=arrays["subject"].astype(np.int64),
        side=arrays["side"].astype(np.int64),
        side_names=["left", "right"],
        channels=channels,
        units=["g" if channel.startswith("acc") else "rad/s" for channel in channels],
        sampling_rate=float(arrays["sampling_rate"]),
        DESCR=load_description("watch_imu.rst"),
        filename=_FILENAME,
    )
