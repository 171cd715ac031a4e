"""Scores of forecasts: NumPy arrays in, one number out."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["corr_score", "rrse_score"]


def rrse_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Root relative squared error over all entries; lower is better, the mean scores 1.

    RRSE = sqrt(Σ (y - ŷ)²) / sqrt(Σ (y - mean(y))²). Where series differ in scale the largest
    dominate: standardise them first for an error in which all count alike.

    Parameters
    ----------
    y_true, y_pred : array-like of the same shape
        True and forecast values.

    Returns
    -------
    rrse : float

    Raises
    ------
    ValueError
        If the shapes differ, or if all true values are equal.

    References
    ----------
    .. [1] G. Lai, W.-C. Chang, Y. Yang, H. Liu, "Modeling Long- and Short-Term Temporal Patterns
       with Deep Neural Networks", SIGIR 2018, arXiv:1703.07015.

    Examples
    --------
    >>> from skdeepdive.metrics import rrse_score
    >>> rrse_score([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.707...
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    spread = np.square(y_true - y_true.mean()).sum()
    if np.ptp(y_true) == 0:
        raise ValueError("'y_true' must hold different values: RRSE is relative to their spread.")
    return float(np.sqrt(np.square(y_true - y_pred).sum() / spread))


def corr_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean over series of the correlation of forecasts with true values; higher is better.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, ..., n_series)
        True and forecast values; the last axis counts the series. Series whose true values or
        forecasts are constant are left out.

    Returns
    -------
    corr : float
        Between -1 and 1.

    Raises
    ------
    ValueError
        If the shapes differ, or if no series varies.

    References
    ----------
    .. [1] G. Lai, W.-C. Chang, Y. Yang, H. Liu, "Modeling Long- and Short-Term Temporal Patterns
       with Deep Neural Networks", SIGIR 2018, arXiv:1703.07015.

    Examples
    --------
    >>> from skdeepdive.metrics import corr_score
    >>> corr_score([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0]], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    0.0
    """
    y_true, y_pred = _check_pair(y_true, y_pred)
    true = y_true.reshape(-1, y_true.shape[-1])
    pred = y_pred.reshape(true.shape)
    varies = (np.ptp(true, axis=0) > 0) & (np.ptp(pred, axis=0) > 0)
    true, pred = true - true.mean(axis=0), pred - pred.mean(axis=0)
    norm = np.sqrt(np.square(true).sum(axis=0) * np.square(pred).sum(axis=0))
    if not varies.any():
        raise ValueError("'y_true' and 'y_pred' must hold a series that varies in both.")
    return float(((true * pred).sum(axis=0)[varies] / norm[varies]).mean())


def _check_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "'y_true' and 'y_pred' must have the same shape, got "
            f"{y_true.shape} and {y_pred.shape}."
        )
    return y_true, y_pred
