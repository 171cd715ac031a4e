"""Layers whose parameters are drawn from a given generator."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import nn

# Values that are computed at once: few enough for the cache (4 MB in single precision).
BLOCK_ENTRIES = 2**20


def initial_values(
    make: Callable[[int, int], torch.Tensor], n_rows: int, n_columns: int
) -> torch.Tensor:
    """Return `make(n_rows, n_columns)`, or its shape alone where tensors are made without values.

    That is on PyTorch's device "meta", for modules that are to hold saved values. Computing there
    would work, but takes a second to set up.
    """
    blank = torch.empty(n_rows, n_columns)
    return blank if blank.is_meta else make(n_rows, n_columns)


class Linear(nn.Linear):
    """A linear layer whose parameters are left to `initialise`: PyTorch's own draw is global."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True, start_at_zero: bool = False):
        super().__init__(n_in, n_out, bias=bias)
        self.start_at_zero = start_at_zero

    def reset_parameters(self) -> None:
        """Draw nothing."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights uniformly, or set them to zero; biases start at zero."""
        bound = 0.0 if self.start_at_zero else self.in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


@runtime_checkable
class Initialised(Protocol):
    """A layer with parameters of its own, which it draws."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the parameters."""


def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the parameters of all layers; without a generator they hold no values yet."""
    if generator is None:
        return
    for layer in module.modules():
        if isinstance(layer, Initialised):
            layer.initialise(generator)


def mlp(n_in: int, n_hidden: int, n_out: int, *, start_at_zero: bool = False) -> nn.Sequential:
    """One hidden layer with GELU; `start_at_zero` makes the initial output zero."""
    output = Linear(n_hidden, n_out, start_at_zero=start_at_zero)
    return nn.Sequential(Linear(n_in, n_hidden), nn.GELU(), output)
