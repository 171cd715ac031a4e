"""Layers whose parameters are drawn from a given generator."""

from collections.abc import Callable

import torch
from torch import nn

# Values that are computed at once: few enough for the cache (4 MB in single precision).
BLOCK_ENTRIES = 2**20


def start_at(make: Callable[[int, int], torch.Tensor], n_rows: int, n_columns: int) -> torch.Tensor:
    """Return `make(n_rows, n_columns)`, or its shape alone where tensors are made without values.

    That is on PyTorch's device "meta", for modules that saved ones replace. It computes there too,
    but needs a second to get ready.
    """
    blank = torch.empty(n_rows, n_columns)
    return blank if blank.is_meta else make(n_rows, n_columns)


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
