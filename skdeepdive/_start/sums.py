"""Moments of windows, and regressions solved from them."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

# Penalties, relative to the mean square of the inputs.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MIDDLE_PENALTY = PENALTIES[len(PENALTIES) // 2]

# Rounding errors of a covariance, relative to the mean square, for each of its inputs and of the
# windows that were summed.
ROUNDING = 1e-15

# Number of random sums that stand in for the outputs when a penalty is chosen, where there are more
# than twice as many outputs.
_N_SUMS = 64

# Columns are multiplied with themselves and all later ones block by block, and what is below the
# diagonal is copied: a sixth of all columns at a time, but no fewer than 256.
_FEWEST_COLUMNS, _N_COLUMN_BLOCKS = 256, 6


@dataclass
class Sums:
    """Sums over windows: those of two parts add up to those of the whole."""

    def __add__(self, other):
        return self._combine(operator.add, other)

    def __sub__(self, part):
        return self._combine(operator.sub, part)

    def _combine(self, combine, other):
        names = [f.name for f in fields(self)]
        return type(self)(*(combine(getattr(self, n), getattr(other, n)) for n in names))


@dataclass
class Moments(Sums):
    """Sums for several regressions side by side in the first axis."""

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

    @classmethod
    def of(cls, batches) -> "Moments":
        """Sum over batches of inputs and outputs, in the form that :meth:`add` takes."""
        batches = iter(batches)
        inputs, outputs = next(batches)
        total = cls.zero(len(inputs), inputs.shape[2], outputs.shape[2], inputs)
        total.add(inputs, outputs)
        for inputs, outputs in batches:
            total.add(inputs, outputs)
        return total

    def add(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add windows: inputs and outputs are (n_regressions, n_windows, n_inputs or n_outputs)."""
        self.n += inputs.shape[1]
        self.x += inputs.sum(1)
        self.y += outputs.sum(1)
        add_squares(self.xx, inputs)
        self.xy.baddbmm_(inputs.mT, outputs)
        self.yy += outputs.square().sum((1, 2))

    def pooled(self) -> "Moments":
        """Sum the side-by-side regressions to one that they share."""
        sums = (m.sum(0, keepdim=True) for m in (self.x, self.y, self.xx, self.xy, self.yy))
        return Moments(self.n * len(self.x), *sums)

    def sketched(self) -> "Moments":
        """Put random sums of the outputs in the place of many.

        Squared errors of regressions on them differ as those on the outputs do, in expectation
        (Johnson and Lindenstrauss, 1984). The squares of the outputs stay as they are.
        """
        n_outputs = self.y.shape[1]
        if n_outputs <= 2 * _N_SUMS:
            return self
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (n_outputs, _N_SUMS))
        sums = torch.from_numpy(signs / math.sqrt(_N_SUMS)).to(self.y)
        return replace(self, y=self.y @ sums, xy=self.xy @ sums)

    def ridge(self, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and intercept.

        They are (n_regressions, n_inputs, n_outputs) and (n_regressions, n_outputs).
        """
        x, y = self.x / self.n, self.y / self.n
        cross = self.xy / self.n
        cross.baddbmm_(x.unsqueeze(2), y.unsqueeze(1), alpha=-1)
        factor = penalised_cholesky(self.xx / self.n, x, self.n, penalty)
        weight = torch.cholesky_solve(cross, factor)
        return weight, y - torch.einsum("rio,ri->ro", weight, x)

    def squared_error(self, weight: torch.Tensor, intercept: torch.Tensor) -> float:
        """Sum over these windows of the squared error of a regression."""
        predicted = torch.einsum("rio,ri->ro", weight, self.x)
        square = (weight * (self.xx @ weight)).sum() + self.n * intercept.square().sum()
        cross = (weight * self.xy).sum() + (intercept * (self.y - predicted)).sum()
        error = float(self.yy.sum() + square - 2 * cross)
        return error if math.isfinite(error) else math.inf


def descend(error: Callable[[float], float], penalties: Sequence[float], first: float) -> float:
    """Return the penalty at which the error no longer falls, going from the one nearest the first.

    Where it falls to either side, the side that it falls to further is taken. Errors of penalties
    have a single minimum as a rule, and so few of them are computed.
    """
    best, before = min(penalties, key=lambda penalty: abs(math.log(penalty / first))), None
    while best != before:
        before, i = best, penalties.index(best)
        best = min([best, *penalties[max(0, i - 1) : i + 2]], key=error)
    return best


def add_squares(total: torch.Tensor, values: torch.Tensor) -> None:
    """Add values' @ values, of `(r, n, n_columns)`, to a total that is symmetric as well."""
    n_columns = values.shape[-1]
    size = max(_FEWEST_COLUMNS, -(-n_columns // _N_COLUMN_BLOCKS))
    for first in range(0, n_columns, size):
        own = slice(first, first + size)
        total[:, own, first:].baddbmm_(values[..., own].mT, values[..., first:])
        total[:, first + size :, own] = total[:, own, first + size :].mT


def penalised_cholesky(
    squares: torch.Tensor, mean: torch.Tensor, n: float, penalty: float
) -> torch.Tensor:
    """Factorise covariances E[xx'] - E[x]E[x]' with a penalty relative to their mean diagonal.

    Where an input hardly varies, the difference is little but the rounding errors of its mean
    square over `n` windows; the penalty is never less than those. It grows as long as the matrix is
    not positive definite: where the sums of a part were subtracted, the errors are those of the
    whole. `squares` is overwritten.
    """
    rounding = ROUNDING * (squares.shape[-1] + n) * squares.diagonal(dim1=-2, dim2=-1)
    covariance = squares.addcmul_(mean.unsqueeze(-1), mean.unsqueeze(-2), value=-1)
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    relative = penalty * diagonal.mean(-1, keepdim=True).clamp(min=1e-12)
    diagonal += torch.maximum(relative, rounding)
    more = ROUNDING * diagonal.mean(-1, keepdim=True)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    while failed.any() and more.isfinite().all():
        diagonal += more * (failed > 0).unsqueeze(-1)
        more *= 10
        factor, failed = torch.linalg.cholesky_ex(covariance)
    return factor


@dataclass
class ClassSums(Sums):
    """Sums of features, over all windows and over those of every class, by their weights."""

    n: float
    total: torch.Tensor  # (n_features,)
    scatter: torch.Tensor  # (n_features, n_features)
    sums: torch.Tensor  # (n_logits, n_features)
    counts: torch.Tensor  # (n_logits,)
