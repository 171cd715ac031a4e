"""Forecasts as distributions, and the lower bound of a window's log density."""

import math
from dataclasses import replace

import torch

from .._data.draws import Draws, make_generator
from .._data.labels import UNLABELLED
from .features import Window
from .likelihoods import bounded_exp
from .module import DeepDIVE, Latents

# Fillings of a window whose forecasts are compared.
_N_FILLINGS = 8


def forecast_and_scale(
    module: DeepDIVE,
    window: Window,
    labels: torch.Tensor | None = None,
    covariates: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return forecasts and the scale of their errors, `(n, horizon, n_targets)` each."""
    latents = module.infer(window, labels=labels)
    linear, correction = module.forecast_given(latents, window, covariates)
    channels = module.linear_forecast.source_channels
    own = with_expected_scale(module, window)
    scale = module.conformal.scale(own, channels, latents.responses)
    if window.observed is not None:
        scale = scale * widening(module, window, labels, covariates)
    return linear + correction, scale


def with_expected_scale(module: DeepDIVE, window: Window) -> Window:
    """Return windows with the scale that is expected of them, given what was observed.

    Filled by means, they vary less than the windows that there were.
    """
    if window.observed is None:
        return window
    variance = module.features.completion.deviation(window.with_gaps).square()
    scale = (window.scale.square() + variance.mean(1, keepdim=True)).sqrt()
    return replace(window, scale=scale)


def widening(
    module: DeepDIVE,
    window: Window,
    labels: torch.Tensor | None,
    covariates: torch.Tensor | None,
) -> torch.Tensor:
    """How much larger errors are for what is missing in windows, `(n, horizon, n_targets)`.

    The variance of forecasts from fillings of the gaps, drawn given what was observed, adds to the
    mean squared error of the forecasts.
    """
    gaps = window.with_gaps
    completion = module.features.completion
    generator = make_generator(0, torch.device("cpu"))
    noise = torch.randn(_N_FILLINGS, len(completion.mean), generator=generator).to(gaps)
    fillings = window.x + completion.deviate(gaps, noise)
    forecasts = [module.forecast(filled, labels, covariates) for filled in fillings]
    variance = torch.stack(forecasts).var(0)
    return (1 + variance / bounded_exp(module.forecast_decoder.log_scale).square()).sqrt()


def draw_futures(
    module: DeepDIVE,
    x: torch.Tensor,
    n_draws: int,
    generator: torch.Generator,
    labels: torch.Tensor | None = None,
    covariates: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw futures about the forecast, `(n, n_draws, horizon, n_targets)`.

    Latent variables are drawn from their posterior. Conformal errors are added, shrunk so that both
    together have the variance of the errors.
    """
    window = module.features(x)
    forecast, scale = forecast_and_scale(module, window, labels, covariates)
    draws = Draws(generator)
    latents = (module.infer(window, draws, labels) for _ in range(n_draws))
    drawn = torch.stack(
        [torch.add(*module.forecast_given(own, window, covariates)) for own in latents], dim=1
    )
    deviation = drawn - drawn.mean(1, keepdim=True)
    errors = module.conformal.errors
    explained = deviation.square().mean(1) / (scale.square() * errors.square().mean(0))
    left = scale * (1 - explained.nan_to_num(0.0)).clamp(min=0.0).sqrt()
    rows = torch.randint(len(errors), (len(x), n_draws), generator=generator, device=errors.device)
    return forecast.unsqueeze(1) + deviation + left.unsqueeze(1) * errors[rows]


def bound_terms(
    module: DeepDIVE, x: torch.Tensor, labels: torch.Tensor | None = None, n_draws: int = 8
) -> list[torch.Tensor]:
    """Return log p(x | a, b), KL of a and KL of b, `(n,)` each: means over draws of a and b.

    Labels that are known are conditions: p(b_i | k) is then prior and posterior of b_i. Every
    window gets the same draws, so that its bound does not depend on which come along, and these are
    made on the CPU, so that it does not depend on the device.
    """
    window = module.features(x)
    draws = Draws(make_generator(0, torch.device("cpu")), n_rows=1)
    unlabelled = x.new_full((len(x), len(module.priors)), UNLABELLED, dtype=torch.int64)
    given = unlabelled if labels is None else labels
    terms = []
    for _ in range(n_draws):
        latents = module.infer(window, draws, labels)
        # Without log π_k, which is how surprising the labels are themselves.
        kl_b = module.marginal_terms(latents, given)[0] + module.log_frequency(given)
        log_px = _log_px(module, latents, window)
        terms.append(torch.stack([log_px, module.kl_to_prior(latents, log_px), kl_b]))
    return list(torch.stack(terms).mean(0))


def _log_px(module: DeepDIVE, latents: Latents, window: Window) -> torch.Tensor:
    """Log p(x | a, b), `(n,)`; what is missing counts with the expectation of its log density."""
    px = module.decode_window(latents, module.fuse(latents, len(window)))
    log_px = module.log_likelihood(px, window)
    if window.observed is None:
        return log_px
    expected = -px.stddev.log() - 0.5 * (1 + math.log(2 * math.pi))
    return log_px + (~window.observed * expected).flatten(1).sum(1)
