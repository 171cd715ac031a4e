"""Mutual information of labels and latent dimensions."""

import numpy as np
from numpy.typing import ArrayLike

from .._data.checks import check_choice, check_integer
from .._data.labels import Factors
from ._embeddings import check_embedding, gap_of_two_largest


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
    encoded, embedding = check_embedding(factors, Z)
    gaps = gap_of_two_largest(normalised_information(encoded, embedding, n_bins))
    return gaps if multioutput == "raw_values" else float(gaps.mean())


def normalised_information(factors: Factors, embedding: np.ndarray, n_bins: int) -> np.ndarray:
    """Return information over the entropy of the factor, `(n_latent, n_factors)`."""
    n_bins = min(n_bins, len(embedding))  # then every value has a bin of its own
    shares = np.empty((embedding.shape[1], len(factors.names)))
    for j, column in enumerate(factors.codes.T):
        known = column >= 0
        codes = column[known]
        information = [_mutual_information(codes, z, n_bins) for z in embedding[known].T]
        shares[:, j] = np.array(information) / _entropy(np.bincount(codes))
    return shares


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
