"""How much of the correction of the forecast is kept: its shrinkage."""

from typing import Any

import numpy as np
import torch

from .._data.batches import N_BLOCKS, Batch, WindowData, WindowSample
from .module import Module


def calibrate_forecast(module: Module, valid: WindowData, batch_size: int) -> None:
    """Shrink the correction of the forecast, and set the likelihood's scale, by validation windows.

    These windows chose the model as well, so the scale is a little too small.
    """
    factor, squared_error = best_shrinkage(module, valid, batch_size)
    module.calibrate(factor, squared_error.sqrt())


@torch.no_grad()
def best_shrinkage(
    module: Module, data: WindowData | WindowSample, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose by how much the correction of each target is shrunk, `(n_targets,)`, from 0 to 1.

    Also return the mean squared errors of the forecast with it, `(horizon, n_targets)`. No target's
    error is larger than that of the linear forecast. The correction is one network for all targets:
    where no common shrinkage gains significantly, all of them have a shrinkage of 0.
    """
    squared = product = torch.zeros((), device=data.device)
    blocks = np.array_split(np.arange(len(data)), min(N_BLOCKS, len(data)))
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    gains: Any = 0.0  # of every block: coefficients that are linear and quadratic in the shrinkage
    first = 0
    for batch in data.batches(batch_size):
        own, *sums = _sums_for_shrinkage(module, batch)
        rows = torch.from_numpy(block_of[first : first + own.shape[1]]).to(data.device)
        gains = gains + own.new_zeros(2, len(blocks), own.shape[2]).index_add_(1, rows, own)
        squared, product = squared + sums[0], product + sums[1]
        first += own.shape[1]
    factor = _sure_factor(*gains) * (_sure_factor(*gains.sum(2, keepdim=True)) > 0)
    error = squared[0] - 2 * factor * product + factor.square() * squared[1]
    return factor, error.clamp(min=0.0) / len(data)


def _sums_for_shrinkage(module: Module, batch: Batch):
    """Sum products of the residuals of the linear forecast and the corrections.

    residual * correction and correction² over steps `(2, n, n_targets)`; residual² and correction²
    over windows `(2, horizon, n_targets)`; residual * correction over windows `(horizon,
    n_targets)`.
    """
    forecast, correction = (part.double() for part in module.forecast_parts(batch))
    residual = batch.y - forecast
    linear, quadratic = batch.weigh(residual * correction), correction.square()
    gains = torch.stack([linear.sum(1), quadratic.sum(1)])
    squared = batch.weigh(residual.square())
    return gains, torch.stack([squared.sum(0), quadratic.sum(0)]), linear.sum(0)


def _sure_factor(linear: torch.Tensor, quadratic: torch.Tensor) -> torch.Tensor:
    """Return the shrinkages f with the greatest lower confidence bound of the mean gain.

    Gains are 2 f linear - f² quadratic, and the bound is their mean less two standard errors. They
    are sums over consecutive blocks of windows, `(n_blocks, n_targets)`, because the errors of
    neighbouring windows are correlated.
    """
    factors = torch.linspace(0, 1, 101).to(linear)[:, None, None]
    gains = 2 * factors * linear - factors.square() * quadratic
    error = 2 * gains.std(1) / gains.shape[1] ** 0.5 if gains.shape[1] > 1 else 0.0
    return factors[(gains.mean(1) - error).argmax(0), 0, 0]
