"""Continue a fitted model in closed form: moments of all windows so far, and their solutions."""

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from .._data.batches import WindowData, consecutive_folds, rows_per_batch
from ..nn.linear_forecast import LinearForecast, regression_inputs, regression_outputs
from ..nn.module import DeepDIVE
from .discriminants import class_sums, refit_discriminants
from .start import Start, class_frequencies, make_out_of_fold
from .sums import PENALTIES, ClassSums, Moments

# Beyond those of a first fit: a forecast that is good already may need only a small change.
_PENALTIES = (*PENALTIES, 1e1, 1e2)


@dataclass
class ErrorMoments:
    """A linear forecast, and moments of its inputs with the errors that it makes."""

    weight: torch.Tensor
    intercept: torch.Tensor
    train: Moments
    valid: Moments

    @classmethod
    def of(cls, module: DeepDIVE, train: WindowData, valid: WindowData) -> "ErrorMoments":
        """Sum the errors that the linear forecast of the module makes on windows."""
        linear = module.linear_forecast
        moments = (_error_moments(module, linear, data) for data in (train, valid))
        return cls(linear.weight.clone(), linear.intercept.clone(), *moments)

    def with_more(self, module: DeepDIVE, train: WindowData, valid: WindowData) -> "ErrorMoments":
        """Add the errors that the same forecast makes on further windows."""
        linear = self.forecast_of(module)
        more = [_error_moments(module, linear, data) for data in (train, valid)]
        return replace(self, train=self.train + more[0], valid=self.valid + more[1])

    def forecast_of(self, module: DeepDIVE) -> LinearForecast:
        """Return the forecast, in the form and with the class maps of the module's own."""
        linear = copy.deepcopy(module.linear_forecast)
        linear.weight, linear.intercept = self.weight, self.intercept
        return linear


@dataclass
class WindowSums:
    """Sums over the windows of all chunks so far.

    Their size does not depend on the number of windows.
    """

    errors: ErrorMoments
    labels: ClassSums | None  # None: not of all windows so far, or there is nothing to sum

    @classmethod
    def of(cls, module: DeepDIVE, train: WindowData, valid: WindowData) -> "WindowSums":
        """Sum over the windows that a module was fitted to."""
        labels = None
        if module.has_marginal and module.interleave:
            labels = class_sums(train, module.features, module.class_counts)
        return cls(ErrorMoments.of(module, train, valid), labels)

    def with_more(self, module: DeepDIVE, train: WindowData, valid: WindowData) -> "WindowSums":
        """Add further windows."""
        labels = self.labels
        if labels is not None:
            labels = labels + class_sums(train, module.features, module.class_counts)
        return WindowSums(self.errors.with_more(module, train, valid), labels)

    def to_plain(self) -> dict[str, Any]:
        """Return plain Python and NumPy."""
        return _to_plain(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any], device: torch.device) -> "WindowSums":
        """Return the sums that `to_plain` took apart, on a device."""
        errors = _to_tensors(plain["errors"], device)
        errors |= {name: Moments(**errors[name]) for name in ("train", "valid")}
        labels = plain["labels"] and ClassSums(**_to_tensors(plain["labels"], device))
        return cls(ErrorMoments(**errors), labels)


@torch.no_grad()
def continued_start(
    module: DeepDIVE, train: WindowData, valid: WindowData, past: WindowSums | None
) -> tuple[Start, WindowSums]:
    """Fit linear forecast and discriminants to all windows so far, and assign them in place.

    `train` and `valid` are the further windows, `past` the sums over the earlier ones; None where
    these are not known. The sums over all of them are returned as well.
    """
    if past is None:
        sums = WindowSums(ErrorMoments.of(module, train, valid), None)
    else:
        sums = past.with_more(module, train, valid)
    module.linear_forecast, fold_maps = adapt_linear_forecast(module, train, sums.errors)
    if sums.labels is not None and module.marginal_encoder is not None:
        counts = module.class_counts
        discriminants = refit_discriminants(sums.labels, valid, module.features, counts)
        module.marginal_encoder.set_discriminants(*discriminants)
        for prior, n_windows in zip(module.priors, sums.labels.counts.split(counts), strict=True):
            prior.set_weights(class_frequencies(n_windows))
    return Start(module, make_out_of_fold(fold_maps, train)), sums


@torch.no_grad()
def adapt_linear_forecast(
    module: DeepDIVE, train: WindowData, errors: ErrorMoments
) -> tuple[LinearForecast, list[LinearForecast]]:
    """Add the ridge regression of a forecast's errors to it, if that lowers the validation error.

    `train` holds the latest of the windows summed. The second result are the forecasts without each
    fold of these; there is none where the forecast stays as it is.
    """
    scores = [errors.valid.squared_error(*errors.train.ridge(p)) for p in _PENALTIES]
    least = min(scores)
    linear = errors.forecast_of(module)
    if least >= float(errors.valid.yy.sum()):
        return linear, []
    penalty = _PENALTIES[scores.index(least)]
    fold_maps = [
        _adapted(linear, errors.train - _error_moments(module, linear, fold), penalty)
        for fold in consecutive_folds(train)
    ]
    return _adapted(linear, errors.train, penalty), fold_maps


@torch.no_grad()
def _error_moments(module: DeepDIVE, linear: LinearForecast, data: WindowData) -> Moments:
    """Moments of the inputs and of the errors of a linear forecast."""

    def batches():
        for batch in data.batches(rows_per_batch(data, module.n_classes)):
            responses = module.infer_marginal(module.features.of(batch)).responses
            errors = batch.weigh(batch.y - linear(batch.x, responses, batch.covariates))
            inputs = regression_inputs(batch.x, linear.source_channels, linear.joint).double()
            yield inputs, regression_outputs(errors, linear.joint).double()

    total = Moments.of(batches())
    return total if len(linear.weight) == len(total.xx) else total.pooled()


def _adapted(linear: LinearForecast, errors: Moments, penalty: float) -> LinearForecast:
    weight, intercept = errors.ridge(penalty)
    adapted = copy.deepcopy(linear)
    adapted.weight += weight.to(linear.weight)
    adapted.intercept += intercept.to(linear.intercept)
    return adapted


def _to_plain(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.cpu().numpy()
    if part is None or isinstance(part, int | float):
        return part
    return {field.name: _to_plain(getattr(part, field.name)) for field in fields(part)}


def _to_tensors(plain: dict[str, Any], device: torch.device) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for name, part in plain.items():
        if isinstance(part, dict):
            tensors[name] = _to_tensors(part, device)
        else:  # a copy, because sums may be mapped from a file
            tensors[name] = (
                part if isinstance(part, int | float) else torch.tensor(part, device=device)
            )
    return tensors
