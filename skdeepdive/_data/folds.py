"""Folds of windows for cross-validation."""

import numpy as np


def label_folds(labels: np.ndarray, n_folds: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the number of the fold of every window, `(n,)`.

    Windows with the same labels follow each other in time, and neighbours are alike: so each fold
    gets a stretch of consecutive ones of every combination of labels. Groups stay together.

    Parameters
    ----------
    labels : ndarray of shape (n, n_factors)
        Codes of classes.
    n_folds : int
        There are fewer where there are fewer groups, or combinations of too few windows.
    groups : ndarray of shape (n,) or None, default=None
        Codes of groups, from 0.
    """
    if groups is not None:
        return _spread_groups(groups, n_folds)
    _, combination = np.unique(labels, axis=0, return_inverse=True)
    combination = combination.reshape(-1)
    sizes = np.bincount(combination)
    combination[sizes[combination] < n_folds] = len(sizes)  # rare ones together
    folds = np.empty(len(labels), dtype=int)
    for k in np.unique(combination):
        rows = np.flatnonzero(combination == k)
        folds[rows] = np.arange(len(rows)) * n_folds // len(rows)
    return folds


def _spread_groups(groups: np.ndarray, n_folds: int) -> np.ndarray:
    """Assign the groups, the largest first, to the fold that has the fewest windows."""
    sizes = np.bincount(groups)
    fold_of, filled = np.zeros(len(sizes), dtype=int), np.zeros(n_folds)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups]
