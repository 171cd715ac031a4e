"""Early stopping of a phase, its best weights, and smaller steps after divergence."""

import math

import torch

from .module import Module

# A run that diverges goes on from its last good epoch in steps of a tenth, this many times.
_SMALLER_STEP = 0.1
_MOST_ROLLBACKS = 3


class Monitor:
    """Watches the validation loss of a phase, and counts how often the run has diverged.

    Parameters
    ----------
    module : Module
    patience : int or None
        Epochs without a better validation loss before the phase is over; None: it never is.
    n_rollbacks : int, default=0
        How often the run has diverged before.
    """

    def __init__(self, module: Module, patience: int | None, n_rollbacks: int = 0):
        self.module, self.patience, self.n_rollbacks = module, patience, n_rollbacks
        self.loss, self.n_epochs_since = math.inf, 0
        self.weights = copies(module.state_dict())

    @property
    def is_over(self) -> bool:
        """Whether the phase has gone on for too long without a better loss."""
        return self.patience is not None and self.n_epochs_since >= self.patience

    @property
    def step(self) -> float:
        """Length of gradient steps, relative to that of a run which has never diverged."""
        return _SMALLER_STEP**self.n_rollbacks

    def update(self, loss: float) -> None:
        """Take the validation loss before the first epoch, or after one more."""
        self.n_epochs_since += 1
        if loss < self.loss:
            self.weights = copies(self.module.state_dict())
            self.loss, self.n_epochs_since = loss, 0

    def restore(self) -> None:
        """Give the module its best weights back."""
        self.module.load_state_dict(self.weights)

    def resume(
        self,
        weights: dict[str, torch.Tensor],
        loss: float,
        n_epochs_since: int,
        n_rollbacks: int,
    ) -> None:
        """Go on from the best weights and their loss, some epochs and rollbacks later."""
        self.weights, self.loss = weights, loss
        self.n_epochs_since, self.n_rollbacks = n_epochs_since, n_rollbacks

    def roll_back(self, problem: str) -> None:
        """Make the steps smaller, or raise where they were made smaller too often.

        Raises
        ------
        FloatingPointError
            With the problem, and what to do.
        """
        if self.n_rollbacks == _MOST_ROLLBACKS:
            raise FloatingPointError(f"{problem} Larger ones had failed as well. {ADVICE}")
        self.n_rollbacks += 1


ADVICE = "Lower 'learning_rate', or look for extreme values in 'X' and 'y'."


def copies(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    """Copy tensors, under their names with a prefix."""
    return {prefix + name: tensor.clone() for name, tensor in tensors.items()}
