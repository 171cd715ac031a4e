"""Scores of forecasts: NumPy arrays in, one number out."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin

from .._data.checks import to_floats
from .._data.rows import check_finite


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
    if np.ptp(y_true) == 0:
        raise ValueError("'y_true' must hold different values: RRSE is relative to their spread.")
    with np.errstate(over="ignore"):
        rrse = float(_norm(y_true - y_pred) / _norm(y_true - y_true.mean()))
    if not np.isfinite(rrse):
        raise ValueError("'y_pred' is too far from 'y_true' for RRSE to be a number.")
    return rrse


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
    if not varies.any():
        raise ValueError("'y_true' and 'y_pred' must hold a series that varies in both.")
    true, pred = (_deviations(values[:, varies]) for values in (true, pred))
    norm = np.sqrt(np.square(true).sum(axis=0) * np.square(pred).sum(axis=0))
    return float(np.clip((true * pred).sum(axis=0) / norm, -1, 1).mean())


def forecast_scorer(scoring: str) -> Any:
    """Make a scorer of forecasts with several targets, which scikit-learn's scorers refuse.

    Parameters
    ----------
    scoring : str
        Name of a scorer of scikit-learn for regressions, such as ``"neg_mean_absolute_error"`` or
        ``"r2"``, or ``"neg_rrse"``, the negative of :func:`rrse_score`.

    Returns
    -------
    scorer : callable
        With the signature ``scorer(estimator, X, y)``, for the `scoring` of searches,
        cross-validation and :func:`~sklearn.inspection.permutation_importance`. Every step of every
        target counts as an output. Higher is better.

    Raises
    ------
    ValueError
        If there is no scorer of this name.

    See Also
    --------
    skdeepdive.inspection.channel_importance : What each channel adds to a score.

    Notes
    -----
    It scores forecasters of windows. Searches of a :class:`~skdeepdive.SeriesForecaster` have no
    `y` to compare with: they use its own `score`, or a callable ``scorer(forecaster, table)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import TimeSeriesSplit, cross_val_score
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.metrics import forecast_scorer
    >>> time = np.arange(300)
    >>> series = np.column_stack([np.sin(time / 4), np.cos(time / 4)])
    >>> X, y, _ = sliding_windows(series, n_timesteps=24, horizon=6)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> scoring = forecast_scorer("neg_mean_absolute_error")
    >>> scores = cross_val_score(model, X, y, cv=TimeSeriesSplit(2, gap=5), scoring=scoring)
    >>> bool((scores > -0.1).all())
    True
    """
    from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

    if scoring == "neg_rrse":
        return _ForecastScorer(make_scorer(rrse_score, greater_is_better=False))
    if not isinstance(scoring, str) or scoring not in get_scorer_names():
        raise ValueError(
            "'scoring' must be 'neg_rrse' or the name of a scorer of scikit-learn, such as "
            f"'neg_mean_absolute_error', got {scoring!r}."
        )
    return _ForecastScorer(get_scorer(scoring))


class _ForecastScorer:
    """Score forecasts whose steps and targets are flattened to outputs."""

    def __init__(self, scorer: Any):
        self.scorer = scorer

    def __call__(self, estimator: Any, X: Any, y: Any = None, **options: Any) -> float:
        if y is None:
            raise TypeError(
                "'y' must hold the futures of windows, got None. For a SeriesForecaster, which "
                "takes tables, leave 'scoring' None or pass a callable scorer(forecaster, table)."
            )
        return float(self.scorer(_Flattened(estimator), X, _flatten(y), **options))

    def __repr__(self) -> str:
        return f"forecast_scorer of {self.scorer!r}"


class _Flattened(RegressorMixin, BaseEstimator):
    """A fitted forecaster whose futures have one dimension."""

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> np.ndarray:
        return _flatten(self.estimator.predict(X))


def _flatten(y: Any) -> np.ndarray:
    """Return futures of three dimensions in two; others stay."""
    y = np.asarray(y)
    return y.reshape(len(y), -1) if y.ndim > 2 else y


def _deviations(values: np.ndarray) -> np.ndarray:
    """Deviations of every column from its mean, in units of the largest: no square is too large."""
    deviations = values - values.mean(axis=0)
    return deviations / np.abs(deviations).max(axis=0)


def _norm(values: np.ndarray) -> float:
    """Root of the sum of squares, none of which is too large or too small."""
    largest = np.abs(values).max()
    return largest and largest * np.sqrt(np.square(values / largest).sum())


def _check_values(name: str, values: ArrayLike) -> np.ndarray:
    array = to_floats(name, values)
    if array.ndim == 0 or not array.size:
        raise ValueError(f"'{name}' must hold values in at least one dimension, got {array.shape}.")
    check_finite(name, array.reshape(len(array), 1, -1))
    return array


def _check_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = _check_values("y_true", y_true), _check_values("y_pred", y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "'y_true' and 'y_pred' must have the same shape, got "
            f"{y_true.shape} and {y_pred.shape}."
        )
    return y_true, y_pred
