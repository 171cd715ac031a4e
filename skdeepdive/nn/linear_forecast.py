"""The linear forecast: a map from the window, maps of the classes, the effect of covariates."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import pad

from .configuration import LinearForecastConfiguration
from .covariates import CovariateEffect
from .features import project
from .mixing import apply_class_maps


class LinearForecast(nn.Module):
    """A fixed linear map from the window to its future, and what classes and covariates add to it.

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
    source_channels : tensor of shape (n_targets,), optional
        The channel that each target continues: its last value is subtracted from the window
        before the map and added to the forecast after it. None: no such correspondence.
    components : tensor of shape (n_inputs, n_components), optional
        Principal components of the inputs; the scores on them are the inputs of class maps.
    class_maps : sequence of tensors, default=()
        What the classes of each factor add, `(n_regressions, n_classes, n_components + 1,
        n_outputs)`; None for a factor whose classes add nothing. Empty where no factor has maps.
        After those of all factors come what their labels add further where they are known.
    varies : tensor of shape (n_targets,), optional
        With a map that all targets share: 0 for those that never left their last value in training,
        which get no constant of it, 1 for the others. None: all get it.
    effect : CovariateEffect, optional
        What covariates of the horizon add, given the scores.
    """

    weight: torch.Tensor
    intercept: torch.Tensor
    source_channels: torch.Tensor | None
    components: torch.Tensor | None
    varies: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor,
        intercept: torch.Tensor,
        future_shape: tuple[int, int],
        *,
        joint: bool,
        source_channels: torch.Tensor | None = None,
        components: torch.Tensor | None = None,
        class_maps: Sequence[torch.Tensor | None] = (),
        varies: torch.Tensor | None = None,
        effect: CovariateEffect | None = None,
    ):
        super().__init__()
        horizon, n_targets = future_shape
        self.joint, self.future_shape = joint, (horizon, n_targets)
        self.register_buffer("weight", weight)
        self.register_buffer("intercept", intercept)
        self.register_buffer("source_channels", source_channels)
        self.register_buffer("components", components)
        if varies is None and not joint and len(weight) == 1:
            varies = weight.new_ones(n_targets)
        self.register_buffer("varies", varies)
        self.n_class_maps = len(class_maps)
        for i, maps in enumerate(class_maps):
            self.register_buffer(f"class_maps_{i}", maps)
        self.effect = effect

    @classmethod
    def blank(
        cls,
        window_shape: tuple[int, int],
        future_shape: tuple[int, int],
        class_counts: list[int],
        configuration: LinearForecastConfiguration,
    ) -> "LinearForecast":
        """Make a forecast, for factors of so many classes, whose tensors hold no values yet."""
        joint, anchored = configuration.joint, configuration.anchored
        n_components, class_maps = configuration.n_components, configuration.class_maps
        if not (joint or anchored):
            raise ValueError("maps that are not joint need source channels")
        counts = [*class_counts, *class_counts]
        if len(class_maps) > len(counts) or (any(class_maps) and not n_components):
            raise ValueError("class maps need a factor each, and components")
        (n_timesteps, n_channels), (horizon, n_targets) = window_shape, future_shape
        n_regressions = 1 if joint or configuration.shared else n_targets
        n_inputs = n_timesteps * n_channels if joint else n_timesteps
        n_outputs = horizon * n_targets if joint else horizon
        maps = [
            torch.empty(n_regressions, n_classes, n_components + 1, n_outputs) if present else None
            for n_classes, present in zip(counts, class_maps, strict=False)
        ]
        return cls(
            torch.empty(n_regressions, n_inputs, n_outputs),
            torch.empty(n_regressions, n_outputs),
            future_shape,
            joint=joint,
            source_channels=torch.empty(n_targets, dtype=torch.int64) if anchored else None,
            components=torch.empty(n_inputs, n_components) if n_components else None,
            class_maps=maps,
            effect=cls._blank_effect(future_shape, n_regressions, n_targets, configuration),
        )

    @staticmethod
    def _blank_effect(
        future_shape: tuple[int, int],
        n_regressions: int,
        n_targets: int,
        configuration: LinearForecastConfiguration,
    ) -> CovariateEffect | None:
        if not configuration.effect:
            return None
        effect = configuration.effect[0]
        n_series = n_regressions if configuration.joint else n_targets
        if (
            len(configuration.effect) > 1
            or effect.n_scores != n_series * configuration.n_components
        ):
            raise ValueError("there is one effect of covariates at most, of the scores there are")
        return CovariateEffect.blank(future_shape, effect)

    @property
    def configuration(self) -> LinearForecastConfiguration:
        """The options that, with shapes and numbers of classes, decide which tensors there are."""
        return LinearForecastConfiguration.of(
            self,
            shared=len(self.weight) == 1,
            anchored=self.source_channels is not None,
            n_components=0 if self.components is None else self.components.shape[1],
            class_maps=[maps is not None for maps in self.class_maps],
            effect=[] if self.effect is None else [self.effect.configuration],
        )

    def with_class_maps(self, class_maps: Sequence[torch.Tensor | None]) -> "LinearForecast":
        """Return the same forecast, to which the classes add other maps."""
        return self._replaced(class_maps=class_maps)

    def with_effect(self, effect: CovariateEffect) -> "LinearForecast":
        """Return the same forecast, to which covariates add another effect."""
        return self._replaced(effect=effect)

    def _replaced(self, **changes) -> "LinearForecast":
        names = ("joint", "source_channels", "components", "class_maps", "varies", "effect")
        options = {name: getattr(self, name) for name in names} | changes
        return LinearForecast(self.weight, self.intercept, self.future_shape, **options)

    def set_class_maps(self, i: int, classes: slice, weight: torch.Tensor, n_classes: int) -> None:
        """Set the maps of some of the `n_classes` of factor i; the others add nothing at first."""
        if self.class_maps[i] is None:
            n_regressions, _, *shape = weight.shape
            maps = weight.new_zeros(n_regressions, n_classes, *shape)
            self.register_buffer(f"class_maps_{i}", maps)
        self.class_maps[i][:, classes] = weight  # type: ignore[index]  # there are some now

    @property
    def has_class_maps(self) -> bool:
        """Whether the classes of any factor add to the forecast."""
        return any(maps is not None for maps in self.class_maps)

    @property
    def class_maps(self) -> list[torch.Tensor | None]:
        """Maps of every factor so far."""
        return [getattr(self, f"class_maps_{i}") for i in range(self.n_class_maps)]

    def forward(
        self, x: torch.Tensor, weights=(), covariates: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map windows `(n, n_timesteps, n_channels)` to forecasts `(n, horizon, n_targets)`.

        `weights` are those of the class maps, `(n, n_classes_i)` each: responses of every factor,
        and 1 for the labels that are known. `covariates` are those of the horizon, `(n, horizon,
        n_covariates)`; None: they are not known.
        """
        return self.add_classes(*self.without_classes(x, covariates), weights)

    def without_classes(
        self, x: torch.Tensor, covariates: torch.Tensor | None = None, *, with_scores: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast windows as if their classes added nothing; return the scores as well.

        Scores, the inputs of class maps, are `(n, n_inputs_of_maps, 1 or n_targets)`; they have no
        length where there are no class maps, unless `with_scores` asks for them.
        """
        with_scores = with_scores or self.has_class_maps
        if self.effect is None or covariates is None:
            return self._from_window(x, with_scores)
        forecast, scores = self._from_window(x, with_scores=True)
        effect = self.effect(covariates, scores[:, :-1].flatten(1), self.levels(x))
        return forecast + effect, scores if with_scores else scores[:, :0]

    def levels(self, x: torch.Tensor) -> torch.Tensor:
        """Last values of the source channels, `(n, n_targets)`; zero where there are none."""
        if self.source_channels is None:
            return x.new_zeros(len(x), self.future_shape[1])
        return x[:, -1, self.source_channels]

    def _from_window(self, x: torch.Tensor, with_scores: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.joint and len(self.weight) == 1:
            return self._by_shared_map(x, with_scores)
        inputs = regression_inputs(x, self.source_channels, self.joint)
        forecast = self._arrange(inputs @ self.weight + self.intercept.unsqueeze(1))
        if self.source_channels is not None:
            forecast = forecast + x[:, -1:, self.source_channels]
        if not with_scores:
            return forecast, inputs[..., :0].movedim(0, 2)
        return forecast, self._with_constant((inputs @ self.components).movedim(0, 2))  # type: ignore[operator]

    def _by_shared_map(
        self, x: torch.Tensor, with_scores: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forecast all targets by one map, without bringing windows into the order of targets."""
        own = x[..., all_or_some(self.source_channels, x.shape[2])]  # type: ignore[arg-type]
        last = own[:, -1:]
        own = own - last
        maps = self.weight[0]
        if with_scores:
            maps = torch.cat([maps, self.components], dim=1)  # type: ignore[list-item]
        forecast, scores = project(own, maps).tensor_split([self.weight.shape[2]], dim=1)
        constant = self.intercept[0].unsqueeze(1) * self.varies  # type: ignore[operator]
        forecast = forecast + constant + last
        return forecast, self._with_constant(scores) if with_scores else scores

    def _with_constant(self, scores: torch.Tensor) -> torch.Tensor:
        """Append to `(n, n_components, r)` a constant: so large that a penalty hardly matters."""
        # Whoever adds class maps has given components.
        scores = pad(scores, (0, 0, 0, 1), value=len(self.components) ** 0.5)  # type: ignore[arg-type]
        if self.varies is not None:
            scores[:, -1] *= self.varies
        return scores

    def add_classes(self, forecast: torch.Tensor, scores: torch.Tensor, weights) -> torch.Tensor:
        """Add to forecasts what the class maps make of the scores, under weights of the classes."""
        for weight, maps in zip(weights, self.class_maps, strict=False):
            if maps is not None:
                added = apply_class_maps(scores.movedim(2, 0), weight, maps)[0]
                forecast = forecast + self._arrange(added)
        return forecast

    def _arrange(self, outputs: torch.Tensor) -> torch.Tensor:
        """Arrange outputs `(n_regressions, n, n_outputs)` as `(n, horizon, n_targets)`."""
        return outputs[0].unflatten(1, self.future_shape) if self.joint else outputs.movedim(0, 2)


def all_or_some(channels: torch.Tensor, n_channels: int):
    """Return an index of channels that makes no copy where they are all there are, in order."""
    every = torch.arange(n_channels, device=channels.device)
    return slice(None) if torch.equal(channels, every) else channels


def regression_inputs(
    x: torch.Tensor, source_channels: torch.Tensor | None, joint: bool
) -> torch.Tensor:
    """Return every regression's inputs: all channels (joint), or the one its target continues.

    The last value is subtracted where there are source channels. In joint inputs the last step,
    zero by then, gives its place to the last value itself, so that no information is lost: only the
    penalty of the regression changes. The result is `(1 or n_targets, n, n_inputs)`.
    """
    if not joint:
        own = x.movedim(2, 0)[source_channels]  # a copy, in the order that products need
        own -= own[..., -1:].clone()
        return own
    if source_channels is not None:
        last = x[:, -1:]
        x = torch.cat([x[:, :-1] - last, last], dim=1)
    return x.flatten(1)[None]


def count_levels(
    window_shape: tuple[int, int], source_channels: torch.Tensor | None, joint: bool
) -> int:
    """Count the regression's last inputs that are last values beside differences from these."""
    n_timesteps, n_channels = window_shape
    return n_channels if joint and source_channels is not None and n_timesteps > 1 else 0


def regression_outputs(y: torch.Tensor, joint: bool) -> torch.Tensor:
    """Arrange futures `(n, horizon, n_targets)` as `(1 or n_targets, n, n_outputs)`."""
    return y.flatten(1)[None] if joint else y.movedim(2, 0)
