"""What the training loop asks of a module."""

from typing import Any, Protocol

import torch

from .._data.batches import Batch
from .._data.draws import Draws


class Terms(Protocol):
    """Terms of an objective, of shape (n,) each, in nats."""

    def objective(self, kl_weight: float = 1.0) -> torch.Tensor:
        """Return what training lowers, `(n,)`, with the KL weighed."""

    def means(self) -> dict[str, torch.Tensor]:
        """Return the mean of every term over the windows, detached."""


class Module(Protocol):
    """A module that can be trained: losses, groups of parameters, and a forecast to calibrate."""

    def loss(
        self, batch: Batch, draws: Draws, *, linear: Any = None, dropout: bool = False
    ) -> Terms:
        """Return the terms of the objective for a batch.

        Training windows come with `linear`, their out-of-fold forecasts, and with `dropout`.
        """

    def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Split the parameters into groups that have learning rates of their own."""

    def forecast_parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linear forecast and its correction, `(n, horizon, n_targets)` each."""

    def calibrate(self, shrinkage: torch.Tensor, scale: torch.Tensor) -> None:
        """Shrink the correction of every target, and set the scale of the likelihood."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by name."""

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> Any:
        """Set parameters and buffers."""


class OutOfFold(Protocol):
    """Linear forecasts of training windows by maps fitted without the window's own fold."""

    def rows(self, rows: torch.Tensor) -> Any:
        """Return the forecasts of some of the windows, as the module's loss takes them."""
