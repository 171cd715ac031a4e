"""Forecasts as distributions, and the lower bound of a window's log density."""

import torch

from .._data.draws import Draws, make_generator
from .._data.labels import UNLABELLED
from .features import Window
from .module import DeepDIVE, Latents


def forecast_and_scale(
    module: DeepDIVE, x: torch.Tensor, covariates: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return forecasts and the scale of their errors, `(n, horizon, n_targets)` each."""
    return _forecast_and_scale(module, module.features(x), covariates)


def _forecast_and_scale(
    module: DeepDIVE, window: Window, covariates: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    latents = module.infer(window)
    linear, correction = module.forecast_given(latents, window, covariates)
    channels = module.linear_forecast.source_channels
    return linear + correction, module.conformal.scale(window, channels, latents.responses)


def draw_futures(
    module: DeepDIVE,
    x: torch.Tensor,
    n_draws: int,
    generator: torch.Generator,
    covariates: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw futures about the forecast, `(n, n_draws, horizon, n_targets)`.

    Latent variables are drawn from their posterior. Conformal errors are added, shrunk so that both
    together have the variance of the errors.
    """
    window = module.features(x)
    forecast, scale = _forecast_and_scale(module, window, covariates)
    draws = Draws(generator)
    drawn = torch.stack(
        [
            torch.add(*module.forecast_given(module.infer(window, draws), window, covariates))
            for _ in range(n_draws)
        ],
        dim=1,
    )
    deviation = drawn - drawn.mean(1, keepdim=True)
    errors = module.conformal.errors
    explained = deviation.square().mean(1) / (scale.square() * errors.square().mean(0))
    left = scale * (1 - explained.nan_to_num(0.0)).clamp(min=0.0).sqrt()
    rows = torch.randint(len(errors), (len(x), n_draws), generator=generator, device=errors.device)
    return forecast.unsqueeze(1) + deviation + left.unsqueeze(1) * errors[rows]


def bound_terms(module: DeepDIVE, x: torch.Tensor, n_draws: int = 8) -> list[torch.Tensor]:
    """Return log p(x | a, b), KL of a and KL of b, `(n,)` each: means over draws of a and b.

    Every window gets the same draws, so that its bound does not depend on which come along, and
    these are made on the CPU, so that it does not depend on the device.
    """
    window = module.features(x)
    draws = Draws(make_generator(0, torch.device("cpu")), n_rows=1)
    unlabelled = x.new_full((len(x), len(module.priors)), UNLABELLED, dtype=torch.int64)
    terms = []
    for _ in range(n_draws):
        latents = module.infer(window, draws)
        kl_b, _ = module.marginal_terms(latents, unlabelled)
        log_px = _log_px(module, latents, window)
        terms.append(torch.stack([log_px, module.kl_to_prior(latents, log_px), kl_b]))
    return list(torch.stack(terms).mean(0))


def _log_px(module: DeepDIVE, latents: Latents, window: Window) -> torch.Tensor:
    px = module.decode_window(latents, module.fuse(latents, len(window)))
    return module.log_likelihood(px, window)
