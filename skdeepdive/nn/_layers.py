"""Blocks that know windows and linear maps, and nothing of variational autoencoders."""

import torch
from torch import nn
from torch.nn.utils import skip_init


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
    """

    # Variation below this part of a channel's overall deviation counts as noise.
    _SCALE_FLOOR = 1e-2

    def __init__(self, n_timesteps: int, n_channels: int, max_features: int = 2048):
        super().__init__()
        self.n_components = min(n_timesteps, max(1, max_features // n_channels))
        self.n_features = n_channels * (self.n_components + 2)
        self.compressed = self.n_components < n_timesteps
        self.register_buffer("basis", _cosines(n_timesteps, self.n_components))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map windows `(n, n_timesteps, n_channels)` to features and scales.

        The features are `(n, n_features)`, the scales within the windows `(n, 1, n_channels)`.
        """
        shape, loc, scale = self.standardise(x)
        if self.compressed:
            shape = torch.einsum("ntc,tk->nkc", shape, self.basis)
        features = [shape.flatten(1), loc.flatten(1), scale.log().flatten(1)]
        return torch.cat(features, dim=1), scale

    def standardise(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return shape, location and scale of windows `(n, n_timesteps, n_channels)`."""
        loc = x.mean(dim=1, keepdim=True)
        centred = x - loc
        scale = (centred.square().mean(dim=1, keepdim=True) + self._SCALE_FLOOR**2).sqrt()
        return centred / scale, loc, scale


def _cosines(n_timesteps: int, n_components: int) -> torch.Tensor:
    """Orthonormal cosines of increasing frequency, without the constant one."""
    time = (torch.arange(n_timesteps) + 0.5) / n_timesteps
    frequency = torch.arange(n_components) + 1
    return (torch.pi * time.unsqueeze(1) * frequency).cos() * (2 / n_timesteps) ** 0.5


def linear(n_in: int, n_out: int, *, bias: bool = True, start_at_zero: bool = False) -> nn.Linear:
    """Make a layer whose parameters are left to `initialise`: PyTorch's own draw is global."""
    layer = skip_init(nn.Linear, n_in, n_out, bias=bias)
    layer.start_at_zero = start_at_zero
    return layer


def mlp(n_in: int, n_hidden: int, n_out: int, *, start_at_zero: bool = False) -> nn.Sequential:
    """One hidden layer with GELU; `start_at_zero` makes the initial output zero."""
    output = linear(n_hidden, n_out, start_at_zero=start_at_zero)
    return nn.Sequential(linear(n_in, n_hidden), nn.GELU(), output)


class LinearForecast(nn.Module):
    """A fixed linear map from the window to its future, fitted in closed form.

    Parameters
    ----------
    weight : tensor
        Of shape (n_timesteps * n_channels, horizon * n_targets) where every target looks at all
        channels, or (n_targets or 1, n_timesteps, horizon) where it looks at its own channel.
    intercept : tensor of shape (horizon, n_targets)
    anchors : tensor of shape (n_targets,), optional
        The channel that each target continues: its last value is subtracted from the window
        before the map and added to the forecast after it. None: no such correspondence.
    """

    def __init__(
        self, weight: torch.Tensor, intercept: torch.Tensor, anchors: torch.Tensor | None = None
    ):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("intercept", intercept)
        self.register_buffer("anchors", anchors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map windows `(n, n_timesteps, n_channels)` to forecasts `(n, horizon, n_targets)`."""
        if self.weight.ndim == 2:
            history = joint_history(x, self.anchors)
            forecast = (history @ self.weight).unflatten(1, self.intercept.shape)
        elif len(self.weight) == 1:
            forecast = self.weight.mT @ own_history(x, self.anchors)
        else:
            forecast = torch.einsum("ntk,kth->nhk", own_history(x, self.anchors), self.weight)
        forecast = forecast + self.intercept
        return forecast if self.anchors is None else forecast + x[:, -1:, self.anchors]


def own_history(x: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Subtract the last value from the anchor channels, `(n, n_timesteps, n_targets)`."""
    own = x[..., anchors]
    return own - own[:, -1:]


def joint_history(x: torch.Tensor, anchors: torch.Tensor | None) -> torch.Tensor:
    """Flatten all channels, less their last value where there are anchors.

    The result is `(n, n_timesteps * n_channels)`.

    The last step, zero by then, gives its place to the last value itself, so that no information
    is lost: only the penalty of the regression changes.
    """
    if anchors is None:
        return x.flatten(1)
    last = x[:, -1:]
    return torch.cat([x[:, :-1] - last, last], dim=1).flatten(1)


def make_centres(n_classes: int, n_dims: int, spacing: float = 3.0) -> torch.Tensor:
    """Place the centres of a factor's classes, `(n_classes, n_dims)`.

    In one dimension they lie evenly on a line, otherwise on a closed curve whose coordinates are
    the harmonics cos(jθ), sin(jθ) of θ = 2πk / n_classes: a circle in two dimensions, and with
    n_classes - 1 dimensions the corners of a regular simplex.

    Parameters
    ----------
    n_classes, n_dims : int
    spacing : float, default=3.0
        Distance between nearest neighbours.
    """
    step = torch.arange(n_classes, dtype=torch.float64)
    if n_dims == 1:
        return (spacing * (step - step.mean())).unsqueeze(1).float()
    harmonic = torch.arange(n_dims) // 2 + 1
    angle = 2 * torch.pi / n_classes * step.unsqueeze(1) * harmonic
    centres = torch.where(torch.arange(n_dims) % 2 == 0, angle.cos(), angle.sin())
    if n_dims % 2:  # a cosine without its sine
        centres[:, -1] *= 0.5**0.5
    return (centres * (spacing / torch.pdist(centres).min())).float()
