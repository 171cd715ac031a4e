"""What new windows add to a linear forecast that was fitted to others, in closed form."""

import copy

import torch

from ._ridge import PENALTIES, Moments
from ._torch_utils import WindowData, consecutive_folds, rows_per_batch
from .nn._layers import LinearForecast, regression_inputs, regression_outputs

# Beyond those of a first fit: a start that is good already may need no more than a touch.
_PENALTIES = (*PENALTIES, 1e1, 1e2)


@torch.no_grad()
def adapt_linear_forecast(module, train: WindowData, valid: WindowData) -> None:
    """Add the ridge regression of the forecast's errors on new windows, if validation gains by it.

    The forecasts that are held out for the training of the correction have the errors of their
    folds left out of it.
    """
    decoder = module.forecast_decoder
    folds = [_error_moments(module, fold) for fold in consecutive_folds(train)]
    scored = _error_moments(module, valid)
    total = _error_moments(module, train)
    errors = [scored.squared_error(*total.ridge(penalty)) for penalty in _PENALTIES]
    least = min(errors)
    if least >= float(scored.yy.sum()):
        return
    penalty = _PENALTIES[errors.index(least)]
    decoder.held_out = [_adapted(decoder.start, total - fold, penalty) for fold in folds]
    decoder.start = _adapted(decoder.start, total, penalty)


def _error_moments(module, data: WindowData) -> Moments:
    """Moments of the linear forecast's inputs and of its errors."""
    start = module.forecast_decoder.start

    def batches():
        for x, y, _ in data.batches(rows_per_batch(data)):
            errors = y - start(x, module.responses(module.infer_marginal(x).b))
            inputs = regression_inputs(x, start.anchors, start.joint).double()
            yield inputs, regression_outputs(errors, start.joint).double()

    total = Moments.of(batches())
    return total if len(start.weight) == len(total.xx) else total.pooled()


def _adapted(start: LinearForecast, moments: Moments, penalty: float) -> LinearForecast:
    weight, intercept = moments.ridge(penalty)
    adapted = copy.deepcopy(start)
    adapted.weight += weight.to(start.weight)
    adapted.intercept += intercept.to(start.intercept)
    return adapted
