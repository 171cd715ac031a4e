"""DeepDIVE on one screen: infer, generate, loss.

Source: Wong, Cheu, Chiam, Srinivasan, "Disentangled Interleaving Variational Encoding",
arXiv:2501.08710.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.distributions import Normal

from .._data.batches import Batch
from .._data.draws import Draws
from .._data.labels import UNLABELLED
from .conditional_prior import ConditionalPrior
from .configuration import DeepDIVEConfiguration
from .conformal import ConformalErrors
from .decoders import ForecastDecoder, WindowDecoder
from .encoders import ConditionalEncoder, MarginalEncoder
from .features import Window, WindowFeatures
from .fusion import CrossAttentionFusion
from .layers import initialise
from .likelihoods import BasisNormal, DiagonalNormal, bounded_exp, draw, kl_to_standard
from .linear_forecast import LinearForecast
from .linear_window import LinearWindow
from .losses import ElboTerms
from .pooled import PooledFeatures
from .priors import given_labels, make_priors, one_hot, where_known

# (windows, weights of the classes, covariates) -> linear forecasts, by a LinearForecast or an
# OutOfFold
ForecastLinearly = Callable[[torch.Tensor, list[torch.Tensor], torch.Tensor | None], torch.Tensor]


@dataclass(frozen=True)
class Latents:
    """q(b | x) and q(a | b, x) with a draw (or the mean) of each; None for an absent part.

    `log_joints` are log p(b_i, k) of every factor, `responses` p(k | b_i) as decoders see them.
    Where a label k is known, p(b_i | k) takes the place of q(b_i | x), and 1 that of p(k | b_i).
    Then `told` is 1 for every label that is known, otherwise 0, and `inferred` is what p(k | b_i)
    was without them. Both are empty where no label is known.
    """

    qb: Normal | None = None
    qa: Normal | None = None
    b: torch.Tensor | None = None
    a: torch.Tensor | None = None
    log_joints: list[torch.Tensor] = field(default_factory=list)
    responses: list[torch.Tensor] = field(default_factory=list)
    told: list[torch.Tensor] = field(default_factory=list)
    inferred: list[torch.Tensor] = field(default_factory=list)

    @property
    def map_weights(self) -> list[torch.Tensor]:
        """Weights of the class maps of a linear forecast: what labels tell adds to the window."""
        return [*(self.inferred or self.responses), *self.told]


class DeepDIVE(nn.Module):
    """A variational autoencoder with marginal and conditional latent dimensions.

    Parameters
    ----------
    features : WindowFeatures
        Computes the input of both encoders.
    linear_forecast : LinearForecast
        The linear part of the mean of p(y | a, b, x).
    class_weights : sequence of tensors of shape (n_classes_i,)
        Frequencies π of the labels of each factor; empty without marginal dimensions.
    n_marginal : int
        Most marginal dimensions of one factor.
    n_conditional : int
        Number of conditional dimensions; 0 for none.
    n_hidden : int
        Width of every hidden layer.
    generator : torch.Generator or None
        Source of the initial parameters. None: they hold no values yet.
    interleave : bool, default=True
        Keep the decoders' gradient away from the marginal path. False where labels were
        discovered rather than given: then b must also serve the reconstruction, and the loss does
        not use the labels.
    n_covariates : int, default=0
        Number of covariates known for every step of the horizon.
    n_errors : int, default=0
        Number of futures whose conformal errors are kept.
    """

    Configuration = DeepDIVEConfiguration

    def __init__(
        self,
        features: WindowFeatures,
        linear_forecast: LinearForecast,
        class_weights,
        *,
        n_marginal: int,
        n_conditional: int,
        n_hidden: int,
        generator: torch.Generator | None,
        interleave: bool = True,
        n_covariates: int = 0,
        n_errors: int = 0,
    ):
        super().__init__()
        self.interleave, self.n_covariates = interleave, n_covariates
        self.n_conditional, self.n_hidden = n_conditional, n_hidden
        self.features = features
        self.priors = make_priors(class_weights, n_marginal)
        self.factor_dims = [prior.n_dims for prior in self.priors]
        self.marginal_encoder = (
            MarginalEncoder(features.n_features, features.n_pooled, self.priors, n_hidden)
            if self.priors
            else None
        )
        self.conditional_encoder = (
            ConditionalEncoder(
                features.n_features,
                sum(self.factor_dims),
                n_conditional,
                n_hidden,
                start_at_zero=True,
            )
            if n_conditional
            else None
        )
        class_counts = self.class_counts
        # Discovered clusters are no labels, of which a is to tell nothing.
        has_prior = bool(self.priors and n_conditional and interleave)
        self.conditional_prior = (
            ConditionalPrior(class_counts, n_conditional) if has_prior else None
        )
        self.fusion = CrossAttentionFusion(n_conditional, class_counts)
        n_fused, future_shape = self.fusion.n_features, linear_forecast.future_shape
        self.linear_window = LinearWindow(features, class_counts, n_conditional)
        self.window_decoder = WindowDecoder(n_fused, features, n_hidden, start_at_zero=True)
        self.linear_forecast = linear_forecast
        has_source = linear_forecast.source_channels is not None
        n_coefficients = features.n_coefficients if has_source else 0
        self.forecast_decoder = ForecastDecoder(
            n_fused, future_shape, n_coefficients, n_hidden, n_covariates
        )
        self.conformal = ConformalErrors(future_shape, class_counts, n_errors)
        initialise(self, generator)

    @classmethod
    def blank(cls, configuration: DeepDIVEConfiguration) -> "DeepDIVE":
        """Make a module whose parameters and buffers hold no values yet."""
        class_counts, window_shape = configuration.class_counts, configuration.window_shape
        if not (class_counts or configuration.n_conditional):
            raise ValueError("there must be marginal or conditional dimensions")
        linear, n_components = configuration.linear, configuration.n_pooled_components
        if any(e.n_covariates != configuration.n_covariates for e in linear.effect):
            raise ValueError("the covariates must be those of their effect")
        pooled = PooledFeatures(*window_shape, n_components) if n_components else None
        return cls(
            WindowFeatures(*window_shape, pooled=pooled),
            LinearForecast.blank(window_shape, configuration.future_shape, class_counts, linear),
            [torch.ones(n_classes) for n_classes in class_counts],
            generator=None,
            **configuration.without(
                "window_shape", "future_shape", "class_counts", "n_pooled_components", "linear"
            ),
        )

    @property
    def configuration(self) -> DeepDIVEConfiguration:
        """The options that, with the parameters and buffers, are all of the module."""
        linear = self.linear_forecast
        return self.Configuration.of(
            self,
            window_shape=(self.features.n_timesteps, self.features.n_channels),
            future_shape=linear.future_shape,
            n_marginal=max(self.factor_dims, default=0),
            n_errors=len(self.conformal.errors),
            n_pooled_components=self.features.pooled.n_components if self.features.pooled else 0,
            linear=linear.configuration,
        )

    # Infer

    def infer(
        self, window: Window, draws: Draws | None = None, labels: torch.Tensor | None = None
    ) -> Latents:
        """Encode windows: draw b, then a given b. Without `draws` b and a are the means.

        `labels` are codes of the classes that are known, `(n, n_factors)`; None: none is.
        """
        latents = self.infer_marginal(window, draws, labels)
        if self.conditional_encoder is None:
            return latents
        coordinates = self.features.coordinates(window)
        linear = self.linear_window.encode(coordinates, latents.responses, window.observed)
        qa = self.conditional_encoder(window.features, self._shield(latents.b), linear)
        return replace(latents, qa=qa, a=draw(qa, draws))

    def infer_marginal(
        self,
        window: Window,
        draws: Draws | None = None,
        labels: torch.Tensor | None = None,
        change: torch.Tensor | float = 0.0,
    ) -> Latents:
        """Encode the marginal dimensions alone; `change` is added to the encoder's logits."""
        if self.marginal_encoder is None:
            return Latents()
        return self._marginal(self.marginal_encoder(window, self.priors, change), draws, labels)

    def assume(self, latents: Latents, labels: torch.Tensor) -> Latents:
        """Return latents at the means, had windows some labels; a stays where it is in its prior.

        The window then tells the labels as well, so what they tell is not added to that.
        """
        if latents.qb is None:
            return latents
        found = self._marginal(latents.qb, None, labels)
        told = [
            one if maps is None else torch.zeros_like(one)
            for one, maps in zip(found.told, self.linear_forecast.class_maps, strict=False)
        ]
        e, a = self.standardise(latents.a, latents.responses), None
        if e is not None:
            a = self.place(e, found.responses)
        return replace(found, qa=latents.qa, a=a, told=told, inferred=[])

    def _marginal(self, qb: Normal, draws: Draws | None, labels: torch.Tensor | None) -> Latents:
        if labels is None:
            b = draw(qb, draws)
            log_joints = self.log_joints(b)
            return Latents(qb=qb, b=b, log_joints=log_joints, responses=self._normalise(log_joints))
        given = given_labels(self.priors, qb, labels)
        b = draw(given, draws)
        log_joints = self.log_joints(b)
        at_b, at_mean = self._normalise(log_joints), self.responses(qb.loc)
        told = one_hot(labels, self.class_counts, like=b)
        return Latents(
            qb=given,
            b=b,
            log_joints=log_joints,
            told=told,
            responses=where_known(labels, told, at_b),
            inferred=where_known(labels, at_mean, at_b),
        )

    def log_joints(self, b: torch.Tensor | None) -> list[torch.Tensor]:
        """Log p(b_i, k) of every factor, `(n, n_classes_i)` each."""
        return [p.log_joint(b_i) for p, b_i in zip(self.priors, self._split(b), strict=True)]

    def responses(self, b: torch.Tensor | None) -> list[torch.Tensor]:
        """RBF responses p(k | b_i) as the decoders see them, `(n, n_classes_i)` for each factor."""
        return self._normalise(self.log_joints(b))

    def _normalise(self, log_joints: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self._shield(log_joint.softmax(-1)) for log_joint in log_joints]

    def _shield(self, tensor):
        """Keep gradients away from the marginal path, where interleaving does."""
        return tensor.detach() if self.interleave and tensor is not None else tensor

    def _split(self, b: torch.Tensor | None):
        return [] if b is None else b.split(self.factor_dims, dim=1)

    # Generate

    def generate(
        self,
        latents: Latents,
        window: Window,
        out_of_fold: ForecastLinearly | None = None,
        dropout_draws: Draws | None = None,
        covariates: torch.Tensor | None = None,
    ) -> tuple[DiagonalNormal | BasisNormal, DiagonalNormal]:
        """Decode p(x | a, b) and p(y | a, b, x, c).

        `out_of_fold` makes the linear forecasts of training windows; None: the module's own does.
        `dropout_draws` drop half of the fused features from the input of the correction; None: all
        are kept. `covariates` are c, `(n, horizon, n_covariates)`; None: they are not known, or
        there are none.
        """
        fused = self.fuse(latents, len(window))
        px = self.decode_window(latents, fused)
        py = self.decode_future(latents, fused, window, out_of_fold, dropout_draws, covariates)
        return px, py

    def fuse(self, latents: Latents, n_windows: int) -> torch.Tensor:
        """Fuse conditional dimensions with factors, `(n, n_fused)`."""
        return self.fusion(latents.a, latents.responses, n_windows)[0]

    def decode_window(self, latents: Latents, fused: torch.Tensor) -> DiagonalNormal | BasisNormal:
        """Decode p(x | a, b)."""
        linear = self.linear_window.decode(latents.a, latents.responses)
        return self.window_decoder(fused, self.features.basis, linear)

    def decode_future(
        self,
        latents: Latents,
        fused: torch.Tensor,
        window: Window,
        out_of_fold: ForecastLinearly | None = None,
        dropout_draws: Draws | None = None,
        covariates: torch.Tensor | None = None,
    ) -> DiagonalNormal:
        """Decode p(y | a, b, x, c), see :meth:`generate`."""
        if dropout_draws is not None:
            fused = 2.0 * dropout_draws.coins(fused) * fused
        make_linear = out_of_fold or self.linear_forecast
        forecast = make_linear(window.x, latents.map_weights, covariates)
        channels = self.linear_forecast.source_channels
        return self.forecast_decoder(fused, forecast, window, channels, covariates)

    # Loss

    def loss(
        self,
        batch: Batch,
        draws: Draws,
        *,
        out_of_fold: ForecastLinearly | None = None,
        dropout: bool = False,
    ) -> ElboTerms:
        """Return the terms of the lower bound, and the cross-entropy of the labels.

        `out_of_fold` is that of :meth:`generate`; `dropout` has it drop features by `draws`.
        """
        window = self.features.of(batch)
        latents = self.infer(window, draws)
        dropout_draws = draws if dropout else None
        px, py = self.generate(latents, window, out_of_fold, dropout_draws, batch.covariates)
        # Discovered labels initialise the clusters; from there on the clusters may move.
        labels = batch.labels if self.interleave else torch.full_like(batch.labels, UNLABELLED)
        kl_b, cross_entropy = self.marginal_terms(latents, labels)
        return ElboTerms(
            log_py=py.log_prob(batch.y, batch.weights),
            log_px=self.log_likelihood(px, window),
            kl_a=self.kl_a(latents, like=kl_b),
            kl_b=kl_b,
            cross_entropy=cross_entropy,
        )

    def log_likelihood(self, px: DiagonalNormal | BasisNormal, window: Window) -> torch.Tensor:
        """Log p(x | a, b), `(n,)`."""
        if window.observed is not None:
            return px.log_prob(window.x, window.observed)
        if isinstance(px, BasisNormal):
            coordinates = self.features.coordinates(window)
            return px.log_density(coordinates, self.features.squared_deviation(window))
        return px.log_prob(window.x)

    def kl_a(self, latents: Latents, like: torch.Tensor) -> torch.Tensor:
        """KL(q(a | b, x) ‖ N(0, I)), `(n,)`; zeros like a tensor where there is no a.

        The prior of a does not depend on b while it is trained, so a pays for information that b
        already has.
        """
        return torch.zeros_like(like) if latents.qa is None else kl_to_standard(latents.qa)

    def kl_to_prior(self, latents: Latents, like: torch.Tensor) -> torch.Tensor:
        """KL(q(a | b, x) ‖ p(a | b)) of a trained module, `(n,)`."""
        if self.conditional_prior is None or latents.qa is None:
            return self.kl_a(latents, like)
        return self.conditional_prior.kl(latents.qa, latents.responses)

    def marginal_terms(
        self, latents: Latents, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """KL of b and cross-entropy of the labels, summed over factors, `(n,)` each."""
        if latents.qb is None or latents.b is None:
            nothing = next(self.parameters()).new_zeros(len(labels))
            return nothing, nothing
        kl_b = cross_entropy = latents.b.new_zeros(len(labels))
        locs, scales = self._split(latents.qb.loc), self._split(latents.qb.scale)
        for prior, loc, scale, b, log_joint, label in zip(
            self.priors,
            locs,
            scales,
            self._split(latents.b),
            latents.log_joints,
            labels.T,
            strict=True,
        ):
            q = Normal(loc, scale, validate_args=False)
            known = label != UNLABELLED
            label = label.clamp(min=0)
            bound = prior.kl_to_component(q, label) - prior.log_weights[label]
            # Interleaved, b gets no gradient of the reconstruction. The divergence alone would
            # pull unlabelled windows to the prior.
            log_density = log_joint.logsumexp(-1)
            divergence = self._shield(prior.kl(q, b, log_density))
            kl_b = kl_b + torch.where(known, bound, divergence)
            response = log_joint.gather(1, label.unsqueeze(1)).squeeze(1) - log_density
            cross_entropy = cross_entropy - response * known
        return kl_b, cross_entropy

    def log_frequency(self, labels: torch.Tensor) -> torch.Tensor:
        """Log π_k of the labels that are known, summed over factors, `(n,)`."""
        total = next(self.parameters()).new_zeros(len(labels))
        for prior, label in zip(self.priors, labels.T, strict=True):
            total = total + prior.log_weights[label.clamp(min=0)] * (label != UNLABELLED)
        return total

    # What the estimator and the training loop ask for

    def read_labels(self, window: Window, *, uniform: bool = False) -> list[torch.Tensor]:
        """Return p(k | b) at the mean of b, `(n, n_classes_i)` for each factor.

        `uniform`: as if all classes of a factor had the same frequency. The encoder's logits and
        the mixture both hold the observed ones.
        """
        if not uniform:
            return self.infer_marginal(window).responses
        log_weights = [prior.log_weights for prior in self.priors]
        latents = self.infer_marginal(window, change=-torch.cat(log_weights))
        pairs = zip(latents.log_joints, log_weights, strict=True)
        return [(log_joint - own).softmax(-1) for log_joint, own in pairs]

    @property
    def class_counts(self) -> list[int]:
        """Number of classes of every factor."""
        return [prior.n_classes for prior in self.priors]

    @property
    def n_classes(self) -> int:
        """Number of classes of all factors together."""
        return sum(self.class_counts)

    @property
    def has_marginal(self) -> bool:
        """Whether there are marginal dimensions."""
        return self.marginal_encoder is not None

    def embed(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Posterior means [b | ε], `(n, n_marginal + n_conditional)`.

        ε is a in the coordinates in which its prior given b is standard normal.
        """
        return self.embedding_of(self.infer(self.features(x), labels=labels))

    def embedding_of(self, latents: Latents) -> torch.Tensor:
        """Put latents together as embeddings [b | ε]."""
        parts = latents.b, self.standardise(latents.a, latents.responses)
        return torch.cat([part for part in parts if part is not None], dim=1)

    def latents_at(self, z: torch.Tensor) -> Latents:
        """Split embeddings [b | ε] into latents."""
        b, e = z.split([sum(self.factor_dims), self.n_conditional], dim=1)
        if not self.has_marginal:
            return Latents(a=e)
        responses = self.responses(b)
        return Latents(
            b=b, a=self.place(e, responses) if self.n_conditional else None, responses=responses
        )

    def standardise(self, a: Any, responses: list[torch.Tensor]) -> Any:
        """Return ε of conditional dimensions, if there are any."""
        if a is None or self.conditional_prior is None:
            return a
        return self.conditional_prior.standardise(a, responses)

    def place(self, e: torch.Tensor, responses: list[torch.Tensor]) -> torch.Tensor:
        """Return the conditional dimensions of ε, given the responses to the classes."""
        return e if self.conditional_prior is None else self.conditional_prior.place(e, responses)

    def decode_embedding(self, z: torch.Tensor) -> torch.Tensor:
        """Decode windows from embeddings [b | ε] of shape `(n, n_marginal + n_conditional)`."""
        return self.decode_latents(self.latents_at(z), len(z))

    def decode_latents(self, latents: Latents, n_windows: int) -> torch.Tensor:
        """Mean of p(x | a, b), `(n, n_timesteps, n_channels)`."""
        return self.decode_window(latents, self.fuse(latents, n_windows)).mean

    def reconstruct(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Mean of p(x | a, b) at the posterior means; the conditional mean for what is missing."""
        window = self.features(x)
        latents = self.infer(window, labels=labels)
        return window.fill(self.decode_latents(latents, len(x)))

    @property
    def window_scale(self) -> torch.Tensor:
        """Scale of p(x | a, b), `(n_channels,)`."""
        return bounded_exp(self.window_decoder.log_scale)

    def forecast(
        self,
        x: torch.Tensor,
        labels: torch.Tensor | None = None,
        covariates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean of p(y | a, b, x, c) at the posterior means, `(n, horizon, n_targets)`."""
        window = self.features(x)
        latents = self.infer(window, labels=labels)
        return torch.add(*self.forecast_given(latents, window, covariates))

    def forecast_parts(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linear forecast and its correction, at the posterior means."""
        window = self.features.of(batch)
        return self.forecast_given(self.infer(window), window, batch.covariates)

    def forecast_given(
        self, latents: Latents, window: Window, covariates: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linear forecast and its correction, given latents."""
        fused = self.fuse(latents, len(window))
        linear = self.linear_forecast(window.x, latents.map_weights, covariates)
        channels = self.linear_forecast.source_channels
        return linear, self.forecast_decoder.correction(fused, linear, window, channels, covariates)

    @torch.no_grad()
    def mean_responses(self, batch: Batch) -> torch.Tensor:
        """Return p(k | b) at the mean of b, all factors side by side, `(n, n_classes)`."""
        return torch.cat(self.infer_marginal(self.features.of(batch)).responses, dim=1)

    @torch.no_grad()
    def means_for_forecast(self, batch: Batch) -> torch.Tensor:
        """Return what forecasts take of the latent variables at their means.

        That is a and, of every factor, p(k | b_i), side by side, `(n, n_conditional + n_classes)`.
        """
        latents = self.infer(self.features.of(batch))
        return torch.cat([*([] if latents.a is None else [latents.a]), *latents.responses], dim=1)

    def forecast_at_means(
        self,
        batch: Batch,
        *,
        out_of_fold: ForecastLinearly | None = None,
        dropout_draws: Draws | None = None,
    ) -> torch.Tensor:
        """Mean of p(y | a, b, x, c) at the posterior means, which pass no gradient on.

        They are those of the batch, if it has them.
        """
        means = self.means_for_forecast(batch) if batch.means is None else batch.means
        with torch.no_grad():
            window = self.features.without_pooled(batch)
            a, *responses = means.split([self.n_conditional, *self.class_counts], dim=1)
            latents = Latents(a=a if self.n_conditional else None, responses=responses)
            fused = self.fuse(latents, len(window))
        return self.decode_future(
            latents, fused, window, out_of_fold, dropout_draws, batch.covariates
        ).mean

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Split the parameters into marginal path, discriminants, conditional path and forecast.

        The marginal path is q(b | x) and the RBF layers, without the discriminants; the conditional
        path is q(a | b, x), the fusion and the window decoder. A layer of no group is not trained.
        """
        groups: dict[str, list[nn.Module | None]] = {
            "conditional": [self.conditional_encoder, self.fusion, self.window_decoder],
            "forecast": [self.forecast_decoder],
        }
        if (encoder := self.marginal_encoder) is not None:
            groups["marginal"] = [*self.priors, encoder.trunk, encoder.logits, encoder.log_scale]
            groups["discriminant"] = [encoder.discriminant]
        return {
            name: [p for module in modules if module is not None for p in module.parameters()]
            for name, modules in groups.items()
        }

    @torch.no_grad()
    def calibrate(self, shrinkage: torch.Tensor, scale: torch.Tensor) -> None:
        """Shrink the correction of every target, and set the likelihood's scale, by step too."""
        self.forecast_decoder.shrinkage.mul_(shrinkage)
        self.forecast_decoder.set_scale(scale)
