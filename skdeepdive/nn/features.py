"""Features of a window: shape, level and scale of every channel, and what has no phase."""

import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from .._data.batches import Batch
from .completion import WindowCompletion
from .layers import BLOCK_ENTRIES, initial_values
from .pooled import PooledFeatures


class WindowFeatures(nn.Module):
    """Separate the shape of a window from its level.

    Every channel of a window is standardised over its own time steps; what that removes, the
    location and the logarithm of the scale, is appended. Where a window has more entries than
    `max_features`, the shapes are compressed to their leading principal components, which all
    channels share. Their basis is orthonormal and orthogonal to the constant window.

    Parameters
    ----------
    n_timesteps, n_channels : int
        Shape of a window.
    max_features : int
        Number of shape entries (time steps times channels) that are kept as they are.
    pooled : PooledFeatures or None, default=None
        Features that do not depend on where the window was cut.
    completion : WindowCompletion or None, default=None
        Fills the gaps of windows; None: one that holds no values yet.
    """

    # Variation below this part of a channel's overall deviation counts as noise.
    _SCALE_FLOOR = 1e-2
    # Components of a single channel's shape, beside what all channels together can afford.
    _N_CHANNEL_COMPONENTS = 48

    vectors: torch.Tensor

    def __init__(
        self,
        n_timesteps: int,
        n_channels: int,
        max_features: int = 2048,
        pooled: PooledFeatures | None = None,
        completion: WindowCompletion | None = None,
    ):
        super().__init__()
        self.n_timesteps, self.n_channels = n_timesteps, n_channels
        self.n_components = min(n_timesteps, max(1, max_features // n_channels))
        self.pooled = pooled
        self.completion = completion or WindowCompletion(n_timesteps, n_channels)
        self.n_features = n_channels * (self.n_components + 2)
        self.n_pooled = pooled.n_features if pooled else 0
        self.n_coefficients = min(n_timesteps, self._N_CHANNEL_COMPONENTS)
        self.compressed = self.n_components < n_timesteps
        n_vectors = max(self.n_components, self.n_coefficients)
        self.register_buffer("vectors", initial_values(_cosines, n_timesteps, n_vectors))

    @property
    def coordinate_shape(self) -> tuple[int, int]:
        """Shape of a decoded window: level and components where it is compressed, or its own."""
        return self.n_components + self.compressed, self.n_channels

    @property
    def kinds(self) -> list[slice]:
        """Features with pooled ones, then either alone, where there are both kinds."""
        n_all = self.n_features + self.n_pooled
        alone = [slice(0, self.n_features), slice(self.n_features, n_all)]
        return [slice(0, n_all), *(alone if self.n_pooled else [])]

    @property
    def basis(self) -> torch.Tensor:
        """The components that compress windows, `(n_timesteps, n_components)`."""
        return self.vectors[:, : self.n_components]

    def beside(self, pooled: PooledFeatures) -> "WindowFeatures":
        """Return the same features beside pooled ones."""
        both = copy.deepcopy(self)
        both.pooled, both.n_pooled = pooled, pooled.n_features
        return both

    @property
    def _kept_sizes(self) -> tuple[int, int, int]:
        """Numbers of features, coefficients and scales of a window."""
        return self.n_features, self.n_coefficients * self.n_channels, self.n_channels

    @property
    def n_kept(self) -> int:
        """Number of values of a window that :meth:`keep` returns, without pooled features."""
        return sum(self._kept_sizes)

    def keep(self, batch: Batch) -> torch.Tensor:
        """Compute what `Batch.features` holds of the windows of a batch, `(n, n_kept)`."""
        window = self.without_pooled(batch)
        parts = window.features, window.coefficients.flatten(1), window.scale.flatten(1)
        return torch.cat(parts, dim=1)

    def of(self, batch: Batch) -> "Window":
        """Describe the windows of a batch, which may have their features already."""
        return self._complete(self.without_pooled(batch), batch.pooled, batch.observed)

    def without_pooled(self, batch: Batch) -> "Window":
        """Describe the windows of a batch for decoders, which do not look at pooled features."""
        if batch.features is None:
            return self.describe(batch.x)
        features, coefficients, scale = batch.features.split(self._kept_sizes, dim=1)
        return Window(
            batch.x,
            features,
            coefficients.unflatten(1, (self.n_coefficients, self.n_channels)),
            features[:, -2 * self.n_channels : -self.n_channels].unsqueeze(1),
            scale.unsqueeze(1),
        )

    def forward(self, x: torch.Tensor) -> "Window":
        """Describe windows `(n, n_timesteps, n_channels)`, and fill what is NaN in them."""
        if not x.sum().isnan():
            return self._complete(self.describe(x))
        return self._complete(self.describe(self.completion(x)), observed=~x.isnan())

    def _complete(
        self,
        window: "Window",
        pooled: torch.Tensor | None = None,
        observed: torch.Tensor | None = None,
    ) -> "Window":
        """Add pooled features, computed where they are not given, and what was observed."""
        if pooled is None and self.pooled is not None:
            pooled = self.pooled(window.x)
        return replace(window, pooled=pooled, observed=observed)

    def describe(self, x: torch.Tensor) -> "Window":
        """Describe windows without gaps, and without their pooled features."""
        size = max(1, BLOCK_ENTRIES // (self.n_timesteps * self.n_channels))
        blocks = [self._of_block(block) for block in x.split(size)]
        parts = blocks[0] if len(blocks) == 1 else map(torch.cat, zip(*blocks, strict=True))
        return Window(x, *parts)

    def _of_block(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shape, loc, scale = self.standardise(x)
        vectors = self.vectors if self.compressed else self.vectors[:, : self.n_coefficients]
        coefficients = project(shape, vectors)
        if self.compressed:
            shape = coefficients[:, : self.n_components]
        features = [shape.flatten(1), loc.flatten(1), scale.log().flatten(1)]
        return torch.cat(features, dim=1), coefficients[:, : self.n_coefficients], loc, scale

    def coordinates(self, window: "Window") -> torch.Tensor:
        """Coordinates of windows, `(n, *coordinate_shape)`.

        They are time steps, or, where windows are compressed, level and coefficients in the basis.
        """
        shape = window.features[:, : self.n_components * self.n_channels]
        own = shape.unflatten(1, (self.n_components, self.n_channels)) * window.scale
        return torch.cat([window.loc, own], dim=1) if self.compressed else own + window.loc

    def squared_deviation(self, window: "Window") -> torch.Tensor:
        """Sum over time steps of the squared deviations from the level, `(n, n_channels)`."""
        return self.n_timesteps * (window.scale.square() - self._SCALE_FLOOR**2).squeeze(1)

    def standardise(self, x: torch.Tensor) -> "StandardisedWindow":
        """Split windows `(n, n_timesteps, n_channels)` into shape, location and scale."""
        loc = x.mean(dim=1, keepdim=True)
        centred = x - loc
        scale = (centred.square().mean(dim=1, keepdim=True) + self._SCALE_FLOOR**2).sqrt()
        return StandardisedWindow(centred / scale, loc, scale)


def project(windows: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Map windows `(n, n_timesteps, n_channels)` to coefficients `(n, k, n_channels)` in a basis.

    A single product for all windows needs a copy of them, which takes longer than the product where
    there are more channels than components; then every window has a product of its own.
    """
    if basis.shape[1] < windows.shape[2]:
        return basis.mT.expand(len(windows), -1, -1) @ windows
    return torch.einsum("ntc,tk->nkc", windows, basis)


class StandardisedWindow(NamedTuple):
    """Shape `(n, n_timesteps, n_channels)`, location and scale `(n, 1, n_channels)` of windows."""

    shape: torch.Tensor
    loc: torch.Tensor
    scale: torch.Tensor


@dataclass(frozen=True)
class Window:
    """Windows of a batch, and their features.

    Attributes
    ----------
    x : tensor of shape (n, n_timesteps, n_channels)
        Without gaps.
    features : tensor of shape (n, n_features)
        Input of the encoders.
    coefficients : tensor of shape (n, n_coefficients, n_channels)
        Shape of every channel: coefficients of the leading principal components.
    loc, scale : tensor of shape (n, 1, n_channels)
        Mean and deviation of every channel over the time steps.
    pooled : tensor of shape (n, n_pooled) or None
        Pooled features.
    observed : tensor of shape (n, n_timesteps, n_channels) or None
        Whether values were observed, not filled; None: all were.
    """

    x: torch.Tensor
    features: torch.Tensor
    coefficients: torch.Tensor
    loc: torch.Tensor
    scale: torch.Tensor
    pooled: torch.Tensor | None = None
    observed: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def fill(self, values: torch.Tensor) -> torch.Tensor:
        """Return values `(n, n_timesteps, n_channels)`, or the windows' own where not observed."""
        return values if self.observed is None else values.where(self.observed, self.x)

    @property
    def with_gaps(self) -> torch.Tensor:
        """The windows as they came, with NaN for what is missing."""
        return self.x if self.observed is None else self.x.where(self.observed, torch.nan)

    @property
    def with_pooled(self) -> torch.Tensor:
        """Features and pooled features, `(n, n_features + n_pooled)`: input of the discriminant."""
        if self.pooled is None:
            return self.features
        return torch.cat([self.features, self.pooled], dim=1)


def _cosines(n_timesteps: int, n_components: int) -> torch.Tensor:
    """Orthonormal cosines of increasing frequency, without the constant one."""
    time = (torch.arange(n_timesteps) + 0.5) / n_timesteps
    frequency = torch.arange(n_components) + 1
    return (torch.pi * time.unsqueeze(1) * frequency).cos() * (2 / n_timesteps) ** 0.5
