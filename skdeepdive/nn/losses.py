"""The terms of the lower bounds, per window and in nats."""

from dataclasses import InitVar, dataclass, fields

import torch


@dataclass
class Terms:
    """Log likelihoods that all lower bounds have, each of shape (n_windows,), in nats."""

    log_py: torch.Tensor
    log_px: torch.Tensor

    def objective(self, kl_weight: float = 1.0) -> torch.Tensor:
        """Return what training lowers, with the KL weighed, `(n_windows,)`."""
        raise NotImplementedError

    def means(self) -> dict[str, torch.Tensor]:
        """Mean of every term over the windows, detached."""
        return {f.name: getattr(self, f.name).detach().mean() for f in fields(self)}


@dataclass
class ElboTerms(Terms):
    """Terms of DeepDIVE's objective, each of shape (n_windows,), in nats.

    `kl_b` is the bound KL(q(b_i | x) ‖ N_k) - log π_k where the label k is known and the mixture
    divergence KL(q(b_i | x) ‖ p(b_i)) where it is not, summed over factors; `cross_entropy` is
    the sum over factors of -log p(k | b_i), zero where the label is unknown.
    """

    kl_a: torch.Tensor
    kl_b: torch.Tensor
    cross_entropy: torch.Tensor

    @property
    def elbo(self) -> torch.Tensor:
        """The lower bound L = log p(y | a, b, x) + log p(x | a, b) - KL(a) - KL(b)."""
        return self.log_py + self.log_px - self.kl_a - self.kl_b

    def objective(self, kl_weight: float = 1.0) -> torch.Tensor:
        """Return what training lowers: -L plus the cross-entropies, with the KL of a weighed."""
        reconstruction = self.log_py + self.log_px
        return kl_weight * self.kl_a + self.kl_b + self.cross_entropy - reconstruction


@dataclass
class VAETerms(Terms):
    """Terms of a variational autoencoder's objective, each of shape (n_windows,), in nats.

    `kl` is KL(q(z | x) ‖ N(0, I)).
    """

    kl: torch.Tensor

    def objective(self, kl_weight: float = 1.0) -> torch.Tensor:
        """Return what training lowers: the negative lower bound, with its KL weighed."""
        return kl_weight * self.kl - self.log_py - self.log_px


@dataclass
class TCVAETerms(Terms):
    """Terms of the β-TCVAE's objective, each of shape (n_windows,), in nats.

    The first three sum to KL(q(z | x) ‖ N(0, I)); `beta` weighs the total correlation.
    """

    mutual_information: torch.Tensor
    total_correlation: torch.Tensor
    dimension_kl: torch.Tensor
    beta: InitVar[float]

    def __post_init__(self, beta: float):
        self._beta = beta

    def objective(self, kl_weight: float = 1.0) -> torch.Tensor:
        """Return what training lowers: -log p(y | z) - log p(x | z) plus the weighed parts."""
        kl = self.mutual_information + self._beta * self.total_correlation + self.dimension_kl
        return kl_weight * kl - self.log_py - self.log_px
