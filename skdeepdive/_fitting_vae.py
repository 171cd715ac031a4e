"""From checked arrays to a trained baseline: scaling, features, training."""

from collections.abc import Callable

import numpy as np
import torch

from ._fitting import Trained, fit_basis, fit_scaling, reporting_trained
from ._torch_utils import WindowData, make_generator, threads_for
from ._training import Settings, train
from .nn._layers import WindowFeatures


# Whatever the caller's mode is.
@torch.inference_mode(False)
@torch.enable_grad()
def fit_vae(
    X: np.ndarray,
    y: np.ndarray,
    n_valid: int,
    make_module: Callable[..., torch.nn.Module],
    settings: Settings,
    device: torch.device,
) -> Trained:
    """Train a module without factors on windows (n, n_timesteps, n_channels) and their futures.

    The last `n_valid` windows are held out, and those just before them whose futures reach into
    theirs are left out. `make_module` gets the features, the shape of a future, the number of
    training windows and a generator.
    """
    n_fit, x_scaling, y_scaling = fit_scaling(X, y, n_valid)
    data = WindowData(X, y, None, x_scaling, y_scaling, device)
    train_data, valid = data.part(slice(0, n_fit)), data.part(slice(-n_valid, None))
    features = WindowFeatures(*X.shape[1:]).to(device, torch.float32)
    fit_basis(train_data, features)
    generator = make_generator(settings.seed, torch.device("cpu"))
    module = make_module(features, y.shape[1:], n_fit, generator).to(device, torch.float32)
    settings = reporting_trained(settings, x_scaling, y_scaling, None)
    with threads_for(settings.batch_size * X[0].size):
        history = train(module, train_data, valid, settings)
    return Trained(module, x_scaling, y_scaling, None, history)
