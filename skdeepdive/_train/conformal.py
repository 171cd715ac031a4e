"""Conformal errors: the spread of futures about their forecasts, on validation windows."""

import math
import sys

import torch

from .._data.batches import N_BLOCKS, Batch, WindowData, rows_per_batch
from .._data.scores import fill_errors
from ..nn.forecast import forecast_and_scale, widening, with_expected_scale
from ..nn.module import DeepDIVE

# Powers of a window's own deviation that the errors may scale with.
_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The multiplier of a class is shrunk as if the class had this many windows of average errors more.
_CLASS_WINDOWS = 20
# Values of errors that the scale is fitted to (16 MB in single precision), and that are kept. The
# quantiles of so many differ from those of all windows only by sampling error.
_LOOKED_AT, _KEPT = 2**22, 2**20
_MOST_WINDOWS = 1000
# Responses to classes that the scale is fitted to (128 MB in single precision).
_RESPONSES = 2**25
# Errors of this many windows or more replace the earlier ones; those of fewer join them.
_ENOUGH = 100
_SMALLEST = 1e-6


@torch.no_grad()
def fit_conformal_errors(module: DeepDIVE, valid: WindowData) -> None:
    """Fit the scale of the errors, and keep errors in units of it.

    The exponent has the greatest likelihood under Laplace's distribution, which is robust to a few
    large errors. The multipliers of the classes are fitted one factor after the other, to the
    errors in units of the scale so far.
    """
    errors, log_scale, responses = _errors(module, valid)
    typical = [(errors / (p * log_scale).exp()).abs().mean(0) for p in _EXPONENTS]
    cost = torch.stack(
        [
            (size.clamp(min=_SMALLEST).log() + p * log_scale.mean(0)).mean(0)
            for p, size in zip(_EXPONENTS, typical, strict=True)
        ]
    )
    exponent = torch.tensor(_EXPONENTS).to(errors)[cost.argmin(0)]
    errors = errors / (exponent * log_scale).exp()
    log_factors = []
    for response in responses:
        log_factors.append(_log_factors(errors, response))
        errors = _divided_by_others(errors, response)
    module.conformal.set_scale(exponent, log_factors)
    module.conformal.set_errors(errors[:: _step(errors, _KEPT, _MOST_WINDOWS)].clone())


@torch.no_grad()
def update_conformal_errors(module: DeepDIVE, valid: WindowData) -> None:
    """Fit the errors anew where there are enough windows; otherwise append those of the few."""
    conformal = module.conformal
    if len(valid) >= _ENOUGH or not len(conformal.errors):
        fit_conformal_errors(module, valid)
        return
    batch = valid.batch(slice(None))
    window = module.features.of(batch)
    forecast, scale = forecast_and_scale(module, window, covariates=batch.covariates)
    errors = _with_gaps((batch.y - forecast) / scale, batch)
    latest = fill_errors(torch.cat([conformal.errors, errors]))[-_ENOUGH:]
    conformal.set_errors(latest[:: _step(latest, _KEPT)].clone())


def _errors(
    module: DeepDIVE, valid: WindowData
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Errors of forecasts, log deviations of the source channels, and responses to classes."""
    most = _RESPONSES // max(1, module.n_classes)
    data = valid.part(slice(None, None, _step(valid.y, _LOOKED_AT, most)))
    channels = module.linear_forecast.source_channels
    parts = []
    for batch in data.batches(rows_per_batch(data, module.n_classes)):
        window = module.features.of(batch)
        latents = module.infer(window)
        linear, correction = module.forecast_given(latents, window, batch.covariates)
        own = with_expected_scale(module, window)
        log_scale = module.conformal.source_log_scale(own, channels)
        errors = _with_gaps(batch.y - linear - correction, batch)
        if batch.observed is not None:
            errors = errors / widening(module, window, None, batch.covariates)
        parts.append((errors, log_scale, *latents.responses))
    errors, log_scale, *responses = map(torch.cat, zip(*parts, strict=True))
    return fill_errors(errors), log_scale, responses


def _with_gaps(errors: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Put NaN where the true value is missing."""
    return errors if batch.weights is None else errors.where(batch.weights > 0, torch.nan)


def _log_factors(errors: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Logarithms of the mean absolute error of every class, relative to that of all.

    They are `(n_classes, horizon, n_targets)`.
    """
    relative = errors.abs() / errors.abs().mean(0).clamp(min=_SMALLEST)
    total = torch.einsum("nk,nht->kht", response, relative)
    weight = response.sum(0)[:, None, None] + _CLASS_WINDOWS
    return ((total + _CLASS_WINDOWS) / weight).clamp(min=_SMALLEST).log()


def _divided_by_others(errors: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Divide errors by multipliers of classes that were fitted without their block of windows.

    Divided by a scale that was fitted to them as well, they would be smaller than those of new
    windows.
    """
    parts = []
    for block in torch.arange(len(errors)).tensor_split(min(N_BLOCKS, len(errors))):
        others = torch.ones(len(errors), dtype=torch.bool)
        others[block] = False
        rows = others if others.any() else block
        log_factor = _log_factors(errors[rows], response[rows])
        log_scale = torch.einsum("nk,kht->nht", response[block], log_factor)
        parts.append(errors[block] / log_scale.exp())
    return torch.cat(parts)


def _step(futures, n_values: int, n_windows: int = sys.maxsize) -> int:
    """Distance at which evenly spaced futures, and their values, are not too many."""
    n = max(1, min(n_windows, n_values // math.prod(futures.shape[1:])))
    return -(-len(futures) // n)
