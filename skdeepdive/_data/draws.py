"""Random numbers from generators of their own: torch's global one stays untouched."""

from dataclasses import dataclass

import torch


def make_generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a generator with a seed."""
    return torch.Generator(device=device).manual_seed(seed)


@dataclass(frozen=True)
class Draws:
    """Random numbers for the rows of a batch.

    Parameters
    ----------
    generator : torch.Generator
        Of any device; numbers go to that of the tensor that is drawn for.
    n_rows : int or None, default=None
        Number of rows to draw for. None: as many as the tensor has that is drawn for. 1: all rows
        get the same numbers.
    rows : slice or None, default=None
        Which of them are returned: of a batch that several processes share, a process's own. None:
        all.
    """

    generator: torch.Generator
    n_rows: int | None = None
    rows: slice | None = None

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw from the standard normal distribution in the shape of a tensor."""
        return self._own(self._empty(like).normal_(generator=self.generator), like)

    def coins(self, like: torch.Tensor) -> torch.Tensor:
        """Draw 0 or 1, each half of the time, in the shape of a tensor."""
        return self._own(self._empty(like).random_(0, 2, generator=self.generator), like)

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        n = len(like) if self.n_rows is None else self.n_rows
        return like.new_empty(n, *like.shape[1:], device=self.generator.device)

    def _own(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        own = values if self.rows is None else values[self.rows]
        return own.to(like.device)
