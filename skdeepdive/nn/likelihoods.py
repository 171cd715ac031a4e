"""Normal distributions of latent dimensions, windows and futures."""

import math

import torch
from torch.distributions import Distribution, Normal, kl_divergence

from .._data.draws import Draws
from .features import project

# Least scale of a likelihood, in standard deviations of the data; above the bound on log scales,
# where the gradient ends.
SMALLEST_SCALE = 3e-3

# Log scales are kept in this range (in units of the standardised data).
_LOG_SCALE = (-6.0, 3.0)


def bounded_exp(log_scale: torch.Tensor) -> torch.Tensor:
    """Scales of latent dimensions, windows and futures, none too small or too large."""
    return log_scale.clamp(*_LOG_SCALE).exp()


def bounded_normal(loc: torch.Tensor, log_scale: torch.Tensor) -> Normal:
    """Return independent normals with bounded scales."""
    return Normal(loc, bounded_exp(log_scale).expand_as(loc), validate_args=False)


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

    def log_prob(self, value: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Log density of arrays `(n, *event_shape)`, summed over entries, `(n,)`.

        With weights `(n, *event_shape)`, such as 0 for what is missing, the sum is weighted.
        """
        if weights is not None:
            normal = Normal(self._mean, self.stddev, validate_args=False)
            return (weights * normal.log_prob(value)).flatten(1).sum(1)
        precision = (-2 * self.log_scale).exp().expand(self.event_shape).flatten()
        distance = (value - self._mean).square().flatten(1) @ precision
        log_norm = self.log_scale + 0.5 * math.log(2 * math.pi)
        return -0.5 * distance - log_norm.expand(self.event_shape).sum()


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

    @property
    def stddev(self) -> torch.Tensor:
        """Standard deviation of every entry, `(n_timesteps, n_channels)`."""
        return self.scale.expand(self.event_shape)

    def log_prob(self, x: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Log density of windows `(n, n_timesteps, n_channels)`, `(n,)`.

        With weights of the same shape, such as 0 for what is missing, the sum over entries is
        weighted.
        """
        if weights is not None:
            return DiagonalNormal(self.mean, self.scale.log()).log_prob(x, weights)
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


def kl_to_standard(q: Normal) -> torch.Tensor:
    """KL(q ‖ N(0, I)) of latent dimensions `(n, n_dims)`, in nats, `(n,)`."""
    standard = Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc), validate_args=False)
    return kl_divergence(q, standard).sum(1)


def draw(q: Normal, draws: Draws | None) -> torch.Tensor:
    """Draw from q, or take its mean without a source of draws."""
    return q.loc if draws is None else q.loc + q.scale * draws.normal(q.loc)
