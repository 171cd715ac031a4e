"""Encoders q(b | x) and q(a | b, x)."""

import torch
from torch import nn
from torch.distributions import Normal

from .features import Window
from .layers import Linear
from .likelihoods import bounded_normal


class MarginalEncoder(nn.Module):
    """q(b | x) as a soft assignment to the centres of each factor's RBF layer.

    A linear discriminant, fitted in closed form before training, and a network that starts at
    zero give one logit a class; the location of b_i is the mean of the factor's centres under
    the softmax of its logits. The discriminant looks at the pooled features as well.

    Parameters
    ----------
    n_features, n_pooled : int
        Lengths of the window features and of the pooled ones, which may be none.
    priors : sequence of RBFMixture
        The RBF layer of each factor.
    n_hidden : int
    """

    def __init__(self, n_features: int, n_pooled: int, priors, n_hidden: int):
        super().__init__()
        self.class_counts = [prior.n_classes for prior in priors]
        n_logits = sum(self.class_counts)
        n_dims = sum(prior.n_dims for prior in priors)
        self.discriminant = Linear(n_features + n_pooled, n_logits, start_at_zero=True)
        self.trunk = nn.Sequential(Linear(n_features, n_hidden), nn.GELU())
        self.logits = Linear(n_hidden, n_logits, start_at_zero=True)
        self.log_scale = Linear(n_hidden, n_dims, start_at_zero=True)

    def forward(self, window: Window, priors, change: torch.Tensor | float = 0.0) -> Normal:
        """Map windows to q(b | x) over `(n, n_marginal)`; `change` is added to the logits."""
        hidden = self.trunk(window.features)
        logits = self.discriminant(window.with_pooled) + self.logits(hidden) + change
        loc = [
            logit.softmax(-1) @ prior.centres
            for logit, prior in zip(logits.split(self.class_counts, dim=1), priors, strict=True)
        ]
        return bounded_normal(torch.cat(loc, dim=1), self.log_scale(hidden))

    @torch.no_grad()
    def set_discriminants(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take over discriminants `(n_logits, n_features + n_pooled)` and `(n_logits,)`."""
        self.discriminant.weight.copy_(weight)
        self.discriminant.bias.copy_(bias)


class ConditionalEncoder(nn.Module):
    """q(a | b, x): the draw of b enters the hidden layer beside the window features.

    Parameters
    ----------
    n_features, n_marginal, n_conditional, n_hidden : int
    start_at_zero : bool, default=False
        Whether the network corrects the posterior of a linear model, whose location and log scale
        `forward` then takes.
    """

    def __init__(
        self,
        n_features: int,
        n_marginal: int,
        n_conditional: int,
        n_hidden: int,
        *,
        start_at_zero: bool = False,
    ):
        super().__init__()
        self.from_window = Linear(n_features, n_hidden)
        self.from_marginal = Linear(n_marginal, n_hidden, bias=False) if n_marginal else None
        self.head = Linear(n_hidden, 2 * n_conditional, start_at_zero=start_at_zero)

    def forward(self, features: torch.Tensor, b: torch.Tensor | None, linear=(0.0, 0.0)) -> Normal:
        """Map features `(n, n_features)` and b `(n, n_marginal)` to q over `(n, n_conditional)`."""
        hidden = self.from_window(features)
        if self.from_marginal is not None:
            hidden = hidden + self.from_marginal(b)
        loc, log_scale = self.head(nn.functional.gelu(hidden)).chunk(2, dim=1)
        return bounded_normal(linear[0] + loc, linear[1] + log_scale)
