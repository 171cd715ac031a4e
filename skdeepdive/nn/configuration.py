"""Declare the options of every module with their types, which saved files are checked against."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

C = TypeVar("C", bound="Configuration")

Size = Annotated[int, range(1, 2**31)]
Count = Annotated[int, range(2**31)]
Shape = tuple[Size, Size]


@dataclass(frozen=True)
class Configuration:
    """The options that, with the parameters and buffers, make up a module.

    Each option is a field of a subclass. Its type is bool, float, `Size`, `Count`, another
    configuration, or a list or tuple of these.
    """

    @classmethod
    def of(cls: type[C], module: Any, **options: Any) -> C:
        """Describe a module by the given options; all others are its attributes of their names."""
        names = {field.name for field in fields(cls)} - options.keys()
        return cls(**options, **{name: getattr(module, name) for name in names})

    def without(self, *names: str) -> dict[str, Any]:
        """Return all options but those named."""
        return {name: value for name, value in vars(self).items() if name not in names}


@dataclass(frozen=True)
class CovariateEffectConfiguration(Configuration):
    """Options of :class:`CovariateEffect`."""

    n_covariates: Size
    n_hinges: Size
    n_scores: Size
    n_summary: Size


@dataclass(frozen=True)
class LinearForecastConfiguration(Configuration):
    """Options of :class:`LinearForecast`.

    `shared`: all targets share a single regression. `anchored`: there are source channels.
    `class_maps`: which factors have maps. `effect`: that of the covariates; empty without them.
    """

    joint: bool
    shared: bool
    anchored: bool
    n_components: Count
    class_maps: list[bool]
    effect: list[CovariateEffectConfiguration]


@dataclass(frozen=True)
class DeepDIVEConfiguration(Configuration):
    """Options of :class:`DeepDIVE`; `class_counts` are the numbers of classes of the factors.

    `n_pooled_components`: 0 where there are no pooled features.
    """

    window_shape: Shape
    future_shape: Shape
    n_covariates: Count
    class_counts: list[Size]
    n_marginal: Count
    n_conditional: Count
    n_hidden: Size
    interleave: bool
    n_errors: Count
    n_pooled_components: Count
    linear: LinearForecastConfiguration


@dataclass(frozen=True)
class VAEConfiguration(Configuration):
    """Options of :class:`VAE`."""

    window_shape: Shape
    future_shape: Shape
    n_covariates: Count
    n_latent: Size
    n_hidden: Size


@dataclass(frozen=True)
class BetaTCVAEConfiguration(VAEConfiguration):
    """Options of :class:`BetaTCVAE`."""

    beta: float
    n_windows: Size
