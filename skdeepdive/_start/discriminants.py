"""Fisher's linear discriminants of the labels, the closed-form start of b.

Discriminants are posteriors of Gaussians that share a covariance, so windows without a label can
take part, by EM. Moments are summed over batches in double precision: windows are never in memory
together. Validation windows choose the regularisation and the number of rounds.
"""

from typing import NamedTuple

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from .._data.labels import UNLABELLED
from ..nn.features import WindowFeatures
from .sums import PENALTIES, ClassSums, add_squares, penalised_cholesky

TEMPERATURES = (2.0, 1.0, 4.0)

# Together with the first temperature, for labels that no validation window has.
DEFAULT_PENALTY = 1e-2

# Most of the gain of unlabelled windows comes with the first two or three rounds.
MAX_ROUNDS = 8


class _Discriminants(NamedTuple):
    """Logits f @ weight + bias of one factor's classes, given features f."""

    weight: torch.Tensor  # (n_features, n_classes)
    bias: torch.Tensor  # (n_classes,)
    present: torch.Tensor  # (n_classes,), whether a training window belongs to the class
    loss: float = 0.0  # cross-entropy, summed over the labelled validation windows

    def logits(self, f: torch.Tensor) -> torch.Tensor:
        return f @ self.weight + self.bias

    def posterior(self, f: torch.Tensor) -> torch.Tensor:
        """Posterior of the classes, `(n, n_classes)`; 0 for a class without training windows."""
        return self.logits(f).masked_fill(~self.present, -torch.inf).softmax(1)


def fit_discriminants(
    train: WindowData, valid: WindowData, features: WindowFeatures, class_counts: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit Fisher's linear discriminants of every factor's labels on the window features.

    The within-class covariance, shrunk towards a multiple of the identity, and a temperature of
    the logits are chosen for each factor by the cross-entropy on the validation windows. Windows
    without a label of a factor take part with their posteriors, in rounds of EM that go on as long
    as the cross-entropy falls.

    Returns
    -------
    weight : tensor of shape (sum of class_counts, n_features)
    bias : tensor of shape (sum of class_counts,)

    References
    ----------
    .. [1] O'Neill, T. J. (1978). Normal discrimination with unclassified observations. Journal of
       the American Statistical Association, 73(364), 821-826.
    .. [2] McLachlan, G. J. (1992). Discriminant Analysis and Statistical Pattern Recognition.
       Wiley.
    """
    known = train.labels != UNLABELLED
    complete = known.all(axis=0)
    best: dict[int, _Discriminants] = {}
    # Factors that are labelled throughout share a covariance; others use their labelled windows.
    for group in [np.flatnonzero(complete), *np.flatnonzero(~complete)[:, None]]:
        classes = {j: class_counts[j] for j in group.tolist()}
        if classes:
            best |= _best_discriminants(train, valid, features, classes, {})
    # EM needs some training labels, and validation labels to be evaluated on.
    partly = ~complete & known.any(axis=0) & (valid.labels != UNLABELLED).any(axis=0)
    classes = {j: class_counts[j] for j in np.flatnonzero(partly).tolist()}
    best = _learn_from_unlabelled(train, valid, features, classes, best)
    return _side_by_side(best)


def class_sums(train: WindowData, features: WindowFeatures, class_counts: list[int]) -> ClassSums:
    """Sum over the windows that have a label of any factor."""
    return _sum_classes(train, features, dict(enumerate(class_counts)), {})


def refit_discriminants(
    sums: ClassSums, valid: WindowData, features: WindowFeatures, class_counts: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit Fisher's linear discriminants as :func:`fit_discriminants` does, to sums of labels.

    All factors share a covariance, and windows without a label have no part in it.
    """
    return _side_by_side(_solve(sums, valid, features, dict(enumerate(class_counts))))


def _side_by_side(best: dict[int, _Discriminants]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight `(n_logits, n_features)` and bias of all factors, in their order."""
    found = [best[j] for j in sorted(best)]
    weight, bias = torch.cat([f.weight for f in found], dim=1), torch.cat([f.bias for f in found])
    return weight.T.float(), bias.float()


def _learn_from_unlabelled(train, valid, features, classes, best):
    """Improve the best discriminants of some factors by rounds of EM, each until it gains no more.

    Rounds are chosen by the validation windows, not by the likelihood: the clusters of the windows
    need not be the classes.
    """
    for _ in range(MAX_ROUNDS):
        if not classes:
            break
        found = _best_discriminants(train, valid, features, classes, best)
        classes = {j: k for j, k in classes.items() if found[j].loss < best[j].loss}
        best = best | {j: found[j] for j in classes}
    return best


def _best_discriminants(train, valid, features, classes, current):
    """Fit factors with given numbers of classes: the M-step, under the best of the penalties.

    Windows without a label are members of the classes as the current discriminants have it, or
    left out where there are none.
    """
    return _solve(_sum_classes(train, features, classes, current), valid, features, classes)


def _solve(sums: ClassSums, valid, features, classes):
    """Fit discriminants of some classes to their sums, under the best of the penalties."""
    n, counts = max(sums.n, 1), sums.counts
    mean = sums.total / n
    # Deviations of the class means; classes without a training window stay at the overall mean.
    class_means = sums.sums / counts.clamp(min=1)[:, None]
    means = torch.where(counts[:, None] > 0, class_means - mean, 0.0)
    candidates: dict[int, list[_Discriminants]] = {j: [] for j in classes}
    for penalty in sorted(PENALTIES, key=lambda penalty: penalty != DEFAULT_PENALTY):
        directions = torch.cholesky_solve(
            means.T, penalised_cholesky(sums.scatter / n, mean, penalty)
        )
        parts = (p.split(list(classes.values())) for p in (means, directions.T, counts))
        for j, m, d, c in zip(classes, *parts, strict=True):
            weight, bias = _fisher_logits(m, d.T, c, mean)
            candidates[j].append(_Discriminants(weight, bias, c > 0))
    return _least_cross_entropy(candidates, valid, features)


def _sum_classes(train, features, classes, current) -> ClassSums:
    """Count windows and sum features, their products, and the features of every class."""
    n, n_logits, n_features = 0, sum(classes.values()), features.n_features
    options = {"dtype": torch.float64, "device": train.device}
    total, counts = torch.zeros(n_features, **options), torch.zeros(n_logits, **options)
    scatter = torch.zeros(n_features, n_features, **options)
    sums = torch.zeros(n_logits, n_features, **options)
    for batch in train.batches(rows_per_batch(train, n_logits)):
        f = features(batch.x).features.double()
        member = [
            _memberships(f, batch.labels[:, j], k, current.get(j)) for j, k in classes.items()
        ]
        member = torch.cat(member, dim=1)
        known = member.any(dim=1)
        f, member = f[known], member[known]
        n += len(f)
        total += f.sum(0)
        counts += member.sum(0)
        add_squares(scatter[None], f[None])
        sums.addmm_(member.T, f)
    return ClassSums(n, total, scatter, sums, counts)


def _memberships(f, label, n_classes, current):
    """1 for the class of a labelled window, posteriors for others: the E-step."""
    member = (label[:, None] == torch.arange(n_classes, device=label.device)).double()
    if current is not None:
        unlabelled = label == UNLABELLED
        member[unlabelled] = current.posterior(f[unlabelled])
    return member


def _fisher_logits(means, directions, counts, overall_mean):
    """Logits log N(f; mean_k, W) + log π_k up to a constant, with W the within-class covariance.

    `directions` solves the total covariance T against the class means M. Because W = T - M'ΠM,
    W⁻¹M' follows from it by a correction of the size of the number of classes, or of features
    where they are fewer.
    """
    frequencies = counts / counts.sum().clamp(min=1)
    weighted = frequencies[:, None] * means
    if len(counts) > len(directions):
        within = torch.eye(len(directions)).to(means) - directions @ weighted
        weight = torch.linalg.solve(within, directions)
    else:
        between = frequencies[:, None] * (means @ directions)
        weight = directions @ torch.linalg.inv(torch.eye(len(counts)).to(means) - between)
    bias = -0.5 * (means * weight.T).sum(1) + frequencies.clamp(min=1e-6).log()
    return weight, bias - overall_mean @ weight


def _least_cross_entropy(candidates, valid, features):
    """Choose for every factor candidate and temperature by the cross-entropy on labelled windows.

    A temperature divides the logits.
    """
    shape = len(PENALTIES), len(TEMPERATURES)
    losses = {j: torch.zeros(shape, dtype=torch.float64) for j in candidates}
    n_logits = sum(len(some[0].bias) for some in candidates.values())
    for batch in valid.batches(rows_per_batch(valid, n_logits)):
        f = features(batch.x).features.double()
        for j, some in candidates.items():
            for i, discriminants in enumerate(some):
                logits = discriminants.logits(f)
                found = [_cross_entropy(logits / t, batch.labels[:, j]) for t in TEMPERATURES]
                losses[j][i] += torch.stack(found).cpu()
    return {j: _chosen(some, losses[j].nan_to_num(torch.inf)) for j, some in candidates.items()}


def _chosen(candidates: list[_Discriminants], losses: torch.Tensor) -> _Discriminants:
    i, j = divmod(int(losses.argmin()), losses.shape[1])
    weight, bias, present, _ = candidates[i]
    temperature = TEMPERATURES[j]
    return _Discriminants(weight / temperature, bias / temperature, present, float(losses[i, j]))


def _cross_entropy(logits, label):
    return torch.nn.functional.cross_entropy(
        logits, label, ignore_index=UNLABELLED, reduction="sum"
    )
