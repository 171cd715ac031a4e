"""Measures of disentanglement by classifiers: DCI and SAP."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from .._data.checks import check_choice
from ._embeddings import gap_of_two_largest
from ._reading import check_reading, make_splits, read_labels


def dci_scores(
    factors: ArrayLike,
    Z: ArrayLike,
    *,
    cv: Any = 5,
    groups: ArrayLike | None = None,
    gap: int = 0,
) -> Bunch:
    """Disentanglement, completeness and informativeness of latent dimensions.

    A random forest reads every factor [1]_. A dimension is disentangled if it is important to one
    factor alone, and a factor is complete if one dimension alone is important to it.

    Parameters
    ----------
    factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
        Labels, strings or integers; -1, None or NaN where unknown.
    Z : array-like of shape (n_samples, n_latent)
        Embeddings.
    cv, groups, gap
        The folds of the informativeness, as for :func:`accuracy_above_chance`.

    Returns
    -------
    scores : Bunch
        Each is between 0 and 1, and higher is better.

        disentanglement : float
            One less the entropy, to the base of their number, of the factors that a dimension is
            important to; the mean over dimensions, weighted by their importance. 1 with a single
            factor.
        completeness : float
            One less the entropy of the dimensions that are important to a factor, to the base of
            their number; the mean over factors. A factor that has many dimensions is incomplete, be
            they its own or not. 1 with a single dimension.
        informativeness : float
            Accuracy on samples that the forest has not learnt from; the mean over factors.

    Raises
    ------
    ValueError, TypeError
        As for :func:`accuracy_above_chance`.

    References
    ----------
    .. [1] C. Eastwood, C. K. I. Williams, "A framework for the quantitative evaluation of
       disentangled representations", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.metrics import dci_scores
    >>> factors = np.random.default_rng(0).integers(3, size=(600, 2))
    >>> scores = dci_scores(factors, factors + 0.0)  # each factor is a dimension
    >>> bool(min(scores.values()) > 0.95)
    True
    """
    from sklearn.ensemble import RandomForestClassifier  # takes long to import

    forest = RandomForestClassifier(50, max_features=1.0, min_samples_leaf=3, random_state=0)
    encoded, embedding, groups, gap = check_reading(factors, Z, groups, gap)
    importance, accuracies = [], []
    for codes in encoded.codes.T:
        known = codes >= 0
        fitted = forest.fit(embedding[known], codes[known])
        importance.append(fitted.feature_importances_)
        splits = make_splits(codes, cv, groups, gap)
        accuracies.append(np.mean(np.equal(*read_labels(embedding, codes, forest, splits))))
    shares = np.array(importance).T
    weights = shares.sum(axis=1)
    return Bunch(
        disentanglement=float(np.average(_concentration(shares), weights=weights)),
        completeness=float(_concentration(shares.T).mean()),
        informativeness=float(np.mean(accuracies)),
    )


def sap_score(
    factors: ArrayLike,
    Z: ArrayLike,
    *,
    cv: Any = 5,
    groups: ArrayLike | None = None,
    gap: int = 0,
    multioutput: str = "uniform_average",
) -> float | np.ndarray:
    """Gap in accuracy between the latent dimension that tells a factor best and the second best.

    That is the separated attribute predictability [1]_. A single dimension tells the class of a
    sample by thresholds, one less than there are classes. Accuracies are means over classes.

    Parameters
    ----------
    factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
        Labels, strings or integers; -1, None or NaN where unknown.
    Z : array-like of shape (n_samples, n_latent)
        Embeddings. To a single dimension the second best has the accuracy of chance.
    cv, groups, gap
        Folds, as for :func:`accuracy_above_chance`.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        The mean over factors, or one value for each factor.

    Returns
    -------
    score : float or ndarray of shape (n_factors,)
        Between 0 and 1; higher is better.

    Raises
    ------
    ValueError, TypeError
        As for :func:`accuracy_above_chance`.

    See Also
    --------
    mutual_information_gap : The same for mutual information.

    References
    ----------
    .. [1] A. Kumar, P. Sattigeri, A. Balakrishnan, "Variational inference of disentangled latent
       concepts from unlabeled observations", ICLR 2018, arXiv:1711.00848.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.metrics import sap_score
    >>> labels = np.arange(1000) % 4
    >>> noise = np.random.default_rng(0).normal(size=1000)
    >>> bool(sap_score(labels, np.column_stack([labels, noise])) > 0.7)
    True
    """
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    check_choice("multioutput", multioutput, ("uniform_average", "raw_values"))
    encoded, embedding, groups, gap = check_reading(factors, Z, groups, gap)
    scores = np.empty((embedding.shape[1], len(encoded.names)))
    for j, codes in enumerate(encoded.codes.T):
        n_classes = len(encoded.classes[j])
        thresholds = DecisionTreeClassifier(
            max_leaf_nodes=n_classes, class_weight="balanced", random_state=0
        )
        for d, z in enumerate(embedding.T):
            splits = make_splits(codes, cv, groups, gap)
            true, found = read_labels(z[:, np.newaxis], codes, thresholds, splits)
            accuracy = recall_score(true, found, labels=np.unique(true), average="macro")
            scores[d, j] = max(0.0, accuracy - 1 / n_classes)
    gaps = gap_of_two_largest(scores)
    return gaps if multioutput == "raw_values" else float(gaps.mean())


def _concentration(shares: np.ndarray) -> np.ndarray:
    """One less the entropy of every row, relative to that of equal shares; 1 for a single share."""
    n = shares.shape[1]
    if n == 1:
        return np.ones(len(shares))
    total = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, total, out=np.full_like(shares, 1 / n), where=total > 0)
    entropy = -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=1)
    return 1 - entropy / np.log(n)
