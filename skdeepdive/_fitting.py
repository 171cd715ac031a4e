"""From checked arrays to a trained module: scaling, labels, closed-form start, training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch

from ._adaptation import ForecastErrors, adapt_linear_forecast
from ._class_maps import fit_class_maps
from ._discriminants import class_sums, fit_discriminants, refit_discriminants
from ._labels import FOUND, Factors, no_factors
from ._memory import Memory
from ._noise import fit_noise, update_noise
from ._ridge import fit_linear_forecast
from ._torch_utils import Scaling, WindowData, make_generator, rows_per_batch
from ._training import Settings, train
from ._validation import check_reach, location_and_scale
from ._window_start import fit_window_start
from .nn import DeepDIVE
from .nn._layers import WindowFeatures

# Correlations that differ by less do not tell which of two channels a target continues.
_CLOSE_CORRELATION = 0.1

# The basis of the features is fitted to as many windows as hold this many values.
_BASIS_ENTRIES = 2**24

# Drawn windows that tell the noise of the forecasts.
_NOISE_WINDOWS = 1024

# Clusters are looked for in this many principal components, which are computed from as many
# windows as hold this many values (64 MB in single precision).
_CLUSTER_COMPONENTS = 16
_CLUSTER_ENTRIES = 2**24

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Sizes:
    """Numbers of latent dimensions, hidden units and clusters; 0 for an absent latent part."""

    n_marginal: int
    n_conditional: int
    n_hidden: int
    n_clusters: int


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


def remember(module: DeepDIVE, train_data: WindowData, valid: WindowData) -> Memory:
    """Sum up the windows that a module was fitted to, so that further ones can join them."""
    labels = None
    if module.has_marginal and module.interleave:
        counts = [prior.n_classes for prior in module.priors]
        labels = class_sums(train_data, module.features, counts)
    return Memory(ForecastErrors.of(module, train_data, valid), labels)


def learn_in_closed_form(
    module: DeepDIVE, train_data: WindowData, valid: WindowData, past: Memory | None
) -> Memory:
    """Fit linear forecast and discriminants to all windows so far; return what to remember."""
    if past is None:
        memory = Memory(ForecastErrors.of(module, train_data, valid), None)
    else:
        memory = Memory(past.errors.with_more(module, train_data, valid), past.labels)
    adapt_linear_forecast(module, train_data, memory.errors)
    if memory.labels is not None:
        counts = [prior.n_classes for prior in module.priors]
        memory.labels += class_sums(train_data, module.features, counts)
        module.set_discriminants(
            *refit_discriminants(memory.labels, valid, module.features, counts)
        )
        module.set_class_weights([_frequencies(n) for n in memory.labels.counts.split(counts)])
    return memory


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
            _frequencies(torch.from_numpy(np.bincount(codes[codes >= 0], minlength=n_classes)))
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


def _frequencies(counts: torch.Tensor) -> torch.Tensor:
    """π_k = n_k / n over labelled windows; a class without any counts as if it had one."""
    counts = counts.clamp(min=1).double()
    return (counts / counts.sum()).float()


def find_anchors(
    X: np.ndarray, y: np.ndarray, x_scaling: Scaling, y_scaling: Scaling
) -> tuple[list[np.ndarray | None], Scaling]:
    """Say which channels the targets may continue, and how the targets are scaled.

    Candidates are the channels in order, where there are as many targets, and, where that is
    clearly better, the channels whose last values correlate best with the targets' first; the
    validation windows choose. A target is scaled like its first candidate, so that past and future
    of a series have the same unit, unless another is clearly better or its level or scale cannot
    be the channel's. Where some cannot, None joins the candidates: no correspondence.

    Returns
    -------
    candidates : list of ndarray of shape (n_targets,) or None
    y_scaling : Scaling
    """
    n_channels, n_targets = X.shape[2], y.shape[2]
    rows = np.unique(np.linspace(0, len(X) - 1, 2000).astype(int))
    last = x_scaling.apply(X[rows, -1], np.float64)
    first = y_scaling.apply(y[rows, 0], np.float64)
    correlation = _correlation(first, last)
    matched = correlation.argmax(axis=1)
    anchors = np.arange(n_targets) if n_targets == n_channels else matched
    targets = np.arange(n_targets)
    close = correlation[targets, anchors] > correlation[targets, matched] - _CLOSE_CORRELATION
    candidates = [anchors] if close.all() else [anchors, matched]
    with np.errstate(over="ignore"):
        ratio = y_scaling.scale / x_scaling.scale[anchors]
        shift = np.abs(y_scaling.loc - x_scaling.loc[anchors]) / x_scaling.scale[anchors]
    alike = (ratio > 0.1) & (ratio < 10) & (shift < 3)
    if not alike.all():
        candidates.append(None)
    alike &= close
    return candidates, Scaling(
        np.where(alike, x_scaling.loc[anchors], y_scaling.loc),
        np.where(alike, x_scaling.scale[anchors], y_scaling.scale),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of every column of a with every column of b; 0 for constant ones."""
    a, b = (_standardised(values) for values in (a, b))
    return a.T @ b / len(a)


def _standardised(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=0)
    varies = (np.ptp(values, axis=0) > 0) & (deviation > 0)
    return (values - values.mean(axis=0)) / np.where(varies, deviation, 1)


def discover_clusters(
    X: np.ndarray, n_fit: int, scaling: Scaling, n_clusters: int, seed: int
) -> Factors:
    """Start clusters by KMeans on the leading principal components of the windows."""
    from sklearn.cluster import KMeans  # takes longer to import than all of this package
    from sklearn.decomposition import PCA

    size = X[0].size
    rows = np.unique(
        np.linspace(0, n_fit - 1, min(n_fit, 1 + _CLUSTER_ENTRIES // size)).astype(int)
    )
    sample = scaling.apply(X[rows]).reshape(len(rows), size)
    if (sample == sample[0]).all():
        return Factors([FOUND], [np.arange(1)], np.zeros((len(X), 1), dtype=np.int64))
    n_components = min(_CLUSTER_COMPONENTS, *sample.shape)
    pca = PCA(n_components, svd_solver="randomized", random_state=seed).fit(sample)
    step = max(1, _CLUSTER_ENTRIES // size)
    scores = np.concatenate(
        [
            pca.transform(scaling.apply(X[start : start + step]).reshape(-1, size))
            for start in range(0, len(X), step)
        ]
    )
    n_clusters = _count_distinct(X[:n_fit], scaling, n_clusters)
    kmeans = KMeans(n_clusters, n_init=5, random_state=seed).fit(scores[:n_fit])
    codes = kmeans.predict(scores).astype(np.int64)
    return Factors([FOUND], [np.arange(n_clusters)], codes[:, None])


def _count_distinct(X: np.ndarray, scaling: Scaling, most: int) -> int:
    """Count distinct windows, up to `most`; scores of equal ones may differ in their last bits."""
    seen: set[bytes] = set()
    for window in X:
        seen.add((scaling.apply(window) + 0.0).tobytes())  # not -0.0
        if len(seen) == most:
            break
    return len(seen)
