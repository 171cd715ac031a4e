"""Processes that fit a model together, each its share of every batch (torch.distributed)."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """The processes of torch's default group as one of them sees them; alone by default."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Processes":
        """Return those of the group that was initialised, if one was."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this one speaks, and writes, for all."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return which of n rows are this one's."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def first(self, compute: Callable[[], Result]) -> Result:
        """Let the first process compute, and all have the result, or the error."""
        if self.size == 1:
            return compute()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = compute()
            except Exception as error:  # the others wait for it
                outcome[1] = _portable(error)
        distributed.broadcast_object_list(outcome, src=0)
        result, error = outcome
        if error is None:
            return result
        try:
            raise error
        finally:
            del outcome, error  # or they would live as long as the traceback, in a cycle

    def check_alike(self, facts: dict[str, Any]) -> None:
        """Raise where processes are about to fit different things.

        Raises
        ------
        ValueError
            In all processes, with the names of what differs.
        """
        if self.size == 1:
            return
        everyone: list[Any] = [None] * self.size
        distributed.all_gather_object(everyone, facts)
        for rank, found in enumerate(everyone):
            differing = [name for name in facts if found.get(name) != everyone[0].get(name)]
            if differing:
                raise ValueError(
                    "All processes of the group must fit the same, but process "
                    f"{rank} differs from process 0 in {', '.join(differing)}."
                )

    def add_up(
        self, values: list[torch.Tensor], in_place: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the sums of values over all processes; `in_place` is replaced by its sums.

        There is one exchange, and none where there is a single process.
        """
        if self.size == 1:
            return values
        tensors = [*values, *in_place]
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        sums = [total.view_as(tensor) for total, tensor in zip(sums, tensors, strict=True)]
        for tensor, total in zip(in_place, sums[len(values) :], strict=True):
            tensor.copy_(total)
        return sums[: len(values)]


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process, this one if it can."""
    try:
        pickle.dumps(error)
    except Exception:  # whatever pickling its parts may raise
        return RuntimeError(repr(error))
    return error
