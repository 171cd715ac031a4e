"""The baselines: the original variational autoencoder and the β-TCVAE, on DeepDIVE's blocks.

Sources: Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv:1312.6114; Chen, Li,
Grosse, Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS 2018,
arXiv:1802.04942.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.distributions import Normal

from .._data.batches import Batch
from .._data.draws import Draws
from .configuration import BetaTCVAEConfiguration, VAEConfiguration
from .decoders import WindowDecoder
from .encoders import ConditionalEncoder
from .features import Window, WindowFeatures
from .layers import initialise, mlp
from .likelihoods import SMALLEST_SCALE, DiagonalNormal, bounded_exp, draw, kl_to_standard
from .losses import TCVAETerms, Terms, VAETerms


class VAE(nn.Module):
    """A variational autoencoder that decodes a window and its future from one latent code.

    q(z | x) and p(x | z) are DeepDIVE's encoder and decoder without factors, the prior is
    N(0, I), and p(y | z, c) depends on the window through z alone; c are covariates of the horizon,
    if there are any.

    Parameters
    ----------
    features : WindowFeatures
        Computes the input of the encoder.
    future_shape : tuple of int
        Horizon and number of targets.
    n_latent : int
        Number of latent dimensions.
    n_hidden : int
        Width of every hidden layer.
    generator : torch.Generator or None
        Source of the initial parameters. None: they hold no values yet.
    n_covariates : int, default=0
        Number of covariates known for every step of the horizon.
    """

    Configuration: type[VAEConfiguration] = VAEConfiguration
    has_marginal = False

    def __init__(
        self,
        features: WindowFeatures,
        future_shape: tuple[int, int],
        *,
        n_latent: int,
        n_hidden: int,
        generator: torch.Generator | None,
        n_covariates: int = 0,
    ):
        super().__init__()
        self.n_latent, self.n_hidden, self.n_covariates = n_latent, n_hidden, n_covariates
        self.features = features
        self.encoder = ConditionalEncoder(features.n_features, 0, n_latent, n_hidden)
        self.window_decoder = WindowDecoder(n_latent, features, n_hidden)
        n_known = future_shape[0] * n_covariates
        self.future_decoder = FutureDecoder(n_latent + n_known, future_shape, n_hidden)
        initialise(self, generator)

    @classmethod
    def blank(cls, configuration: VAEConfiguration) -> "VAE":
        """Make a module whose parameters and buffers hold no values yet."""
        features = WindowFeatures(*configuration.window_shape)
        return cls(features, generator=None, **configuration.without("window_shape"))

    @property
    def configuration(self) -> VAEConfiguration:
        """The options that, with the parameters and buffers, are all of the module."""
        return self.Configuration.of(
            self,
            window_shape=(self.features.n_timesteps, self.features.n_channels),
            future_shape=tuple(self.future_decoder.log_scale.shape),
        )

    def infer(self, window: Window) -> Normal:
        """Encode windows to q(z | x) over `(n, n_latent)`."""
        return self.encoder(window.features, None)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Posterior means, `(n, n_latent)`."""
        return self.infer(self.features(x)).loc

    @property
    def window_scale(self) -> torch.Tensor:
        """Scale of p(x | z), `(n_channels,)`."""
        return bounded_exp(self.window_decoder.log_scale)

    def forecast(self, x: torch.Tensor, covariates: torch.Tensor | None = None) -> torch.Tensor:
        """Mean of p(y | z, c) at the posterior mean, `(n, horizon, n_targets)`."""
        return self.future_decoder(self.embed(x), covariates).mean

    def forecast_parts(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the forecast and its correction, of which there is none."""
        z = self.infer(self.features.of(batch)).loc
        forecast = self.future_decoder(z, batch.covariates).mean
        return forecast, torch.zeros_like(forecast)

    def decode_embedding(self, z: torch.Tensor) -> torch.Tensor:
        """Decode windows from embeddings `(n, n_latent)`."""
        return self.window_decoder(z, self.features.basis).mean

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of p(x | z) at the posterior mean; the conditional mean for what is missing."""
        window = self.features(x)
        return window.fill(self.decode_embedding(self.infer(window).loc))

    def loss(
        self, batch: Batch, draws: Draws, *, out_of_fold: object = None, dropout: bool = False
    ) -> Terms:
        """Return the terms of the lower bound.

        It ignores the labels, and also `out_of_fold` and `dropout`, which the training loop passes
        to every module: there is no linear forecast and no correction.
        """
        q = self.infer(self.features.of(batch))
        z = draw(q, draws)
        log_py = self.future_decoder(z, batch.covariates).log_prob(batch.y, batch.weights)
        log_px = self.window_decoder(z, self.features.basis).log_prob(batch.x, batch.observed)
        return self._terms(log_py, log_px, q, z)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Put all parameters into one group: no part is trained on its own, or anew at the end."""
        return {"conditional": list(self.parameters())}

    @torch.no_grad()
    def calibrate(self, shrinkage: torch.Tensor, scale: torch.Tensor) -> None:
        """Set the likelihood's scale `(horizon, n_targets)`; there is no correction to shrink."""
        self.future_decoder.log_scale.copy_(scale.clamp(min=SMALLEST_SCALE).log())

    def _terms(self, log_py, log_px, q: Normal, z: torch.Tensor) -> Terms:
        return VAETerms(log_py, log_px, kl_to_standard(q))


class BetaTCVAE(VAE):
    """The same with a weight on the total correlation of the latent code.

    Parameters
    ----------
    features, future_shape, n_latent, n_hidden, generator
        As those of :class:`VAE`.
    beta : float
        Weight of the total correlation; with 1 the objective is that of :class:`VAE`.
    n_windows : int
        Number of training windows.
    """

    Configuration = BetaTCVAEConfiguration

    def __init__(
        self,
        features: WindowFeatures,
        future_shape: tuple[int, int],
        *,
        beta: float,
        n_windows: int,
        **options,
    ):
        super().__init__(features, future_shape, **options)
        self.beta, self.n_windows = beta, n_windows

    def _terms(self, log_py, log_px, q: Normal, z: torch.Tensor) -> Terms:
        return TCVAETerms(log_py, log_px, *decompose_kl(q, z, self.n_windows), self.beta)


class FutureDecoder(nn.Module):
    """p(y | z, c): a network for the mean, and one scale for every entry.

    Its inputs are z and, side by side, the covariates of all steps.
    """

    def __init__(self, n_inputs: int, future_shape: tuple[int, int], n_hidden: int):
        super().__init__()
        self.network = mlp(n_inputs, n_hidden, math.prod(future_shape))
        self.log_scale = nn.Parameter(torch.zeros(future_shape))

    @torch.no_grad()
    def fix_mean(self, constant: torch.Tensor) -> None:
        """Fix the mean of some targets at zero, their location; `constant` is `(n_targets,)`."""
        head: Any = self.network[-1]
        rows = constant.expand(self.log_scale.shape).flatten()
        head.weight[rows], head.bias[rows] = 0.0, 0.0

    def forward(self, z: torch.Tensor, covariates: torch.Tensor | None = None) -> DiagonalNormal:
        """Map latent codes `(n, n_latent)` and covariates to p(y | z, c) over futures."""
        inputs = z if covariates is None else torch.cat([z, covariates.flatten(1)], dim=1)
        return DiagonalNormal(
            self.network(inputs).unflatten(1, self.log_scale.shape), self.log_scale
        )


def decompose_kl(
    q: Normal, z: torch.Tensor, n_windows: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Split KL(q(z | x) ‖ N(0, I)) by the aggregate posterior q(z), the mean of all q(z | x).

    Its parts (Chen et al. 2018, equation 2), in expectation over windows and draws, are

        E[log q(z | x) - log q(z)]             mutual information of z and the window
        E[log q(z) - Σ_j log q(z_j)]           total correlation
        E[Σ_j log q(z_j) - Σ_j log p(z_j)]     KL of every dimension from its prior

    The expectations of log q(z | x) and log p(z) over a window's own draws are taken in closed
    form, so the parts of every window sum to its KL exactly, however q(z) is estimated.

    Parameters
    ----------
    q : Normal over (n, n_latent)
        Posteriors of a mini-batch.
    z : tensor of shape (n, n_latent)
        A draw from each.
    n_windows : int
        Number of windows the mini-batch is drawn from.

    Returns
    -------
    mutual_information, total_correlation, dimension_kl : tensors of shape (n,)
        In nats.
    """
    log_q, log_q_j = aggregate_log_density(q, z, n_windows)
    log_product = log_q_j.sum(1)
    log_posterior = -q.entropy().sum(1)
    log_prior = -0.5 * (q.loc.square() + q.scale.square() + math.log(2 * math.pi)).sum(1)
    return log_posterior - log_q, log_q - log_product, log_product - log_prior


def aggregate_log_density(
    q: Normal, z: torch.Tensor, n_windows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate log q(z) and log q(z_j) from a mini-batch by stratified sampling.

    Of the `n_windows` posteriors whose mean q(z) is, the one that z was drawn from is known to be
    in the batch, and counts once; the others in the batch stand for all the others. The estimates
    of q(z) and q(z_j) are unbiased, and exact for a batch of all windows. (Chen et al. 2018,
    appendix C.2, give unequal weights to the others; equal ones, the mean over all orders of the
    batch, have less variance.)

    Parameters
    ----------
    q, z, n_windows
        As those of :func:`decompose_kl`.

    Returns
    -------
    log_q : tensor of shape (n,)
    log_q_j : tensor of shape (n, n_latent)
    """
    # Entry (i, j) is the density of the draw of window i under the posterior of window j.
    log_density = q.log_prob(z.unsqueeze(1))
    log_weights = _stratified_weights(z, n_windows).log()
    log_q = (log_density.sum(2) + log_weights).logsumexp(1)
    return log_q, (log_density + log_weights.unsqueeze(2)).logsumexp(1)


def _stratified_weights(z: torch.Tensor, n_windows: int) -> torch.Tensor:
    """Weights `(n, n)` of the posteriors (columns) for every draw (rows) in a batch of n."""
    n = len(z)
    if n == 1:  # no other window stands for the rest
        return z.new_ones(1, 1)
    weights = z.new_full((n, n), (n_windows - 1) / n_windows / (n - 1))
    return weights.fill_diagonal_(1 / n_windows)
