"""What the training loop asks of a module."""

from typing import Any, Protocol

import numpy as np
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
        self, batch: Batch, draws: Draws, *, out_of_fold: Any = None, dropout: bool = False
    ) -> Terms:
        """Return the terms of the objective for a batch.

        Training windows come with their `out_of_fold` forecasts and with `dropout`.
        """

    def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Split the parameters into groups, by the names that the rates of a phase have.

        A phase trains the groups that it has a rate for.
        """

    def forecast_parts(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linear forecast and its correction, `(n, horizon, n_targets)` each."""

    def calibrate(self, shrinkage: torch.Tensor, scale: torch.Tensor) -> None:
        """Shrink the correction of every target, and set the scale of the likelihood."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by name."""

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> Any:
        """Set parameters and buffers."""


class DeepDIVEModule(Module, Protocol):
    """A module with labels and a correction, which have phases of their own."""

    @property
    def has_marginal(self) -> bool:
        """Whether there are marginal dimensions."""

    @property
    def class_counts(self) -> list[int]:
        """Number of classes of every factor."""

    @property
    def n_classes(self) -> int:
        """Number of classes of all factors."""

    @property
    def features(self) -> Any:
        """Map windows to what the encoders take."""

    @property
    def forecast_decoder(self) -> Any:
        """The decoder of futures, whose `restart` sets the correction to zero."""

    def infer_marginal(self, window: Any, draws: Draws | None = None) -> Any:
        """Encode the marginal dimensions alone."""

    def marginal_terms(
        self, latents: Any, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the KL of b and the cross-entropy of the labels, `(n,)` each."""

    def means_for_forecast(self, batch: Batch) -> torch.Tensor:
        """Return what forecasts take of the latent variables at their means, `(n, n_values)`."""

    def forecast_at_means(
        self, batch: Batch, *, out_of_fold: Any = None, dropout_draws: Draws | None = None
    ) -> torch.Tensor:
        """Return forecasts whose gradient reaches the correction alone."""


class OutOfFold(Protocol):
    """Linear forecasts of training windows by maps fitted without the window's own fold."""

    def rows(self, rows: torch.Tensor) -> Any:
        """Return the forecasts of some of the windows, as the module's loss takes them."""

    def completed_by(self, responses: np.ndarray, class_counts: list[int]) -> Any:
        """Return forecasts that have what the classes add, by responses `(n, n_classes)`."""
