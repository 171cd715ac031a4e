"""From checked arrays to a trained module: scaling, labels, closed-form start, training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch

from .._data.batches import Scaling, WindowData
from .._data.devices import make_generator
from .._data.labels import Factors, no_factors
from .._data.rows import check_reach, location_and_scale
from .._start.channels import find_anchors
from .._start.clusters import discover_clusters
from .._start.continuation import Memory, learn_in_closed_form, remember
from .._start.start import Sizes, fit_basis, forecast_noise, start_module
from .._train.calibration import fit_noise, update_noise
from .._train.loop import train
from .._train.phases import Settings
from ..nn.features import WindowFeatures
from ..nn.module import DeepDIVE
from ..nn.vae import VAE

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Trained(Generic[Module]):
    """What a fit leaves behind."""

    module: Module
    x_scaling: Scaling
    y_scaling: Scaling
    factors: Factors
    history: list[dict]
    memory: Memory | None = None


# Whatever the caller's mode is.
@torch.inference_mode(False)
@torch.enable_grad()
def fit_module(
    X: np.ndarray,
    y: np.ndarray,
    factors: Factors | None,
    n_valid: int,
    sizes: Sizes,
    settings: Settings,
    device: torch.device,
) -> Trained[DeepDIVE]:
    """Train DeepDIVE on windows (n, n_timesteps, n_channels) and futures (n, horizon, n_targets).

    The last `n_valid` windows are held out: they choose the penalties, the epoch and the
    shrinkage of the correction. Windows just before them whose futures reach into theirs are left
    out. Where there are marginal dimensions and no factors, clusters are discovered.
    """
    n_fit = count_to_fit(X, y, n_valid)
    x_scaling, y_scaling = (Scaling(*location_and_scale(values[:n_fit])) for values in (X, y))
    anchors, y_scaling = find_anchors(X[:n_fit], y[:n_fit], x_scaling, y_scaling)

    discover = bool(sizes.n_marginal) and factors is None
    if not sizes.n_marginal:
        factors = no_factors(len(X))
    elif factors is None:
        factors = settings.processes.first(
            lambda: discover_clusters(X, n_fit, x_scaling, sizes.n_clusters, settings.seed)
        )

    data = WindowData(X, y, factors.codes, x_scaling, y_scaling, device)
    train_data, valid = hold_out(data, n_valid)
    module = settings.processes.first(
        lambda: start_module(
            train_data, valid, anchors, factors, sizes, settings.seed, not discover
        )
    ).to(device)  # the first process may have one of its own
    held_out = module.forecast_decoder.held_out
    module.forecast_decoder.held_out = [forecast.to(device) for forecast in held_out]
    start = Trained(module, x_scaling, y_scaling, factors, [])
    trained = train_from(start, train_data, valid, settings, fit_noise)
    if settings.incremental:
        trained = replace(trained, memory=remember(module, train_data, valid))
    return trained


# Whatever the caller's mode is.
@torch.inference_mode(False)
@torch.enable_grad()
def fit_further(
    X: np.ndarray,
    y: np.ndarray,
    factors: Factors,
    n_valid: int,
    start: Trained[DeepDIVE],
    settings: Settings,
    device: torch.device,
) -> Trained[DeepDIVE]:
    """Train a module further, in the scaling and with the classes that it has.

    The last `n_valid` windows are held out as in :func:`fit_module`. They decide as well what the
    new windows add to the linear forecast. Windows that the start remembers have a part in
    everything that is fitted in closed form, as if they were there.
    """
    module = copy.deepcopy(start.module).to(device, torch.float32).requires_grad_(True).train()
    data = WindowData(X, y, factors.codes, start.x_scaling, start.y_scaling, device)
    train_data, valid = hold_out(data, n_valid)
    memory = learn_in_closed_form(module, train_data, valid, start.memory)
    if settings.incremental:
        module.unshrink_forecast()
    module.set_noise(forecast_noise(module, valid))
    start = replace(start, module=module, factors=factors, memory=None)
    noise = update_noise if settings.incremental else fit_noise
    trained = train_from(start, train_data, valid, settings, noise)
    return replace(trained, memory=memory) if settings.incremental else trained


def train_from(
    start: Trained[Module],
    train_data: WindowData,
    valid: WindowData,
    settings: Settings,
    calibrate: Callable[[Module, WindowData], None] = lambda module, valid: None,
) -> Trained[Module]:
    """Train in place from a start, and let reports show all that is left behind.

    `calibrate` fits to the held-out windows what is not trained.
    """

    def trained(module, history):
        calibrate(module, valid)
        return replace(start, module=module, history=history)

    def report(history, finished):
        return settings.report(history, lambda: trained(finished(), list(history)))

    history = train(start.module, train_data, valid, replace(settings, report=report))
    return settings.processes.first(lambda: trained(start.module, history))


def hold_out(data: WindowData, n_valid: int) -> tuple[WindowData, WindowData]:
    """Split into windows to train on and the last `n_valid`, which are held out.

    Raises
    ------
    ValueError
        If some are so far from those that the scalings were taken from that nothing can be learnt.
    """
    check_reach("X", data.X, data.x_scaling.loc, data.x_scaling.scale)
    check_reach("y", data.y, data.y_scaling.loc, data.y_scaling.scale)
    n_fit = count_to_fit(data.X, data.y, n_valid)
    data = data.standardised()
    return data.part(slice(0, n_fit)), data.part(slice(-n_valid, None))


def count_to_fit(X: np.ndarray, y: np.ndarray, n_valid: int) -> int:
    """Count the windows to train on.

    The last `n_valid` windows, and those just before whose futures reach into theirs, are left out.
    """
    first_valid = len(X) - n_valid
    return first_valid - n_straddling(X, first_valid, y.shape[1])


def n_straddling(X: np.ndarray, first_valid: int, horizon: int) -> int:
    """Count the windows before `first_valid` whose futures share steps with its future.

    Consecutive windows of a series tell by their values how many steps they are apart. Of few
    windows at least half are kept.
    """
    before, after = X[first_valid - 1], X[first_valid]
    steps = (k for k in range(1, len(after)) if np.array_equal(before[k:], after[:-k]))
    step = next(steps, horizon)
    return min(-(-horizon // step) - 1, first_valid // 2)


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
