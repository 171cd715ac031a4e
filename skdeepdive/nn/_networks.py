"""Encoders q(b | x) and q(a | b, x), decoders p(x | a, b) and p(y | a, b, x)."""

import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn
from torch.distributions import Distribution, Normal, kl_divergence
from torch.utils.checkpoint import checkpoint

from ._layers import (
    BLOCK_ENTRIES,
    HeldOut,
    LinearForecast,
    WindowFeatures,
    WindowParts,
    all_or_some,
    linear,
    mlp,
    project,
)
from ._priors import RBFMixture

# Log scales are kept in this range (in units of the standardised data).
_LOG_SCALE = (-6.0, 3.0)

# Most hidden values of a batch that are kept for the gradient (twice 16 MB in single precision).
# More would take most of the memory of a fit: blocks that have them are computed again.
_KEPT_ENTRIES = 2**22


def _bounded_exp(log_scale: torch.Tensor) -> torch.Tensor:
    return log_scale.clamp(*_LOG_SCALE).exp()


def _normal(loc: torch.Tensor, log_scale: torch.Tensor) -> Normal:
    return Normal(loc, _bounded_exp(log_scale).expand_as(loc), validate_args=False)


class DiagonalNormal(Distribution):
    """Normal over arrays whose entries are independent, with one scale for all of a batch.

    Parameters
    ----------
    mean : tensor of shape (n, *event_shape)
    log_scale : tensor that broadcasts to event_shape
    """

    def __init__(self, mean: torch.Tensor, log_scale: torch.Tensor):
        super().__init__(mean.shape[:1], mean.shape[1:], validate_args=False)
        self._mean, self.log_scale = mean, log_scale.clamp(*_LOG_SCALE)

    @property
    def mean(self) -> torch.Tensor:
        """Mean, `(n, *event_shape)`."""
        return self._mean

    @property
    def stddev(self) -> torch.Tensor:
        """Standard deviation of every entry, `event_shape`."""
        return self.log_scale.exp().expand(self.event_shape)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of arrays `(n, *event_shape)`, summed over entries, `(n,)`."""
        distance = ((value - self._mean) * (-self.log_scale).exp()).square().flatten(1).sum(1)
        log_norm = self.log_scale + 0.5 * math.log(2 * math.pi)
        return -0.5 * distance - log_norm.expand(self.event_shape).sum()


class MarginalEncoder(nn.Module):
    """q(b | x) as a soft assignment to the centres of each factor's RBF layer.

    A linear discriminant, fitted in closed form before training, and a network that starts at
    zero give one logit a class; the location of b_i is the mean of the factor's centres under
    the softmax of its logits.

    Parameters
    ----------
    n_features : int
        Length of the window features.
    priors : sequence of RBFMixture
        The RBF layer of each factor.
    n_hidden : int
    """

    def __init__(self, n_features: int, priors, n_hidden: int):
        super().__init__()
        self.class_counts = [prior.n_classes for prior in priors]
        n_logits = sum(self.class_counts)
        n_dims = sum(prior.n_dims for prior in priors)
        self.discriminant = linear(n_features, n_logits, start_at_zero=True)
        self.trunk = nn.Sequential(linear(n_features, n_hidden), nn.GELU())
        self.logits = linear(n_hidden, n_logits, start_at_zero=True)
        self.log_scale = linear(n_hidden, n_dims, start_at_zero=True)

    def forward(self, features: torch.Tensor, priors) -> Normal:
        """Map features `(n, n_features)` to q(b | x) over `(n, n_marginal)`."""
        hidden = self.trunk(features)
        logits = (self.discriminant(features) + self.logits(hidden)).split(self.class_counts, dim=1)
        loc = [
            logit.softmax(-1) @ prior.centres for logit, prior in zip(logits, priors, strict=True)
        ]
        return _normal(torch.cat(loc, dim=1), self.log_scale(hidden))


class ConditionalEncoder(nn.Module):
    """q(a | b, x): the marginal sample enters the hidden layer beside the window features.

    With `start_at_zero` the network is to correct a start, the location and the log scale that
    `forward` is then given.
    """

    def __init__(
        self,
        n_features: int,
        n_marginal: int,
        n_conditional: int,
        n_hidden: int,
        *,
        start_at_zero: bool = False,
    ):
        super().__init__()
        self.from_window = linear(n_features, n_hidden)
        self.from_marginal = linear(n_marginal, n_hidden, bias=False) if n_marginal else None
        self.head = linear(n_hidden, 2 * n_conditional, start_at_zero=start_at_zero)

    def forward(self, features: torch.Tensor, b: torch.Tensor | None, start=(0.0, 0.0)) -> Normal:
        """Map features `(n, n_features)` and b `(n, n_marginal)` to q over `(n, n_conditional)`."""
        hidden = self.from_window(features)
        if self.from_marginal is not None:
            hidden = hidden + self.from_marginal(b)
        loc, log_scale = self.head(nn.functional.gelu(hidden)).chunk(2, dim=1)
        return _normal(start[0] + loc, start[1] + log_scale)


class BasisNormal(Distribution):
    """Normal over windows whose mean is a level plus coefficients in an orthonormal basis.

    The basis is orthogonal to the constant window, so the squared distance from the mean splits
    into coefficients, level and a rest that does not depend on the mean: many channels over many
    steps are scored without forming it.

    Parameters
    ----------
    coefficients : tensor of shape (n, n_components, n_channels)
    level : tensor of shape (n, 1, n_channels)
    scale : tensor of shape (n_channels,)
    basis : tensor of shape (n_timesteps, n_components)
    """

    def __init__(self, coefficients, level, scale, basis):
        self.coefficients, self.level, self.scale, self.basis = coefficients, level, scale, basis
        event_shape = torch.Size((len(basis), len(scale)))
        super().__init__(coefficients.shape[:1], event_shape, validate_args=False)

    @property
    def mean(self) -> torch.Tensor:
        """Mean windows `(n, n_timesteps, n_channels)`."""
        return torch.einsum("nkc,tk->ntc", self.coefficients, self.basis) + self.level

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Log density of windows `(n, n_timesteps, n_channels)`, `(n,)`."""
        level = x.mean(dim=1, keepdim=True)
        centred = x - level
        coordinates = torch.cat([level, project(centred, self.basis)], dim=1)
        return self.log_density(coordinates, centred.square().sum(1))

    def log_density(self, coordinates, squared_deviation) -> torch.Tensor:
        """Log density of windows given by what counts of them, `(n,)`.

        That is level and coefficients `(n, 1 + n_components, n_channels)`, and the sums over time
        steps of the squared deviations from the level `(n, n_channels)`.
        """
        n_timesteps = len(self.basis)
        level, projected = coordinates[:, :1], coordinates[:, 1:]
        rest = (squared_deviation - projected.square().sum(1)).clamp(min=0.0)
        distance = (projected - self.coefficients).square().sum(1) + rest
        distance = distance + n_timesteps * (level - self.level).square().squeeze(1)
        log_norm = n_timesteps * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return -(0.5 * distance / self.scale.square() + log_norm).sum(1)


class WindowDecoder(nn.Module):
    """p(x | a, b): in the features' basis where they are compressed, otherwise step by step.

    With `start_at_zero` the network is to correct a start, the mean that `forward` is then given.
    """

    def __init__(
        self, n_fused: int, features: WindowFeatures, n_hidden: int, *, start_at_zero: bool = False
    ):
        super().__init__()
        n_channels = features.n_channels
        self.compressed, self.shape = features.compressed, features.coordinate_shape
        n_coordinates = self.shape[0] * n_channels
        self.network = mlp(n_fused, n_hidden, n_coordinates, start_at_zero=start_at_zero)
        self.log_scale = nn.Parameter(torch.zeros(n_channels))

    def forward(self, fused: torch.Tensor, basis: torch.Tensor, start=0.0) -> Distribution:
        """Map fused features `(n, n_fused)` to p(x | a, b) over windows."""
        decoded = start + self.network(fused).unflatten(1, self.shape)
        if not self.compressed:
            return DiagonalNormal(decoded, self.log_scale)
        scale = _bounded_exp(self.log_scale)
        return BasisNormal(decoded[:, 1:], decoded[:, :1], scale, basis)


class ForecastDecoder(nn.Module):
    """p(y | a, b, x): the linear forecast, with the maps of the classes, plus a correction.

    One network for all targets computes the correction from the fused latent variables, the
    linear forecast, and the recent shape of the channel that the target continues. The latter two
    are in units of the channel's level and deviation within the window. It starts at zero.
    """

    shrinkage: torch.Tensor

    def __init__(self, n_fused: int, start: LinearForecast, n_own: int, n_hidden: int):
        super().__init__()
        self.start = start
        self.held_out: list[LinearForecast] = []
        horizon, n_targets = start.future_shape
        self.from_fused = linear(n_fused, n_hidden)
        n_own = 0 if start.anchors is None else n_own + 1
        self.from_target = linear(n_own + horizon, n_hidden, bias=False)
        self.target_offset = nn.Parameter(torch.zeros(n_targets, n_hidden))
        self.head = linear(n_hidden, horizon, start_at_zero=True)
        self.log_scale = nn.Parameter(torch.zeros(horizon, n_targets))
        self.register_buffer("shrinkage", torch.ones(n_targets))

    def forward(self, fused, responses, x, window, held_out=None) -> Distribution:
        """Map fused features, RBF responses and windows to p(y | a, b, x)."""
        forecast = self.linear_forecast(x, responses, held_out)
        return DiagonalNormal(forecast + self.correction(fused, forecast, window), self.log_scale)

    def linear_forecast(self, x, responses, held_out: HeldOut | None = None) -> torch.Tensor:
        """Forecast by the linear map, `(n, horizon, n_targets)`.

        For training windows by the one fitted without their fold, so that the correction learns
        from errors such as new windows have.
        """
        if held_out is None or not self.held_out:
            return self.start(x, responses)
        folds, forecast, seen = held_out
        if forecast is None or seen is None:
            forecast, seen = self.hold_out(x, folds)
        if not any(maps is not None for maps in self.start.class_maps):
            return forecast
        completed = torch.empty_like(forecast)
        for source, rows in self._by_fold(folds):
            own = [response[rows] for response in responses]
            completed[rows] = source.add_classes(forecast[rows], seen[rows], own)
        return completed

    def hold_out(self, x: torch.Tensor, folds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast training windows by linear maps fitted without their fold, before any class.

        It returns what :meth:`LinearForecast.without_classes` does.
        """
        parts = [(*source.without_classes(x[rows]), rows) for source, rows in self._by_fold(folds)]
        forecast, seen, rows = map(torch.cat, zip(*parts, strict=True))
        order = rows.argsort()
        return forecast[order], seen[order]

    def _by_fold(self, folds: torch.Tensor) -> Iterator[tuple[LinearForecast, torch.Tensor]]:
        for fold, source in enumerate(self.held_out):
            rows = (folds == fold).nonzero().squeeze(1)
            if len(rows):
                yield source, rows

    def correction(self, fused, forecast, window: WindowParts) -> torch.Tensor:
        """Correction of a linear forecast, `(n, horizon, n_targets)`, block by block of windows."""
        n_entries = self.target_offset.numel()
        size = max(1, BLOCK_ENTRIES // n_entries)
        blocks = zip(*(part.split(size) for part in (fused, forecast, *window)), strict=True)
        n_kept = _KEPT_ENTRIES // (size * n_entries) if torch.is_grad_enabled() else sys.maxsize
        anchors = self.start.anchors
        channels = None if anchors is None else all_or_some(anchors, window.loc.shape[2])
        compute = partial(self._correction_of_block, channels)
        again = partial(checkpoint, compute, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([(compute if i < n_kept else again)(*b) for i, b in enumerate(blocks)])

    def _correction_of_block(self, channels, fused, forecast, *window) -> torch.Tensor:
        inputs, scale = forecast, 1.0
        if channels is not None:
            window = WindowParts(*window)
            loc, scale = window.loc[..., channels], window.scale[..., channels]
            inputs = torch.cat([(forecast - loc) / scale, window.of_channels(channels)], dim=1)
        hidden = self.from_target(inputs.mT)
        hidden += self.from_fused(fused).unsqueeze(1)
        hidden += self.target_offset
        correction = self.head(nn.functional.gelu(hidden)).mT
        return self.shrinkage * scale * correction


def kl_to_standard(q: Normal) -> torch.Tensor:
    """KL(q ‖ N(0, I)) of latent dimensions `(n, n_dims)`, in nats, `(n,)`."""
    standard = Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc), validate_args=False)
    return kl_divergence(q, standard).sum(1)


def make_priors(class_weights, n_marginal: int) -> Sequence[RBFMixture]:
    """One RBF layer for each factor, with at most `n_marginal` and n_classes - 1 dimensions."""
    return nn.ModuleList(  # type: ignore[return-value]  # its stub does not say of what
        RBFMixture(weights, max(1, min(n_marginal, len(weights) - 1))) for weights in class_weights
    )
