"""Random numbers from given generators: latent variables, dropout, initial parameters."""

from collections.abc import Callable

import torch
from torch import nn
from torch.distributions import Normal

from .fusion import CrossAttentionFusion


def draw(q: Normal, generator: torch.Generator | Callable | None) -> torch.Tensor:
    """Draw from q, or take its mean without a generator."""
    if generator is None:
        return q.loc
    return q.loc + q.scale * random_like(q.loc, generator, "normal_")


def random_like(like: torch.Tensor, generator: torch.Generator | Callable, fill: str):
    """Return random numbers in the shape of a tensor, by one of torch's methods that fill one.

    In place of a generator there may be a function of the tensor and of the method's name.
    """
    if callable(generator):
        return generator(like, fill)
    return getattr(torch.empty_like(like), fill)(generator=generator)


def shared_noise(generator: torch.Generator) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """Return a source of noise that is the same for every window `(n, n_dims)`."""
    return lambda like, fill: random_like(like[:1], generator, fill)


def drop_half(values: torch.Tensor, generator: torch.Generator | Callable) -> torch.Tensor:
    """Dropout at rate 1/2 that draws from `generator`; torch's own draws from the global one."""
    return 2.0 * random_like(values, generator, "bernoulli_") * values


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the initial parameters of every layer from `generator`."""
    for layer in module.modules():
        if isinstance(layer, CrossAttentionFusion):
            layer.initialise(generator)
        elif isinstance(layer, nn.Linear):
            bound = 0.0 if getattr(layer, "start_at_zero", False) else layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
