"""Source channels: the channel that each target continues, and how targets are scaled."""

import numpy as np

from .._data.scaling import Scaling

# Correlations that differ by less do not decide which of two channels a target continues.
_CLOSE_CORRELATION = 0.1


def find_source_channels(
    X: np.ndarray, y: np.ndarray, x_scaling: Scaling, y_scaling: Scaling
) -> tuple[list[np.ndarray | None], Scaling]:
    """Say which channels the targets may continue, and how the targets are scaled.

    Candidates are the channels in order, where there are as many targets, and, where that is
    clearly better, the channels whose last values correlate best with the targets' first; the
    validation windows choose. A target is scaled like its first candidate, so that past and future
    of a series have the same unit, unless another is clearly better, its level or scale cannot
    be the channel's, or one of both is constant. Where some cannot, None joins the candidates: no
    correspondence.

    Returns
    -------
    candidates : list of ndarray of shape (n_targets,) or None
    y_scaling : Scaling
    """
    n_channels, n_targets = X.shape[2], y.shape[2]
    rows = np.unique(np.linspace(0, len(X) - 1, 2000).astype(int))
    # What is missing is put at the mean.
    last = np.nan_to_num(x_scaling.apply(X[rows, -1], np.float64))
    first = np.nan_to_num(y_scaling.apply(y[rows, 0], np.float64))
    correlation = _correlation(first, last)
    matched = correlation.argmax(axis=1)
    channels = np.arange(n_targets) if n_targets == n_channels else matched
    targets = np.arange(n_targets)
    close = correlation[targets, channels] > correlation[targets, matched] - _CLOSE_CORRELATION
    candidates = [channels] if close.all() else [channels, matched]
    with np.errstate(over="ignore"):
        ratio = y_scaling.scale / x_scaling.scale[channels]
        shift = np.abs(y_scaling.loc - x_scaling.loc[channels]) / x_scaling.scale[channels]
    alike = (ratio > 0.1) & (ratio < 10) & (shift < 3)
    alike &= (np.ptp(first, axis=0) > 0) == (np.ptp(last, axis=0) > 0)[channels]
    if not alike.all():
        candidates.append(None)
    alike &= close
    return candidates, Scaling(
        np.where(alike, x_scaling.loc[channels], y_scaling.loc),
        np.where(alike, x_scaling.scale[channels], y_scaling.scale),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of every column of a with every column of b; 0 for constant ones."""
    a, b = (_standardised(values) for values in (a, b))
    return a.T @ b / len(a)


def _standardised(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=0)
    varies = (np.ptp(values, axis=0) > 0) & (deviation > 0)
    return (values - values.mean(axis=0)) / np.where(varies, deviation, 1)
