"""What further windows add to a linear forecast that was fitted to others, in closed form."""

import copy
from dataclasses import dataclass, replace

import torch

from ._ridge import PENALTIES, Moments
from ._torch_utils import WindowData, consecutive_folds, rows_per_batch
from .nn._layers import LinearForecast, regression_inputs, regression_outputs

# Beyond those of a first fit: a start that is good already may need no more than a touch.
_PENALTIES = (*PENALTIES, 1e1, 1e2)


@dataclass
class ForecastErrors:
    """A linear forecast, and moments of its inputs with the errors that it makes."""

    weight: torch.Tensor
    intercept: torch.Tensor
    fitted: Moments  # of windows that are trained on
    scored: Moments  # of those that are held out

    @classmethod
    def of(cls, module, train: WindowData, valid: WindowData) -> "ForecastErrors":
        """Sum over windows the errors of the forecast that the module has."""
        start = module.forecast_decoder.start
        fitted, scored = (_error_moments(module, start, data) for data in (train, valid))
        return cls(start.weight.clone(), start.intercept.clone(), fitted, scored)

    def with_more(self, module, train: WindowData, valid: WindowData) -> "ForecastErrors":
        """Add the errors that the same forecast makes on further windows."""
        start = self.forecast_of(module)
        fitted, scored = (_error_moments(module, start, data) for data in (train, valid))
        return replace(self, fitted=self.fitted + fitted, scored=self.scored + scored)

    def forecast_of(self, module) -> LinearForecast:
        """Return the forecast, in the form and with the class maps of the module's own."""
        forecast = copy.deepcopy(module.forecast_decoder.start)
        forecast.weight, forecast.intercept = self.weight, self.intercept
        return forecast


@torch.no_grad()
def adapt_linear_forecast(module, train: WindowData, errors: ForecastErrors) -> None:
    """Add the ridge regression of a forecast's errors to it, if held-out windows gain by it.

    `train` holds the latest of the windows summed. Those forecasts of theirs that are held out for
    the training of the correction have the errors of their folds left out of the regression.
    """
    scores = [errors.scored.squared_error(*errors.fitted.ridge(p)) for p in _PENALTIES]
    least = min(scores)
    decoder = module.forecast_decoder
    base = errors.forecast_of(module)
    if least >= float(errors.scored.yy.sum()):
        decoder.start, decoder.held_out = base, []
        return
    penalty = _PENALTIES[scores.index(least)]
    decoder.start = _adapted(base, errors.fitted, penalty)
    decoder.held_out = [
        _adapted(base, errors.fitted - _error_moments(module, base, fold), penalty)
        for fold in consecutive_folds(train)
    ]


@torch.no_grad()
def _error_moments(module, forecast: LinearForecast, data: WindowData) -> Moments:
    """Moments of the inputs and of the errors of a linear forecast."""

    def batches():
        for x, y, _ in data.batches(rows_per_batch(data, module.n_classes)):
            errors = y - forecast(x, module.infer_marginal(x).responses)
            inputs = regression_inputs(x, forecast.anchors, forecast.joint).double()
            yield inputs, regression_outputs(errors, forecast.joint).double()

    total = Moments.of(batches())
    return total if len(forecast.weight) == len(total.xx) else total.pooled()


def _adapted(start: LinearForecast, moments: Moments, penalty: float) -> LinearForecast:
    weight, intercept = moments.ridge(penalty)
    adapted = copy.deepcopy(start)
    adapted.weight += weight.to(start.weight)
    adapted.intercept += intercept.to(start.intercept)
    return adapted
