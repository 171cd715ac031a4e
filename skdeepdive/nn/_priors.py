"""The mixture prior p(b_i) of a factor: an RBF layer whose responses are cluster posteriors."""

import math

import torch
from torch import nn
from torch.distributions import Normal

from ._layers import make_centres, start_at

# Differences of windows and centres that are formed at once (128 MB in double precision); those of
# a training step, which has few windows, stay for the gradient.
_DIFFERENCES = 2**24


class RBFMixture(nn.Module):
    """Mixture of isotropic Gaussians over the marginal dimensions of one factor.

    Component k has centre c_k and precision γ_k, so that p(b | k) = N(b; c_k, 1 / (2 γ_k) I), and
    weight π_k, the frequency of label k among the training windows. The normalised responses of
    the RBF layer are the cluster posterior p(k | b).

    Parameters
    ----------
    weights : tensor of shape (n_classes,)
        π_k; positive, summing to one.
    n_dims : int
        Number of marginal dimensions of the factor.
    """

    log_weights: torch.Tensor

    def __init__(self, weights: torch.Tensor, n_dims: int):
        super().__init__()
        self.n_dims = n_dims
        self.n_classes = len(weights)
        self.register_buffer("log_weights", weights if weights.is_meta else weights.log())
        self.centres = nn.Parameter(start_at(make_centres, self.n_classes, n_dims))
        self.log_gamma = nn.Parameter(torch.full((self.n_classes,), math.log(0.5)))

    @property
    def scales(self) -> torch.Tensor:
        """Standard deviation 1 / sqrt(2 γ_k) of every component, `(n_classes,)`."""
        return (2 * self.log_gamma.exp()).rsqrt()

    def log_joint(self, b: torch.Tensor) -> torch.Tensor:
        """Log p(b, k) = log π_k + log N(b; c_k, 1 / (2 γ_k) I), `(n, n_classes)`."""
        size = max(1, _DIFFERENCES // self.centres.numel())
        parts = [(part.unsqueeze(-2) - self.centres).square().sum(-1) for part in b.split(size)]
        squared = torch.cat(parts) if len(parts) > 1 else parts[0]
        log_norm = 0.5 * self.n_dims * (self.log_gamma - math.log(math.pi))
        return self.log_weights + log_norm - self.log_gamma.exp() * squared

    def kl_to_component(self, qb: Normal, labels: torch.Tensor) -> torch.Tensor:
        """KL(q(b | x) ‖ N_k) to the component of each window's label, in nats, `(n,)`."""
        scale = self.scales[labels].unsqueeze(-1)
        component = Normal(self.centres[labels], scale.expand(-1, self.n_dims), validate_args=False)
        return torch.distributions.kl_divergence(qb, component).sum(-1)

    @staticmethod
    def kl(qb: Normal, b: torch.Tensor, log_density: torch.Tensor) -> torch.Tensor:
        """One-sample Monte Carlo estimate of KL(q(b | x) ‖ p(b)) at `b` drawn from `qb`, `(n,)`.

        `log_density` is log p(b) there.
        """
        return qb.log_prob(b).sum(-1) - log_density
