"""Where training starts: ridge regression for the forecast, linear discriminants for the labels.

Both come from moments summed over batches in double precision, so that windows are never held
in memory at once, and both choose their regularisation on the validation windows.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ._torch_utils import WindowData
from .nn._layers import LinearForecast, WindowFeatures, joint_history, own_history
from .nn._module import UNLABELLED

# Window entries above which the second moments of all of them together are not formed.
MAX_JOINT_ENTRIES = 4096

# Penalties, relative to the mean square of the inputs.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TEMPERATURES = (2.0, 1.0, 4.0)
# Together with the first temperature, for labels that no validation window has.
DEFAULT_PENALTY = 1e-2


@dataclass
class Moments:
    """Sums over windows for several regressions side by side in the first axis."""

    n: int
    x: torch.Tensor  # (n_regressions, n_inputs)
    y: torch.Tensor  # (n_regressions, n_outputs)
    xx: torch.Tensor  # (n_regressions, n_inputs, n_inputs)
    xy: torch.Tensor  # (n_regressions, n_inputs, n_outputs)
    yy: torch.Tensor  # (n_regressions,), summed over outputs

    @classmethod
    def zero(cls, n_regressions: int, n_inputs: int, n_outputs: int, like: torch.Tensor):
        """Start a sum."""
        x, y = like.new_zeros(n_regressions, n_inputs), like.new_zeros(n_regressions, n_outputs)
        xx = like.new_zeros(n_regressions, n_inputs, n_inputs)
        xy = like.new_zeros(n_regressions, n_inputs, n_outputs)
        return cls(0, x, y, xx, xy, like.new_zeros(n_regressions))

    def add(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add windows: inputs and outputs are (n_regressions, n_windows, n_inputs or n_outputs)."""
        self.n += inputs.shape[1]
        self.x += inputs.sum(1)
        self.y += outputs.sum(1)
        self.xx.baddbmm_(inputs.mT, inputs)
        self.xy.baddbmm_(inputs.mT, outputs)
        self.yy += outputs.square().sum((1, 2))

    def pooled(self) -> "Moments":
        """Sum the side-by-side regressions to one that they share."""
        sums = (m.sum(0, keepdim=True) for m in (self.x, self.y, self.xx, self.xy, self.yy))
        return Moments(self.n * len(self.x), *sums)

    def ridge(self, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and intercept.

        They are (n_regressions, n_inputs, n_outputs) and (n_regressions, n_outputs).
        """
        x, y = self.x / self.n, self.y / self.n
        gram = self.xx / self.n
        gram.baddbmm_(x.unsqueeze(2), x.unsqueeze(1), alpha=-1)
        cross = self.xy / self.n
        cross.baddbmm_(x.unsqueeze(2), y.unsqueeze(1), alpha=-1)
        weight = torch.cholesky_solve(cross, _penalised_cholesky(gram, penalty))
        return weight, y - torch.einsum("rio,ri->ro", weight, x)

    def squared_error(self, weight: torch.Tensor, intercept: torch.Tensor) -> float:
        """Sum over these windows of the squared error of a regression."""
        predicted = torch.einsum("rio,ri->ro", weight, self.x)
        square = (weight * (self.xx @ weight)).sum() + self.n * intercept.square().sum()
        cross = (weight * self.xy).sum() + (intercept * (self.y - predicted)).sum()
        error = float(self.yy.sum() + square - 2 * cross)
        return error if math.isfinite(error) else math.inf


def _penalised_cholesky(gram: torch.Tensor, penalty: float) -> torch.Tensor:
    """Factorise Gram matrices with a penalty relative to their mean diagonal, which they get."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    diagonal += penalty * diagonal.mean(-1, keepdim=True).clamp(min=1e-12)
    return torch.linalg.cholesky(gram)


@dataclass(frozen=True)
class _Design:
    """Inputs and outputs of one way to set the forecast regression up."""

    joint: bool  # every target looks at all channels, otherwise at its own
    anchors: torch.Tensor | None

    def moments(self, data: WindowData) -> Moments:
        total = None
        for x, y, _ in data.batches(_rows_per_batch(data)):
            x, y = x.double(), y.double()
            if self.anchors is not None:
                y = y - x[:, -1:, self.anchors]
            if self.joint:
                inputs, outputs = joint_history(x, self.anchors)[None], y.flatten(1)[None]
            else:
                inputs, outputs = own_history(x, self.anchors).permute(2, 0, 1), y.permute(2, 0, 1)
            if total is None:
                total = Moments.zero(len(inputs), inputs.shape[2], outputs.shape[2], x)
            total.add(inputs, outputs)
        return total

    def forecast(self, weight: torch.Tensor, intercept: torch.Tensor, shape) -> LinearForecast:
        weight, intercept = weight.float(), intercept.float()
        if self.joint:
            return LinearForecast(weight[0], intercept[0].reshape(shape), self.anchors)
        return LinearForecast(weight, intercept.mT.expand(shape).contiguous(), self.anchors)


def fit_linear_forecast(
    train: WindowData, valid: WindowData, candidates: list[torch.Tensor | None]
) -> LinearForecast:
    """Fit the linear forecast that has the least squared error on the validation windows.

    The choice is between maps from all channels, maps from a target's own channel and one such
    map shared by all targets, each under several penalties.

    Parameters
    ----------
    train, valid : WindowData
    candidates : list of tensor of shape (n_targets,) or None
        Channels that the targets may continue, the likeliest first; None for no correspondence.
    """
    designs = _designs(candidates, train.X[0].size)
    return min((_best_of(design, train, valid) for design in designs), key=lambda best: best[0])[1]


def _best_of(design, train, valid) -> tuple[float, LinearForecast]:
    """Return the least squared error on the validation windows, and the forecast that has it."""
    moments = [(design.moments(train), design.moments(valid))]
    if not design.joint and train.y.shape[2] > 1:
        moments.append(tuple(m.pooled() for m in moments[0]))
    best_error, best = math.inf, None
    for fitted, held_out in moments:
        for penalty in PENALTIES:
            weight, intercept = fitted.ridge(penalty)
            error = held_out.squared_error(weight, intercept)
            if best is None or error < best_error:
                best_error = error
                best = design.forecast(weight, intercept, train.y.shape[1:])
    return best_error, best


def _designs(candidates, n_entries: int) -> list[_Design]:
    """All channels for the likeliest candidate and for None, own channels for all but None."""
    joint = [_Design(True, a) for i, a in enumerate(candidates) if i == 0 or a is None]
    own = [_Design(False, anchors) for anchors in candidates if anchors is not None]
    return own if n_entries > MAX_JOINT_ENTRIES else joint + own


def forecast_noise(forecast: LinearForecast, data: WindowData) -> torch.Tensor:
    """Root mean squared error of a forecast, (horizon, n_targets)."""
    squares = sum(
        (forecast(x) - y).double().square().sum(0)
        for x, y, _ in data.batches(_rows_per_batch(data))
    )
    return (squares / len(data)).sqrt().float()


def fit_discriminants(
    train: WindowData, valid: WindowData, features: WindowFeatures, class_counts: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit Fisher's linear discriminants of every factor's labels on the window features.

    The within-class covariance, shrunk towards a multiple of the identity, and a temperature of
    the logits are chosen for each factor by the cross-entropy on the validation windows.

    Returns
    -------
    weight : tensor of shape (sum of class_counts, n_features)
    bias : tensor of shape (sum of class_counts,)
    """
    complete = (train.labels != UNLABELLED).all(axis=0)
    solutions = {}
    # Factors that are labelled throughout share a covariance; others look at their own windows.
    for group in [np.flatnonzero(complete), *np.flatnonzero(~complete)[:, None]]:
        if group.size:
            solutions |= _group_solutions(train, features, class_counts, group.tolist())
    best = _least_cross_entropy([solutions[j] for j in range(len(class_counts))], valid, features)
    weight, bias = zip(*best, strict=True)
    return torch.cat(weight, dim=1).T.float(), torch.cat(bias).float()


def _group_solutions(train, features, class_counts, group):
    """Solve for every penalty and temperature; the first ones serve where nothing can choose."""
    counts_of_group = [class_counts[j] for j in group]
    n, total, scatter, sums, counts = _class_moments(train, features, counts_of_group, group)
    mean = total / max(n, 1)
    covariance = (scatter / max(n, 1)).addr_(mean, mean, alpha=-1)
    # Deviations of the class means; classes without a training window stay at the overall mean.
    means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None] - mean, 0.0)
    solutions = {j: [] for j in group}
    for penalty in sorted(PENALTIES, key=lambda penalty: penalty != DEFAULT_PENALTY):
        directions = torch.cholesky_solve(means.T, _penalised_cholesky(covariance.clone(), penalty))
        parts = (means, directions.T, counts)
        for j, m, d, c in zip(group, *(p.split(counts_of_group) for p in parts), strict=True):
            weight, bias = _fisher_logits(m, d.T, c, mean)
            solutions[j] += [(weight / t, bias / t) for t in TEMPERATURES]
    return solutions


def _class_moments(train, features, class_counts, group):
    """Count labelled windows and sum features, their products, and the features of every class."""
    n, n_logits, n_features = 0, sum(class_counts), features.n_features
    options = {"dtype": torch.float64, "device": train.device}
    total, counts = torch.zeros(n_features, **options), torch.zeros(n_logits, **options)
    scatter = torch.zeros(n_features, n_features, **options)
    sums = torch.zeros(n_logits, n_features, **options)
    for x, _, labels in train.batches(_rows_per_batch(train)):
        labels = labels[:, group]
        known = (labels != UNLABELLED).all(1)
        f = features(x[known])[0].double()
        member = [
            label[:, None] == torch.arange(k, device=label.device)
            for label, k in zip(labels[known].T, class_counts, strict=True)
        ]
        member = torch.cat(member, dim=1).double()
        n += len(f)
        total += f.sum(0)
        counts += member.sum(0)
        scatter.addmm_(f.T, f)
        sums.addmm_(member.T, f)
    return n, total, scatter, sums, counts


def fit_basis(train: WindowData, features: WindowFeatures) -> None:
    """Set the features' basis to the leading principal components of the windows' shapes."""
    if not features.compressed:
        return
    scatter = 0.0
    for x, _, _ in train.batches(_rows_per_batch(train)):
        shape = features.standardise(x)[0].double().transpose(1, 2).flatten(0, 1)
        scatter = scatter + shape.T @ shape
    scatter -= scatter.trace()  # the constant window has no place among the leading components
    vectors = torch.linalg.eigh(scatter).eigenvectors
    features.basis.copy_(vectors[:, -features.n_components :].flip(1))


def _fisher_logits(means, directions, counts, overall_mean):
    """Logits log N(f; mean_k, W) + log π_k up to a constant, with W the within-class covariance.

    `directions` solves the total covariance T against the class means M. Because W = T - M'ΠM,
    W⁻¹M' follows from it by a correction of the size of the number of classes.
    """
    frequencies = counts / counts.sum().clamp(min=1)
    between = frequencies[:, None] * (means @ directions)
    weight = directions @ torch.linalg.inv(torch.eye(len(counts)).to(means) - between)
    bias = -0.5 * (means * weight.T).sum(1) + frequencies.clamp(min=1e-6).log()
    return weight, bias - overall_mean @ weight


def _least_cross_entropy(solutions, valid, features):
    """Choose for every factor the solution with the least cross-entropy on labelled windows."""
    losses = [torch.zeros(len(candidates), dtype=torch.float64) for candidates in solutions]
    for x, _, labels in valid.batches(_rows_per_batch(valid)):
        f = features(x)[0].double()
        for loss, candidates, label in zip(losses, solutions, labels.T, strict=True):
            loss += torch.stack(
                [
                    torch.nn.functional.cross_entropy(
                        f @ weight + bias, label, ignore_index=UNLABELLED, reduction="sum"
                    )
                    for weight, bias in candidates
                ]
            ).cpu()
    return [
        candidates[int(loss.nan_to_num(torch.inf).argmin())]
        for loss, candidates in zip(losses, solutions, strict=True)
    ]


def _rows_per_batch(data: WindowData, n_entries: int = 2**21) -> int:
    """Windows that make a batch of about `n_entries` values, 16 MB in double precision."""
    return max(1, n_entries // data.X[0].size)
