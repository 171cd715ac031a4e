"""Fit a module to checked arrays: scaling, labels, closed-form start, training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch

from .._data.batches import WindowData, rows_of
from .._data.draws import make_generator
from .._data.labels import Factors, no_factors
from .._data.rows import check_reach, location_and_scale, never_varies
from .._data.scaling import Scaling
from .._start.channels import find_source_channels
from .._start.clusters import discover_clusters
from .._start.completion import fit_completion, with_gaps_filled
from .._start.continuation import WindowSums, continued_start
from .._start.start import (
    Sizes,
    Start,
    closed_form_start,
    fit_features,
    forecast_scale,
    with_features,
    with_helpful_pooled,
)
from .._train.conditional_prior import fit_conditional_prior
from .._train.conformal import fit_conformal_errors, update_conformal_errors
from .._train.loop import Settings, train
from .._train.phases import deepdive_phases, interleaved_phase, warmed_up
from .._train.shrinkage import calibrate_forecast
from ..nn.completion import WindowCompletion
from ..nn.module import DeepDIVE
from ..nn.vae import VAE


class Plan(Enum):
    """The kinds of fits."""

    ANEW = "anew"
    FURTHER = "further"  # from a fitted model: warm_start
    FIRST_CHUNK = "first chunk"
    NEXT_CHUNK = "next chunk"

    @property
    def goes_on(self) -> bool:
        """Whether the fit starts from a fitted model, in its scaling and with its classes."""
        return self in (Plan.FURTHER, Plan.NEXT_CHUNK)

    @property
    def is_chunk(self) -> bool:
        """Whether more windows may follow.

        Then every phase has one epoch, and there are neither callbacks nor a checkpoint; the
        correction learns on, instead of starting anew in the last phase; the errors of few
        validation windows join the earlier ones; sums over the windows are kept for the next chunk.
        """
        return self in (Plan.FIRST_CHUNK, Plan.NEXT_CHUNK)


@dataclass(frozen=True)
class Windows:
    """Checked windows `(n, n_timesteps, n_channels)` and futures `(n, horizon, n_targets)`.

    Covariates of the futures are `(n, horizon, n_covariates)`, or None. The first `n_train` windows
    are trained on and the last `n_valid` are for validation; those between share steps of their
    futures with validation windows, and are left out. `share_steps` says whether windows are cut
    from a series. `groups` are codes of groups that are not to be divided, `(n,)`. In windows and
    futures that have gaps, NaN is missing.
    """

    X: np.ndarray
    y: np.ndarray
    covariates: np.ndarray | None
    n_train: int
    n_valid: int
    share_steps: bool = True
    groups: np.ndarray | None = None
    X_has_gaps: bool = False
    y_has_gaps: bool = False

    def with_last(self, last: np.ndarray, codes: np.ndarray) -> tuple["Windows", np.ndarray]:
        """Move some windows to the end, with the codes of their labels."""
        if last[-self.n_valid :].all():
            return self, codes
        order = np.argsort(last, kind="stable")
        moved = replace(
            self,
            X=self.X[order],
            y=self.y[order],
            covariates=rows_of(self.covariates, order),
            groups=rows_of(self.groups, order),
        )
        return moved, codes[order]

    def arrays(self) -> list[np.ndarray]:
        """Return the arrays that there are."""
        return [part for part in (self.X, self.y, self.covariates) if part is not None]

    def covariate_scaling(self) -> Scaling:
        """Compute the scaling of the covariates, of none where there are none."""
        if self.covariates is None:
            return Scaling(np.zeros(0), np.ones(0))
        return Scaling(*location_and_scale(self.covariates[: self.n_train]))


@dataclass(frozen=True)
class Duration:
    """How long a phase trains at most, and how many epochs without improvement end it."""

    max_epochs: int
    patience: int | None


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves behind."""

    module: DeepDIVE | VAE
    x_scaling: Scaling
    y_scaling: Scaling
    covariate_scaling: Scaling
    history: list[dict]
    factors: Factors
    sums: WindowSums | None = None


@torch.inference_mode(False)  # whatever the caller's mode is
@torch.enable_grad()
def fit_deepdive(
    windows: Windows,
    factors: Factors | None,
    sizes: Sizes,
    plan: Plan,
    device: torch.device,
    duration: Duration,
    settings: Settings,
) -> Fitted:
    """Train DeepDIVE from its closed-form start.

    Where there are marginal dimensions and no factors, clusters are discovered.
    """
    X, y, n_train = windows.X, windows.y, windows.n_train
    x_scaling, y_scaling = (Scaling(*location_and_scale(part[:n_train])) for part in (X, y))
    channels, y_scaling = find_source_channels(X[:n_train], y[:n_train], x_scaling, y_scaling)
    first, seed = settings.processes.first, settings.seed
    discovered, pooled = bool(sizes.n_marginal) and factors is None, None
    covariate_scaling = windows.covariate_scaling()
    both = gather(windows, x_scaling, y_scaling, covariate_scaling, device)
    completion = first(lambda: fit_completion(*split(both, windows), seed)).to(device)
    both = fill_gaps(both, windows, completion)
    if not sizes.n_marginal:
        factors = no_factors(len(X))
    elif factors is None:
        factors, pooled = first(lambda: discover_clusters(both, n_train, sizes.n_clusters, seed))
    data, valid = split(replace(both, labels=factors.codes), windows)
    groups = rows_of(windows.groups, slice(n_train))
    class_counts = [len(classes) for classes in factors.classes]
    features = first(lambda: fit_features(data, seed, pooled, completion))
    if class_counts and not discovered:
        shape = features
        features = first(
            lambda: with_helpful_pooled(shape, data, valid, class_counts, seed, groups)
        )
    features = features.to(device)  # the first process may have another one
    data, valid = with_features(data, features), with_features(valid, features)
    start = first(
        lambda: closed_form_start(
            data,
            valid,
            features,
            channels,
            factors,
            sizes,
            seed,
            interleave=not discovered,
            groups=groups,
        )
    ).to(device)
    fitted = Fitted(start.module, x_scaling, y_scaling, covariate_scaling, [], factors)
    return _train_deepdive(start, data, valid, fitted, None, plan, duration, settings)


@torch.inference_mode(False)  # whatever the caller's mode is
@torch.enable_grad()
def fit_deepdive_further(
    windows: Windows,
    factors: Factors,
    before: Fitted,
    plan: Plan,
    device: torch.device,
    duration: Duration,
    settings: Settings,
) -> Fitted:
    """Train a fitted module further, in the scaling and with the classes that it has.

    `factors` are the labels of the further windows. What these add to the linear forecast is chosen
    on their validation windows. Sums stand in for earlier windows in everything that is fitted in
    closed form.
    """
    module: Any = copy.deepcopy(before.module).to(device, torch.float32)
    module.requires_grad_(True).train()
    scalings = before.x_scaling, before.y_scaling, before.covariate_scaling
    both = fill_gaps(gather(windows, *scalings, device), windows, module.features.completion)
    data, valid = split(replace(both, labels=factors.codes), windows)
    data, valid = with_features(data, module.features), with_features(valid, module.features)

    def start_again() -> tuple[Start, WindowSums]:
        start, sums = continued_start(module, data, valid, before.sums)
        if plan.is_chunk:
            module.forecast_decoder.unshrink()
        module.forecast_decoder.set_scale(forecast_scale(module, valid))
        return start, sums

    start, sums = settings.processes.first(start_again)
    start = start.to(device)
    fitted = replace(before, module=start.module, factors=factors, sums=None)
    return _train_deepdive(start, data, valid, fitted, sums, plan, duration, settings)


def _train_deepdive(
    start: Start,
    data: WindowData,
    valid: WindowData,
    fitted: Fitted,
    sums: WindowSums | None,
    plan: Plan,
    duration: Duration,
    settings: Settings,
) -> Fitted:
    """Train from the closed-form start.

    `fitted` holds all parts of the result but those that training and calibration make. `sums` are
    those of a fitted module that is trained further, otherwise None.
    """

    def finish(module: DeepDIVE, history: list[dict]) -> Fitted:
        calibrate_forecast(module, valid, settings.batch_size)
        (update_conformal_errors if plan.is_chunk else fit_conformal_errors)(module, valid)
        kept = None
        if start.refit and not plan.is_chunk:
            start.refit.apply(module)
        fit_conditional_prior(module, data, valid)
        if plan.is_chunk:
            kept = WindowSums.of(module, data, valid) if sums is None else sums
        return replace(fitted, module=module, history=history, sums=kept)

    phases = deepdive_phases(
        start.module,
        duration.max_epochs,
        duration.patience,
        restart_correction=not plan.is_chunk,
    )
    return train(start.module, data, valid, phases, settings, finish, start.out_of_fold)


@torch.inference_mode(False)  # whatever the caller's mode is
@torch.enable_grad()
def fit_vae(
    windows: Windows,
    make_module: Callable[..., VAE],
    device: torch.device,
    duration: Duration,
    settings: Settings,
) -> Fitted:
    """Train a baseline, which has no factors.

    `make_module` gets the features, the shape of a future, the number of covariates, the number of
    training windows and a generator.
    """
    X, y, n_train = windows.X, windows.y, windows.n_train
    x_scaling, y_scaling = (Scaling(*location_and_scale(part[:n_train])) for part in (X, y))
    factors = no_factors(len(X))
    covariate_scaling = windows.covariate_scaling()
    both = gather(windows, x_scaling, y_scaling, covariate_scaling, device)
    completion = fit_completion(*split(both, windows), settings.seed)
    data, valid = split(fill_gaps(both, windows, completion), windows)
    features = fit_features(data, settings.seed, completion=completion)
    data, valid = with_features(data, features), with_features(valid, features)
    generator = make_generator(settings.seed, torch.device("cpu"))
    module = make_module(features, y.shape[1:], data.n_covariates, n_train, generator)
    module = module.to(device, torch.float32)

    constant = torch.from_numpy(never_varies(y[:n_train])).to(device)

    def finish(module: VAE, history: list[dict]) -> Fitted:
        module.future_decoder.fix_mean(constant)
        calibrate_forecast(module, valid, settings.batch_size)
        return Fitted(module, x_scaling, y_scaling, covariate_scaling, history, factors)

    phases = [interleaved_phase(duration.max_epochs, duration.patience, kl_weight=warmed_up)]
    return train(module, data, valid, phases, settings, finish)


def gather(
    windows: Windows,
    x_scaling: Scaling,
    y_scaling: Scaling,
    covariate_scaling: Scaling,
    device: torch.device,
) -> WindowData:
    """Return all windows, without labels.

    Raises
    ------
    ValueError
        If some are too far from the windows that the scalings were computed from.
    """
    check_reach("X", windows.X, x_scaling.loc, x_scaling.scale)
    check_reach("y", windows.y, y_scaling.loc, y_scaling.scale)
    if windows.covariates is not None:
        scaling = covariate_scaling
        check_reach("future_covariates", windows.covariates, scaling.loc, scaling.scale)
    return WindowData(
        windows.X,
        windows.y,
        no_factors(len(windows.X)).codes,
        x_scaling,
        y_scaling,
        device,
        covariates=windows.covariates,
        covariate_scaling=covariate_scaling,
    ).standardised()


def fill_gaps(data: WindowData, windows: Windows, completion: WindowCompletion) -> WindowData:
    """Return all windows with their gaps filled, where they have any."""
    return with_gaps_filled(data, completion) if windows.X_has_gaps else data


def split(data: WindowData, windows: Windows) -> tuple[WindowData, WindowData]:
    """Return training and validation windows."""
    parts = data.part(slice(0, windows.n_train)), data.part(slice(-windows.n_valid, None))
    if not windows.y_has_gaps:
        return parts
    return parts[0].with_gaps_weighed(), parts[1].with_gaps_weighed()
