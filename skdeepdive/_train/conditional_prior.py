"""The prior p(a | b) in closed form, given the conditional dimensions of windows."""

from collections.abc import Iterator

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from .._data.draws import Draws, make_generator
from ..nn.conditional_prior import ConditionalPrior, solve_mixed
from ..nn.layers import BLOCK_ENTRIES
from ..nn.likelihoods import draw
from ..nn.module import DeepDIVE

# The prior is fitted to at most this many windows of each part.
_MOST_WINDOWS = 2**13
# The mean of a cell is shrunk as if the cell had this many windows more, at zero.
_MEAN_WINDOWS = 5
# The covariance of a cell is shrunk as if it had this many windows more, of the covariance of all;
# that of all, as if there were as many more of a standard normal.
_COVARIANCE_WINDOWS = 50
# Means of several sets of cells depend on each other.
_N_SWEEPS = 3


@torch.no_grad()
def fit_conditional_prior(module: DeepDIVE, *parts: WindowData) -> None:
    """Fit p(a | b) of a trained module to the windows of all parts.

    Its moments are those of draws from q(a | b, x), cell by cell and one set of cells after the
    other. For one factor that is the normal prior with the greatest lower bound on these windows.
    """
    prior = module.conditional_prior
    if prior is None:
        return
    a, *responses = (torch.cat(parts).double() for parts in zip(*_draw(module, parts), strict=True))
    cells = prior.cells(responses)
    left = _fit_means(prior, a, cells)
    identity = torch.eye(a.shape[1]).to(left)
    for weights, roots in zip(cells, prior.roots, strict=True):
        of_all = _shrunk(left.T @ left, len(left), identity)
        of_cells = _shrunk(_scatter(left, weights), weights.sum(0)[:, None, None], of_all)
        roots.copy_(_symmetric_root(of_cells))
        left = solve_mixed(weights, roots.double(), left)


def _draw(module: DeepDIVE, parts: tuple[WindowData, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield draws of a, and responses at the means of b, of batches of windows."""
    draws = Draws(make_generator(0, parts[0].device))
    for part in parts:
        n = min(len(part), _MOST_WINDOWS)
        rows = np.unique(np.linspace(0, len(part) - 1, n).astype(int))
        for batch in part.take(rows).batches(rows_per_batch(part, module.n_classes)):
            latents = module.infer(module.features.of(batch))
            assert latents.qa is not None  # its prior is there
            yield draw(latents.qa, draws), *latents.responses


def _fit_means(prior: ConditionalPrior, a: torch.Tensor, cells: list[torch.Tensor]) -> torch.Tensor:
    """Fit the means of all cells; return what they leave over."""
    prior.mean.copy_(a.mean(0))
    left = a - a.mean(0)
    for means in prior.means:
        means.zero_()
    for _ in range(_N_SWEEPS):
        for weights, means in zip(cells, prior.means, strict=True):
            added = weights.T @ left / (weights.sum(0).unsqueeze(1) + _MEAN_WINDOWS)
            means += added.to(means)
            left = left - weights @ added
    return left


def _scatter(left: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum outer products of windows under the weights of every cell, `(n_cells, d, d)`."""
    n_dims = left.shape[1]
    total = left.new_zeros(weights.shape[1], n_dims**2)
    size = max(1, BLOCK_ENTRIES // n_dims**2)
    for own, part in zip(weights.split(size), left.split(size), strict=True):
        total += own.T @ (part.unsqueeze(2) * part.unsqueeze(1)).flatten(1)
    return total.unflatten(1, (n_dims, n_dims))


def _shrunk(scatter: torch.Tensor, n: torch.Tensor | int, other: torch.Tensor) -> torch.Tensor:
    """Return the covariance of n windows, and of some more that have another one."""
    return (scatter + _COVARIANCE_WINDOWS * other) / (n + _COVARIANCE_WINDOWS)


def _symmetric_root(covariance: torch.Tensor) -> torch.Tensor:
    """Return the positive square root of symmetric matrices."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0.0).sqrt().unsqueeze(-2)) @ vectors.mT
