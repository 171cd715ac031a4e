"""Futures drawn about a forecast: their mean, their variance, and where they come from."""

import pytest
import torch

from skdeepdive._data.draws import Draws, make_generator
from skdeepdive.nn.features import WindowFeatures
from skdeepdive.nn.forecast import draw_futures, forecast_and_scale
from skdeepdive.nn.linear_forecast import LinearForecast
from skdeepdive.nn.module import DeepDIVE

CPU = torch.device("cpu")
N, N_TIMESTEPS, N_CHANNELS, HORIZON, N_ERRORS = 3, 8, 2, 3, 40
N_DRAWS, N_COPIES = 250, 20  # of futures for every window, and of windows


def make_module(error_scale):
    """A module whose correction depends on a and b, with errors that have a scale of their own."""
    generator = make_generator(0, CPU)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    linear = LinearForecast(
        0.3 * normal(N_CHANNELS, N_TIMESTEPS, HORIZON),
        normal(N_CHANNELS, HORIZON),
        (HORIZON, N_CHANNELS),
        joint=False,
        source_channels=torch.tensor([1, 0]),
    )
    module = DeepDIVE(
        WindowFeatures(N_TIMESTEPS, N_CHANNELS),
        linear,
        [torch.tensor([0.5, 0.5])],
        n_marginal=2,
        n_conditional=3,
        n_hidden=16,
        generator=generator,
        n_errors=N_ERRORS,
    )
    for buffer in module.linear_window.buffers():
        buffer.zero_()
    head, conformal = module.forecast_decoder.head, module.conformal
    head.weight.data = normal(*head.weight.shape)
    errors = normal(N_ERRORS, HORIZON, N_CHANNELS)
    conformal.errors = error_scale * (errors - errors.mean(0))
    conformal.exponent = torch.tensor([0.5, 1.0])
    conformal.log_factor_0 = 0.5 * normal(2, HORIZON, N_CHANNELS)
    return module.requires_grad_(False)


def make_windows():
    unit = torch.tensor([[[0.5]], [[1.0]], [[2.0]]])  # deviations, and so scales, differ
    return unit * torch.randn(N, N_TIMESTEPS, N_CHANNELS, generator=make_generator(1, CPU))


def latent_variance(module, x):
    """Variance of forecasts at draws of the latent variables."""
    window, draws = module.features(x.repeat(5000, 1, 1)), Draws(make_generator(3, CPU))
    forecast = sum(module.forecast_given(module.infer(window, draws), window))
    return forecast.unflatten(0, (-1, N)).var(0)


def error_variance(module, x):
    _, scale = forecast_and_scale(module, module.features(x))
    return scale.square() * module.conformal.errors.square().mean(0)


def draw_for_copies(module, x):
    """Futures of every window, `(N_COPIES, n, N_DRAWS, horizon, n_targets)`."""
    copies = x.repeat(N_COPIES, 1, 1)
    return draw_futures(module, copies, N_DRAWS, make_generator(2, CPU)).unflatten(0, (-1, N))


@pytest.mark.parametrize(
    ("error_scale", "least", "most"),
    [(10.0, 0.0, 0.1), (1.0, 0.02, 0.8), (0.1, 2.0, 100.0)],
    ids=["hardly any", "a part", "more than all"],
)
def test_futures_vary_as_the_errors_do_or_as_the_latent_part_where_that_is_more(
    error_scale, least, most
):
    module, x = make_module(error_scale), make_windows()
    latent, errors = latent_variance(module, x), error_variance(module, x)
    explained = latent / errors
    assert (explained > least).all()
    assert (explained < most).all()
    found = draw_for_copies(module, x).var(2).mean(0)
    torch.testing.assert_close(found, torch.maximum(latent, errors), rtol=0.1, atol=0.0)


@pytest.mark.parametrize("error_scale", [0.0, 1.0])
def test_the_mean_of_futures_is_the_forecast(error_scale):
    module, x = make_module(error_scale), make_windows()
    forecast, _ = forecast_and_scale(module, module.features(x))
    torch.testing.assert_close(forecast, module.forecast(x))
    found = draw_for_copies(module, x).mean((0, 2))
    away = 4 * (error_variance(module, x) / (N_DRAWS * N_COPIES)).sqrt()
    assert ((found - forecast).abs() <= away + 1e-5).all()


def test_futures_are_drawn_anew_for_every_window():
    module, x = make_module(error_scale=1.0), make_windows()
    one, other = draw_for_copies(module, x)[:2]
    assert (one != other).all()
