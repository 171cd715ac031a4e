"""The closed-form start of q(a | b, x) and p(x | a, b): class means, then factor analysis.

Source: Tipping, Bishop, "Probabilistic principal component analysis", Journal of the Royal
Statistical Society B 61, 1999, 611-622.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from ..nn.likelihoods import SMALLEST_NOISE
from ..nn.module import DeepDIVE

# The model is fitted to as many windows as have this many coordinates (32 MB in single precision).
_ENTRIES = 2**23

# Means of several factors depend on each other, and so do the noise and the posterior.
_N_SWEEPS = 5


class _Sample(NamedTuple):
    """Windows in orthonormal coordinates, with labels that are read where none is known.

    `outside` is the squared deviation of a window from its coordinates, for each channel.
    """

    coordinates: torch.Tensor
    classes: torch.Tensor
    outside: torch.Tensor


@torch.no_grad()
def fit_window_start(
    module: DeepDIVE, train: WindowData, valid: WindowData, random_state: int
) -> None:
    """Fit the linear model to training windows; held-out windows say how large the noise is."""
    from sklearn.decomposition import PCA  # takes longer to import than all of this package

    model = module.linear_window
    sample = _draw(module, train)
    weight = _weights(module)
    left = _fit_means(model, sample, weight)
    n_components = min(len(model.loadings), len(left) - 1, left.shape[1] - 1)
    if n_components > 0 and np.ptp(left.cpu().numpy(), axis=0).any():
        pca = PCA(n_components, random_state=random_state).fit(left.cpu().numpy())
        variance = torch.from_numpy(pca.explained_variance_)
        total = _mean_square(left).sum() + sample.outside.sum()
        noise = (total.cpu() - variance.sum()) / (train.X[0].size - n_components)
        length = (variance - noise).clamp(min=0.0).sqrt().unsqueeze(1)
        loadings = (length * torch.from_numpy(pca.components_)).to(weight)
        model.loadings[:n_components] = loadings / weight
    _fit_noise(module, _draw(module, valid), weight)


def _draw(module: DeepDIVE, data: WindowData) -> _Sample:
    features, model = module.features, module.linear_window
    n = min(len(data), max(1, _ENTRIES // len(model.mean)))
    rows = np.unique(np.linspace(0, len(data) - 1, n).astype(int))
    size, weight = rows_per_batch(data, module.n_classes), _weights(module)
    coordinates, classes, outside = [], [], torch.zeros((), dtype=torch.float64)
    for start in range(0, len(rows), size):
        x, _, labels = data.batch(rows[start : start + size])
        seen, window = features(x)
        inside = features.coordinates(seen, window).flatten(1) * weight
        coordinates.append(inside)
        square = features.squared_deviation(window) + features.n_timesteps * window.loc[:, 0] ** 2
        outside = outside + (
            square.double().sum(0) - inside.double().square().unflatten(1, model.shape).sum((0, 1))
        )
        read = [r.argmax(1) for r in module.encode_marginal(seen).responses]
        known = labels >= 0
        classes.append(torch.where(known, labels, torch.stack(read, 1)) if read else labels)
    return _Sample(torch.cat(coordinates), torch.cat(classes), outside.clamp(min=0.0) / len(rows))


def _weights(module: DeepDIVE) -> torch.Tensor:
    """Length of every coordinate: that of a level which is one at each time step."""
    weight = torch.ones_like(module.linear_window.mean).unflatten(0, module.linear_window.shape)
    if module.features.compressed:
        weight[0] = module.features.n_timesteps**0.5
    return weight.flatten()


def _fit_means(model, sample: _Sample, weight: torch.Tensor) -> torch.Tensor:
    """Set the means, one factor after the other; return what they leave over."""
    mean = sample.coordinates.mean(0)
    left = sample.coordinates - mean
    model.mean.copy_(mean / weight)
    class_means = _additive_means(left, sample.classes, [len(m) for m in model.class_means])
    for own, means, classes in zip(model.class_means, class_means, sample.classes.T, strict=True):
        own.copy_(means / weight)
        left -= means[classes]
    return left


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


def _fit_noise(module: DeepDIVE, sample: _Sample, weight: torch.Tensor) -> None:
    """Set the noise of every channel, and the posterior that goes with it and the loadings."""
    model, n_timesteps = module.linear_window, module.features.n_timesteps
    left = sample.coordinates - model.mean * weight
    for means, classes in zip(model.class_means, sample.classes.T, strict=True):
        left -= means[classes] * weight
    loadings = (model.loadings * weight).double()
    total = _mean_square(left)
    square = total
    for _ in range(_N_SWEEPS):
        channels = square.unflatten(0, model.shape).sum(0) + sample.outside
        noise = (channels / n_timesteps).sqrt().clamp(min=SMALLEST_NOISE)
        scaled = loadings / noise.expand(model.shape).flatten()
        precision = torch.eye(len(scaled)).to(scaled) + scaled @ scaled.T
        projection = torch.linalg.solve(precision, scaled / noise.expand(model.shape).flatten())
        variance = 1 / precision.diagonal()
        # The mean square of what the posterior means leave over, by products of few columns.
        scores = left @ projection.T.to(left)
        common = (scores.T @ left).double() / len(left)
        between = (scores.T @ scores).double() / len(left)
        error = total + (loadings * (between @ loadings - 2 * common)).sum(0)
        square = error.clamp(min=0.0) + variance @ loadings.square()
    model.projection.copy_(projection * weight)
    model.log_scale.copy_(0.5 * variance.log())
    module.window_decoder.log_scale.copy_(noise.log())


def _mean_square(left: torch.Tensor) -> torch.Tensor:
    """Mean square of every coordinate in double precision, without a copy of all in it."""
    return sum(part.double().square().sum(0) for part in left.split(1024)) / len(left)
