"""The prior p(a | b), in whose coordinates a tells nothing of the labels."""

from itertools import combinations

import torch
from torch import nn
from torch.distributions import Normal

from .layers import BLOCK_ENTRIES

# Pairs of classes of two factors have moments of their own where there are no more of them.
_MOST_PAIRS = 2**10


class ConditionalPrior(nn.Module):
    """p(a | b): a = m + L_1 ... L_J ε given b, where ε is standard normal for every class.

    The classes of every factor, and the pairs of classes of two factors, are J sets of cells. The
    mean m adds up the means of the cells of all sets, under the responses to them. L_j is a
    symmetric matrix, the mean of those of the cells of set j. So ε is a without what location,
    scale and correlation within a cell tell of the labels, as a standardised residual is.

    It is standard normal until it is fitted in closed form, after training.

    Parameters
    ----------
    class_counts : sequence of int
        Number of classes of each factor.
    n_dims : int
        Number of conditional dimensions.
    """

    mean: torch.Tensor

    def __init__(self, class_counts, n_dims: int):
        super().__init__()
        self.n_dims = n_dims
        self.pairs = [
            (i, j)
            for i, j in combinations(range(len(class_counts)), 2)
            if class_counts[i] * class_counts[j] <= _MOST_PAIRS
        ]
        pair_counts = [class_counts[i] * class_counts[j] for i, j in self.pairs]
        self.cell_counts = [*class_counts, *pair_counts]
        self.register_buffer("mean", torch.zeros(n_dims))
        for j, n_cells in enumerate(self.cell_counts):
            self.register_buffer(f"means_{j}", torch.zeros(n_cells, n_dims))
            self.register_buffer(f"roots_{j}", torch.eye(n_dims).repeat(n_cells, 1, 1))

    @property
    def means(self) -> list[torch.Tensor]:
        """What the cells of every set add to the mean, `(n_cells_j, n_dims)`."""
        return [getattr(self, f"means_{j}") for j in range(len(self.cell_counts))]

    @property
    def roots(self) -> list[torch.Tensor]:
        """Matrices L of the cells of every set, `(n_cells_j, n_dims, n_dims)`."""
        return [getattr(self, f"roots_{j}") for j in range(len(self.cell_counts))]

    def cells(self, responses: list[torch.Tensor]) -> list[torch.Tensor]:
        """Responses to the cells of every set, given those to the classes, `(n, n_cells_j)`."""
        pairs = [
            (responses[i].unsqueeze(2) * responses[j].unsqueeze(1)).flatten(1)
            for i, j in self.pairs
        ]
        return [*responses, *pairs]

    def standardise(self, a: torch.Tensor, responses: list[torch.Tensor]) -> torch.Tensor:
        """Return ε of conditional dimensions `(n, n_dims)`."""
        cells = self.cells(responses)
        left = a - self._expect(cells)
        for weights, roots in zip(cells, self.roots, strict=True):
            left = solve_mixed(weights, roots, left)
        return left

    def place(self, e: torch.Tensor, responses: list[torch.Tensor]) -> torch.Tensor:
        """Return the conditional dimensions of ε `(n, n_dims)`."""
        cells = self.cells(responses)
        for weights, roots in reversed(list(zip(cells, self.roots, strict=True))):
            blocks = zip(_blocks(weights, self.n_dims), _blocks(e, self.n_dims), strict=True)
            e = torch.cat([(_mix(w, roots) @ b.unsqueeze(2)).squeeze(2) for w, b in blocks])
        return e + self._expect(cells)

    def kl(self, qa: Normal, responses: list[torch.Tensor]) -> torch.Tensor:
        """KL(q(a | b, x) ‖ p(a | b)), in nats, `(n,)`."""
        e = self.standardise(qa.loc, responses)
        parts = (_blocks(part, self.n_dims) for part in (qa.scale, *self.cells(responses)))
        at_zero = [self._kl_at_zero(scale, cells) for scale, *cells in zip(*parts, strict=True)]
        return 0.5 * e.square().sum(1) + torch.cat(at_zero)

    def _expect(self, cells: list[torch.Tensor]) -> torch.Tensor:
        return sum((w @ means for w, means in zip(cells, self.means, strict=True)), self.mean)

    def _kl_at_zero(self, scale: torch.Tensor, cells: list[torch.Tensor]) -> torch.Tensor:
        """Divergence of windows whose ε has location zero."""
        root = torch.diag_embed(scale)  # of the covariance of a, then of that of ε
        log_det = scale.log().sum(1)
        for weights, roots in zip(cells, self.roots, strict=True):
            mixed = _mix(weights, roots)
            root = torch.linalg.solve(mixed, root)
            log_det = log_det - torch.linalg.slogdet(mixed).logabsdet
        return 0.5 * (root.square().sum((1, 2)) - self.n_dims) - log_det


def solve_mixed(weights: torch.Tensor, roots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Divide `(n, n_dims)` by the mean of matrices under weights `(n, n_cells)`."""
    blocks = zip(*(_blocks(part, values.shape[1]) for part in (weights, values)), strict=True)
    return torch.cat([torch.linalg.solve(_mix(w, roots), block) for w, block in blocks])


def _mix(weights: torch.Tensor, roots: torch.Tensor) -> torch.Tensor:
    """Mean of matrices under weights, `(n, n_dims, n_dims)`."""
    return (weights @ roots.flatten(1)).unflatten(1, roots.shape[1:])


def _blocks(values: torch.Tensor, n_dims: int) -> tuple[torch.Tensor, ...]:
    """Split windows, each of which needs a matrix."""
    return values.split(max(1, BLOCK_ENTRIES // n_dims**2))
