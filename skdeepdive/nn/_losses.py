"""The terms of the lower bound, per window and in nats."""

from dataclasses import dataclass, fields

import torch


@dataclass
class ElboTerms:
    """Terms of the objective, each of shape (n_windows,), in nats.

    `kl_b` is the bound KL(q(b_i | x) ‖ N_k) - log π_k where the label k is known and the mixture
    divergence KL(q(b_i | x) ‖ p(b_i)) where it is not, summed over factors; `cross_entropy` is
    the sum over factors of -log p(k | b_i), zero where the label is unknown.
    """

    log_py: torch.Tensor
    log_px: torch.Tensor
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

    def means(self) -> dict[str, torch.Tensor]:
        """Mean of every term over the windows, detached."""
        return {f.name: getattr(self, f.name).detach().mean() for f in fields(self)}
