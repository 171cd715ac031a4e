"""Scores of forecasts and of embeddings: NumPy arrays in, one number out."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array, check_consistent_length

from ._data.checks import check_choice, check_integer, check_numeric, naming, to_floats
from ._data.labels import check_factors
from ._data.rows import check_finite

__all__ = ["corr_score", "forecast_scorer", "mutual_information_gap", "rrse_score"]


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

    def __call__(self, estimator: Any, X: Any, y: Any, **options: Any) -> float:
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


def mutual_information_gap(
    factors: ArrayLike, Z: ArrayLike, *, n_bins: int = 20, multioutput: str = "uniform_average"
) -> float | np.ndarray:
    """Gap in information about a factor between the best latent dimension and the second best.

    MIG = mean over factors of (I_1 - I_2) / H, where I_1 and I_2 are the largest and the second
    largest mutual information between the factor and a single dimension, and H is the factor's
    entropy [1]_. It is 1 where every factor can be read off one dimension and is independent of all
    others. It is 0 where two dimensions are equally informative, or none is informative at all.
    Higher is better.

    Parameters
    ----------
    factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
        Labels, strings or integers; -1, None or NaN where unknown. Every factor is compared on the
        samples that have its label.
    Z : array-like of shape (n_samples, n_latent)
        Embeddings. Of a single dimension the second largest information is 0, as if a constant
        dimension stood beside it.
    n_bins : int, default=20
        Number of bins that a dimension is cut into; at least 2. The information is at most
        log(n_bins) nats, so take at least as many as the factors have classes, where there are
        some tens of samples for each bin.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        The mean over factors, or one value for each factor.

    Returns
    -------
    mig : float or ndarray of shape (n_factors,)
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, `Z` is not finite, a factor has a single class, no label or
        continuous values, or a parameter is out of range.
    TypeError
        If `n_bins` is not an integer.

    Notes
    -----
    Mutual information is estimated from a histogram. The bins of a dimension hold equally many
    samples: bins of equal width are spoiled by outliers, which leave most samples in a few of them,
    whereas these depend on the order of the values alone, so that no monotone transformation
    changes the result. Equal values share a bin; a constant dimension has no information.

    A histogram overestimates the information of independent variables by about
    (n_bins - 1) (n_classes - 1) / (2 n_samples) nats, and that of dependent ones by less, which
    closes the gap. Entropies are therefore corrected by Miller and Madow's term [2]_, the number of
    occupied cells less one over 2 n_samples. What remains is that bins blur: the value is that of
    the binned dimension.

    A factor whose information is spread over several dimensions has a small gap, be they reserved
    for it or not: compare models with the same number of dimensions for each factor.

    References
    ----------
    .. [1] R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating Sources of Disentanglement in
       Variational Autoencoders", NeurIPS 2018, arXiv:1802.04942.
    .. [2] G. A. Miller, "Note on the bias of information estimates", in Information Theory in
       Psychology, 1955.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.metrics import mutual_information_gap
    >>> labels = np.arange(1000) % 4
    >>> noise = np.random.default_rng(0).normal(size=1000)
    >>> mutual_information_gap(labels, np.column_stack([labels, noise]))
    0.99...

    As a scorer of any transformer, where labels are the `y` of the search:

    >>> def gap(transformer, X, y):
    ...     return mutual_information_gap(y, transformer.transform(X))

    :func:`~sklearn.metrics.make_scorer` passes what `predict` returns; from scikit-learn 1.9 on
    ``make_scorer(mutual_information_gap, response_method=["transform"])`` does the same as `gap`.
    """
    n_bins = check_integer("n_bins", n_bins, minimum=2)
    check_choice("multioutput", multioutput, ("uniform_average", "raw_values"))
    with naming("Z"), np.errstate(invalid="ignore", over="ignore"):
        embedding: np.ndarray = check_array(check_numeric("Z", Z), dtype=np.float64, input_name="Z")
    with naming("factors"):
        check_consistent_length(factors, embedding)
    n_bins = min(n_bins, len(embedding))  # then every value has a bin of its own
    gaps = _information_gaps(_normalised_information(factors, embedding, n_bins)[1])
    return gaps if multioutput == "raw_values" else float(gaps.mean())


def _normalised_information(
    factors: ArrayLike, embedding: np.ndarray, n_bins: int
) -> tuple[list[str], np.ndarray]:
    """Return names of factors, and `(n_latent, n_factors)` information over a factor's entropy."""
    encoded = check_factors(factors, len(embedding))
    shares = np.empty((embedding.shape[1], len(encoded.names)))
    for j, column in enumerate(encoded.codes.T):
        known = column >= 0
        codes = column[known]
        information = [_mutual_information(codes, z, n_bins) for z in embedding[known].T]
        shares[:, j] = np.array(information) / _entropy(np.bincount(codes))
    return encoded.names, shares


def _information_gaps(shares: np.ndarray) -> np.ndarray:
    """Return the largest less the second largest of every column; 0 stands in for a missing one."""
    second, first = np.sort(np.vstack([np.zeros_like(shares[:1]), shares]), axis=0)[-2:]
    return first - second


def _mutual_information(codes: np.ndarray, z: np.ndarray, n_bins: int) -> float:
    """I(codes; binned z) in nats, between 0 and the entropy of the codes."""
    bins = _equal_frequency_bins(z, n_bins)
    counts = np.bincount(codes * n_bins + bins, minlength=(codes.max() + 1) * n_bins)
    counts = counts.reshape(-1, n_bins)
    entropy = _entropy(counts.sum(axis=1))
    information = entropy + _entropy(counts.sum(axis=0)) - _entropy(counts)
    return float(np.clip(information, 0.0, entropy))


def _equal_frequency_bins(z: np.ndarray, n_bins: int) -> np.ndarray:
    """Bin of every value; the upper edges are values, so that the order alone decides."""
    last = -(-np.arange(1, n_bins) * len(z) // n_bins) - 1
    return np.searchsorted(np.unique(np.sort(z)[last]), z)


def _entropy(counts: np.ndarray) -> float:
    """Entropy in nats of a distribution sampled in counts, with Miller and Madow's correction."""
    counts = counts[counts > 0]
    frequencies = counts / counts.sum()
    correction = (len(counts) - 1) / (2 * counts.sum())
    return float(-(frequencies * np.log(frequencies)).sum() + correction)


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
