"""Class means and factor analysis of windows, the closed-form start of a and of p(x | a, b).

Source: Tipping, Bishop, "Probabilistic principal component analysis", Journal of the Royal
Statistical Society B 61, 1999, 611-622.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from ..nn.likelihoods import SMALLEST_SCALE
from ..nn.module import DeepDIVE

# The model is fitted to as many windows as have this many coordinates (32 MB in single precision).
_ENTRIES = 2**23

# Means of several factors depend on each other, and so do likelihood scale and posterior.
_N_SWEEPS = 5


class _Sample(NamedTuple):
    """Windows in orthonormal coordinates, with labels, predicted where none is known.

    `outside` is the squared deviation of a window from its coordinates, for each channel.
    """

    coordinates: torch.Tensor
    classes: torch.Tensor
    outside: torch.Tensor


@torch.no_grad()
def fit_linear_window(
    module: DeepDIVE, train: WindowData, valid: WindowData, random_state: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Fit the linear model to training windows, and its likelihood scale to validation windows.

    Returns
    -------
    linear_window : dict of str to tensor
        The buffers of the module's `linear_window`.
    scale : tensor of shape (n_channels,)
        The likelihood scale of every channel.
    """
    lengths, n_conditional = _lengths(module), module.n_conditional
    sample = _draw(module, train, lengths)
    mean = sample.coordinates.mean(0)
    class_counts = module.class_counts
    class_means = _additive_means(sample.coordinates - mean, sample.classes, class_counts)
    left = _subtract(sample, mean, class_means)
    loadings = torch.zeros(n_conditional, len(lengths)).to(lengths)
    found = _principal_loadings(left, sample.outside, n_conditional, train.X[0].size, random_state)
    loadings[: len(found)] = found.to(lengths)
    sample = _draw(module, valid, lengths)
    left = _subtract(sample, mean, class_means)
    projection, log_scale, scale = _fit_likelihood(module, left, sample.outside, loadings)
    linear_window = {
        "mean": mean / lengths,
        **{f"class_means_{i}": means / lengths for i, means in enumerate(class_means)},
        "loadings": loadings / lengths,
        "projection": projection * lengths,
        "log_scale": log_scale,
    }
    return linear_window, scale


def _draw(module: DeepDIVE, data: WindowData, lengths: torch.Tensor) -> _Sample:
    features, shape = module.features, module.linear_window.shape
    n = min(len(data), max(1, _ENTRIES // len(lengths)))
    rows = np.unique(np.linspace(0, len(data) - 1, n).astype(int))
    size = rows_per_batch(data, module.n_classes)
    coordinates, classes, outside = [], [], torch.zeros((), dtype=torch.float64)
    for start in range(0, len(rows), size):
        batch = data.batch(rows[start : start + size])
        window = features.of(batch)
        inside = features.coordinates(window).flatten(1) * lengths
        coordinates.append(inside)
        square = features.squared_deviation(window) + features.n_timesteps * window.loc[:, 0] ** 2
        outside = outside + (
            square.double().sum(0) - inside.double().square().unflatten(1, shape).sum((0, 1))
        )
        read = [r.argmax(1) for r in module.infer_marginal(window).responses]
        known = batch.labels >= 0
        labels = torch.where(known, batch.labels, torch.stack(read, 1)) if read else batch.labels
        classes.append(labels)
    return _Sample(torch.cat(coordinates), torch.cat(classes), outside.clamp(min=0.0) / len(rows))


def _lengths(module: DeepDIVE) -> torch.Tensor:
    """Norm of the window that has 1 in a coordinate and 0 in all others, for every coordinate."""
    lengths = torch.ones_like(module.linear_window.mean).unflatten(0, module.linear_window.shape)
    if module.features.compressed:
        lengths[0] = module.features.n_timesteps**0.5
    return lengths.flatten()


def _subtract(sample: _Sample, mean: torch.Tensor, class_means: list[torch.Tensor]) -> torch.Tensor:
    """Return what the means leave over of the windows."""
    left = sample.coordinates - mean
    for means, classes in zip(class_means, sample.classes.T, strict=True):
        left -= means[classes]
    return left


def _principal_loadings(
    left: torch.Tensor, outside: torch.Tensor, n_conditional: int, n_values: int, random_state: int
) -> torch.Tensor:
    """Return loadings by principal component analysis, `(n_components, n_coordinates)`."""
    from sklearn.decomposition import PCA  # takes longer to import than all of this package

    windows = left.cpu().numpy()
    n_components = min(n_conditional, len(windows) - 1, windows.shape[1] - 1)
    if n_components <= 0 or not np.ptp(windows, axis=0).any():
        return left.new_zeros(0, left.shape[1])
    pca = PCA(n_components, random_state=random_state).fit(windows)
    variance = torch.from_numpy(pca.explained_variance_)
    total = _mean_square(left).sum() + outside.sum()
    unexplained = (total.cpu() - variance.sum()) / (n_values - n_components)
    length = (variance - unexplained).clamp(min=0.0).sqrt().unsqueeze(1)
    return length * torch.from_numpy(pca.components_)


def _additive_means(left: torch.Tensor, classes: torch.Tensor, class_counts: list[int]):
    """Means of the classes of every factor, `(n_classes_i, n_coordinates)`, that add up.

    They follow, sweep by sweep, from sums over windows: those of every class, and the numbers of
    windows that two classes have in common. It is as if every class had one window more, at zero.
    """
    sums = [
        left.new_zeros(n, left.shape[1]).index_add_(0, own, left)
        for own, n in zip(classes.T, class_counts, strict=True)
    ]
    sizes = [1 + own.bincount(minlength=n) for own, n in zip(classes.T, class_counts, strict=True)]
    means = [torch.zeros_like(total) for total in sums]
    common = {
        (i, j): _common(classes[:, i], classes[:, j], class_counts[j])
        for i, j in permutations(range(len(means)), 2)
    }
    for _ in range(_N_SWEEPS if len(means) > 1 else len(means)):
        for i, total in enumerate(sums):
            own = total.clone()
            for j, mean in enumerate(means):
                if j != i:
                    first, second, n_windows = common[i, j]
                    own.index_add_(0, first, -n_windows.to(own) * mean[second])
            means[i] = own / sizes[i].unsqueeze(1)
    return means


def _common(first: torch.Tensor, second: torch.Tensor, n_second: int):
    """Return pairs of classes that have windows in common, and their numbers `(n_pairs, 1)`."""
    pairs, n_windows = torch.unique(first * n_second + second, return_counts=True)
    return pairs // n_second, pairs % n_second, n_windows.unsqueeze(1)


def _fit_likelihood(
    module: DeepDIVE, left: torch.Tensor, outside: torch.Tensor, loadings: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return projection and log scale of the posterior, and the likelihood scale by channel."""
    shape, n_timesteps = module.linear_window.shape, module.features.n_timesteps
    loadings = loadings.double()
    total = _mean_square(left)
    square = total
    for _ in range(_N_SWEEPS):
        channels = square.unflatten(0, shape).sum(0) + outside
        scale = (channels / n_timesteps).sqrt().clamp(min=SMALLEST_SCALE)
        scaled = loadings / scale.expand(shape).flatten()
        precision = torch.eye(len(scaled)).to(scaled) + scaled @ scaled.T
        projection = torch.linalg.solve(precision, scaled / scale.expand(shape).flatten())
        variance = 1 / precision.diagonal()
        # The mean square of what the posterior means leave over, by products of few columns.
        scores = left @ projection.T.to(left)
        common = (scores.T @ left).double() / len(left)
        between = (scores.T @ scores).double() / len(left)
        error = total + (loadings * (between @ loadings - 2 * common)).sum(0)
        square = error.clamp(min=0.0) + variance @ loadings.square()
    return projection, 0.5 * variance.log(), scale


def _mean_square(left: torch.Tensor) -> torch.Tensor:
    """Mean square of every coordinate in double precision, without a copy of all in it."""
    return sum(part.double().square().sum(0) for part in left.split(1024)) / len(left)
