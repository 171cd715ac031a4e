"""DeepDIVE on one screen: infer, generate, loss.

Source: Wong, Cheu, Chiam, Srinivasan, "Disentangled Interleaving Variational Encoding",
arXiv:2501.08710.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.distributions import Distribution, Normal

from .._data.devices import make_generator
from .decoders import ForecastDecoder, WindowDecoder
from .draws import draw, drop_half, initialise, shared_noise
from .encoders import ConditionalEncoder, MarginalEncoder
from .features import WindowFeatures, WindowParts
from .fusion import CrossAttentionFusion
from .likelihoods import SMALLEST_NOISE, BasisNormal, kl_to_standard
from .linear_forecast import HeldOut, LinearForecast
from .linear_window import LinearWindow
from .losses import ElboTerms
from .noise import ForecastNoise
from .priors import make_priors
from .shapley import shapley_values

UNLABELLED = -1


@dataclass
class Latents:
    """q(b | x) and q(a | b, x) with one draw (or the mean) of each; None for an absent part.

    `joints` are those of :meth:`DeepDIVE.log_joints`, and `responses` what the decoders see of
    them; `window` and `coordinates` are of the window that they were read from.
    """

    qb: Normal | None = None
    qa: Normal | None = None
    b: torch.Tensor | None = None
    a: torch.Tensor | None = None
    joints: list[torch.Tensor] = field(default_factory=list)
    responses: list[torch.Tensor] = field(default_factory=list)
    window: WindowParts | None = None
    coordinates: torch.Tensor | None = None


class DeepDIVE(nn.Module):
    """A variational autoencoder with marginal and conditional latent dimensions.

    Parameters
    ----------
    features : WindowFeatures
        What both encoders see of a window.
    linear : LinearForecast
        The forecast that p(y | a, b, x) starts from.
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
        discovered rather than given: then b must also serve the reconstruction.
    n_errors : int, default=0
        Number of futures whose errors are kept as the noise of the forecasts.
    """

    def __init__(
        self,
        features: WindowFeatures,
        linear: LinearForecast,
        class_weights,
        *,
        n_marginal: int,
        n_conditional: int,
        n_hidden: int,
        generator: torch.Generator | None,
        interleave: bool = True,
        n_errors: int = 0,
    ):
        super().__init__()
        self.interleave = interleave
        self.n_conditional, self.n_hidden = n_conditional, n_hidden
        self.features = features
        self.priors = make_priors(class_weights, n_marginal)
        self.factor_dims = [prior.n_dims for prior in self.priors]
        self.marginal_encoder = (
            MarginalEncoder(features.n_features, self.priors, n_hidden) if self.priors else None
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
        class_counts = [len(weights) for weights in class_weights]
        self.fusion = CrossAttentionFusion(n_conditional, class_counts)
        n_fused = self.fusion.n_features
        self.linear_window = LinearWindow(features, class_counts, n_conditional)
        self.window_decoder = WindowDecoder(n_fused, features, n_hidden, start_at_zero=True)
        self.forecast_decoder = ForecastDecoder(n_fused, linear, features.n_own, n_hidden)
        self.noise = ForecastNoise(linear.future_shape, class_counts, n_errors)
        if generator is not None:
            initialise(self, generator)

    @classmethod
    def blank(cls, *, window_shape, future_shape, class_counts, linear, **options) -> "DeepDIVE":
        """Make a module of some `configuration` whose parameters and buffers hold no values yet."""
        if not (class_counts or options["n_conditional"]):
            raise ValueError("there must be marginal or conditional dimensions")
        return cls(
            WindowFeatures(*window_shape),
            LinearForecast.blank(window_shape, future_shape, class_counts, **linear),
            [torch.ones(n_classes) for n_classes in class_counts],
            generator=None,
            **options,
        )

    @property
    def configuration(self) -> dict:
        """The sizes and flags that, with the parameters and buffers, are all of the module."""
        linear = self.forecast_decoder.start
        return {
            "window_shape": [self.features.n_timesteps, self.features.n_channels],
            "future_shape": list(linear.future_shape),
            "class_counts": [prior.n_classes for prior in self.priors],
            "n_marginal": int(max(self.factor_dims, default=0)),
            "n_conditional": int(self.n_conditional),
            "n_hidden": int(self.n_hidden),
            "interleave": self.interleave,
            "n_errors": len(self.noise.errors),
            "linear": linear.configuration,
        }

    @property
    def n_classes(self) -> int:
        """Number of classes of all factors together."""
        return sum(prior.n_classes for prior in self.priors)

    @property
    def has_marginal(self) -> bool:
        """Whether there are marginal dimensions."""
        return self.marginal_encoder is not None

    def infer(self, x: torch.Tensor, generator: torch.Generator | None = None) -> Latents:
        """Encode windows `(n, n_timesteps, n_channels)`: draw b, then a given b.

        Without a generator b and a are the means.
        """
        features, window = self.features(x)
        return self.encode(features, window, generator)

    def encode(self, features, window: WindowParts, generator=None) -> Latents:
        """Encode windows given as their features."""
        latents = self.encode_marginal(features, generator)
        latents.window = window
        latents.coordinates = self.features.coordinates(features, window)
        if self.conditional_encoder is not None:
            linear = self.linear_window
            start = linear.encode(latents.coordinates, latents.responses), linear.log_scale
            latents.qa = self.conditional_encoder(features, self._shield(latents.b), start)
            latents.a = draw(latents.qa, generator)
        return latents

    def infer_marginal(self, x: torch.Tensor, generator: torch.Generator | None = None) -> Latents:
        """Encode the marginal dimensions alone."""
        return self.encode_marginal(self.features(x)[0], generator)

    def encode_marginal(self, features, generator=None) -> Latents:
        """Encode the marginal dimensions alone of windows given as their features."""
        if self.marginal_encoder is None:
            return Latents()
        qb = self.marginal_encoder(features, self.priors)
        b = draw(qb, generator)
        joints = self.log_joints(b)
        return Latents(qb=qb, b=b, joints=joints, responses=self._seen_by_decoders(joints))

    def generate(self, latents: Latents, x, held_out=None, generator=None):
        """Decode p(x | a, b) and p(y | a, b, x).

        `held_out`, of training windows, are their linear forecasts by maps that have not seen them.
        The correction then sees a random half of the fused features, drawn from `generator`, or it
        would learn the training windows by heart.
        """
        fused = self._fuse(latents, len(x))
        return (
            self._decode_window(latents, fused),
            self._decode_future(latents, fused, x, held_out, generator),
        )

    def _fuse(self, latents: Latents, n_windows: int) -> torch.Tensor:
        return self.fusion(latents.a, latents.responses, n_windows)[0]

    def _decode_window(self, latents: Latents, fused: torch.Tensor) -> Distribution:
        start = self.linear_window.decode(latents.a, latents.responses)
        return self.window_decoder(fused, self.features.basis, start)

    def _decode_future(self, latents, fused, x, held_out, generator) -> Distribution:
        if held_out is not None:
            fused = drop_half(fused, generator)
        return self.forecast_decoder(fused, latents.responses, x, latents.window, held_out)

    def frozen_forecast(self, x, generator: torch.Generator, held_out=None) -> torch.Tensor:
        """Mean of p(y | a, b, x) at a draw of a and b that passes no gradient on."""
        with torch.no_grad():
            latents = self.infer(x, generator)
            fused = self._fuse(latents, len(x))
        return self._decode_future(latents, fused, x, held_out, generator).mean

    def decode_forecast(self, latents: Latents, x: torch.Tensor):
        """Return the linear forecast and its correction, given latents."""
        return self._forecast_given(latents.a, latents.responses, x, latents.window)

    def _forecast_given(self, a, responses, x, window) -> tuple[torch.Tensor, torch.Tensor]:
        decoder = self.forecast_decoder
        fused, _ = self.fusion(a, responses, len(x))
        start = decoder.linear_forecast(x, responses)
        return start, decoder.correction(fused, start, window)

    def forecast_parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linear forecast and its latent correction, at the posterior means."""
        return self.decode_forecast(self.infer(x), x)

    def forecast(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of p(y | a, b, x) at the posterior means, `(n, horizon, n_targets)`."""
        start, correction = self.forecast_parts(x)
        return start + correction

    def forecast_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return forecasts and the scale of their errors, `(n, horizon, n_targets)` each."""
        features, window = self.features(x)
        return self._forecast_and_scale(features, window, x)

    def _forecast_and_scale(self, features, window, x) -> tuple[torch.Tensor, torch.Tensor]:
        latents = self.encode(features, window)
        anchors = self.forecast_decoder.start.anchors
        forecast = sum(self.decode_forecast(latents, x))
        return forecast, self.noise.scale(window, anchors, latents.responses)

    def draw_futures(self, x, n_draws: int, generator: torch.Generator) -> torch.Tensor:
        """Draw futures about the forecast, `(n, n_draws, horizon, n_targets)`.

        The noise makes up for what the latent variables lack of the variance that errors have.
        """
        features, window = self.features(x)
        forecast, scale = self._forecast_and_scale(features, window, x)
        draws = []
        for _ in range(n_draws):
            latents = self.encode(features, window, generator)
            draws.append(sum(self.decode_forecast(latents, x)))
        drawn = torch.stack(draws, dim=1)
        deviation = drawn - drawn.mean(1, keepdim=True)
        errors = self.noise.errors
        explained = deviation.square().mean(1) / (scale.square() * errors.square().mean(0))
        left = scale * (1 - explained.nan_to_num(0.0)).clamp(min=0.0).sqrt()
        rows = torch.randint(
            len(errors), (len(x), n_draws), generator=generator, device=errors.device
        )
        return forecast.unsqueeze(1) + deviation + left.unsqueeze(1) * errors[rows]

    def bound_terms(self, x: torch.Tensor, n_draws: int = 8) -> list[torch.Tensor]:
        """Return log p(x | a, b), KL of a and KL of b, `(n,)` each: means over draws of a and b.

        Every window gets the same noise, so that its bound does not depend on which come along.
        """
        features, window = self.features(x)
        noise = shared_noise(make_generator(0, x.device))
        unlabelled = x.new_full((len(x), len(self.priors)), UNLABELLED, dtype=torch.int64)
        draws = []
        for _ in range(n_draws):
            latents = self.encode(features, window, noise)
            kl_b, _ = self.marginal_terms(latents, unlabelled)
            px = self._decode_window(latents, self._fuse(latents, len(x)))
            log_px = self._log_px(px, latents, x)
            draws.append(torch.stack([log_px, self._kl_a(latents, log_px), kl_b]))
        return list(torch.stack(draws).mean(0))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Posterior means [b | a], `(n, n_marginal + n_conditional)`."""
        latents = self.infer(x)
        return torch.cat([part for part in (latents.b, latents.a) if part is not None], dim=1)

    def _latents(self, z: torch.Tensor) -> Latents:
        """Split embeddings into a and b."""
        b, a = z.split([sum(self.factor_dims), self.n_conditional], dim=1)
        if not self.has_marginal:
            return Latents(a=a)
        return Latents(b=b, a=a if self.n_conditional else None, responses=self.responses(b))

    def decode_embedding(self, z: torch.Tensor) -> torch.Tensor:
        """Decode windows from embeddings [b | a] of shape `(n, n_marginal + n_conditional)`."""
        latents = self._latents(z)
        return self._decode_window(latents, self._fuse(latents, len(z))).mean

    def intervene(self, x, change: Callable[[torch.Tensor], torch.Tensor]):
        """Return windows and forecasts as they would be at changed embeddings.

        A window changes by as much as what is decoded from its embedding does, so it keeps what its
        embedding does not tell. The forecast is that of the changed window and latent variables.
        """
        before = self.embed(x)
        after = change(before)
        window = x + self.decode_embedding(after) - self.decode_embedding(before)
        latents = self._latents(after)
        latents.window = self.features(window)[1]
        return window, sum(self.decode_forecast(latents, window))

    def set_factor(self, z: torch.Tensor, factor: int, label: int) -> torch.Tensor:
        """Put the marginal dimensions of a factor at the centre of one of its classes."""
        first = sum(self.factor_dims[:factor])
        changed = z.clone()
        changed[:, first : first + self.factor_dims[factor]] = self.priors[factor].centres[label]
        return changed

    def attribute_forecast(self, x: torch.Tensor) -> torch.Tensor:
        """Split forecasts into parts that add up to them, `(n, n_parts, horizon, n_targets)`.

        Level, linear map and correction of a window of which neither a nor b is known; then the
        Shapley values of every factor and of a, by what is known of the others. Where a factor is
        not known its responses are the frequencies of its classes; where a is not, it is at its
        mean a priori.
        """
        latents = self.infer(x)
        known = latents.responses
        unknown = [p.log_weights.exp().expand(len(x), -1) for p in self.priors]
        n_players = len(known) + (latents.a is not None)

        def forecast(players: frozenset[int]):
            responses = [known[i] if i in players else unknown[i] for i in range(len(known))]
            a = latents.a
            if a is not None and len(known) not in players:
                a = torch.zeros_like(a)
            return self._forecast_given(a, responses, x, latents.window)

        start, correction = forecast(frozenset())
        anchors = self.forecast_decoder.start.anchors
        level = torch.zeros_like(start) if anchors is None else x[:, -1:, anchors].expand_as(start)
        shares = shapley_values(lambda players: sum(forecast(players)), n_players)
        return torch.stack([level, start - level, correction, *shares], dim=1)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Weights of the fusion, given factors, at the posterior means.

        `(n, n_queries, n_factors + 1)`; the last is that of no factor.
        """
        latents = self.infer(x)
        return self.fusion(latents.a, latents.responses, len(x))[1]

    def responses(self, b: torch.Tensor | None) -> list[torch.Tensor]:
        """RBF responses p(k | b_i) as the decoders see them, `(n, n_classes_i)` for each factor."""
        return self._seen_by_decoders(self.log_joints(b))

    def _seen_by_decoders(self, joints: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self._shield(joint.softmax(-1)) for joint in joints]

    def log_joints(self, b: torch.Tensor | None) -> list[torch.Tensor]:
        """Log p(b_i, k) of every factor, `(n, n_classes_i)` each."""
        return [
            prior.log_joint(b_i) for prior, b_i in zip(self.priors, self._split(b), strict=True)
        ]

    def hold_out(self, x: torch.Tensor, folds: torch.Tensor) -> HeldOut:
        """Forecast training windows by the linear maps fitted without their fold `(n,)`."""
        decoder = self.forecast_decoder
        return HeldOut(folds, *decoder.hold_out(x, folds)) if decoder.held_out else HeldOut(folds)

    def loss(self, x, y, labels, generator: torch.Generator, held_out=None) -> ElboTerms:
        """Return the terms of the lower bound for windows, futures and labels `(n, n_factors)`.

        `held_out` marks training windows, see `generate`.
        """
        if not self.interleave:  # discovered labels only give the clusters their start
            labels = torch.full_like(labels, UNLABELLED)
        latents = self.infer(x, generator)
        px, py = self.generate(latents, x, held_out, generator)
        kl_b, cross_entropy = self.marginal_terms(latents, labels)
        return ElboTerms(
            log_py=py.log_prob(y),
            log_px=self._log_px(px, latents, x),
            kl_a=self._kl_a(latents, like=kl_b),
            kl_b=kl_b,
            cross_entropy=cross_entropy,
        )

    def _log_px(self, px: Distribution, latents: Latents, x: torch.Tensor) -> torch.Tensor:
        if isinstance(px, BasisNormal) and latents.window is not None:  # what counts is there
            rest = self.features.squared_deviation(latents.window)
            return px.log_density(latents.coordinates, rest)
        return px.log_prob(x)

    def marginal_terms(self, latents: Latents, labels: torch.Tensor):
        """KL of b and cross-entropy of the labels, summed over factors, `(n,)` each."""
        if latents.qb is None or latents.b is None:
            nothing = next(self.parameters()).new_zeros(len(labels))
            return nothing, nothing
        kl_b = cross_entropy = latents.b.new_zeros(len(labels))
        locs, scales = self._split(latents.qb.loc), self._split(latents.qb.scale)
        draws = self._split(latents.b)
        for prior, loc, scale, b, joint, label in zip(
            self.priors, locs, scales, draws, latents.joints, labels.T, strict=True
        ):
            q = Normal(loc, scale, validate_args=False)
            known = label != UNLABELLED
            label = label.clamp(min=0)
            bound = prior.kl_to_component(q, label) - prior.log_weights[label]
            # Where nothing balances it, the divergence would draw unlabelled windows to the prior.
            log_density = joint.logsumexp(-1)
            divergence = self._shield(prior.kl(q, b, log_density))
            kl_b = kl_b + torch.where(known, bound, divergence)
            response = joint.gather(1, label.unsqueeze(1)).squeeze(1) - log_density
            cross_entropy = cross_entropy - response * known
        return kl_b, cross_entropy

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Split the parameters into marginal path, discriminants, conditional path and forecast.

        The marginal path is q(b | x) and the RBF layers, without the discriminants; the conditional
        path is q(a | b, x), the fusion and the window decoder.
        """
        groups: dict[str, list[nn.Parameter]] = {"conditional": []}
        for name, parameter in self.named_parameters():
            group = "forecast" if name.startswith("forecast_decoder.") else "conditional"
            if name.startswith(("marginal_encoder.", "priors.")):
                group = "discriminant" if ".discriminant." in name else "marginal"
            groups.setdefault(group, []).append(parameter)
        return groups

    @torch.no_grad()
    def restart_forecast(self) -> None:
        """Set the correction of the forecast back to zero, and unshrunk."""
        decoder = self.forecast_decoder
        for parameter in (decoder.head.weight, decoder.head.bias, decoder.target_offset):
            parameter.zero_()
        self.unshrink_forecast()

    @torch.no_grad()
    def unshrink_forecast(self) -> None:
        """Give the correction of the forecast its full size."""
        self.forecast_decoder.shrinkage.fill_(1.0)

    @torch.no_grad()
    def set_class_weights(self, weights) -> None:
        """Set the frequencies π `(n_classes_i,)` of the labels of each factor."""
        for prior, frequencies in zip(self.priors, weights, strict=True):
            prior.log_weights.copy_(frequencies.log())

    @torch.no_grad()
    def set_discriminants(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take over discriminants `(n_logits, n_features)` and `(n_logits,)`."""
        layer = self.marginal_encoder.discriminant  # type: ignore[union-attr]  # there are factors
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

    @torch.no_grad()
    def set_noise(self, noise_scale: torch.Tensor) -> None:
        """Set the deviation of p(y | a, b, x), `(horizon, n_targets)`."""
        self.forecast_decoder.log_scale.copy_(noise_scale.clamp(min=SMALLEST_NOISE).log())

    @torch.no_grad()
    def set_forecast_calibration(self, shrinkage: torch.Tensor, noise_scale: torch.Tensor) -> None:
        """Shrink the correction of every target, and set the noise `(horizon, n_targets)`."""
        self.forecast_decoder.shrinkage.mul_(shrinkage)
        self.set_noise(noise_scale)

    def _shield(self, tensor):
        """Keep gradients away from the marginal path, where interleaving does."""
        return tensor.detach() if self.interleave and tensor is not None else tensor

    def _split(self, b):
        return [] if b is None else b.split(self.factor_dims, dim=1)

    @staticmethod
    def _kl_a(latents: Latents, like: torch.Tensor) -> torch.Tensor:
        """KL(q(a | b, x) ‖ N(0, I)).

        A priori a is independent of b, so that repeating what b tells has its price.
        """
        if latents.qa is None:
            return torch.zeros_like(like)
        return kl_to_standard(latents.qa)
