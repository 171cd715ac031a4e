"""What further windows add to a fitted module in closed form, and sums of the earlier ones."""

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from .._data.batches import WindowData, consecutive_folds, rows_per_batch
from ..nn.linear_forecast import LinearForecast, regression_inputs, regression_outputs
from ..nn.module import DeepDIVE
from .discriminants import class_sums, refit_discriminants
from .start import class_frequencies
from .sums import PENALTIES, ClassSums, Moments

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


@dataclass
class Memory:
    """Sums over the windows of all chunks so far.

    Their size does not depend on the number of windows.
    """

    errors: ForecastErrors
    labels: ClassSums | None  # None: not of all windows so far, or there is nothing to sum

    def to_plain(self) -> dict[str, Any]:
        """Return plain Python and NumPy."""
        return _to_plain(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any], device: torch.device) -> "Memory":
        """Return the memory that `to_plain` took apart, on a device."""
        errors = _to_tensors(plain["errors"], device)
        errors |= {name: Moments(**errors[name]) for name in ("fitted", "scored")}
        labels = plain["labels"] and ClassSums(**_to_tensors(plain["labels"], device))
        return cls(ForecastErrors(**errors), labels)


def _to_plain(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.cpu().numpy()
    if part is None or isinstance(part, int):
        return part
    return {field.name: _to_plain(getattr(part, field.name)) for field in fields(part)}


def _to_tensors(plain: dict[str, Any], device: torch.device) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for name, part in plain.items():
        if isinstance(part, dict):
            tensors[name] = _to_tensors(part, device)
        else:  # a copy, because sums may be mapped from a file
            tensors[name] = part if isinstance(part, int) else torch.tensor(part, device=device)
    return tensors


def remember(module: DeepDIVE, train_data: WindowData, valid: WindowData) -> Memory:
    """Sum up the windows that a module was fitted to, so that further ones can join them."""
    labels = None
    if module.has_marginal and module.interleave:
        counts = [prior.n_classes for prior in module.priors]
        labels = class_sums(train_data, module.features, counts)
    return Memory(ForecastErrors.of(module, train_data, valid), labels)


def learn_in_closed_form(
    module: DeepDIVE, train_data: WindowData, valid: WindowData, past: Memory | None
) -> Memory:
    """Fit linear forecast and discriminants to all windows so far; return what to remember."""
    if past is None:
        memory = Memory(ForecastErrors.of(module, train_data, valid), None)
    else:
        memory = Memory(past.errors.with_more(module, train_data, valid), past.labels)
    adapt_linear_forecast(module, train_data, memory.errors)
    if memory.labels is not None:
        counts = [prior.n_classes for prior in module.priors]
        memory.labels += class_sums(train_data, module.features, counts)
        module.set_discriminants(
            *refit_discriminants(memory.labels, valid, module.features, counts)
        )
        module.set_class_weights([class_frequencies(n) for n in memory.labels.counts.split(counts)])
    return memory
