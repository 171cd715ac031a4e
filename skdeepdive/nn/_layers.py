"""Blocks that know windows and linear maps, and nothing of variational autoencoders."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import pad

# Values that are computed at once: few enough for the cache (4 MB in single precision).
BLOCK_ENTRIES = 2**20
# Inputs of class maps that are formed at once (512 MB in double precision).
_GATED_ENTRIES = 2**26


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
    # Components of a single channel's shape, beside what all channels together can afford.
    _N_OWN_COMPONENTS = 48

    vectors: torch.Tensor

    def __init__(self, n_timesteps: int, n_channels: int, max_features: int = 2048):
        super().__init__()
        self.n_timesteps, self.n_channels = n_timesteps, n_channels
        self.n_components = min(n_timesteps, max(1, max_features // n_channels))
        self.n_features = n_channels * (self.n_components + 2)
        self.n_own = min(n_timesteps, self._N_OWN_COMPONENTS)
        self.compressed = self.n_components < n_timesteps
        n_vectors = max(self.n_components, self.n_own)
        self.register_buffer("vectors", start_at(_cosines, n_timesteps, n_vectors))

    @property
    def coordinate_shape(self) -> tuple[int, int]:
        """Shape of a decoded window: level and components where it is compressed, or its own."""
        return self.n_components + self.compressed, self.n_channels

    @property
    def basis(self) -> torch.Tensor:
        """The components that compress windows, `(n_timesteps, n_components)`."""
        return self.vectors[:, : self.n_components]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, "WindowParts"]:
        """Map windows `(n, n_timesteps, n_channels)` to features `(n, n_features)` and parts."""
        size = max(1, BLOCK_ENTRIES // (self.n_timesteps * self.n_channels))
        blocks = [self._of_block(block) for block in x.split(size)]
        features, *parts = (
            block[0] if len(block) == 1 else torch.cat(block) for block in zip(*blocks, strict=True)
        )
        return features, WindowParts(*parts)

    def _of_block(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shape, loc, scale = self.standardise(x)
        seen = self.vectors if self.compressed else self.vectors[:, : self.n_own]
        coefficients = project(shape, seen)
        if self.compressed:
            shape = coefficients[:, : self.n_components]
        features = [shape.flatten(1), loc.flatten(1), scale.log().flatten(1)]
        return torch.cat(features, dim=1), coefficients[:, : self.n_own], loc, scale

    def coordinates(self, features: torch.Tensor, window: "WindowParts") -> torch.Tensor:
        """Coordinates of windows given as features and parts, `(n, *coordinate_shape)`.

        They are time steps, or, where windows are compressed, level and coefficients in the basis.
        """
        shape = features[:, : self.n_components * self.n_channels]
        own = shape.unflatten(1, (self.n_components, self.n_channels)) * window.scale
        return torch.cat([window.loc, own], dim=1) if self.compressed else own + window.loc

    def squared_deviation(self, window: "WindowParts") -> torch.Tensor:
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


class WindowParts(NamedTuple):
    """What is kept of windows beside their features.

    `own` are the coefficients of every channel's shape in the leading vectors, `(n, n_own,
    n_channels)`; location and scale are `(n, 1, n_channels)`.
    """

    own: torch.Tensor
    loc: torch.Tensor
    scale: torch.Tensor

    def of_channels(self, channels) -> torch.Tensor:
        """Coefficients and log scale of some channels, `(n, n_own + 1, n_of_them)`.

        `channels` is an index of the last axis.
        The location is left out: a level that was never seen shall not matter.
        """
        return torch.cat([self.own, self.scale.log()], dim=1)[..., channels]


def start_at(make: Callable[[int, int], torch.Tensor], n_rows: int, n_columns: int) -> torch.Tensor:
    """Return `make(n_rows, n_columns)`, or its shape alone where tensors are made without values.

    That is on PyTorch's device "meta", for modules that saved ones replace. It computes there too,
    but needs a second to get ready.
    """
    blank = torch.empty(n_rows, n_columns)
    return blank if blank.is_meta else make(n_rows, n_columns)


def _cosines(n_timesteps: int, n_components: int) -> torch.Tensor:
    """Orthonormal cosines of increasing frequency, without the constant one."""
    time = (torch.arange(n_timesteps) + 0.5) / n_timesteps
    frequency = torch.arange(n_components) + 1
    return (torch.pi * time.unsqueeze(1) * frequency).cos() * (2 / n_timesteps) ** 0.5


def linear(n_in: int, n_out: int, *, bias: bool = True, start_at_zero: bool = False) -> nn.Linear:
    """Make a layer whose parameters are left to `initialise`: PyTorch's own draw is global."""
    layer = _Linear(n_in, n_out, bias=bias)
    layer.start_at_zero = start_at_zero
    return layer


class _Linear(nn.Linear):
    start_at_zero = False

    def reset_parameters(self) -> None:
        """Draw nothing."""


def mlp(n_in: int, n_hidden: int, n_out: int, *, start_at_zero: bool = False) -> nn.Sequential:
    """One hidden layer with GELU; `start_at_zero` makes the initial output zero."""
    output = linear(n_hidden, n_out, start_at_zero=start_at_zero)
    return nn.Sequential(linear(n_in, n_hidden), nn.GELU(), output)


class LinearForecast(nn.Module):
    """A fixed linear map from the window to its future, and what every class adds to it.

    Everything is fitted in closed form, by several regressions side by side: either a single one
    from all channels to all targets (joint), or one for each target from the channel it continues.

    Parameters
    ----------
    weight : tensor of shape (n_regressions, n_inputs, n_outputs)
        n_outputs is horizon * n_targets of a joint map, otherwise the horizon. A map that is not
        joint may have a single regression, which all targets share.
    intercept : tensor of shape (n_regressions, n_outputs)
    future_shape : tuple of int
        Horizon and number of targets.
    joint : bool
    anchors : tensor of shape (n_targets,), optional
        The channel that each target continues: its last value is subtracted from the window
        before the map and added to the forecast after it. None: no such correspondence.
    components : tensor of shape (n_inputs, n_components), optional
        Directions that the maps of the classes see of the inputs.
    """

    weight: torch.Tensor
    intercept: torch.Tensor
    anchors: torch.Tensor | None
    components: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor,
        intercept: torch.Tensor,
        future_shape: tuple[int, int],
        *,
        joint: bool,
        anchors: torch.Tensor | None = None,
        components: torch.Tensor | None = None,
    ):
        super().__init__()
        self.joint, self.future_shape = joint, tuple(future_shape)
        self.register_buffer("weight", weight)
        self.register_buffer("intercept", intercept)
        self.register_buffer("anchors", anchors)
        self.register_buffer("components", components)
        self.n_class_maps = 0

    @classmethod
    def blank(
        cls,
        window_shape: tuple[int, int],
        future_shape: tuple[int, int],
        class_counts,
        *,
        joint: bool,
        shared: bool,
        anchored: bool,
        n_components: int,
        class_maps,
    ) -> "LinearForecast":
        """Make a forecast whose tensors hold no values yet.

        `class_counts` are the numbers of classes of the factors; for the rest see `configuration`.
        """
        if not (joint or anchored):
            raise ValueError("maps that are not joint need anchors")
        if len(class_maps) > len(class_counts) or (any(class_maps) and not n_components):
            raise ValueError("class maps need a factor each, and components")
        (n_timesteps, n_channels), (horizon, n_targets) = window_shape, future_shape
        n_regressions = 1 if joint or shared else n_targets
        n_inputs = n_timesteps * n_channels if joint else n_timesteps
        n_outputs = horizon * n_targets if joint else horizon
        forecast = cls(
            torch.empty(n_regressions, n_inputs, n_outputs),
            torch.empty(n_regressions, n_outputs),
            future_shape,
            joint=joint,
            anchors=torch.empty(n_targets, dtype=torch.int64) if anchored else None,
            components=torch.empty(n_inputs, n_components) if n_components else None,
        )
        for n_classes, present in zip(class_counts, class_maps, strict=False):
            shape = n_regressions, n_classes, n_components + 1, n_outputs
            forecast.add_class_maps(torch.empty(shape) if present else None)
        return forecast

    @property
    def configuration(self) -> dict:
        """What `blank` is told beside shapes: flags, and for every factor whether it has maps."""
        return {
            "joint": self.joint,
            "shared": len(self.weight) == 1,
            "anchored": self.anchors is not None,
            "n_components": 0 if self.components is None else self.components.shape[1],
            "class_maps": [maps is not None for maps in self.class_maps],
        }

    def add_class_maps(self, weight: torch.Tensor | None) -> None:
        """Add the next factor's maps, `(n_regressions, n_classes, n_components + 1, n_outputs)`.

        None where its classes add nothing.
        """
        weight = None if weight is None else weight.contiguous()  # it is flattened at every use
        self.register_buffer(f"class_maps_{self.n_class_maps}", weight)
        self.n_class_maps += 1

    def set_class_maps(self, i: int, classes: slice, weight: torch.Tensor, n_classes: int) -> None:
        """Set the maps of some of the `n_classes` of factor i; the others add nothing at first."""
        if self.class_maps[i] is None:
            n_regressions, _, *shape = weight.shape
            maps = weight.new_zeros(n_regressions, n_classes, *shape)
            self.register_buffer(f"class_maps_{i}", maps)
        self.class_maps[i][:, classes] = weight  # type: ignore[index]  # there are some now

    @property
    def class_maps(self) -> list[torch.Tensor | None]:
        """Maps of every factor so far."""
        return [getattr(self, f"class_maps_{i}") for i in range(self.n_class_maps)]

    def forward(self, x: torch.Tensor, responses=()) -> torch.Tensor:
        """Map windows `(n, n_timesteps, n_channels)` to forecasts `(n, horizon, n_targets)`.

        `responses` holds the weights of the classes, `(n, n_classes_i)` for each factor.
        """
        return self.add_classes(*self.without_classes(x), responses)

    def without_classes(
        self, x: torch.Tensor, *, seeing: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast windows as if their classes added nothing; return what these see as well.

        That is `(n, n_inputs_of_maps, 1 or n_targets)`, of no length where there are no maps,
        unless it is asked for.
        """
        seeing = seeing or any(maps is not None for maps in self.class_maps)
        if not self.joint and len(self.weight) == 1:
            return self._by_shared_map(x, seeing)
        inputs = regression_inputs(x, self.anchors, self.joint)
        forecast = self._arrange(inputs @ self.weight + self.intercept.unsqueeze(1))
        if self.anchors is not None:
            forecast = forecast + x[:, -1:, self.anchors]
        if not seeing:
            return forecast, inputs[..., :0].movedim(0, 2)
        return forecast, self._with_constant((inputs @ self.components).movedim(0, 2))  # type: ignore[operator]

    def _by_shared_map(self, x: torch.Tensor, seeing: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast all targets by one map, without bringing windows into the order of targets."""
        own = x[..., all_or_some(self.anchors, x.shape[2])]  # type: ignore[arg-type]
        last = own[:, -1:]
        own = own - last
        maps = torch.cat([self.weight[0], self.components], dim=1) if seeing else self.weight[0]  # type: ignore[list-item]
        forecast, seen = project(own, maps).tensor_split([self.weight.shape[2]], dim=1)
        forecast = forecast + self.intercept[0].unsqueeze(1) + last
        return forecast, self._with_constant(seen) if seeing else seen

    def _with_constant(self, seen: torch.Tensor) -> torch.Tensor:
        """Append to `(n, n_components, r)` a constant: so large that a penalty hardly matters."""
        # Whoever adds class maps has given components.
        return pad(seen, (0, 0, 0, 1), value=len(self.components) ** 0.5)  # type: ignore[arg-type]

    def add_classes(self, forecast: torch.Tensor, seen: torch.Tensor, responses) -> torch.Tensor:
        """Add to forecasts what the classes have to add, given what they see."""
        for response, maps in zip(responses, self.class_maps, strict=False):
            if maps is not None:
                added = apply_class_maps(seen.movedim(2, 0), response, maps)[0]
                forecast = forecast + self._arrange(added)
        return forecast

    def _arrange(self, outputs: torch.Tensor) -> torch.Tensor:
        """Arrange outputs `(n_regressions, n, n_outputs)` as `(n, horizon, n_targets)`."""
        return outputs[0].unflatten(1, self.future_shape) if self.joint else outputs.movedim(0, 2)


class HeldOut(NamedTuple):
    """Training windows, as linear forecasts see them that were fitted without their fold.

    `folds` `(n,)` says which; `forecast` and `seen` are what `LinearForecast.without_classes`
    returns, or None where they are to be computed anew.
    """

    folds: torch.Tensor
    forecast: torch.Tensor | None = None
    seen: torch.Tensor | None = None

    def of(self, rows: torch.Tensor) -> "HeldOut":
        """Return those of some rows, given as their numbers."""
        return HeldOut(
            *(None if part is None else part.index_select(0, rows) for part in self)  # type: ignore[arg-type]
        )


def apply_class_maps(inputs: torch.Tensor, response: torch.Tensor, *maps: torch.Tensor) -> list:
    """Map inputs `(r, n, n_inputs)` to the mean of what all classes make of them, for some maps.

    The mean is under the responses `(n, n_classes)`; maps are those of a `LinearForecast`.
    """
    if len(inputs) > len(maps[0]):
        return [_apply_to_all_targets(inputs, response, weight[0]) for weight in maps]
    outputs: list = [0.0 for _ in maps]
    for classes, gated in gate(inputs, response):
        outputs = [
            total + gated @ weight[:, classes].flatten(1, 2)
            for total, weight in zip(outputs, maps, strict=True)
        ]
    return outputs


def _apply_to_all_targets(inputs, response, weight) -> torch.Tensor:
    """Map the inputs of all targets by the same maps, of which every window has a mean of its own.

    `weight` is `(n_classes, n_inputs, n_outputs)`.
    """
    size = max(1, BLOCK_ENTRIES // weight[0].numel())
    parts = []
    for own, some in zip(inputs.split(size, dim=1), response.split(size), strict=True):
        mean = (some @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        parts.append(own.movedim(0, 1) @ mean)
    return torch.cat(parts).movedim(1, 0)


def all_or_some(channels: torch.Tensor, n_channels: int):
    """Return an index of channels that makes no copy where they are all there are, in order."""
    every = torch.arange(n_channels, device=channels.device)
    return slice(None) if torch.equal(channels, every) else channels


def gate(inputs: torch.Tensor, response: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Repeat inputs `(r, n, n_inputs)` once a class, weighed by its response `(n, n_classes)`.

    Yield classes, as many as memory has room for, and their inputs `(r, n, classes * n_inputs)`.
    """
    size = max(1, _GATED_ENTRIES // max(1, inputs.numel()))
    for first in range(0, response.shape[1], size):
        classes = slice(first, first + size)
        yield classes, (response[:, classes].unsqueeze(2) * inputs.unsqueeze(2)).flatten(2)


def regression_inputs(x: torch.Tensor, anchors: torch.Tensor | None, joint: bool) -> torch.Tensor:
    """Return every regression's inputs: all channels (joint), or the one its target continues.

    The last value is subtracted where there are anchors. In joint inputs the last step, zero by
    then, gives its place to the last value itself, so that no information is lost: only the
    penalty of the regression changes. The result is `(1 or n_targets, n, n_inputs)`.
    """
    if not joint:
        own = x.movedim(2, 0)[anchors]  # a copy, in the order that products need
        own -= own[..., -1:].clone()
        return own
    if anchors is not None:
        last = x[:, -1:]
        x = torch.cat([x[:, :-1] - last, last], dim=1)
    return x.flatten(1)[None]


def regression_outputs(y: torch.Tensor, joint: bool) -> torch.Tensor:
    """Arrange futures `(n, horizon, n_targets)` as `(1 or n_targets, n, n_outputs)`."""
    return y.flatten(1)[None] if joint else y.movedim(2, 0)


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
