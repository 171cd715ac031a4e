"""The closed-form start: builds the module, fits its closed forms, and assigns them."""

from dataclasses import dataclass

import numpy as np
import torch

from .._data.batches import WindowData, fold_bounds, rows_per_batch
from .._data.draws import make_generator
from .._data.labels import Factors
from ..nn.features import WindowFeatures
from ..nn.linear_forecast import LinearForecast
from ..nn.module import DeepDIVE
from ..nn.out_of_fold import OutOfFold
from .class_maps import fit_class_maps
from .covariates import fit_covariate_effect
from .discriminants import fit_discriminants
from .ridge import fit_linear_forecast
from .window import fit_linear_window

# The basis of the features is fitted to as many windows as hold this many values.
_BASIS_ENTRIES = 2**24

# Validation windows, drawn at random, that the initial likelihood scale is computed from.
_MOST_EVALUATED = 1024

# Values of out-of-fold forecasts that are kept (64 MB); more are computed again for every batch.
_MOST_KEPT = 2**24


@dataclass(frozen=True)
class Sizes:
    """Numbers of latent dimensions, hidden units and clusters; 0 for an absent latent part."""

    n_marginal: int
    n_conditional: int
    n_hidden: int
    n_clusters: int


@dataclass(frozen=True)
class Start:
    """A module at its closed-form start, and out-of-fold forecasts of the training windows."""

    module: DeepDIVE
    out_of_fold: OutOfFold | None

    def to(self, device: torch.device) -> "Start":
        """Move both to a device."""
        out_of_fold = self.out_of_fold and self.out_of_fold.to(device)
        return Start(self.module.to(device), out_of_fold)


@torch.no_grad()
def closed_form_start(
    train: WindowData,
    valid: WindowData,
    source_channels: list[np.ndarray | None],
    factors: Factors,
    sizes: Sizes,
    seed: int,
    interleave: bool,
) -> Start:
    """Build the module and give it its closed-form start.

    Parameters
    ----------
    train, valid : WindowData
        Training and validation windows.
    source_channels : list of ndarray of shape (n_targets,) or None
        Candidates for the channels that the targets continue.
    factors : Factors
    sizes : Sizes
    seed : int
    interleave : bool
        Whether the labels were given rather than discovered.
    """
    device, window_shape = train.device, train.X.shape[1:]
    features = WindowFeatures(*window_shape).to(device, torch.float32)
    features.vectors.copy_(fit_basis(train, features, seed))
    candidates = [c if c is None else torch.as_tensor(c, device=device) for c in source_channels]
    linear, fold_maps = fit_linear_forecast(train, valid, candidates)
    if train.n_covariates:
        linear, fold_maps = fit_covariate_effect(linear, fold_maps, train, valid, seed)
    class_counts = [len(classes) for classes in factors.classes]
    module = DeepDIVE(
        features,
        linear,
        [count_frequencies(c, n) for c, n in zip(train.labels.T, class_counts, strict=True)],
        n_marginal=sizes.n_marginal,
        n_conditional=sizes.n_conditional,
        n_hidden=sizes.n_hidden,
        generator=make_generator(seed, torch.device("cpu")),
        interleave=interleave,
        n_covariates=train.n_covariates,
    ).to(device, torch.float32)
    if module.marginal_encoder is not None:
        discriminants = fit_discriminants(train, valid, features, class_counts)
        module.marginal_encoder.set_discriminants(*discriminants)
        module.linear_forecast, fold_maps = fit_class_maps(module, fold_maps, train, valid)
    linear_window, window_scale = fit_linear_window(module, train, valid, seed)
    module.linear_window.load_state_dict(linear_window)
    module.window_decoder.log_scale.copy_(window_scale.log())
    module.forecast_decoder.set_scale(forecast_scale(module, valid))
    return Start(module, make_out_of_fold(fold_maps, train))


def fit_basis(train: WindowData, features: WindowFeatures, seed: int) -> torch.Tensor:
    """Return the leading principal components of the channels' shapes, the features' vectors.

    A sample of the windows suffices: they overlap, and channels share their components.
    """
    scatter = torch.zeros((), dtype=torch.float64, device=train.device)
    sample = train.sample(max(1, _BASIS_ENTRIES // train.X[0].size), seed)
    for batch in sample.batches(rows_per_batch(train)):
        shape = features.standardise(batch.x).shape.double().transpose(1, 2).flatten(0, 1)
        scatter = scatter + shape.T @ shape
    scatter -= scatter.trace()  # the constant window has no place among the leading components
    vectors = torch.linalg.eigh(scatter).eigenvectors
    return vectors[:, -features.vectors.shape[1] :].flip(1)


@torch.no_grad()
def forecast_scale(module: DeepDIVE, valid: WindowData) -> torch.Tensor:
    """Root mean squared error of the forecasts, (horizon, n_targets)."""
    sample = valid.sample(_MOST_EVALUATED, seed=0)
    squares = torch.zeros((), dtype=torch.float64, device=valid.device)
    for batch in sample.batches(rows_per_batch(valid, module.n_classes)):
        squares = squares + (
            module.forecast(batch.x, batch.covariates) - batch.y
        ).double().square().sum(0)
    return (squares / len(sample)).sqrt().float()


def make_out_of_fold(maps: list[LinearForecast], train: WindowData) -> OutOfFold | None:
    """Return the forecasts of training windows by maps fitted without one of the folds each.

    They are computed once, if there is room for them. None where there are no folds.
    """
    if not maps:
        return None
    folds = np.searchsorted(fold_bounds(len(train))[1:], np.arange(len(train)), side="right")
    forecasts = OutOfFold(maps, torch.from_numpy(folds).to(train.device))

    def of_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = train.batch(rows.numpy())
        return forecasts.rows(rows).without_classes(batch.x, batch.covariates)

    first = of_rows(torch.arange(1))
    if (1 + sum(part.numel() for part in first)) * len(train) > _MOST_KEPT:
        return forecasts
    parts = map(of_rows, torch.arange(len(train)).split(rows_per_batch(train)))
    forecast, scores = map(torch.cat, zip(*parts, strict=True))
    return OutOfFold(maps, forecasts.folds, (forecast, scores))


def count_frequencies(codes: np.ndarray, n_classes: int) -> torch.Tensor:
    """Frequencies π of the classes among the codes of labels; -1 is unlabelled."""
    return class_frequencies(torch.from_numpy(np.bincount(codes[codes >= 0], minlength=n_classes)))


def class_frequencies(counts: torch.Tensor) -> torch.Tensor:
    """π_k = n_k / n over labelled windows; a class without any counts as if it had one."""
    counts = counts.clamp(min=1).double()
    return (counts / counts.sum()).float()
