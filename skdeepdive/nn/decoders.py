"""Decoders p(x | a, b) and p(y | a, b, x)."""

import sys
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .covariates import StepCorrection
from .features import Window, WindowFeatures
from .layers import BLOCK_ENTRIES, Linear, mlp
from .likelihoods import SMALLEST_SCALE, BasisNormal, DiagonalNormal, bounded_exp
from .linear_forecast import all_or_some

# Most hidden values of a batch that are kept for the gradient (twice 16 MB in single precision).
# More would take most of the memory of a fit: blocks that have them are computed again.
_KEPT_ENTRIES = 2**22


class WindowDecoder(nn.Module):
    """p(x | a, b): in the features' basis where they are compressed, otherwise step by step.

    Parameters
    ----------
    n_fused : int
        Length of the fused features.
    features : WindowFeatures
    n_hidden : int
    start_at_zero : bool, default=False
        Whether the network corrects the mean of a linear model, which `forward` then takes.
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

    def forward(
        self, fused: torch.Tensor, basis: torch.Tensor, linear=0.0
    ) -> DiagonalNormal | BasisNormal:
        """Map fused features `(n, n_fused)` to p(x | a, b) over windows."""
        decoded = linear + self.network(fused).unflatten(1, self.shape)
        if not self.compressed:
            return DiagonalNormal(decoded, self.log_scale)
        scale = bounded_exp(self.log_scale)
        return BasisNormal(decoded[:, 1:], decoded[:, :1], scale, basis)


class ForecastDecoder(nn.Module):
    """p(y | a, b, x): the linear forecast plus a correction, which starts at zero.

    One network for all targets computes the correction from the fused latent variables, the linear
    forecast, and the shape of the source channel (the channel that the target continues) in
    coefficients of principal components. The latter two are relative to that channel's level, in
    units of its deviation within the window.

    Parameters
    ----------
    n_fused : int
        Length of the fused features.
    future_shape : tuple of int
        Horizon and number of targets.
    n_coefficients : int
        Number of coefficients of a source channel's shape; 0 where there are no source channels.
    n_hidden : int
    n_covariates : int, default=0
        Number of covariates of the horizon; they add a second network, see :class:`StepCorrection`.
    """

    shrinkage: torch.Tensor

    def __init__(
        self,
        n_fused: int,
        future_shape: tuple[int, int],
        n_coefficients: int,
        n_hidden: int,
        n_covariates: int = 0,
    ):
        super().__init__()
        horizon, n_targets = future_shape
        n_of_channel = n_coefficients + 1 if n_coefficients else 0
        self.from_fused = Linear(n_fused, n_hidden)
        self.from_target = Linear(n_of_channel + horizon, n_hidden, bias=False)
        self.target_offset = nn.Parameter(torch.zeros(n_targets, n_hidden))
        self.head = Linear(n_hidden, horizon, start_at_zero=True)
        self.log_scale = nn.Parameter(torch.zeros(horizon, n_targets))
        self.register_buffer("shrinkage", torch.ones(n_targets))
        self.by_step = (
            StepCorrection(n_covariates, n_fused, future_shape, n_hidden) if n_covariates else None
        )

    def forward(
        self, fused, linear, window: Window, source_channels, covariates=None
    ) -> DiagonalNormal:
        """Map fused features, linear forecasts and windows to p(y | a, b, x)."""
        correction = self.correction(fused, linear, window, source_channels, covariates)
        return DiagonalNormal(linear + correction, self.log_scale)

    def correction(
        self, fused, linear, window: Window, source_channels, covariates=None
    ) -> torch.Tensor:
        """Correction of a linear forecast, `(n, horizon, n_targets)`.

        Without `covariates`, what they would add is left out.
        """
        correction = self._by_window(fused, linear, window, source_channels)
        if self.by_step is None or covariates is None:
            return correction
        loc, unit = 0.0, 1.0
        if source_channels is not None:
            loc, unit = window.loc[..., source_channels], window.scale[..., source_channels]
        by_step = self.by_step(covariates, fused, (linear - loc) / unit)
        return correction + self.shrinkage * unit * by_step

    def _by_window(self, fused, linear, window: Window, source_channels) -> torch.Tensor:
        """Correct all steps at once, block by block of windows."""
        n_entries = self.target_offset.numel()
        size = max(1, BLOCK_ENTRIES // n_entries)
        parts = fused, linear, window.coefficients, window.loc, window.scale
        blocks = zip(*(part.split(size) for part in parts), strict=True)
        n_kept = _KEPT_ENTRIES // (size * n_entries) if torch.is_grad_enabled() else sys.maxsize
        channels = source_channels
        if channels is not None:
            channels = all_or_some(channels, window.loc.shape[2])
        compute = partial(self._correction_of_block, channels)
        again = partial(checkpoint, compute, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([(compute if i < n_kept else again)(*b) for i, b in enumerate(blocks)])

    def _correction_of_block(
        self, channels, fused, linear, coefficients, loc, scale
    ) -> torch.Tensor:
        inputs, unit = linear, 1.0
        if channels is not None:
            # Without the level, so that levels beyond those of training windows do no harm.
            shape = torch.cat([coefficients, scale.log()], dim=1)[..., channels]
            unit = scale[..., channels]
            inputs = torch.cat([(linear - loc[..., channels]) / unit, shape], dim=1)
        hidden = self.from_target(inputs.mT)
        hidden += self.from_fused(fused).unsqueeze(1)
        hidden += self.target_offset
        return self.shrinkage * unit * self.head(nn.functional.gelu(hidden)).mT

    @torch.no_grad()
    def restart(self) -> None:
        """Set the correction back to zero, and unshrunk."""
        for parameter in (self.head.weight, self.head.bias, self.target_offset):
            parameter.zero_()
        if self.by_step is not None:
            self.by_step.restart()
        self.unshrink()

    @torch.no_grad()
    def unshrink(self) -> None:
        """Give the correction its full size."""
        self.shrinkage.fill_(1.0)

    @torch.no_grad()
    def set_scale(self, scale: torch.Tensor) -> None:
        """Set the scale of the likelihood, `(horizon, n_targets)`."""
        self.log_scale.copy_(scale.clamp(min=SMALLEST_SCALE).log())
