"""Where training starts: ridge regression for the forecast, linear discriminants for the labels.

Both come from moments summed over batches in double precision, so that windows are never held
in memory at once, and both choose their regularisation on the validation windows.
"""

from dataclasses import dataclass

import torch

from ._torch_utils import WindowData
from .nn._layers import LinearForecast, WindowFeatures, joint_history, own_history
from .nn._module import UNLABELLED

# Window entries above which the second moments of all of them together are not formed.
MAX_JOINT_ENTRIES = 4096

# Penalties, relative to the mean square of the inputs.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TEMPERATURES = (1.0, 2.0, 4.0)


@dataclass
class Moments:
    """Sums over windows for one regression, or for several side by side in the first axis."""

    n: int
    x: torch.Tensor  # (..., n_inputs)
    y: torch.Tensor  # (..., n_outputs)
    xx: torch.Tensor  # (..., n_inputs, n_inputs)
    xy: torch.Tensor  # (..., n_inputs, n_outputs)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    def pooled(self) -> "Moments":
        """Sum the side-by-side regressions to one that they share."""
        sums = (m.sum(0, keepdim=True) for m in (self.x, self.y, self.xx, self.xy))
        return Moments(self.n * len(self.x), *sums)

    def ridge(self, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight `(..., n_inputs, n_outputs)` and intercept `(..., n_outputs)`."""
        x, y = self.x / self.n, self.y / self.n
        gram = self.xx / self.n - x.unsqueeze(-1) * x.unsqueeze(-2)
        cross = self.xy / self.n - x.unsqueeze(-1) * y.unsqueeze(-2)
        weight = torch.cholesky_solve(cross, _penalised_cholesky(gram, penalty))
        return weight, y - (weight * x.unsqueeze(-1)).sum(-2)


def _penalised_cholesky(gram: torch.Tensor, penalty: float) -> torch.Tensor:
    level = gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
    ridge = penalty * level[..., None, None] * torch.eye(gram.shape[-1], dtype=gram.dtype)
    return torch.linalg.cholesky(gram + ridge)


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
                inputs, outputs = own_history(x, self.anchors), y.permute(2, 0, 1)
            sums = Moments(
                len(x), inputs.sum(1), outputs.sum(1), inputs.mT @ inputs, inputs.mT @ outputs
            )
            total = sums if total is None else total + sums
        return total

    def solve(self, moments: Moments, shape: tuple[int, int]) -> list[LinearForecast]:
        """One forecast for every penalty."""
        forecasts = []
        for penalty in PENALTIES:
            weight, intercept = (t.float() for t in moments.ridge(penalty))
            if self.joint:
                weight, intercept = weight[0], intercept[0].reshape(shape)
            else:
                intercept = intercept.mT.expand(shape).contiguous()
            forecasts.append(LinearForecast(weight, intercept, self.anchors))
        return forecasts


def fit_linear_forecast(
    train: WindowData, valid: WindowData, anchors: torch.Tensor | None
) -> LinearForecast:
    """Fit the linear forecast that has the least squared error on the validation windows.

    The choice is between maps from all channels, maps from a target's own channel and one such
    map shared by all targets, each under several penalties.

    Parameters
    ----------
    train, valid : WindowData
    anchors : tensor of shape (n_targets,) or None
        The channel that each target continues, None where there is no such correspondence.
    """
    n_entries, shape = train.X[0].size, train.y.shape[1:]
    forecasts = []
    if n_entries <= MAX_JOINT_ENTRIES:
        design = _Design(True, anchors)
        forecasts += design.solve(design.moments(train), shape)
    if anchors is not None:
        design = _Design(False, anchors)
        moments = design.moments(train)
        forecasts += design.solve(moments, shape)
        if len(anchors) > 1:
            forecasts += design.solve(moments.pooled(), shape)
    if not forecasts:
        return _mean_forecast(train, shape)
    return forecasts[int(_squared_errors(forecasts, valid).argmin())]


def forecast_noise(forecast: LinearForecast, data: WindowData) -> torch.Tensor:
    """Root mean squared error of a forecast, (horizon, n_targets)."""
    squares = sum(
        (forecast(x) - y).double().square().sum(0)
        for x, y, _ in data.batches(_rows_per_batch(data))
    )
    return (squares / len(data)).sqrt().float()


def _mean_forecast(train: WindowData, shape: tuple[int, int]) -> LinearForecast:
    mean = sum(y.double().sum(0) for _, y, _ in train.batches(_rows_per_batch(train))) / len(train)
    return LinearForecast(torch.zeros(train.X[0].size, mean.numel()), mean.float())


def _squared_errors(forecasts: list[LinearForecast], data: WindowData) -> torch.Tensor:
    errors = torch.zeros(len(forecasts), dtype=torch.float64)
    for x, y, _ in data.batches(_rows_per_batch(data)):
        errors += torch.stack([(f(x) - y).double().square().sum() for f in forecasts])
    return errors.nan_to_num(torch.inf)


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
    n, total, scatter, sums, counts = _class_moments(train, features, class_counts)
    mean = total / n
    covariance = scatter / n - torch.outer(mean, mean)
    # Deviations of the class means; classes without a training window stay at the overall mean.
    means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None] - mean, 0.0)
    solutions = {}
    for penalty in PENALTIES:
        directions = torch.cholesky_solve(means.T, _penalised_cholesky(covariance, penalty))
        parts = zip(
            means.split(class_counts), directions.T.split(class_counts),
            counts.split(class_counts), strict=True,
        )  # fmt: skip
        logits = [_fisher_logits(m, d.T, c, mean) for m, d, c in parts]
        for temperature in TEMPERATURES:
            solutions[penalty, temperature] = [
                (w / temperature, b / temperature) for w, b in logits
            ]
    best = _least_cross_entropy(list(solutions.values()), valid, features)
    weight, bias = zip(*best, strict=True)
    return torch.cat(weight, dim=1).T.float(), torch.cat(bias).float()


def _class_moments(data, features, class_counts):
    """Count windows and sum features, their products, and the features of every class."""
    total = scatter = sums = counts = 0.0
    for x, _, labels in data.batches(_rows_per_batch(data)):
        f = features(x)[0].double()
        member = torch.cat(
            [
                (label[:, None] == torch.arange(k, device=label.device)).double()
                for label, k in zip(labels.T, class_counts, strict=True)
            ],
            dim=1,
        )
        total, scatter = total + f.sum(0), scatter + f.T @ f
        sums, counts = sums + member.T @ f, counts + member.sum(0)
    return len(data), total, scatter, sums, counts


def fit_basis(train: WindowData, features: WindowFeatures) -> None:
    """Set the features' basis to the leading principal components of the windows' shapes."""
    if features.n_components == len(features.basis):
        return
    scatter = 0.0
    for x, _, _ in train.batches(_rows_per_batch(train)):
        shape = features.standardise(x)[0].double().transpose(1, 2).flatten(0, 1)
        scatter = scatter + shape.T @ shape
    vectors = torch.linalg.eigh(scatter).eigenvectors
    features.basis.copy_(vectors[:, -features.n_components :].flip(1))


def _fisher_logits(means, directions, counts, overall_mean):
    """Logits log N(f; mean_k, W) + log π_k up to a constant, with W the within-class covariance.

    `directions` solves the total covariance T against the class means M. Because W = T - M'ΠM,
    W⁻¹M' follows from it by a correction of the size of the number of classes.
    """
    frequencies = counts / counts.sum().clamp(min=1)
    between = frequencies[:, None] * (means @ directions)
    weight = directions @ torch.linalg.inv(torch.eye(len(counts), dtype=means.dtype) - between)
    bias = -0.5 * (means * weight.T).sum(1) + frequencies.clamp(min=1e-6).log()
    return weight, bias - overall_mean @ weight


def _least_cross_entropy(solutions, valid, features):
    """Choose for every factor the solution with the least cross-entropy on labelled windows."""
    losses = torch.zeros(len(solutions), len(solutions[0]), dtype=torch.float64)
    for x, _, labels in valid.batches(_rows_per_batch(valid)):
        f = features(x)[0].double()
        for i, factors in enumerate(solutions):
            for j, (weight, bias) in enumerate(factors):
                losses[i, j] += torch.nn.functional.cross_entropy(
                    f @ weight + bias, labels[:, j], ignore_index=UNLABELLED, reduction="sum"
                )
    choice = losses.nan_to_num(torch.inf).argmin(0)
    return [solutions[i][j] for j, i in enumerate(choice.tolist())]


def _rows_per_batch(data: WindowData, n_entries: int = 2**21) -> int:
    """Windows that make a batch of about `n_entries` values, 16 MB in double precision."""
    return max(1, n_entries // data.X[0].size)
