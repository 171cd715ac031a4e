"""Normal, shuffling and stroke gait, recorded at a foot (GaitMotion)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from sklearn.utils import Bunch

from skdeepdive.datasets._base import load_description

_GAITS = ["Normal", "Shuffle", "Stroke"]
_FILENAME = re.compile(r"P(\d+)_.*\.npz", re.ASCII)
_CHANNELS = ["acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z"]
_N_BINS = 14


class _Recording(NamedTuple):
    """A recording: what its path and its file say."""

    target: int
    subject: int
    path: Path
    data: np.ndarray
    step_flags: np.ndarray
    stride_length: np.ndarray


def load_gaitmotion(folder: str | os.PathLike) -> Bunch:
    """Load recordings of normal, shuffling and stroke gait that you have converted.

    The data of Zhang et al. [1]_, doi:10.5683/SP3/V6C59O, under the licence that their source
    states. The paper's factors are the gait type and the stride length. The notes say how to get
    the data and to convert them.

    Parameters
    ----------
    folder : str or path-like
        Folder in which folders ``Normal``, ``Shuffle`` and ``Stroke``, at any depth, hold the
        converted recordings, ``P<number of the subject>_<anything>.npz``. Their arrays are
        ``signals`` of shape (n_steps, at least 8) and ``stride_length`` of shape (n_rows,).

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
        DESCR : str
            Description of the data, with its caveats.
        filenames : list of str
            Paths of the files the recordings were read from.

    Raises
    ------
    FileNotFoundError
        If `folder` holds no recordings.
    TypeError
        If `folder` is no path.
    ValueError
        If a file does not hold the two arrays.

    See Also
    --------
    fetch_gait_ipol : Walks of healthy subjects and patients.

    Notes
    -----
    Download the files from https://doi.org/10.5683/SP3/V6C59O. They are pickles, and to read a
    pickle is to run whatever program is in it. So compare their MD5 sums with those that the page
    of the source shows, and go on only if you trust its authors. These lines, which need pandas,
    write a file that holds nothing but numbers beside each pickle:

    .. code-block:: python

        import pickle
        from pathlib import Path

        import numpy as np

        for path in Path("GaitMotion").rglob("P*.pkl"):
            signals, strides, _ = pickle.loads(path.read_bytes())
            lengths = np.asarray(strides["Stride_length"], dtype=float)
            np.savez(path.with_suffix(".npz"), signals=signals, stride_length=lengths)

    References
    ----------
    .. [1] W. Zhang et al., "GaitMotion: A Multitask Dataset for Pathological Gait Forecasting",
       arXiv:2405.09569.

    Examples
    --------
    >>> from skdeepdive.datasets import load_gaitmotion
    >>> gait = load_gaitmotion("GaitMotion")  # doctest: +SKIP
    >>> gait.target_names[gait.target[0]], gait.data[0].shape[1]  # doctest: +SKIP
    ('Normal', 6)
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"'folder' must be a string or a path, got {folder!r}.")
    recordings = [_read_recording(*key) for key in _list_recordings(Path(folder))]
    target = np.array([recording.target for recording in recordings])
    strides = [recording.stride_length for recording in recordings]
    edges, bins = _bin_strides(strides)
    return Bunch(
        data=[recording.data for recording in recordings],
        target=target,
        target_names=list(_GAITS),
        subject=np.array([recording.subject for recording in recordings]),
        stride_length=strides,
        stride_length_edges=edges,
        factors=np.column_stack([target, bins]),
        factor_names=["gait", "stride_length"],
        step_flags=[recording.step_flags for recording in recordings],
        channels=list(_CHANNELS),
        units=["m/s^2"] * 3 + ["deg/s"] * 3,
        sampling_rate=1000.0,
        DESCR=load_description("gaitmotion.rst"),
        filenames=[str(recording.path) for recording in recordings],
    )


def _list_recordings(folder: Path) -> list[tuple[int, int, Path]]:
    """List the gait type, subject and path of the recordings, in this order."""
    recordings = sorted(
        (target, int(match[1]), path)
        for target, gait in enumerate(_GAITS)
        for path in folder.glob(f"**/{gait}/*.npz")
        if (match := _FILENAME.fullmatch(path.name))
    )
    if not recordings:
        raise FileNotFoundError(
            f"'folder' must hold files P<subject>_*.npz in folders {', '.join(_GAITS)}, got "
            f"{str(folder)!r}, which has none. The notes of load_gaitmotion show how to make them "
            "of the authors' files."
        )
    return recordings


def _read_recording(target: int, subject: int, path: Path) -> _Recording:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            signals = np.asarray(archive["signals"], dtype=np.float32)
            lengths = np.asarray(archive["stride_length"], dtype=np.float64)
        if signals.ndim != 2 or signals.shape[1] < 8 or lengths.ndim != 1:
            raise ValueError(f"their shapes are {signals.shape} and {lengths.shape}")
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} must hold arrays of numbers 'signals' of shape (n_steps, at least 8) and "
            f"'stride_length' of shape (n_rows,), but {error}. Convert the recording again, as "
            "the notes of load_gaitmotion show."
        ) from error
    lengths = lengths[1:]
    return _Recording(
        target=target,
        subject=subject,
        path=path,
        data=np.ascontiguousarray(signals[:, :6]),
        step_flags=np.ascontiguousarray(signals[:, -2:]),
        stride_length=lengths[np.isfinite(lengths)],
    )


def _bin_strides(strides: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Cut stride lengths at their quantiles and find the bin of the median of every recording.

    Without any stride the edges are NaN; a recording without strides has the bin -1.
    """
    lengths = np.concatenate(strides)
    if not len(lengths):
        return np.full(_N_BINS + 1, np.nan), np.full(len(strides), -1)
    edges = np.quantile(lengths, np.linspace(0, 1, _N_BINS + 1))
    medians = [np.median(length) if len(length) else np.nan for length in strides]
    bins = np.digitize(medians, edges[1:-1])
    return edges, np.where(np.isnan(medians), -1, bins)
