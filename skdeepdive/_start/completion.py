"""Fit the normal distribution that fills the gaps of windows."""

import functools
from dataclasses import replace

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from ..nn.completion import WindowCompletion, condition, in_blocks
from ..nn.layers import BLOCK_ENTRIES
from .sums import descend

# What the distribution is fitted to at most: vectors, values of windows (32 MB in double
# precision), and products of missing values in all rounds of the EM algorithm.
_MOST_VECTORS, _MOST_ENTRIES, _MOST_PRODUCTS = 4096, 2**22, 2**29

# Rounds of the EM algorithm: many vectors tell more than many rounds.
_FEWEST_ROUNDS, _MOST_ROUNDS = 2, 8

# Penalties of the covariance, relative to its mean diagonal, and the one while it is fitted.
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_PENALTY = 1e-3

# How far the covariance of two steps may approach the mean of all that are as far apart, and how
# far it does where the EM algorithm begins.
_EVENNESS = (0.0, 0.5, 0.9)
_FIRST_EVENNESS = 0.9

# Validation windows of which values are hidden, to choose both by, and the most values of them.
_N_HIDDEN, _HIDDEN_ENTRIES = 128, 2**20

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
    shape = completion.n_steps, completion.n_series
    mean, covariance = _fit_normal(_draw_vectors(completion, x, seed), shape)
    even = _even(covariance, *shape)
    completion.mean.copy_(mean)
    later = valid.part(slice(len(valid) // 2, None))  # the first share steps with training windows
    true = _gather(later, min(_N_HIDDEN, max(1, _HIDDEN_ENTRIES // valid.window_size)), seed)
    hidden = _hide(true, seed)
    x = torch.where(hidden, torch.nan, true)

    @functools.cache
    def squared_error(evenness: float, penalty: float) -> float:
        completion.factor.copy_(_precision_factor(covariance.lerp(even, evenness), penalty))
        return float((completion(x) - true)[hidden].double().square().sum())

    evenness = min(_EVENNESS, key=lambda value: squared_error(value, _PENALTY))
    penalty = descend(functools.partial(squared_error, evenness), _PENALTIES, _PENALTY)
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
    return replace(data, completed=data.collect(lambda batch: batch.x))


def _gather(data: WindowData, n: int, seed: int) -> torch.Tensor:
    sample = data.sample(n, seed)
    return torch.cat([batch.x for batch in sample.batches(rows_per_batch(sample))])


def _draw_vectors(completion: WindowCompletion, x: torch.Tensor, seed: int) -> torch.Tensor:
    """Draw vectors of windows, in random order; those of all are never in memory together."""
    parts = x.split(max(1, BLOCK_ENTRIES // x[0].numel()))
    n_of_window = len(completion.vectors(x[:1]))
    drawn = np.random.default_rng(seed).permutation(len(x) * n_of_window)[:_MOST_VECTORS]
    order, found = torch.from_numpy(drawn).to(x.device), []
    first = 0
    for part in parts:
        vectors = completion.vectors(part)
        own = (order >= first) & (order < first + len(vectors))
        found.append((own.nonzero().squeeze(1), vectors[order[own] - first]))
        first += len(vectors)
    places, vectors = map(torch.cat, zip(*found, strict=True))
    return vectors[places.argsort()]


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


def _fit_normal(vectors: torch.Tensor, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate mean and covariance; where values are missing, by the EM algorithm.

    It begins with the moments of pairs of values that were both observed, made nearly even.
    """
    missing = vectors.isnan()
    if not missing.any():
        mean = vectors.mean(0)
        return mean, _covariance(vectors, mean)
    mean, pairs = _moments_of_pairs(vectors)
    covariance = _nearest_covariance(pairs.lerp(_even(pairs, *shape), _FIRST_EVENNESS))
    n_products = missing.sum(1).square().cumsum(0)
    n_rounds = _MOST_PRODUCTS // int(n_products[-1])
    n_rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, n_rounds))
    vectors = vectors[: max(1, int((n_products * n_rounds <= _MOST_PRODUCTS).sum()))]
    for _ in range(n_rounds):
        factor = _precision_factor(covariance, _PENALTY)
        filled, spread = _expect(vectors, mean, factor @ factor.T)
        mean = filled.mean(0)
        covariance = _covariance(filled, mean) + spread / len(filled)
    return mean, covariance


def _moments_of_pairs(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return means of values, and covariances from the vectors in which both were observed."""
    observed = (~vectors.isnan()).double()
    mean = vectors.nan_to_num(0.0).sum(0) / observed.sum(0).clamp(min=1)
    centred = (vectors - mean).nan_to_num(0.0)
    return mean, centred.T @ centred / (observed.T @ observed).clamp(min=1)


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
    return _nearest_covariance(even.view_as(covariance))


def _nearest_covariance(matrix: torch.Tensor) -> torch.Tensor:
    """Raise the negative eigenvalues that moments of different vectors may have to zero."""
    values, directions = torch.linalg.eigh(matrix)
    return (directions * values.clamp(min=0.0)) @ directions.T


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
