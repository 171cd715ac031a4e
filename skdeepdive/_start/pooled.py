"""Fit the features that do not depend on where a window was cut."""

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from .._data.batches import WindowData, WindowSample, rows_per_batch
from ..nn.pooled import PooledFeatures

# Windows that thresholds are quantiles of, and those that everything else is computed from.
_N_RESPONDING, POOLED_WINDOWS = 64, 2048

_MOST_COMPONENTS = 256

# Deviations below it, in units of the features, are rounding errors.
_SMALLEST_SCALE = 1e-5

# What features that do not vary are divided by.
_NO_SCALE = 1e30

# Width of the ramp from 0 to 1 at a threshold, relative to the deviation of the responses.
_RAMP = 0.1

_GOLDEN_RATIO = (5**0.5 + 1) / 2


@torch.no_grad()
def fit_pooled_features(train: WindowData, seed: int, most: int = POOLED_WINDOWS) -> PooledFeatures:
    """Choose channels and thresholds of the kernels, scales, and components of the responses.

    All but the thresholds come from a sample of at most so many windows.
    """
    sample = train.sample(most, seed)
    n_components = max(1, min(_MOST_COMPONENTS, len(sample) - 1))
    _, n_timesteps, n_channels = train.X.shape
    pooled = PooledFeatures(n_timesteps, n_channels, n_components).to(train.device, torch.float32)
    pooled.mixing.copy_(_mixing(sample, pooled.n_mixed))
    _fit_kernels(pooled, train.sample(_N_RESPONDING, seed), np.random.default_rng(seed))
    raw = torch.cat([pooled.raw(batch.x) for batch in sample.batches(rows_per_batch(train))])
    pooled.loc.copy_(raw.double().mean(0))
    deviation = raw.double().std(0, unbiased=False)
    pooled.scale.copy_(torch.where(deviation > _SMALLEST_SCALE, deviation, _NO_SCALE))
    responses = ((raw - pooled.loc) / pooled.scale)[:, pooled.n_statistics :].cpu().numpy()
    _, lengths, components = randomized_svd(responses, n_components, random_state=seed)
    unit = max(np.sqrt(np.square(lengths).sum() / responses.shape[0] / n_components), 1e-6)
    pooled.vectors.copy_(torch.from_numpy(components.T / unit))
    return pooled


def _mixing(sample: WindowData | WindowSample, n_mixed: int) -> torch.Tensor:
    """Leading principal components of the channels; the channels where these are few."""
    products: list[torch.Tensor] = []
    for batch in sample.batches(_N_RESPONDING):
        steps = batch.x.flatten(0, 1).double()
        if steps.shape[1] == n_mixed:
            return torch.eye(n_mixed)
        products.append(steps.T @ steps)
    return torch.linalg.eigh(torch.stack(products).sum(0)).eigenvectors[:, -n_mixed:]


def _fit_kernels(
    pooled: PooledFeatures, sample: WindowData | WindowSample, random: np.random.Generator
) -> None:
    """Choose the channels of the kernels, their scales, and quantiles of responses as thresholds.

    Where a response counts fully is a part of its deviation above the threshold; half of it lies
    below the quantile.
    """
    n_dilations, n_kernels, n_mixed = pooled.channels.shape
    n_thresholds = pooled.thresholds.shape[2]
    places = (np.arange(n_kernels * n_thresholds) + 1) * _GOLDEN_RATIO % 1
    mixed = torch.cat([pooled.mix(batch.x) for batch in sample.batches(_N_RESPONDING)])
    for j in range(n_dilations):
        chosen = np.stack([_choose_channels(random, n_mixed) for _ in range(n_kernels)])
        pooled.channels[j] = torch.from_numpy(chosen)
        responses = pooled.respond(mixed, j).transpose(0, 1).flatten(1)
        width = _RAMP * responses.std(dim=1, keepdim=True)
        width = torch.where(width > _SMALLEST_SCALE, width, 1.0)
        pooled.channels[j] /= width
        ordered = np.sort((responses / width).cpu().numpy(), axis=1)  # faster than that of torch
        index = (places * (ordered.shape[1] - 1)).astype(int).reshape(n_kernels, n_thresholds)
        pooled.thresholds[j] = torch.from_numpy(np.take_along_axis(ordered, index, axis=1)) - 0.5


def _choose_channels(random: np.random.Generator, n_channels: int) -> np.ndarray:
    """Return 1 for some channels, at least one and at most nine, and 0 for the others."""
    n = int(2 ** random.uniform(0, np.log2(min(n_channels, 9) + 1)))
    return np.isin(np.arange(n_channels), random.choice(n_channels, n, replace=False))
