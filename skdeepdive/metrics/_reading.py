"""How well classifiers read labels from embeddings."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length

from .._data.checks import check_choice, check_integer, naming
from .._data.folds import label_folds
from .._data.labels import Factors
from .._data.validation import check_groups
from ._embeddings import check_embedding

_N_NEIGHBORS = 15
_N_TREES = 50  # of every class

Splits = Iterable[tuple[np.ndarray, np.ndarray]]


def accuracy_above_chance(
    factors: ArrayLike,
    Z: ArrayLike,
    *,
    classifier: Any = "neighbors",
    cv: Any = 5,
    groups: ArrayLike | None = None,
    gap: int = 0,
    multioutput: str = "uniform_average",
) -> float | np.ndarray:
    """Accuracy with which labels are read from embeddings, less that of the commonest label.

    It is about 0 where the embedding tells nothing of the labels. Of the conditional dimensions
    that is the promise of a disentangled model; of the marginal dimensions the score should be
    high. A linear classifier finds classes whose means differ. Nearest neighbours and boosting also
    find classes whose scales, correlations or shapes do.

    Parameters
    ----------
    factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
        Labels, strings or integers; -1, None or NaN where unknown. Every factor is read on the
        samples that have its label.
    Z : array-like of shape (n_samples, n_latent)
        Embeddings, or some of their dimensions.
    classifier : {"neighbors", "boosting"} or classifier of scikit-learn, default="neighbors"
        What reads the labels: the 15 nearest neighbours of standardised dimensions, or boosted
        trees (50 rounds of :class:`~sklearn.ensemble.HistGradientBoostingClassifier`).
    cv : int, cross-validation splitter or iterable, default=5
        Number of folds, each of which is read by a classifier that learnt from the others. Each
        fold gets a stretch of consecutive samples of every class, or whole groups. A splitter, or
        pairs of row numbers to learn from and to read, replace these folds.
    groups : array-like of shape (n_samples,), default=None
        Samples of a group are in the same fold: recordings or people, for example.
    gap : int, default=0
        With a number of folds: how many samples on either side of one that is read are not learnt
        from. Windows that a series is cut into share steps unless it is ``n_timesteps - 1`` or
        more, divided by their stride.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        The mean over factors, or one value for each factor.

    Returns
    -------
    score : float or ndarray of shape (n_factors,)
        Below 1; it may be a little below 0.

    Raises
    ------
    ValueError
        If the lengths differ, `Z` is not finite, a factor has a single class, no label or
        continuous values, a parameter is out of range, or a fold leaves nothing to learn from.
    TypeError
        If `gap` is not an integer.

    See Also
    --------
    mutual_information_gap : Whether single dimensions tell the label.

    Notes
    -----
    Neighbouring windows share steps, and windows of one recording resemble each other. Where some
    are learnt from and others read, the label is read because the window is recognised. So give
    `groups` or a `gap`.

    Examples
    --------
    Classes of equal means, one of them wider than the other:

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdeepdive.metrics import accuracy_above_chance
    >>> labels = np.arange(1000) % 2
    >>> Z = np.random.default_rng(0).normal(size=(1000, 4)) * (1 + 3 * labels[:, None])
    >>> bool(accuracy_above_chance(labels, Z) > 0.3)
    True
    >>> bool(accuracy_above_chance(labels, Z, classifier=LogisticRegression()) < 0.1)
    True
    """
    check_choice("multioutput", multioutput, ("uniform_average", "raw_values"))
    if isinstance(classifier, str):
        check_choice("classifier", classifier, ("neighbors", "boosting"))
    encoded, embedding, groups, gap = check_reading(factors, Z, groups, gap)
    scores = [
        _above_chance(embedding, codes, classifier, make_splits(codes, cv, groups, gap))
        for codes in encoded.codes.T
    ]
    return np.array(scores) if multioutput == "raw_values" else float(np.mean(scores))


def check_reading(
    factors: ArrayLike, Z: ArrayLike, groups: Any, gap: Any
) -> tuple[Factors, np.ndarray, np.ndarray | None, int]:
    """Return labels as codes, embedding, codes of groups or None, and gap."""
    encoded, embedding = check_embedding(factors, Z)
    if groups is not None:
        with naming("groups"):
            check_consistent_length(groups, embedding)
        groups = check_groups(groups, len(embedding))
    return encoded, embedding, groups, check_integer("gap", gap, minimum=0)


def _above_chance(Z: np.ndarray, codes: np.ndarray, classifier: Any, splits: Splits) -> float:
    read, found = read_labels(Z, codes, classifier, splits)
    return float((read == found).mean() - np.bincount(read).max() / len(read))


def read_labels(
    Z: np.ndarray, codes: np.ndarray, classifier: Any, splits: Splits
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of all samples that are read, and what is read, fold after fold."""
    true, found = [], []
    for learn, read in splits:
        true.append(codes[read])
        if len(np.unique(codes[learn])) == 1:
            found.append(np.full(len(read), codes[learn[0]]))
        else:
            fitted = _make_classifier(classifier, len(learn)).fit(Z[learn], codes[learn])
            found.append(fitted.predict(Z[read]))
    return np.concatenate(true), np.concatenate(found)


def _make_classifier(classifier: Any, n_samples: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # these take long to import
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not isinstance(classifier, str):
        return clone(classifier)
    if classifier == "neighbors":
        neighbors = KNeighborsClassifier(min(_N_NEIGHBORS, n_samples))
        return make_pipeline(StandardScaler(), neighbors)
    return HistGradientBoostingClassifier(max_iter=_N_TREES, early_stopping=False, random_state=0)


def make_splits(
    codes: np.ndarray, cv: Any, groups: np.ndarray | None, gap: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows to learn from and the rows to read; unlabelled ones are among neither."""
    known = codes >= 0
    if isinstance(cv, int | np.integer):
        splits = _folds(codes, check_integer("cv", cv, minimum=2), groups, gap)
    else:
        splits = check_cv(cv).split(codes, codes, groups)
    for learn, read in splits:
        learn, read = learn[known[learn]], read[known[read]]
        if not len(read):
            continue
        if not len(learn):
            raise ValueError(
                "'cv' must leave labelled samples to learn from, but for one fold there are none. "
                "Take a smaller 'gap', or other folds."
            )
        yield learn, read


def _folds(
    codes: np.ndarray, n_folds: int, groups: np.ndarray | None, gap: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    known = np.flatnonzero(codes >= 0)
    folds = np.full(len(codes), -1)
    own = None if groups is None else groups[known]
    folds[known] = label_folds(codes[known, np.newaxis], n_folds, own)
    for k in range(n_folds):
        read = folds == k
        yield np.flatnonzero(~_near(read, gap)), np.flatnonzero(read)


def _near(marked: np.ndarray, gap: int) -> np.ndarray:
    """Return whether samples are marked, or no more than `gap` from one that is."""
    counts = np.concatenate([[0], marked.cumsum()])
    row = np.arange(len(marked))
    stop, start = np.minimum(row + gap + 1, len(marked)), np.maximum(row - gap, 0)
    return counts[stop] > counts[start]
