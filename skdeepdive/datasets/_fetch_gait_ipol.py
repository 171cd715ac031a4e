"""Walks of healthy subjects and patients, recorded at both feet (IPOL 2019)."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._base import load_description
from skdeepdive.datasets._download import Remote, fetch_file

# No checksum is published. The encrypted address comes first: it vouches for the content.
_REMOTE = Remote(
    filename="GaitData.zip",
    urls=(
        "https://mycore.core-cloud.net/index.php/s/sTk4Vq8N3zefvKH/download",
        "http://dev.ipol.im/~truong/GaitData.zip",
    ),
)
# Unpacked, the files hold 0.7 GB.
_MAX_BYTES = 2 * 10**9
_MEMBER = re.compile(r"GaitData/(\d+)-(\d+)\.(csv|json)")
# RuntimeError: damaged tables of an archive may ask for what zipfile lacks.
_DAMAGE = (BadZipFile, EOFError, KeyError, RuntimeError, TypeError, ValueError, zlib.error)
_CHANNELS = [f"{foot}{kind}{axis}" for foot in "LR" for kind in "AR" for axis in "VXYZ"]
_GROUPS = ["Healthy", "Orthopedic", "Neurological"]
_SENSORS = ["XSens", "TCon"]


class _Facts(NamedTuple):
    """What is known of the data: trials and subjects of every group, rows and footsteps."""

    trials: tuple[int, ...] = (242, 243, 535)
    subjects: tuple[int, ...] = (52, 53, 125)
    rows: int = 3072863
    steps: int = 40465


_FACTS = _Facts()


class _Trial(NamedTuple):
    """A trial: who walked, the metadata of the .json file and the values of the .csv file."""

    subject: int
    number: int
    metadata: dict
    data: np.ndarray


def fetch_gait_ipol(
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    n_retries: int = 3,
) -> Bunch:
    """Load walks recorded by inertial sensors at both feet, downloading them (200 MB) once.

    1020 trials of 230 subjects at 100 Hz: stand, walk 10 m, turn, walk back, stop. The data of
    Truong et al. [1]_, CC BY-NC-SA: not for commercial use. Reading takes about half a minute.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Folder for downloaded data; the file is kept in its subfolder ``skdeepdive``. None is the
        folder of :func:`sklearn.datasets.get_data_home`. Nothing is written elsewhere.
    download_if_missing : bool, default=True
        If False, raise an OSError where the file is missing.
    n_retries : int, default=3
        How often to try again after the download failed, with growing delays.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : list of 1020 float32 ndarrays of shape (n_steps_i, 16)
            Trials, one row per 10 ms, ordered by subject and trial.
        target : int64 ndarray of shape (1020,)
            Group of the subject, as a position in `target_names`.
        target_names : list of str
            ``["Healthy", "Orthopedic", "Neurological"]``.
        subject : int64 ndarray of shape (1020,)
            Number of the subject. Split by subject: trials of one person resemble each other.
        trial : int64 ndarray of shape (1020,)
            Number of the trial among those of the subject.
        sensor : int64 ndarray of shape (1020,)
            Make of the sensors, as a position in `sensor_names`. It goes with the group; see
            `DESCR`.
        sensor_names : list of str
            ``["XSens", "TCon"]``.
        walking_speed : float64 ndarray of shape (1020,)
            Mean speed in km/h.
        left_steps, right_steps : list of 1020 int64 ndarrays of shape (n_footsteps_i, 2)
            First and last row of every footstep, as annotated.
        metadata : list of 1020 dicts
            All that the files say of a trial, such as age, height and weight; ``"NC"`` where
            it was not recorded.
        channels : list of str
            Names of the 16 columns: foot (L, R), acceleration or angular velocity (A, R), and
            axis, where V is the vertical of the room and X, Y, Z are those of the sensor.
        units : list of str
            ``"g"`` (which the values suggest; see `DESCR`) and ``"deg/s"``.
        sampling_rate : float
            100.0, in Hz.
        DESCR : str
            Description of the data, with its caveats.
        filename : str
            Path of the file the data was read from.

    Raises
    ------
    ImportError
        If pooch is not installed (``pip install "skdeepdive[datasets]"``).
    OSError
        If the file is missing and cannot or may not be downloaded, or if it is damaged: then
        delete it to download it anew.
    TypeError or ValueError
        If an argument is of the wrong type or out of range.

    See Also
    --------
    load_gaitmotion : Normal, shuffling and stroke gait.
    load_watch_imu : Recordings of exercises that come with the package.

    Notes
    -----
    The source publishes no checksum. What is verified, on every call, is the checksum that the
    archive holds of each of its files, which finds damage but not forgery, and the numbers of
    trials, subjects, rows and footsteps. The archive is read where it is, not unpacked.

    A download that is broken off leaves nothing behind. pooch announces every download on standard
    error; ``pooch.get_logger().setLevel("WARNING")`` silences it.

    References
    ----------
    .. [1] C. Truong, R. Barrois-Müller, T. Moreau, C. Provost, A. Vienne-Jumeau, A. Moreau,
       P.-P. Vidal, N. Vayatis, S. Buffat, A. Yelnik, D. Ricard, L. Oudre, "A Data Set for the
       Study of Human Locomotion with Inertial Measurements Units", Image Processing On Line 9
       (2019) 381-390, doi:10.5201/ipol.2019.265.

    Examples
    --------
    >>> from skdeepdive.datasets import fetch_gait_ipol
    >>> gait = fetch_gait_ipol()  # doctest: +SKIP
    >>> right = [gait.channels.index(name) for name in ("RAX", "RAY", "RAZ")]  # doctest: +SKIP
    >>> gait.data[0][:, right].shape  # doctest: +SKIP
    (4013, 3)
    """
    path = fetch_file(_REMOTE, data_home, download_if_missing, n_retries)
    trials = _read_archive(path)
    metadata = [trial.metadata for trial in trials]
    return Bunch(
        data=[trial.data for trial in trials],
        target=_positions(metadata, "PathologyGroup", _GROUPS),
        target_names=list(_GROUPS),
        subject=np.array([trial.subject for trial in trials]),
        trial=np.array([trial.number for trial in trials]),
        sensor=_positions(metadata, "Sensor", _SENSORS),
        sensor_names=list(_SENSORS),
        walking_speed=np.array([float(entry["WalkingSpeed"]) for entry in metadata]),
        left_steps=[_footsteps(entry, "Left") for entry in metadata],
        right_steps=[_footsteps(entry, "Right") for entry in metadata],
        metadata=metadata,
        channels=list(_CHANNELS),
        units=["g" if channel[1] == "A" else "deg/s" for channel in _CHANNELS],
        sampling_rate=100.0,
        DESCR=load_description("gait_ipol.rst"),
        filename=str(path),
    )


def _positions(metadata: list[dict], key: str, names: list[str]) -> np.ndarray:
    return np.array([names.index(entry[key]) for entry in metadata])


def _footsteps(entry: dict, foot: str) -> np.ndarray:
    return np.array(entry[f"{foot}FootActivity"], dtype=np.int64).reshape(-1, 2)


def _read_archive(path: Path) -> list[_Trial]:
    """Read all trials and check what is known of them."""
    try:
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise ValueError(f"it unpacks to more than {_MAX_BYTES} bytes")
            trials = [_read_trial(archive, *code) for code in _list_trials(archive.namelist())]
        if (found := _count(trials)) != _FACTS:
            raise ValueError(f"it holds {found._asdict()} instead of {_FACTS._asdict()}")
    except _DAMAGE as error:
        raise OSError(
            f"{path} is no intact archive of walks: {error}. Delete it, and call again to download "
            "it anew."
        ) from error
    return trials


def _list_trials(names: list[str]) -> list[tuple[int, int]]:
    """List the subjects and numbers of the trials, in this order."""
    matches = filter(None, map(_MEMBER.fullmatch, names))
    return sorted({(int(match[1]), int(match[2])) for match in matches})


def _read_trial(archive: ZipFile, subject: int, number: int) -> _Trial:
    stem = f"GaitData/{subject}-{number}"
    metadata = json.loads(archive.read(f"{stem}.json"))
    if (metadata["Subject"], metadata["Trial"]) != (subject, number):
        raise ValueError(f"{stem}.json is of another trial")
    with archive.open(f"{stem}.csv") as file:
        header = file.readline().decode("ascii").strip()
        if header.split(",") != _CHANNELS:
            raise ValueError(f"{stem}.csv has the columns {header}")
        data = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    return _Trial(subject, number, metadata, data)


def _count(trials: list[_Trial]) -> _Facts:
    groups = {(trial.subject, trial.metadata["PathologyGroup"]) for trial in trials}
    per_trial = Counter(trial.metadata["PathologyGroup"] for trial in trials)
    per_subject = Counter(group for _, group in groups)
    feet = [_footsteps(trial.metadata, foot) for trial in trials for foot in ("Left", "Right")]
    return _Facts(
        trials=tuple(per_trial[group] for group in _GROUPS),
        subjects=tuple(per_subject[group] for group in _GROUPS),
        rows=sum(len(trial.data) for trial in trials),
        steps=sum(map(len, feet)),
    )
