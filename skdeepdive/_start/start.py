"""The closed-form start of a module."""

from dataclasses import dataclass

import numpy as np
import torch

from .._data.batches import WindowData, rows_per_batch
from .._data.devices import make_generator
from .._data.labels import Factors
from ..nn.features import WindowFeatures
from ..nn.module import DeepDIVE
from .class_maps import fit_class_maps
from .discriminants import fit_discriminants
from .ridge import fit_linear_forecast
from .window import fit_window_start

# The basis of the features is fitted to as many windows as hold this many values.
_BASIS_ENTRIES = 2**24

# Drawn windows that tell the noise of the forecasts.
_NOISE_WINDOWS = 1024


@dataclass(frozen=True)
class Sizes:
    """Numbers of latent dimensions, hidden units and clusters; 0 for an absent latent part."""

    n_marginal: int
    n_conditional: int
    n_hidden: int
    n_clusters: int


def start_module(
    train_data: WindowData,
    valid: WindowData,
    anchors: list[np.ndarray | None],
    factors: Factors,
    sizes: Sizes,
    seed: int,
    interleave: bool,
) -> DeepDIVE:
    """Build the module and give it its closed-form start."""
    device = train_data.device
    _, n_timesteps, n_channels = train_data.X.shape
    features = WindowFeatures(n_timesteps, n_channels).to(device, torch.float32)
    fit_basis(train_data, features, seed)
    candidates = [a if a is None else torch.as_tensor(a, device=device) for a in anchors]
    forecast, held_out = fit_linear_forecast(train_data, valid, candidates)
    class_counts = [len(classes) for classes in factors.classes]
    module = DeepDIVE(
        features,
        forecast,
        [
            class_frequencies(torch.from_numpy(np.bincount(codes[codes >= 0], minlength=n_classes)))
            for codes, n_classes in zip(train_data.labels.T, class_counts, strict=True)
        ],
        n_marginal=sizes.n_marginal,
        n_conditional=sizes.n_conditional,
        n_hidden=sizes.n_hidden,
        generator=make_generator(seed, torch.device("cpu")),
        interleave=interleave,
    ).to(device, torch.float32)
    module.forecast_decoder.held_out = held_out
    if class_counts:
        module.set_discriminants(*fit_discriminants(train_data, valid, features, class_counts))
        fit_class_maps(module, train_data, valid)
    fit_window_start(module, train_data, valid, seed)
    module.set_noise(forecast_noise(module, valid))
    return module


def fit_basis(train: WindowData, features: WindowFeatures, seed: int) -> None:
    """Set the features' vectors to the leading principal components of the channels' shapes.

    Of many windows a sample tells them: they overlap, and channels share their components.
    """
    scatter = torch.zeros((), dtype=torch.float64, device=train.device)
    sample = train.sample(max(1, _BASIS_ENTRIES // train.X[0].size), seed)
    for x, _, _ in sample.batches(rows_per_batch(train)):
        shape = features.standardise(x).shape.double().transpose(1, 2).flatten(0, 1)
        scatter = scatter + shape.T @ shape
    scatter -= scatter.trace()  # the constant window has no place among the leading components
    vectors = torch.linalg.eigh(scatter).eigenvectors
    features.vectors.copy_(vectors[:, -features.vectors.shape[1] :].flip(1))


@torch.no_grad()
def forecast_noise(module: DeepDIVE, data: WindowData) -> torch.Tensor:
    """Root mean squared error of the forecasts, (horizon, n_targets): where training starts."""
    sample = data.sample(_NOISE_WINDOWS, seed=0)
    squares = sum(
        (module.forecast(x) - y).double().square().sum(0)
        for x, y, _ in sample.batches(rows_per_batch(data, module.n_classes))
    )
    return (squares / len(sample)).sqrt().float()


def class_frequencies(counts: torch.Tensor) -> torch.Tensor:
    """π_k = n_k / n over labelled windows; a class without any counts as if it had one."""
    counts = counts.clamp(min=1).double()
    return (counts / counts.sum()).float()
