"""The closed-form start: builds the module, fits its closed forms, and assigns them."""

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch

from .._data.batches import WindowData, fold_bounds, rows_of, rows_per_batch
from .._data.draws import make_generator
from .._data.labels import Factors
from ..nn.completion import WindowCompletion
from ..nn.features import WindowFeatures
from ..nn.linear_forecast import LinearForecast
from ..nn.module import DeepDIVE
from ..nn.out_of_fold import OutOfFold
from ..nn.pooled import FEWEST_TIMESTEPS, PooledFeatures
from .class_maps import fit_class_maps
from .covariates import fit_covariate_effect
from .discriminants import N_FOLDS, fit_discriminants, least_losses
from .pooled import POOLED_WINDOWS, fit_pooled_features
from .ridge import fit_linear_forecast
from .sums import PENALTIES
from .window import fit_linear_window

# The basis of the features is fitted to as many windows as hold this many values.
_BASIS_ENTRIES = 2**24

# Training and validation windows that decide whether pooled features help, if they do not hold more
# values than those, and windows that the features are fitted to. Pooled features are fewer than the
# others, so few windows favour them: where they do not help by those, more need not be asked.
_MOST_COMPARED = (512, 256, 512), (4096, 1024, POOLED_WINDOWS)

# The penalties that they are compared by.
_COMPARED_PENALTIES = PENALTIES[2::2]

# Pooled features help where, alone, they have a cross-entropy that is a quarter less than that of
# the others. Of sensor windows it was 0.05 to 0.68 of that; of load windows, which end at a known
# hour, 0.83 at least, and labels of the test years were read no better. Both kinds together hardly
# ever have less than the better one, but take longer than all else to compare.
_CLEARLY_LESS = 0.75

# Validation windows, drawn at random, that the initial likelihood scale is computed from.
_MOST_EVALUATED = 1024

# Values of out-of-fold forecasts, and of features of either kind, that are kept (128 MB); more are
# computed again for every batch.
_MOST_KEPT = 2**25


@dataclass(frozen=True)
class Sizes:
    """Numbers of latent dimensions, hidden units and clusters; 0 for an absent latent part."""

    n_marginal: int
    n_conditional: int
    n_hidden: int
    n_clusters: int


@dataclass(frozen=True)
class Refit:
    """What changes when the labels are fitted to the validation windows as well.

    Attributes
    ----------
    weight : tensor of shape (n_logits, n_features)
    bias : tensor of shape (n_logits,)
        Added to the discriminants, which training may have moved.
    frequencies : list of tensors of shape (n_classes_i,)
        Frequencies of the classes of every factor.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    frequencies: list[torch.Tensor]

    @torch.no_grad()
    def apply(self, module: DeepDIVE) -> None:
        """Change a trained module."""
        if (encoder := module.marginal_encoder) is not None:
            weight, bias = encoder.discriminant.weight, encoder.discriminant.bias
            weight.add_(self.weight.to(weight.device))
            bias.add_(self.bias.to(bias.device))
        for prior, frequencies in zip(module.priors, self.frequencies, strict=True):
            prior.set_weights(frequencies)


@dataclass(frozen=True)
class Start:
    """A module at its closed-form start, and out-of-fold forecasts of the training windows.

    The refit is for the end of the training; None where there are no given labels.
    """

    module: DeepDIVE
    out_of_fold: OutOfFold | None
    refit: Refit | None = None

    def to(self, device: torch.device) -> "Start":
        """Move module and forecasts to a device."""
        out_of_fold = self.out_of_fold and self.out_of_fold.to(device)
        return replace(self, module=self.module.to(device), out_of_fold=out_of_fold)


@torch.no_grad()
def closed_form_start(
    train: WindowData,
    valid: WindowData,
    features: WindowFeatures,
    source_channels: list[np.ndarray | None],
    factors: Factors,
    sizes: Sizes,
    seed: int,
    *,
    interleave: bool,
    groups: np.ndarray | None = None,
) -> Start:
    """Build the module and give it its closed-form start.

    Parameters
    ----------
    train, valid : WindowData
        Training and validation windows.
    features : WindowFeatures
    source_channels : list of ndarray of shape (n_targets,) or None
        Candidates for the channels that the targets continue.
    factors : Factors
    sizes : Sizes
    seed : int
    interleave : bool
        Whether the labels were given rather than discovered.
    groups : ndarray of shape (n_train,) or None, default=None
        Codes of groups of training windows that folds do not divide.
    """
    device = train.device
    candidates = [c if c is None else torch.as_tensor(c, device=device) for c in source_channels]
    linear, fold_maps = fit_linear_forecast(train, valid, candidates)
    if train.n_covariates:
        linear, fold_maps = fit_covariate_effect(linear, fold_maps, train, valid, seed)
    class_counts = [len(classes) for classes in factors.classes]
    module = DeepDIVE(
        features,
        linear,
        _frequencies(train.labels, class_counts),
        n_marginal=sizes.n_marginal,
        n_conditional=sizes.n_conditional,
        n_hidden=sizes.n_hidden,
        generator=make_generator(seed, torch.device("cpu")),
        interleave=interleave,
        n_covariates=train.n_covariates,
    ).to(device, torch.float32)
    refit = before = None
    if module.marginal_encoder is not None:
        # Clusters are functions of the window: validation windows suffice to find them again.
        n_folds = N_FOLDS if interleave else 0
        fitted, refitted = fit_discriminants(train, valid, features, class_counts, groups, n_folds)
        module.marginal_encoder.set_discriminants(*fitted)
        if interleave:  # training moves discovered clusters
            frequencies = _frequencies(np.concatenate([train.labels, valid.labels]), class_counts)
            change = refitted.weight - fitted.weight, refitted.bias - fitted.bias
            refit = Refit(*change, frequencies)
        before = forecast_out_of_fold(fold_maps, train)
        module.linear_forecast, fold_maps = fit_class_maps(module, fold_maps, train, valid, before)
    linear_window, window_scale = fit_linear_window(module, train, valid, seed)
    module.linear_window.load_state_dict(linear_window)
    module.window_decoder.log_scale.copy_(window_scale.log())
    module.forecast_decoder.set_scale(forecast_scale(module, valid))
    out_of_fold = make_out_of_fold(fold_maps, train, before)
    if out_of_fold is not None and module.has_marginal and interleave:  # b moves little
        responses = train.collect(module.mean_responses, module.n_classes)
        out_of_fold = out_of_fold.completed_by(responses, module.class_counts)
    return Start(module, out_of_fold, refit)


@torch.no_grad()
def fit_features(
    train: WindowData,
    seed: int,
    pooled: PooledFeatures | None = None,
    completion: WindowCompletion | None = None,
) -> WindowFeatures:
    """Fit the features of windows, beside pooled ones and what fills their gaps."""
    _, n_timesteps, n_channels = train.X.shape
    features = WindowFeatures(n_timesteps, n_channels, pooled=pooled, completion=completion)
    features = features.to(train.device, torch.float32)
    features.vectors.copy_(fit_basis(train, features, seed))
    return features


@torch.no_grad()
def with_helpful_pooled(
    features: WindowFeatures,
    train: WindowData,
    valid: WindowData,
    class_counts: list[int],
    seed: int,
    groups: np.ndarray | None = None,
) -> WindowFeatures:
    """Return features beside pooled ones, if these alone read a label clearly better.

    A sample of the windows decides; those of the validation, if the sample leaves windows out.
    """
    if features.n_timesteps < FEWEST_TIMESTEPS:
        return features
    order = np.random.default_rng(seed).permutation(len(train))
    for most, most_valid, most_fitted in _MOST_COMPARED:
        both = features.beside(fit_pooled_features(train, seed, most_fitted))
        rows = np.sort(order[: min(most, max(1, _BASIS_ENTRIES // train.window_size))])
        least = functools.partial(
            least_losses,
            train.take(rows),
            valid.sample(most_valid, seed),
            class_counts=class_counts,
            groups=rows_of(groups, rows),
            n_folds=N_FOLDS if len(rows) == len(train) else 0,
            penalties=_COMPARED_PENALTIES,
        )
        without = least(features=features)
        alone = least(features=both, columns=slice(features.n_features, None))
        if not any(alone[j] < _CLEARLY_LESS * without[j] for j in alone):
            return features
        if len(rows) == len(train):
            break
    return both


@torch.no_grad()
def with_features(data: WindowData, features: WindowFeatures) -> WindowData:
    """Return the same windows with their features of either kind, if there is room for them."""
    if len(data) * features.n_kept <= _MOST_KEPT:
        data = replace(data, features=data.collect(features.keep))
    pooled = features.pooled
    if pooled is None or len(data) * pooled.n_features > _MOST_KEPT:
        return data
    return replace(data, pooled=data.collect(lambda batch: pooled(batch.x)))


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
        errors = torch.add(*module.forecast_parts(batch)) - batch.y
        squares = squares + batch.weigh(errors.double().square()).sum(0)
    return (squares / len(sample)).sqrt().float()


def make_out_of_fold(
    maps: list[LinearForecast],
    train: WindowData,
    before: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> OutOfFold | None:
    """Return the forecasts of training windows by maps fitted without one of the folds each.

    They are computed once, if there is room for them. None where there are no folds. `before` are
    those of the same maps without class maps, and the scores, where they are known already.
    """
    if not maps:
        return None
    has_class_maps = maps[0].has_class_maps
    before = before or forecast_out_of_fold(maps, train, with_scores=has_class_maps)
    if before is not None and not has_class_maps:
        before = before[0], before[1][:, :0].clone()  # the scores need no room any more
    return OutOfFold(maps, _folds(train), before)


def forecast_out_of_fold(
    maps: list[LinearForecast], train: WindowData, *, with_scores: bool = True
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return forecasts before classes, and scores; None where there is no room, or no fold."""
    if not maps:
        return None
    forecasts = OutOfFold(maps, _folds(train))

    def of_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = train.batch(rows.numpy())
        own = forecasts.rows(rows)
        return own.without_classes(batch.x, batch.covariates, with_scores=with_scores)

    first = of_rows(torch.arange(1))
    # The fold, the forecast before classes and after them, and the scores.
    if (1 + first[0].numel() + sum(part.numel() for part in first)) * len(train) > _MOST_KEPT:
        return None
    parts = map(of_rows, torch.arange(len(train)).split(rows_per_batch(train)))
    forecast, scores = map(torch.cat, zip(*parts, strict=True))
    return forecast, scores


def _folds(train: WindowData) -> torch.Tensor:
    """Return the fold of every training window."""
    folds = np.searchsorted(fold_bounds(len(train))[1:], np.arange(len(train)), side="right")
    return torch.from_numpy(folds).to(train.device)


def _frequencies(codes: np.ndarray, class_counts: list[int]) -> list[torch.Tensor]:
    """Frequencies π of the classes of every factor among labels `(n, n_factors)`."""
    return [
        class_frequencies(torch.from_numpy(np.bincount(own[own >= 0], minlength=n_classes)))
        for own, n_classes in zip(codes.T, class_counts, strict=True)
    ]


def class_frequencies(counts: torch.Tensor) -> torch.Tensor:
    """π_k = n_k / n over labelled windows; a class without any counts as if it had one."""
    counts = counts.clamp(min=1).double()
    return (counts / counts.sum()).float()
