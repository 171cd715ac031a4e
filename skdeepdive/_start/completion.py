"""Fit the normal distribution that fills the gaps of windows."""

import functools
from dataclasses import replace

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from ..nn.completion import WindowCompletion, condition, in_blocks

# What the distribution is fitted to at most: vectors, values of windows (32 MB in double
# precision), and products of missing values.
_MOST_VECTORS, _MOST_ENTRIES, _MOST_PRODUCTS = 4096, 2**22, 2**26

# Rounds of the EM algorithm at most, and the relative change of the filled values' mean square that
# ends them before.
_MOST_ROUNDS, _CONVERGED = 8, 3e-3

# Penalties of the covariance, relative to its mean diagonal, and the one while it is fitted.
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_PENALTY = 1e-3

# How far the covariance of two steps may approach the mean of all that are as far apart.
_EVENNESS = (0.0, 0.5, 0.9)

# Validation windows of which values are hidden, to choose both by.
_N_HIDDEN = 64

# Parts of their values that are hidden singly, and of the steps that are hidden together.
_SINGLY, _STRETCH = 0.05, 0.1

# The spread of a channel is shrunk as if as many of its values had that of all channels.
_PRIOR = 20

_SMALLEST = 1e-12

# Filled values that are kept (1 GB); more are filled again for every batch.
_MOST_KEPT = 2**28


@torch.no_grad()
def fit_completion(train: WindowData, valid: WindowData, seed: int) -> WindowCompletion:
    """Fit the distribution of windows, which may have gaps.

    Its covariance is penalised, and approaches that of windows which were cut anywhere from a
    series, of which two steps covary by their distance alone. How far, validation windows say: by
    the squared error at values that are hidden from it.
    """
    completion = WindowCompletion(*train.X.shape[1:]).to(train.device, torch.float32)
    x = _gather(train, max(1, min(_MOST_VECTORS, _MOST_ENTRIES // train.window_size)), seed)
    if not completion.joint:
        completion.loadings.copy_(_common_loadings(x))
    mean, covariance = _fit_normal(_sample(completion.vectors(x), seed))
    even = _even(covariance, completion.n_steps, completion.n_series)
    completion.mean.copy_(mean)
    later = valid.part(slice(len(valid) // 2, None))  # the first share steps with training windows
    true = _gather(later, _N_HIDDEN, seed)
    hidden = _hide(true, seed)
    x = torch.where(hidden, torch.nan, true)

    @functools.cache
    def squared_error(evenness: float, penalty: float) -> float:
        try:
            completion.factor.copy_(_precision_factor(covariance.lerp(even, evenness), penalty))
        except torch.linalg.LinAlgError:  # means over distances need not be a covariance
            return np.inf
        return float((completion(x) - true)[hidden].double().square().sum())

    evenness = min(_EVENNESS, key=lambda value: squared_error(value, _PENALTY))
    penalty = min(_PENALTIES, key=lambda value: squared_error(evenness, value))
    completion.factor.copy_(_precision_factor(covariance.lerp(even, evenness), penalty))
    errors = (completion(x) - true)[hidden].double()
    squares = torch.zeros(true.shape, dtype=torch.float64, device=true.device)
    squares[hidden] = (errors / completion.deviation(x)[hidden]).square()
    n_hidden, total = hidden.sum((0, 1)), squares.sum((0, 1))
    if total.sum() > 0:  # otherwise nothing is hidden, or nothing varies
        common = total.sum() / n_hidden.sum()
        completion.spread.copy_(((total + _PRIOR * common) / (n_hidden + _PRIOR)).sqrt())
    return completion


@torch.no_grad()
def with_gaps_filled(data: WindowData, completion: WindowCompletion) -> WindowData:
    """Return windows whose gaps are filled, now if there is room for the result."""
    data = replace(data, complete=completion)
    if len(data) * data.window_size > _MOST_KEPT:
        return data
    parts = [batch.x.cpu() for batch in data.batches(rows_per_batch(data))]
    return replace(data, completed=torch.cat(parts).numpy())


def _gather(data: WindowData, n: int, seed: int) -> torch.Tensor:
    sample = data.sample(n, seed)
    return torch.cat([batch.x for batch in sample.batches(rows_per_batch(sample))])


def _sample(vectors: torch.Tensor, seed: int) -> torch.Tensor:
    """Draw vectors, fewer where much is missing: the sums take its square."""
    order = np.random.default_rng(seed).permutation(len(vectors))[:_MOST_VECTORS]
    vectors = vectors[torch.from_numpy(order).to(vectors.device)]
    n_products = vectors.isnan().sum(1).square().cumsum(0)
    return vectors[: max(1, int((n_products <= _MOST_PRODUCTS).sum()))]


def _common_loadings(x: torch.Tensor) -> torch.Tensor:
    """Return the loadings of the channels on the series that they have most in common.

    They are those of the first principal component of the correlations, each from the steps at
    which both channels were observed.
    """
    steps = x.double().flatten(0, 1)
    observed = (~steps.isnan()).double()
    steps = steps.nan_to_num(0.0)
    covariance = steps.T @ steps / (observed.T @ observed).clamp(min=1)
    deviation = covariance.diagonal().clamp(min=_SMALLEST).sqrt()
    values, vectors = torch.linalg.eigh(covariance / deviation.outer(deviation))
    return (vectors[:, -1] * values[-1].sqrt()).clamp(-1, 1)


def _fit_normal(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate mean and covariance; where values are missing, by the EM algorithm.

    It begins with the mean in their place.
    """
    missing = vectors.isnan()
    n_observed = (~missing).sum(0).clamp(min=1)
    mean = vectors.nan_to_num(0.0).sum(0) / n_observed
    covariance = _covariance(torch.where(missing, mean, vectors), mean)
    if not missing.any():
        return mean, covariance
    square = 0.0
    for _ in range(_MOST_ROUNDS):
        factor = _precision_factor(covariance, _PENALTY)
        filled, spread = _expect(vectors, mean, factor @ factor.T)
        mean = filled.mean(0)
        covariance = _covariance(filled, mean) + spread / len(filled)
        before, square = square, float((filled - mean)[missing].square().mean())
        if abs(square - before) <= _CONVERGED * square:
            break
    return mean, covariance


def _expect(
    vectors: torch.Tensor, mean: torch.Tensor, precision: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill vectors, and sum the covariances of what was filled over them."""
    filled, spread = vectors.clone(), torch.zeros_like(precision)
    for rows in in_blocks(vectors, vectors.isnan().any(1)):
        gaps = condition(vectors[rows], mean, precision)
        filled[rows] = gaps.put(gaps.mean, vectors[rows])
        places = gaps.places.unsqueeze(2) * len(precision) + gaps.places.unsqueeze(1)
        spread.view(-1).index_add_(0, places.flatten(), gaps.covariance.flatten())
    return filled, spread


def _covariance(filled: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    centred = filled - mean
    return centred.T @ centred / len(centred)


def _even(covariance: torch.Tensor, n_steps: int, n_series: int) -> torch.Tensor:
    """Put the mean over all pairs of steps that are as far apart in the place of each."""
    parts = covariance.view(n_steps, n_series, n_steps, n_series)
    even = torch.empty_like(parts)
    steps = torch.arange(n_steps, device=covariance.device)
    for distance in range(n_steps):
        first, second = steps[: n_steps - distance], steps[distance:]
        mean = parts[first, :, second].mean(0)
        even[first, :, second], even[second, :, first] = mean, mean.T
    return even.view_as(covariance)


def _precision_factor(covariance: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return the Cholesky factor of the inverse of a penalised covariance."""
    penalised = covariance.clone()
    diagonal = penalised.diagonal()
    diagonal += penalty * diagonal.mean().clamp(min=_SMALLEST)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(penalised)))


def _hide(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Choose observed values to hide: some singly, and a stretch of half of the channels."""
    random = np.random.default_rng(seed)
    n, n_timesteps, n_channels = x.shape
    length = max(1, round(_STRETCH * n_timesteps))
    start = random.integers(n_timesteps - length + 1, size=(n, 1, n_channels))
    step = np.arange(n_timesteps)[:, None] - start
    hidden = (step >= 0) & (step < length) & (random.random((n, 1, n_channels)) < 0.5)
    hidden |= random.random(x.shape) < _SINGLY
    return torch.from_numpy(hidden).to(x.device) & ~x.isnan()
