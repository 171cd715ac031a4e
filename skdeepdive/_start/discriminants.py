"""The closed-form start of b: linear discriminants of every factor, chosen on windows left out.

Cross-validation chooses the regularisation, and the features where there are two kinds. Windows
without a label take part by EM; validation windows choose the number of rounds.
"""

import functools
import operator
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from .._data.batches import WindowData, WindowSample
from .._data.folds import label_folds
from .._data.labels import UNLABELLED
from ..nn.features import WindowFeatures
from .fisher import (
    ClassDiscriminants,
    Described,
    Setting,
    cross_entropies,
    solve,
    solve_all,
    sum_classes,
)
from .sums import PENALTIES, ClassSums

TEMPERATURES = (2.0, 1.0, 4.0, 8.0)

# Together with the first temperature, for labels that neither fold nor validation window has.
DEFAULT_PENALTY = 1e-2

# Most of the gain of unlabelled windows comes with the first two or three rounds.
MAX_ROUNDS = 8

# A round gains where it lowers the cross-entropy by more than a twentieth: few windows decide.
_CLEARLY_LESS = 0.95

# Classes weigh alike in the moments where one has more than twice as many windows as another: rare
# ones would hardly count. Nearly even ones weigh by their windows, so that factors share moments.
_EVEN = 2.0

# Training windows take turns in validation, unless there are many.
N_FOLDS, _MANY = 5, 10_000

# Entries of the covariances of all folds together, at most (64 MB). With many features, factorising
# them takes longer than all else.
_MOST_ENTRIES = 2**23


class _Split(NamedTuple):
    """Training windows, in the parts that take turns in validation, and validation windows."""

    parts: list[Described]
    valid: Described

    @classmethod
    def of(
        cls,
        train: WindowData | WindowSample,
        valid: WindowData | WindowSample,
        features: WindowFeatures,
        n_logits: int,
        n_folds: int,
        groups: np.ndarray | None,
        columns: slice = slice(None),
    ) -> "_Split":
        """Describe all windows; training windows have one part where folds cost too much."""
        n_folds = min(n_folds, _MOST_ENTRIES // (features.n_features + features.n_pooled) ** 2)
        rows_of_folds = _make_folds(train, n_folds, groups)
        folds = [train.take(rows) for rows in rows_of_folds] if rows_of_folds else [train]
        parts = [Described(fold, features, n_logits, columns) for fold in folds]
        return cls(parts, Described(valid, features, n_logits, columns))


class _Best(NamedTuple):
    """The best discriminants of a factor.

    Attributes
    ----------
    fitted : discriminants
        Fitted to the training windows.
    refitted : discriminants
        Fitted to the validation windows as well, in the same setting.
    loss : float
        Cross-entropy, summed over the labelled validation windows.
    """

    fitted: ClassDiscriminants
    refitted: ClassDiscriminants
    loss: float


class _Tried(NamedTuple):
    """Discriminants of some factors in all settings.

    `classes` are the weights of their classes, `candidates` those of the labelled training windows,
    whose sums are `sums`. Of every factor, `validation` and `losses` are the cross-entropy of every
    candidate at every temperature, summed over the labelled validation windows and over all that
    were left out.
    """

    classes: dict[int, torch.Tensor]
    sums: ClassSums
    candidates: dict[int, list[ClassDiscriminants]]
    validation: dict[int, torch.Tensor]
    losses: dict[int, torch.Tensor]


class Discriminants(NamedTuple):
    """Discriminants of all factors side by side.

    Attributes
    ----------
    weight : tensor of shape (sum of class_counts, n_features)
    bias : tensor of shape (sum of class_counts,)
    """

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, factors: list[ClassDiscriminants]) -> "Discriminants":
        """Put those of factors together."""
        weight = torch.cat([factor.weight for factor in factors], dim=1)
        bias = torch.cat([factor.bias + factor.log_prior for factor in factors])
        return cls(weight.T.float(), bias.float())


def fit_discriminants(
    train: WindowData,
    valid: WindowData,
    features: WindowFeatures,
    class_counts: list[int],
    groups: np.ndarray | None = None,
    n_folds: int = N_FOLDS,
) -> tuple[Discriminants, Discriminants]:
    """Fit Fisher's linear discriminants of every factor's labels on the window features.

    For each factor, the lowest cross-entropy on windows that are left out decides on the kind of
    features, on how far the within-class covariance is shrunk towards a multiple of the identity,
    and on a temperature of the log densities. Left out are the validation windows and, where
    training windows are few, each fold of these. Windows without a label of a factor take part with
    their posteriors, in rounds of EM that go on as long as the cross-entropy of the validation
    windows clearly falls. Classes of clearly uneven size weigh alike in the covariance; their prior
    probabilities are the observed frequencies all the same.

    Parameters
    ----------
    train, valid : WindowData
    features : WindowFeatures
    class_counts : list of int
    groups : ndarray of shape (n_train,) or None, default=None
        Codes of groups of training windows that are not to be divided among folds.
    n_folds : int, default=5
        Number of folds, at most; 0: only the validation windows are left out.

    Returns
    -------
    discriminants : Discriminants
        Fitted to the training windows.
    refit : Discriminants
        With the same options, fitted to the validation windows as well.

    References
    ----------
    .. [1] O'Neill, T. J. (1978). Normal discrimination with unclassified observations. Journal of
       the American Statistical Association, 73(364), 821-826.
    .. [2] McLachlan, G. J. (1992). Discriminant Analysis and Statistical Pattern Recognition.
       Wiley.
    """
    best: dict[int, _Best] = {}
    settings = _settings(features.kinds, PENALTIES)
    weights = _class_weights(train, valid, class_counts)
    n_logits = sum(class_counts)
    split = _Split.of(train, valid, features, n_logits, n_folds, groups)
    for tried in _try_all(split, train.labels, weights, settings):
        best |= _choose(tried, split.valid, settings)
    # EM needs some training labels, and validation labels to be evaluated on.
    known = train.labels != UNLABELLED
    partly = ~known.all(axis=0) & known.any(axis=0) & (valid.labels != UNLABELLED).any(axis=0)
    classes = {j: weights[j] for j in np.flatnonzero(partly).tolist()}
    if classes:
        described = Described(train, features, n_logits)
        best = _learn_from_unlabelled(described, split.valid, classes, best)
    ordered = [best[j] for j in sorted(best)]
    return (
        Discriminants.of([factor.fitted for factor in ordered]),
        Discriminants.of([factor.refitted for factor in ordered]),
    )


def least_losses(
    train: WindowData | WindowSample,
    valid: WindowData | WindowSample,
    features: WindowFeatures,
    class_counts: list[int],
    groups: np.ndarray | None,
    n_folds: int,
    penalties: tuple[float, ...],
    columns: slice = slice(None),
) -> dict[int, float]:
    """Return the least cross-entropy of each factor, by some of the features."""
    settings = _settings([slice(None)], penalties)
    weights = _class_weights(train, valid, class_counts)
    split = _Split.of(train, valid, features, sum(class_counts), n_folds, groups, columns)
    return {
        j: float(losses.min())
        for tried in _try_all(split, train.labels, weights, settings)
        for j, losses in tried.losses.items()
    }


def _class_weights(
    train: WindowData | WindowSample, valid: WindowData | WindowSample, class_counts: list[int]
) -> list[torch.Tensor]:
    """Return what a window of each class weighs in the moments of each factor, `(n_classes,)`."""
    weights = []
    labels = np.concatenate([train.labels, valid.labels])
    for own, n_classes in zip(labels.T, class_counts, strict=True):
        counts = np.bincount(own[own != UNLABELLED], minlength=n_classes)
        present = counts[counts > 0]
        even = not len(present) or present.max() <= _EVEN * present.min()
        alike = np.ones(n_classes) if even else present.mean() / np.maximum(counts, 1)
        weights.append(torch.from_numpy(alike).to(train.device))
    return weights


def _try_all(
    split: _Split, labels: np.ndarray, weights: list[torch.Tensor], settings: list[Setting]
) -> Iterator[_Tried]:
    """Yield what was tried for some factors, given the labels of all training windows.

    Factors that are labelled throughout and whose windows weigh the same share a covariance.
    """
    complete = (labels != UNLABELLED).all(axis=0)
    complete &= np.array([bool((own == 1).all()) for own in weights], dtype=bool)
    for together in [np.flatnonzero(complete), *np.flatnonzero(~complete)[:, None]]:
        classes = {j: weights[j] for j in together.tolist()}
        if classes:
            yield _try(split, classes, settings)


def class_sums(data: WindowData, features: WindowFeatures, class_counts: list[int]) -> ClassSums:
    """Sum over the windows that have a label of any factor."""
    described = Described(data, features, sum(class_counts))
    return sum_classes(described, _unweighted(class_counts, data.device), {})


def refit_discriminants(
    sums: ClassSums, valid: WindowData, features: WindowFeatures, class_counts: list[int]
) -> Discriminants:
    """Fit Fisher's linear discriminants as :func:`fit_discriminants` does, to sums of labels.

    All factors share a covariance, in which windows weigh the same, and those without a label have
    no part. Validation windows choose the options.
    """
    classes = _unweighted(class_counts, valid.device)
    settings = _settings([slice(None)], PENALTIES)
    candidates = solve_all(sums, classes, settings)
    losses = cross_entropies(
        candidates, Described(valid, features, sum(class_counts)), TEMPERATURES
    )
    return Discriminants.of([_least(candidates[j], losses[j])[0] for j in classes])


def _unweighted(class_counts: list[int], device: torch.device) -> dict[int, torch.Tensor]:
    return {
        j: torch.ones(n, dtype=torch.float64, device=device) for j, n in enumerate(class_counts)
    }


def _make_folds(
    train: WindowData | WindowSample, n_folds: int, groups: np.ndarray | None
) -> list[np.ndarray]:
    """Return the rows of the folds: none where there are many windows, or room for one fold."""
    if len(train) >= _MANY or n_folds < 2:
        return []
    folds = label_folds(train.labels, n_folds, groups)
    rows = [np.flatnonzero(folds == k) for k in np.unique(folds)]
    return rows if len(rows) > 1 else []


def _settings(kinds: list[slice], penalties: tuple[float, ...]) -> list[Setting]:
    """Return all settings, the default one first."""
    ordered = sorted(penalties, key=lambda penalty: penalty != DEFAULT_PENALTY)
    return [Setting(*pair) for pair in product(kinds, ordered)]


def _try(split: _Split, classes, settings) -> _Tried:
    """Fit some factors in all settings.

    The parts of the training windows take turns in validation, where there are several.
    """
    sums = [sum_classes(part, classes, {}) for part in split.parts]
    whole = functools.reduce(operator.add, sums)
    candidates = solve_all(whole, classes, settings)
    validation = cross_entropies(candidates, split.valid, TEMPERATURES)
    losses = validation
    if len(split.parts) > 1:
        for part, own in zip(split.parts, sums, strict=True):
            held_out = cross_entropies(
                solve_all(whole - own, classes, settings), part, TEMPERATURES
            )
            losses = {j: losses[j] + held_out[j] for j in classes}
    return _Tried(classes, whole, candidates, validation, losses)


def _choose(tried: _Tried, valid: Described, settings) -> dict[int, _Best]:
    """Choose the setting of the factors that were tried, and fit to labelled windows."""
    classes = tried.classes
    everything = tried.sums + sum_classes(valid, classes, {})
    best = {}
    for j in classes:
        fitted, i, t = _least(tried.candidates[j], tried.losses[j])
        refitted = solve(everything, classes, settings[i])[j].divided_by(TEMPERATURES[t])
        best[j] = _Best(fitted, refitted, float(tried.validation[j][i, t]))
    return best


def _learn_from_unlabelled(train: Described, valid: Described, classes, best):
    """Improve the best discriminants of some factors by rounds of EM, each until it gains no more.

    Rounds are chosen by the validation windows, not by the likelihood: the clusters of the windows
    need not be the classes.
    """
    settings = _settings(valid.features.kinds, PENALTIES)
    for _ in range(MAX_ROUNDS):
        if not classes:
            break
        current = {j: best[j].fitted for j in classes}
        sums = sum_classes(train, classes, current)
        candidates = solve_all(sums, classes, settings)
        losses = cross_entropies(candidates, valid, TEMPERATURES)
        everything = sums + sum_classes(valid, classes, current)
        gained = {}
        for j in classes:
            fitted, i, t = _least(candidates[j], losses[j])
            loss = float(losses[j][i, t])
            if loss < _CLEARLY_LESS * best[j].loss:
                refitted = solve(everything, classes, settings[i])[j].divided_by(TEMPERATURES[t])
                gained[j] = _Best(fitted, refitted, loss)
        best, classes = best | gained, {j: classes[j] for j in gained}
    return best


def _least(
    candidates: list[ClassDiscriminants], losses: torch.Tensor
) -> tuple[ClassDiscriminants, int, int]:
    """Return the best candidate at its temperature, and the numbers of both."""
    i, t = divmod(int(losses.nan_to_num(torch.inf).argmin()), losses.shape[1])
    return candidates[i].divided_by(TEMPERATURES[t]), i, t
