"""Fisher's linear discriminants of a factor's classes, from sums over windows.

Discriminants are posteriors of Gaussians that share a covariance. Moments are summed over batches
in double precision: windows are never in memory together.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy

from .._data.batches import WindowData, WindowSample, rows_per_batch
from .._data.labels import UNLABELLED
from ..nn.features import WindowFeatures
from .sums import ClassSums, add_squares, penalised_cholesky

# Features that are kept for all passes over the windows, at most (64 MB).
_MOST_KEPT = 2**24


class ClassDiscriminants(NamedTuple):
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

    def divided_by(self, temperature: float) -> "ClassDiscriminants":
        """Divide the log density, whose features are correlated more than the model knows."""
        return self._replace(weight=self.weight / temperature, bias=self.bias / temperature)


class Setting(NamedTuple):
    """Some of the features, and a penalty."""

    columns: slice
    penalty: float


class Described:
    """Features and labels of windows, in batches; computed once if there is room for them."""

    def __init__(
        self,
        data: WindowData | WindowSample,
        features: WindowFeatures,
        n_logits: int,
        columns: slice = slice(None),
    ):
        self.data, self.features, self.columns = data, features, columns
        self.n_features = len(range(features.n_features + features.n_pooled)[columns])
        self.size = rows_per_batch(data, n_logits)
        is_small = len(data) * self.n_features <= _MOST_KEPT
        self.kept = list(self._describe()) if is_small else None

    def _describe(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.data.batches(self.size):
            yield self.features.of(batch).with_pooled[:, self.columns], batch.labels

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for f, labels in self.kept or self._describe():
            yield f.double(), labels


def solve_all(sums: ClassSums, classes, settings) -> dict[int, list[ClassDiscriminants]]:
    """Fit discriminants of some classes to their sums, in every setting."""
    found = [solve(sums, classes, setting) for setting in settings]
    return {j: [of_factor[j] for of_factor in found] for j in classes}


def solve(sums: ClassSums, classes, setting: Setting) -> dict[int, ClassDiscriminants]:
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
        found[j] = ClassDiscriminants(whole, bias, log_prior, c > 0)
    return found


def _shares(counts: torch.Tensor) -> torch.Tensor:
    """Divide counts by their sum, unless all are zero."""
    total = counts.sum()
    return counts / total.where(total > 0, 1.0)


def sum_classes(described: Described, classes, current) -> ClassSums:
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


def cross_entropies(
    candidates, described: Described, temperatures: tuple[float, ...]
) -> dict[int, torch.Tensor]:
    """Cross-entropy of every candidate at every temperature, summed over labelled windows."""
    n_candidates = len(next(iter(candidates.values()), []))
    shape = n_candidates, len(temperatures)
    losses = {j: torch.zeros(shape, dtype=torch.float64) for j in candidates}
    for f, labels in described:
        for j, some in candidates.items():
            for i, discriminants in enumerate(some):
                likelihood = discriminants.likelihood(f)
                logits = [likelihood / t + discriminants.log_prior for t in temperatures]
                found = [
                    cross_entropy(some, labels[:, j], ignore_index=UNLABELLED, reduction="sum")
                    for some in logits
                ]
                losses[j][i] += torch.stack(found).cpu()
    return losses
