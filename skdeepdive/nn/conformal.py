"""Conformal errors: errors of forecasts on validation windows, in units of a scale."""

from collections.abc import Sequence

import torch
from torch import nn

from .features import Window


class ConformalErrors(nn.Module):
    """Errors of the forecasts of validation windows, and the scale that they are divided by.

    The scale of a window's errors is a power of the deviation of the source channel within the
    window, times a multiplier for every class; logarithms of multipliers are averaged under the
    RBF responses. No distribution is assumed: the divided errors are kept, whole futures at a time,
    and with them the dependence between steps and targets.

    Parameters
    ----------
    future_shape : tuple of int
        Horizon and number of targets.
    class_counts : sequence of int
        Number of classes of every factor.
    n_errors : int, default=0
        Number of futures whose errors are kept.
    """

    exponent: torch.Tensor
    errors: torch.Tensor

    def __init__(self, future_shape: tuple[int, ...], class_counts, n_errors: int = 0):
        super().__init__()
        self.n_factors = len(class_counts)
        self.register_buffer("exponent", torch.zeros(future_shape[1]))
        for i, n_classes in enumerate(class_counts):
            self.register_buffer(f"log_factor_{i}", torch.zeros(n_classes, *future_shape))
        self.register_buffer("errors", torch.zeros(n_errors, *future_shape))

    @property
    def log_factors(self) -> list[torch.Tensor]:
        """Logarithms of the classes' multipliers, `(n_classes_i, horizon, n_targets)`."""
        return [getattr(self, f"log_factor_{i}") for i in range(self.n_factors)]

    def set_scale(self, exponent: torch.Tensor, log_factors: Sequence[torch.Tensor]) -> None:
        """Set the exponents `(n_targets,)` and the logarithms of the classes' multipliers."""
        self.exponent = exponent
        for i, log_factor in enumerate(log_factors):
            self.register_buffer(f"log_factor_{i}", log_factor)

    def set_errors(self, errors: torch.Tensor) -> None:
        """Set the divided errors, `(n_errors, horizon, n_targets)`."""
        self.errors = errors

    def scale(self, window: Window, source_channels, responses) -> torch.Tensor:
        """Scale of the errors, `(n, horizon, n_targets)`, given the responses to every class."""
        log_scale = self.exponent * self.source_log_scale(window, source_channels)
        for response, log_factor in zip(responses, self.log_factors, strict=True):
            log_scale = log_scale + torch.einsum("nk,kht->nht", response, log_factor)
        return log_scale.exp().expand(len(window), *self.errors.shape[1:])

    @staticmethod
    def source_log_scale(window: Window, source_channels) -> torch.Tensor:
        """Logarithm of the deviation of the source channel of every target, `(n, 1, n_targets)`.

        It is zero where no channel is known to correspond.
        """
        if source_channels is None:
            return window.scale.new_zeros(len(window), 1, 1)
        return window.scale[..., source_channels].log()
