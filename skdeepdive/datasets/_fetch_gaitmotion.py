"""Normal, shuffling and stroke gait, recorded at a foot (GaitMotion)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._base import load_description
from skdeepdive.datasets._download import BadFileError, Remote, open_cache
from skdeepdive.datasets._restricted_pickle import read_pickle

_SERVER = "https://borealisdata.ca/api"
_QUERY = "/datasets/:persistentId/?persistentId=doi:10.5683/SP3/V6C59O"
_FOLDER = "gaitmotion"
_GAITS = ["Normal", "Shuffle", "Stroke"]
_FILENAME = re.compile(r"P(\d+)_[\w .+-]*\.pkl", re.ASCII)
_CHANNELS = ["acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z"]
_N_BINS = 14


class _Source(NamedTuple):
    """A recording as the metadata list it."""

    gait: str
    subject: int
    remote: Remote


class _Recording(NamedTuple):
    """What is read of a recording."""

    data: np.ndarray
    step_flags: np.ndarray
    stride_length: np.ndarray


def fetch_gaitmotion(
    *,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch:
    """Load recordings of normal, shuffling and stroke gait, downloading them once.

    The data of Zhang et al. [1]_, doi:10.5683/SP3/V6C59O, whose licence is stated at their source
    and repeated in `DESCR`. The paper's factors are the gait type and the stride length.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Folder for downloaded data; the files are kept in its subfolder ``skdeepdive/gaitmotion``.
        None is the folder of :func:`sklearn.datasets.get_data_home`: that of the environment
        variable ``SCIKIT_LEARN_DATA``, or else ``~/scikit_learn_data``. Nothing is written
        elsewhere.
    download_if_missing : bool, default=True
        If False, raise an OSError where a file is missing or damaged.
    n_retries : int, default=3
        How often to try again after the download of a file failed.
    delay : float, default=1.0
        Seconds before trying again.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : list of n_recordings float32 ndarrays of shape (n_steps_i, 6)
            Recordings, unfiltered, ordered by gait type, subject and file name.
        target : int64 ndarray of shape (n_recordings,)
            Gait type, as a position in `target_names`.
        target_names : list of str
            ``["Normal", "Shuffle", "Stroke"]``.
        subject : int64 ndarray of shape (n_recordings,)
            Number of the subject. Split by subject.
        stride_length : list of n_recordings float64 ndarrays of shape (n_strides_i,)
            Measured stride lengths in the unit of the files (cm, after the authors' code), without
            the first row of the table, which the authors leave out, and without NaN.
        stride_length_edges : float64 ndarray of shape (15,)
            Edges of the 14 bins of stride length: quantiles of all strides, so that every bin
            holds about as many of them.
        factors : int64 ndarray of shape (n_recordings, 2)
            Gait type, as `target`, and the bin (0 to 13) of the median stride length of the
            recording, -1 if it has no stride. To label single strides, take
            ``numpy.digitize(stride_length[i], stride_length_edges[1:-1])``.
        factor_names : list of str
            ``["gait", "stride_length"]``.
        step_flags : list of n_recordings float32 ndarrays of shape (n_steps_i, 2)
            The last two columns of the recordings: flags of the steps, those of the reference
            measurement first.
        channels : list of str
            Names of the 6 columns: acceleration and angular velocity along x, y and z.
        units : list of str
            ``"m/s^2"`` (which the authors' thresholds suggest) and ``"deg/s"``.
        sampling_rate : float
            1000.0, in Hz, as the authors' code assumes.
        licence : str
            Licence of the data, as their source states it.
        DESCR : str
            Description of the data, with its caveats and licence.
        filenames : list of str
            Paths of the files the recordings were read from.

    Raises
    ------
    ImportError
        If a file must be downloaded and pooch is not installed (``pip install
        "skdeepdive[datasets]"``).
    OSError
        If a file is missing or damaged, and `download_if_missing` is False or its download
        failed, or if the metadata list no recordings.
    pickle.UnpicklingError
        If a file holds anything other than NumPy and pandas data.
    TypeError or ValueError
        If an argument is of the wrong type or out of range.

    See Also
    --------
    fetch_gait_ipol : Walks of healthy subjects and patients.

    Notes
    -----
    The metadata of the data set are downloaded first; they list the files, their MD5 sums and the
    licence. Every file is verified by its sum on every call, and a damaged one is downloaded anew.
    A fetch that is broken off goes on with the files that are missing. To look for a newer
    version of the data, delete the folder.

    The files are pickles, which can run any code when they are read in the usual way. Here they
    are read by an unpickler that knows NumPy arrays and pandas tables only, and refuses the rest.

    References
    ----------
    .. [1] W. Zhang et al., "GaitMotion: A Multitask Dataset for Pathological Gait Forecasting",
       arXiv:2405.09569.

    Examples
    --------
    >>> from skdeepdive.datasets import fetch_gaitmotion
    >>> gait = fetch_gaitmotion()  # doctest: +SKIP
    >>> gait.target_names[gait.target[0]], gait.data[0].shape[1]  # doctest: +SKIP
    ('Normal', 6)
    """
    cache = open_cache(data_home, download_if_missing, n_retries, delay)
    version = cache.fetch(_metadata_remote(), _read_metadata)
    sources = _list_sources(version)
    recordings = [cache.fetch(source.remote, _read_recording) for source in sources]
    licence = _describe_licence(version)
    target = np.array([_GAITS.index(source.gait) for source in sources])
    strides = [recording.stride_length for recording in recordings]
    edges, bins = _bin_strides(strides)
    return Bunch(
        data=[recording.data for recording in recordings],
        target=target,
        target_names=list(_GAITS),
        subject=np.array([source.subject for source in sources]),
        stride_length=strides,
        stride_length_edges=edges,
        factors=np.column_stack([target, bins]),
        factor_names=["gait", "stride_length"],
        step_flags=[recording.step_flags for recording in recordings],
        channels=list(_CHANNELS),
        units=["m/s^2"] * 3 + ["deg/s"] * 3,
        sampling_rate=1000.0,
        licence=licence,
        DESCR=f"{load_description('gaitmotion.rst')}\n**Licence, as the source states it**\n\n"
        f"{licence}\n",
        filenames=[str(cache.path(source.remote)) for source in sources],
    )


def _metadata_remote() -> Remote:
    return Remote(f"{_FOLDER}/metadata.json", (f"{_SERVER}{_QUERY}",))


def _read_metadata(path: Path) -> dict[str, Any]:
    """Read what a Dataverse server says of the latest version of the data."""
    try:
        version = json.loads(path.read_text(encoding="utf-8"))["data"]["latestVersion"]
        _list_sources(version)
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, BadFileError) else repr(error)
        raise BadFileError(f"it holds no metadata of GaitMotion ({reason})") from error
    return version


def _list_sources(version: dict[str, Any]) -> list[_Source]:
    """List the recordings, by gait type, subject and file name."""
    sources = [source for entry in version["files"] if (source := _find_source(entry))]
    if not sources:
        raise BadFileError(
            f"it lists {len(version['files'])} files, none of them P<subject>_*.pkl in a folder "
            f"{', '.join(_GAITS)}"
        )
    return sorted(sources, key=lambda s: (_GAITS.index(s.gait), s.subject, s.remote.filename))


def _find_source(entry: dict[str, Any]) -> _Source | None:
    """Make a source of an entry of the metadata, None if it is not a recording."""
    file = entry["dataFile"]
    match = _FILENAME.fullmatch(file["filename"])
    gaits = [part for part in entry.get("directoryLabel", "").split("/") if part in _GAITS]
    if not match or not gaits:
        return None
    gait = gaits[-1]
    remote = Remote(
        filename=f"{_FOLDER}/{gait}/{file['filename']}",
        urls=(f"{_SERVER}/access/datafile/{int(file['id'])}",),
        checksum=f"md5:{file['md5']}",
    )
    return _Source(gait, int(match[1]), remote)


def _describe_licence(version: dict[str, Any]) -> str:
    """Put the licence of the metadata into words; its form depends on the server's age."""
    licence = version.get("license")
    if isinstance(licence, dict):
        licence = " ".join(str(licence[key]) for key in ("name", "uri") if licence.get(key))
    terms = (licence, version.get("termsOfUse"))
    return " ".join(str(part) for part in terms if part) or "None stated: ask the authors."


def _read_recording(path: Path) -> _Recording:
    """Read the pickled signals, stride table and segmentation of a recording."""
    content = read_pickle(path)
    try:
        signals, strides, _ = content
        signals = np.asarray(signals, dtype=np.float32)
        lengths = np.asarray(strides["Stride_length"], dtype=np.float64)[1:]
        if signals.ndim != 2 or signals.shape[1] < 8:
            raise ValueError(f"signals of shape {signals.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise BadFileError(
            f"it does not hold signals of at least 8 columns, a table with the column "
            f"Stride_length and a segmentation ({error!r})"
        ) from error
    return _Recording(
        data=np.ascontiguousarray(signals[:, :6]),
        step_flags=np.ascontiguousarray(signals[:, -2:]),
        stride_length=lengths[np.isfinite(lengths)],
    )


def _bin_strides(strides: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Cut stride lengths at their quantiles.

    Parameters
    ----------
    strides : list of ndarrays of shape (n_strides_i,)
        Finite stride lengths by recording.

    Returns
    -------
    edges : ndarray of shape (15,)
        Edges of the bins; NaN if there is no stride at all.
    bins : int64 ndarray of shape (n_recordings,)
        Bin of the median of every recording, -1 where it has no stride.
    """
    lengths = np.concatenate(strides)
    if not len(lengths):
        return np.full(_N_BINS + 1, np.nan), np.full(len(strides), -1)
    edges = np.quantile(lengths, np.linspace(0, 1, _N_BINS + 1))
    medians = [np.median(length) if len(length) else np.nan for length in strides]
    bins = np.digitize(medians, edges[1:-1])
    return edges, np.where(np.isnan(medians), -1, bins)
