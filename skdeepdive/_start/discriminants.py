"""Fisher's linear discriminants of the labels, the closed-form start of b.

Discriminants are posteriors of Gaussians that share a covariance, so windows without a label can
take part, by EM. Moments are summed over batches in double precision: windows are never in memory
together. Cross-validation chooses the regularisation, and the features where there are two kinds;
validation windows choose the number of rounds.
"""

import functools
import operator
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from .._data.batches import WindowData, WindowSample, rows_per_batch
from .._data.folds import label_folds
from .._data.labels import UNLABELLED
from ..nn.features import WindowFeatures
from .sums import PENALTIES, ClassSums, add_squares, penalised_cholesky

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

# Features that are kept for all passes over the windows, at most (64 MB).
_MOST_KEPT = 2**24


class _Discriminants(NamedTuple):
    """Logits f @ weight + bias + log_prior of one factor's classes, given features f."""

    weight: torch.Tensor  # (n_features, n_classes)
    bias: torch.Tensor  # (n_classes,)
    log_prior: torch.Tensor  # (n_classes,), logarithms of the frequencies
    present: torch.Tensor  # (n_classes,), whether a training window belongs to the class

    def likelihood(self, f: torch.Tensor) -> torch.Tensor:
        """Log density of features given the classes, up to a constant."""
        return f @ self.weight + self.bias

    def posterior(self, f: torch.Tensor) -> torch.Tensor:
        """Posterior of the classes, `(n, n_classes)`; 0 for a class without training windows."""
        logits = self.likelihood(f) + self.log_prior
        return logits.masked_fill(~self.present, -torch.inf).softmax(1)

    def divided_by(self, temperature: float) -> "_Discriminants":
        """Divide the log density, whose features are correlated more than the model knows."""
        return self._replace(weight=self.weight / temperature, bias=self.bias / temperature)


class _Setting(NamedTuple):
    """Some of the features, and a penalty."""

    columns: slice
    penalty: float


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

    fitted: _Discriminants
    refitted: _Discriminants
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
    candidates: dict[int, list[_Discriminants]]
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
    def of(cls, factors: list[_Discriminants]) -> "Discriminants":
        """Put those of factors together."""
        weight = torch.cat([factor.weight for factor in factors], dim=1)
        bias = torch.cat([factor.bias + factor.log_prior for factor in factors])
        return cls(weight.T.float(), bias.float())


class _Described:
    """Features and labels of windows, in batches; computed once if there is room for them."""

    def __init__(self, data: WindowData | WindowSample, features: WindowFeatures, n_logits: int):
        self.data, self.features = data, features
        self.n_features = features.n_features + features.n_pooled
        self.size = rows_per_batch(data, n_logits)
        is_small = len(data) * self.n_features <= _MOST_KEPT
        self.kept = list(self._describe()) if is_small else None

    def _describe(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.data.batches(self.size):
            yield self.features.of(batch).with_pooled, batch.labels

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for f, labels in self.kept or self._describe():
            yield f.double(), labels


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
    for tried, evaluated in _try_all(train, valid, features, weights, groups, n_folds, settings):
        best |= _choose(tried, evaluated, settings)
    # EM needs some training labels, and validation labels to be evaluated on.
    known = train.labels != UNLABELLED
    partly = ~known.all(axis=0) & known.any(axis=0) & (valid.labels != UNLABELLED).any(axis=0)
    classes = {j: weights[j] for j in np.flatnonzero(partly).tolist()}
    if classes:
        n_logits = sum(class_counts)
        described, evaluated = (_Described(data, features, n_logits) for data in (train, valid))
        best = _learn_from_unlabelled(described, evaluated, classes, best)
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
) -> list[torch.Tensor]:
    """Return the least cross-entropy of each factor with every kind of features, `(n_kinds,)`."""
    settings = _settings(features.kinds, penalties)
    weights = _class_weights(train, valid, class_counts)
    return [
        losses.view(len(features.kinds), -1).amin(1)
        for tried, _ in _try_all(train, valid, features, weights, groups, n_folds, settings)
        for losses in tried.losses.values()
    ]


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
    train: WindowData | WindowSample,
    valid: WindowData | WindowSample,
    features: WindowFeatures,
    weights: list[torch.Tensor],
    groups: np.ndarray | None,
    n_folds: int,
    settings: list[_Setting],
) -> Iterator[tuple[_Tried, _Described]]:
    """Yield what was tried for some factors, and the validation windows.

    Factors that are labelled throughout and whose windows weigh the same share a covariance.
    """
    complete = (train.labels != UNLABELLED).all(axis=0)
    complete &= np.array([bool((own == 1).all()) for own in weights], dtype=bool)
    n_folds = min(n_folds, _MOST_ENTRIES // (features.n_features + features.n_pooled) ** 2)
    rows_of_folds = _make_folds(train, n_folds, groups)
    folds = [train.take(rows) for rows in rows_of_folds] if rows_of_folds else [train]
    n_logits = sum(map(len, weights))
    parts = [_Described(fold, features, n_logits) for fold in folds]
    evaluated = _Described(valid, features, n_logits)
    for together in [np.flatnonzero(complete), *np.flatnonzero(~complete)[:, None]]:
        classes = {j: weights[j] for j in together.tolist()}
        if classes:
            yield _try(parts, evaluated, classes, settings), evaluated


def class_sums(data: WindowData, features: WindowFeatures, class_counts: list[int]) -> ClassSums:
    """Sum over the windows that have a label of any factor."""
    described = _Described(data, features, sum(class_counts))
    return _sum_classes(described, _unweighted(class_counts, data.device), {})


def refit_discriminants(
    sums: ClassSums, valid: WindowData, features: WindowFeatures, class_counts: list[int]
) -> Discriminants:
    """Fit Fisher's linear discriminants as :func:`fit_discriminants` does, to sums of labels.

    All factors share a covariance, in which windows weigh the same, and those without a label have
    no part. Validation windows choose the options.
    """
    classes = _unweighted(class_counts, valid.device)
    settings = _settings([slice(None)], PENALTIES)
    candidates = _solve_all(sums, classes, settings)
    losses = _losses(candidates, _Described(valid, features, sum(class_counts)))
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


def _settings(kinds: list[slice], penalties: tuple[float, ...]) -> list[_Setting]:
    """Return all settings, the default one first."""
    ordered = sorted(penalties, key=lambda penalty: penalty != DEFAULT_PENALTY)
    return [_Setting(*pair) for pair in product(kinds, ordered)]


def _try(parts: list[_Described], valid: _Described, classes, settings) -> _Tried:
    """Fit some factors in all settings.

    The parts of the training windows take turns in validation, where there are several.
    """
    sums = [_sum_classes(part, classes, {}) for part in parts]
    whole = functools.reduce(operator.add, sums)
    candidates = _solve_all(whole, classes, settings)
    validation = _losses(candidates, valid)
    losses = validation
    if len(parts) > 1:
        for part, own in zip(parts, sums, strict=True):
            held_out = _losses(_solve_all(whole - own, classes, settings), part)
            losses = {j: losses[j] + held_out[j] for j in classes}
    return _Tried(classes, whole, candidates, validation, losses)


def _choose(tried: _Tried, valid: _Described, settings) -> dict[int, _Best]:
    """Choose the setting of the factors that were tried, and fit to labelled windows."""
    classes = tried.classes
    everything = tried.sums + _sum_classes(valid, classes, {})
    best = {}
    for j in classes:
        fitted, i, t = _least(tried.candidates[j], tried.losses[j])
        refitted = _solve(everything, classes, settings[i])[j].divided_by(TEMPERATURES[t])
        best[j] = _Best(fitted, refitted, float(tried.validation[j][i, t]))
    return best


def _learn_from_unlabelled(train: _Described, valid: _Described, classes, best):
    """Improve the best discriminants of some factors by rounds of EM, each until it gains no more.

    Rounds are chosen by the validation windows, not by the likelihood: the clusters of the windows
    need not be the classes.
    """
    settings = _settings(valid.features.kinds, PENALTIES)
    for _ in range(MAX_ROUNDS):
        if not classes:
            break
        current = {j: best[j].fitted for j in classes}
        sums = _sum_classes(train, classes, current)
        candidates = _solve_all(sums, classes, settings)
        losses = _losses(candidates, valid)
        everything = sums + _sum_classes(valid, classes, current)
        gained = {}
        for j in classes:
            fitted, i, t = _least(candidates[j], losses[j])
            loss = float(losses[j][i, t])
            if loss < _CLEARLY_LESS * best[j].loss:
                refitted = _solve(everything, classes, settings[i])[j].divided_by(TEMPERATURES[t])
                gained[j] = _Best(fitted, refitted, loss)
        best, classes = best | gained, {j: classes[j] for j in gained}
    return best


def _solve_all(sums: ClassSums, classes, settings) -> dict[int, list[_Discriminants]]:
    """Fit discriminants of some classes to their sums, in every setting."""
    found = [_solve(sums, classes, setting) for setting in settings]
    return {j: [of_factor[j] for of_factor in found] for j in classes}


def _solve(sums: ClassSums, classes, setting: _Setting) -> dict[int, _Discriminants]:
    """Fit discriminants of some classes to their sums."""
    n, counts, columns = sums.n or 1, sums.counts, setting.columns
    mean = sums.total[columns] / n
    # Deviations of the class means; classes without a training window stay at the overall mean.
    class_means = sums.sums[:, columns] / counts.where(counts > 0, 1.0)[:, None]
    means = torch.where(counts[:, None] > 0, class_means - mean, 0.0)
    squares = sums.scatter[columns, columns] / n
    factor = penalised_cholesky(squares, mean, n, setting.penalty)
    directions = torch.cholesky_solve(means.T, factor)
    sizes = [len(weights) for weights in classes.values()]
    parts = (p.split(sizes) for p in (means, directions.T, counts))
    found = {}
    for (j, weights), m, d, c in zip(classes.items(), *parts, strict=True):
        weight, bias = _fisher_discriminants(m, d.T, _shares(c), mean)
        whole = weight.new_zeros(len(sums.total), len(c))
        whole[columns] = weight
        log_prior = _shares(c / weights).clamp(min=1e-6).log()
        found[j] = _Discriminants(whole, bias, log_prior, c > 0)
    return found


def _shares(counts: torch.Tensor) -> torch.Tensor:
    """Divide counts by their sum, unless all are zero."""
    total = counts.sum()
    return counts / total.where(total > 0, 1.0)


def _sum_classes(described: _Described, classes, current) -> ClassSums:
    """Count windows and sum features, their products, and the features of every class.

    A window counts by the weight of its class, which is 1 where several factors share the sums.
    """
    n, n_logits, n_features = 0.0, sum(map(len, classes.values())), described.n_features
    options: Any = {"dtype": torch.float64, "device": described.data.device}
    total, counts = torch.zeros(n_features, **options), torch.zeros(n_logits, **options)
    scatter = torch.zeros(n_features, n_features, **options)
    sums = torch.zeros(n_logits, n_features, **options)
    for f, labels in described:
        members = [
            weights * _memberships(f, labels[:, j], len(weights), current.get(j))
            for j, weights in classes.items()
        ]
        window = torch.stack([member.sum(1) for member in members]).amax(0)
        known, member = window > 0, torch.cat(members, dim=1)
        f, member, window = f[known], member[known], window[known]
        n += float(window.sum())
        total += window @ f
        counts += member.sum(0)
        sums.addmm_(member.T, f)
        add_squares(scatter[None], (f * window.sqrt()[:, None])[None])
    return ClassSums(n, total, scatter, sums, counts)


def _memberships(f, label, n_classes, current):
    """1 for the class of a labelled window, posteriors for others: the E-step."""
    member = (label[:, None] == torch.arange(n_classes, device=label.device)).double()
    if current is not None:
        unlabelled = label == UNLABELLED
        member[unlabelled] = current.posterior(f[unlabelled])
    return member


def _fisher_discriminants(means, directions, shares, overall_mean):
    """Weight and bias of log N(f; mean_k, W) up to a constant, W the within-class covariance.

    `directions` solves the total covariance T against the class means M. Because W = T - M'ΠM, with
    the shares Π of the classes in T, W⁻¹M' follows from it by a correction of the size of the
    number of classes, or of features where they are fewer.
    """
    weighted = shares[:, None] * means
    if len(shares) > len(directions):
        within = torch.eye(len(directions)).to(means) - directions @ weighted
        weight = torch.linalg.solve(within, directions)
    else:
        between = shares[:, None] * (means @ directions)
        weight = directions @ torch.linalg.inv(torch.eye(len(shares)).to(means) - between)
    bias = -0.5 * (means * weight.T).sum(1) - overall_mean @ weight
    return weight, bias


def _losses(candidates, described: _Described) -> dict[int, torch.Tensor]:
    """Cross-entropy of every candidate at every temperature, summed over labelled windows."""
    n_candidates = len(next(iter(candidates.values()), []))
    shape = n_candidates, len(TEMPERATURES)
    losses = {j: torch.zeros(shape, dtype=torch.float64) for j in candidates}
    for f, labels in described:
        for j, some in candidates.items():
            for i, discriminants in enumerate(some):
                likelihood = discriminants.likelihood(f)
                logits = [likelihood / t + discriminants.log_prior for t in TEMPERATURES]
                found = [_cross_entropy(some, labels[:, j]) for some in logits]
                losses[j][i] += torch.stack(found).cpu()
    return losses


def _least(
    candidates: list[_Discriminants], losses: torch.Tensor
) -> tuple[_Discriminants, int, int]:
    """Return the best candidate at its temperature, and the numbers of both."""
    i, t = divmod(int(losses.nan_to_num(torch.inf).argmin()), losses.shape[1])
    return candidates[i].divided_by(TEMPERATURES[t]), i, t


def _cross_entropy(logits, label):
    return torch.nn.functional.cross_entropy(
        logits, label, ignore_index=UNLABELLED, reduction="sum"
    )
