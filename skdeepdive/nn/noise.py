"""How futures spread about their forecasts, as held-out windows have it."""

import torch
from torch import nn

from .features import WindowParts


class ForecastNoise(nn.Module):
    """Scale of the errors of every forecast, and the errors seen, in units of it.

    The scale of a window's errors is a power of the deviation within the window (of the channel
    that a target continues), times a factor of every class, weighed by its RBF response. What it
    leaves over is not assumed to be normal: it is kept as it was on held-out windows, whole futures
    at a time, with all that their steps and targets have in common.

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
        """Logarithms of the classes' factors, `(n_classes_i, horizon, n_targets)`."""
        return [getattr(self, f"log_factor_{i}") for i in range(self.n_factors)]

    def scale(self, window: WindowParts, anchors, responses) -> torch.Tensor:
        """Scale of the errors, `(n, horizon, n_targets)`, given the responses to every class."""
        log_scale = self.exponent * own_log_scale(window, anchors)
        for response, log_factor in zip(responses, self.log_factors, strict=True):
            log_scale = log_scale + torch.einsum("nk,kht->nht", response, log_factor)
        return log_scale.exp().expand(len(window.loc), *self.errors.shape[1:])


def own_log_scale(window: WindowParts, anchors) -> torch.Tensor:
    """Logarithm of the deviation of the channel that a target continues, `(n, 1, n_targets)`.

    Zero where no channel is known to correspond.
    """
    if anchors is None:
        return window.scale.new_zeros(len(window.scale), 1, 1)
    return window.scale[..., anchors].log()
