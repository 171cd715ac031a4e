"""Decoders p(x | a, b) and p(y | a, b, x)."""

import sys
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.distributions import Distribution
from torch.utils.checkpoint import checkpoint

from .features import WindowFeatures, WindowParts
from .layers import BLOCK_ENTRIES, linear, mlp
from .likelihoods import BasisNormal, DiagonalNormal, bounded_exp
from .linear_forecast import HeldOut, LinearForecast, all_or_some

# Most hidden values of a batch that are kept for the gradient (twice 16 MB in single precision).
# More would take most of the memory of a fit: blocks that have them are computed again.
_KEPT_ENTRIES = 2**22


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
        scale = bounded_exp(self.log_scale)
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
