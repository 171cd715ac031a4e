"""Mixture priors over the marginal dimensions, and the initial places of their centres."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.distributions import Normal

from .._data.labels import UNLABELLED
from .layers import initial_values

# Differences of windows and centres that are formed at once (128 MB in double precision); those of
# a training step, which has few windows, stay for the gradient.
_DIFFERENCES = 2**24

# Three standard deviations of the distance of a standard normal draw from the mean: in d dimensions
# the distance is near sqrt(d), and its variance near a half.
_FURTHER = 3 / math.sqrt(2)


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
        self.centres = nn.Parameter(initial_values(make_centres, self.n_classes, n_dims))
        self.log_gamma = nn.Parameter(torch.full((self.n_classes,), math.log(0.5)))

    @property
    def scales(self) -> torch.Tensor:
        """Standard deviation 1 / sqrt(2 γ_k) of every component, `(n_classes,)`."""
        return (2 * self.log_gamma.exp()).rsqrt()

    @torch.no_grad()
    def set_weights(self, weights: torch.Tensor) -> None:
        """Set the frequencies π `(n_classes,)` of the classes."""
        self.log_weights.copy_(weights.log())

    def log_joint(self, b: torch.Tensor) -> torch.Tensor:
        """Log p(b, k) = log π_k + log N(b; c_k, 1 / (2 γ_k) I), `(n, n_classes)`."""
        size = max(1, _DIFFERENCES // self.centres.numel())
        parts = [(part.unsqueeze(-2) - self.centres).square().sum(-1) for part in b.split(size)]
        squared = torch.cat(parts) if len(parts) > 1 else parts[0]
        log_norm = 0.5 * self.n_dims * (self.log_gamma - math.log(math.pi))
        return self.log_weights + log_norm - self.log_gamma.exp() * squared

    def component(self, labels: torch.Tensor) -> Normal:
        """p(b | k), the component N_k of each window's label, over `(n, n_dims)`."""
        scale = self.scales[labels].unsqueeze(-1)
        return Normal(self.centres[labels], scale.expand(-1, self.n_dims), validate_args=False)

    def kl_to_component(self, qb: Normal, labels: torch.Tensor) -> torch.Tensor:
        """KL(q(b | x) ‖ N_k) to the component of each window's label, in nats, `(n,)`."""
        return torch.distributions.kl_divergence(qb, self.component(labels)).sum(-1)

    @staticmethod
    def kl(qb: Normal, b: torch.Tensor, log_density: torch.Tensor) -> torch.Tensor:
        """One-sample Monte Carlo estimate of KL(q(b | x) ‖ p(b)) at `b` drawn from `qb`, `(n,)`.

        `log_density` is log p(b) there.
        """
        return qb.log_prob(b).sum(-1) - log_density


def given_labels(priors: Sequence[RBFMixture], qb: Normal, labels: torch.Tensor) -> Normal:
    """Put p(b_i | k) in the place of q(b_i | x) where the label k is known.

    `labels` are codes of classes, `(n, n_factors)`.
    """
    components = [
        prior.component(label.clamp(min=0)) for prior, label in zip(priors, labels.T, strict=True)
    ]
    counts = torch.tensor([prior.n_dims for prior in priors], device=labels.device)
    known = (labels != UNLABELLED).repeat_interleave(counts, dim=1)  # (n, n_marginal)
    loc, scale = (
        torch.where(known, torch.cat([getattr(c, name) for c in components], dim=1), own)
        for name, own in (("loc", qb.loc), ("scale", qb.scale))
    )
    return Normal(loc, scale, validate_args=False)


def one_hot(
    labels: torch.Tensor, class_counts: Sequence[int], like: torch.Tensor
) -> list[torch.Tensor]:
    """Return 1 for the label of every factor and 0 for other classes, `(n, n_classes_i)` each.

    Where a label is unknown, all are 0.
    """
    return [
        (label.unsqueeze(1) == torch.arange(n_classes, device=labels.device)).to(like)
        for label, n_classes in zip(labels.T, class_counts, strict=True)
    ]


def where_known(
    labels: torch.Tensor, values: list[torch.Tensor], others: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Return values, `(n, n_classes_i)` for each factor, where its label is known, else others."""
    known = (labels != UNLABELLED).T.unsqueeze(2)  # (n_factors, n, 1)
    return [torch.where(*parts) for parts in zip(known, values, others, strict=True)]


def make_priors(class_weights, n_marginal: int) -> Sequence[RBFMixture]:
    """One RBF layer for each factor, with at most `n_marginal` and n_classes - 1 dimensions."""
    return nn.ModuleList(  # type: ignore[return-value]  # its stub does not say of what
        RBFMixture(weights, max(1, min(n_marginal, len(weights) - 1))) for weights in class_weights
    )


def make_centres(n_classes: int, n_dims: int, spacing: float = 3.0) -> torch.Tensor:
    """Place the centres of a factor's classes, `(n_classes, n_dims)`.

    In one dimension they lie evenly on a line, otherwise on a closed curve whose coordinates are
    the harmonics cos(jθ), sin(jθ) of θ = 2πk / n_classes: a circle in two dimensions, and with
    n_classes - 1 dimensions the corners of a regular simplex.

    Parameters
    ----------
    n_classes, n_dims : int
    spacing : float, default=3.0
        Distance between nearest neighbours.
    """
    step = torch.arange(n_classes, dtype=torch.float64)
    if n_dims == 1:
        return (spacing * (step - step.mean())).unsqueeze(1).float()
    harmonic = torch.arange(n_dims) // 2 + 1
    angle = 2 * torch.pi / n_classes * step.unsqueeze(1) * harmonic
    centres = torch.where(torch.arange(n_dims) % 2 == 0, angle.cos(), angle.sin())
    if n_dims % 2:  # a cosine without its sine
        centres[:, -1] *= 0.5**0.5
    return (centres * (spacing / torch.pdist(centres).min())).float()


def within_reach(a: torch.Tensor) -> torch.Tensor:
    """Bring `(n, n_dims)` back to where nearly all draws of N(0, I) are, if they are beyond.

    Networks know nothing from beyond, so that what they make of it is arbitrary.
    """
    reach = math.sqrt(a.shape[1]) + _FURTHER
    return a * (reach / torch.linalg.vector_norm(a, dim=1, keepdim=True).clamp(min=reach))
