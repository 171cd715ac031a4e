"""From checked arrays to a trained baseline: scaling, features, training."""

from collections.abc import Callable

import numpy as np
import torch

from ._fitting import Trained, count_to_fit, fit_basis, hold_out, train_from
from ._labels import no_factors
from ._torch_utils import Scaling, WindowData, make_generator
from ._training import Settings
from ._validation import location_and_scale
from .nn._layers import WindowFeatures
from .nn._vae import VAE


# Whatever the caller's mode is.
@torch.inference_mode(False)
@torch.enable_grad()
def fit_vae(
    X: np.ndarray,
    y: np.ndarray,
    n_valid: int,
    make_module: Callable[..., VAE],
    settings: Settings,
    device: torch.device,
) -> Trained[VAE]:
    """Train a module without factors on windows (n, n_timesteps, n_channels) and their futures.

    The last `n_valid` windows are held out, and those just before them whose futures reach into
    theirs are left out. `make_module` gets the features, the shape of a future, the number of
    training windows and a generator.
    """
    n_fit = count_to_fit(X, y, n_valid)
    x_scaling, y_scaling = (Scaling(*location_and_scale(values[:n_fit])) for values in (X, y))
    factors = no_factors(len(X))
    data = WindowData(X, y, factors.codes, x_scaling, y_scaling, device)
    train_data, valid = hold_out(data, n_valid)
    features = WindowFeatures(*X.shape[1:]).to(device, torch.float32)
    fit_basis(train_data, features, settings.seed)
    generator = make_generator(settings.seed, torch.device("cpu"))
    module = make_module(features, y.shape[1:], n_fit, generator).to(device, torch.float32)
    start = Trained(module, x_scaling, y_scaling, factors, [])
    return train_from(start, train_data, valid, settings)
