"""Class maps: linear maps that the classes of a factor add to the forecast, in closed form.

Each class has a map of its own, from the leading principal components of the regression's inputs
to the residuals of the forecast so far. A window is forecast by the mean of the maps under its RBF
responses p(k | b): locally weighted ridge regression, one factor after the other. A label that is
known tells more than the window does. What it adds is a further map of its class, fitted to the
labels themselves and added to what the responses make of the window.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .._data.batches import (
    N_BLOCKS,
    Batch,
    WindowData,
    WindowSample,
    consecutive_folds,
    rows_per_batch,
)
from ..nn.linear_forecast import LinearForecast, regression_outputs
from ..nn.mixing import apply_class_maps
from ..nn.module import DeepDIVE
from ..nn.priors import one_hot
from .sums import PENALTIES

# A factor's maps must gain more than this many standard errors of their mean gain, which happens by
# chance about once in a hundred times (Student's t of eight blocks).
_SIGNIFICANT_GAIN = 3.0

# Validation windows, drawn at random, that maps are chosen on: they overlap.
_MOST_EVALUATED = 2048

# Fewest windows per class on average: below, most classes would have no other window to learn from.
_FEWEST_WINDOWS = 2

# Responses that differ by no more from the mean ones of windows that are nearest to the same class
# count as these.
_CLEAR_DEVIATION = 1e-2

# Responses, compressed inputs and residuals that are kept while maps are fitted (64 MB).
_MOST_KEPT = 2**24

# Inputs and residuals of windows that are gathered at once (32 MB in double precision).
_GATHERED = 2**22

# Products of inputs of the classes that are fitted at once (64 MB in double precision, and as much
# for every fold): hundreds of classes.
_PRODUCTS = 2**23

# Weights of the class maps, compressed inputs `(r, n, n_inputs)`, residuals `(r, n, n_outputs)`
_Part = tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]

# Forecasts and scores, as `LinearForecast.without_classes` returns them
_Before = tuple[torch.Tensor, torch.Tensor]


@dataclass
class _Encoded:
    """Windows in batches, the means of their marginal dimensions, and their labels.

    `told`: the labels are known. `kept` are the responses to the classes, the compressed inputs of
    every batch, and what the forecast so far leaves of its futures; None: they are computed when
    asked for.
    """

    data: WindowData | WindowSample
    size: int
    b: torch.Tensor  # (n, n_marginal)
    labels: torch.Tensor  # (n, n_factors)
    told: bool = False
    kept: list[_Part] | None = None

    @classmethod
    def by(cls, module: DeepDIVE, data: WindowData, most: int = sys.maxsize) -> "_Encoded":
        size, data = rows_per_batch(data, module.n_classes), data.sample(most, seed=0)
        batches = data.batches(size)
        parts = [module.infer_marginal(module.features.of(batch)).b for batch in batches]
        labels = torch.from_numpy(data.labels).to(data.device)
        return cls(data, size, torch.cat(parts), labels)  # type: ignore[arg-type]  # of factors

    def keep(
        self, module: DeepDIVE, forecast: LinearForecast, before: _Before | None = None
    ) -> None:
        """Respond, compress inputs and forecast once; the forecast has no class maps yet.

        `before` are forecasts and scores of all windows, if they are known.
        """
        kept, parts = [], _split(before, self.size)
        batches = self.data.batches(self.size)
        for responses, batch in zip(self._responses(module), batches, strict=True):
            known = next(parts) or _before_classes(forecast, batch)
            kept.append((responses, *_inputs_and_residuals(forecast, batch, *known)))
        self.kept = kept

    def _responses(self, module: DeepDIVE) -> Iterable[list[torch.Tensor]]:
        if self.kept is not None:
            return (responses for responses, _, _ in self.kept)
        return map(module.responses, self.b.split(self.size))

    def weights(self, module: DeepDIVE) -> Iterator[list[torch.Tensor]]:
        """Yield the weights of the class maps of every batch."""
        labels = self.labels.split(self.size)
        for responses, own in zip(self._responses(module), labels, strict=True):
            told = one_hot(own, module.class_counts, like=self.b) if self.told else []
            yield [*responses, *told]

    def parts(self, module: DeepDIVE, forecast: LinearForecast) -> Iterator[_Part]:
        """Yield the weights, the compressed inputs and the residuals of every batch."""
        if self.kept is not None:
            for weights, (_, inputs, residuals) in zip(
                self.weights(module), self.kept, strict=True
            ):
                yield weights, inputs, residuals
            return
        batches = self.data.batches(self.size)
        for weights, batch in zip(self.weights(module), batches, strict=True):
            before = _before_classes(forecast, batch)
            yield weights, *_inputs_and_residuals(forecast, batch, *before, weights)

    def subtract(self, module: DeepDIVE, i: int, classes: slice, maps: torch.Tensor) -> None:
        """Subtract from the residuals what new maps of some classes forecast of them."""
        if self.kept is None:
            return
        for weights, (_, inputs, residuals) in zip(self.weights(module), self.kept, strict=True):
            residuals -= apply_class_maps(inputs, weights[i][:, classes], maps)[0]


def _split(before: _Before | None, sizes: int | list[int]) -> Iterator[_Before | None]:
    """Yield the parts of so many windows; None for each where nothing is known."""
    if before is None:
        return itertools.repeat(None)
    return zip(*(part.split(sizes) for part in before), strict=True)


def _before_classes(forecast: LinearForecast, batch: Batch) -> _Before:
    return forecast.without_classes(batch.x, batch.covariates, with_scores=True)


def _inputs_and_residuals(
    forecast: LinearForecast, batch: Batch, linear: torch.Tensor, scores: torch.Tensor, weights=()
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the compressed inputs and the residuals of a batch, by regressions."""
    residuals = batch.weigh(batch.y - forecast.add_classes(linear, scores, weights))
    return scores.movedim(2, 0), regression_outputs(residuals, forecast.joint)


@torch.no_grad()
def fit_class_maps(
    module: DeepDIVE,
    fold_maps: list[LinearForecast],
    train: WindowData,
    valid: WindowData,
    before: _Before | None = None,
) -> tuple[LinearForecast, list[LinearForecast]]:
    """Add the maps of every factor that significantly lower the error on the validation windows.

    Residuals are those of out-of-fold forecasts, and the maps that are added to these are fitted
    without their fold as well. With too few windows there are no maps. Classes of one factor that
    are too many for memory take turns, as factors do.

    Parameters
    ----------
    module : DeepDIVE
    fold_maps : list of LinearForecast
    train, valid : WindowData
    before : tuple of two tensors or None, default=None
        Forecasts of the training windows by the fold maps, and scores, where they are kept.

    Returns
    -------
    linear : LinearForecast
        The linear forecast of the module, with class maps.
    fold_maps : list of LinearForecast
        The same, fitted without each of the folds.
    """
    folds = consecutive_folds(train)
    if not folds or len(valid) < N_BLOCKS:
        return module.linear_forecast, fold_maps
    nothing = [None] * len(module.priors)
    linear = module.linear_forecast.with_class_maps(nothing)
    fold_maps = [forecast.with_class_maps(nothing) for forecast in fold_maps]
    n_classes = module.class_counts
    ready = [i for i, n in enumerate(n_classes) if len(train) >= _FEWEST_WINDOWS * n]
    if not ready:
        return linear, fold_maps
    encoded = [_Encoded.by(module, fold) for fold in folds]
    evaluated = _Encoded.by(module, valid, _MOST_EVALUATED)
    if train.shares is None and len(train) * _n_kept_values(module, linear) <= _MOST_KEPT:
        parts = _split(before, [len(fold) for fold in folds])
        for own, forecast in zip(encoded, fold_maps, strict=True):
            own.keep(module, forecast, next(parts))
        evaluated.keep(module, linear)
    for i in ready:
        _fit_factor(module, linear, fold_maps, i, encoded, evaluated)
    if not module.interleave:  # clusters are never known
        return linear, fold_maps
    linear, *told_maps = (
        forecast.with_class_maps([*forecast.class_maps, *nothing])
        for forecast in (linear, *fold_maps)
    )
    for own in (*encoded, evaluated):
        own.told = True
    for i in ready:
        _fit_factor(module, linear, told_maps, len(nothing) + i, encoded, evaluated)
    return linear, fold_maps


def _fit_factor(
    module: DeepDIVE,
    linear: LinearForecast,
    fold_maps: list[LinearForecast],
    i: int,
    folds: list[_Encoded],
    valid: _Encoded,
) -> None:
    """Set the i-th class maps of forecasts, those of some classes after those of others."""
    n_classes = module.class_counts[i % len(module.class_counts)]
    size = _classes_at_once(linear)
    for first in range(0, n_classes, size):
        classes = slice(first, min(first + size, n_classes))
        _fit_classes(module, linear, fold_maps, i, classes, n_classes, folds, valid)


def _n_inputs(forecast: LinearForecast) -> int:
    """Count the inputs of a class map: components of the regression's inputs, and a constant."""
    return 1 + forecast.components.shape[1]  # type: ignore[union-attr]  # a fit has components


def _n_kept_values(module: DeepDIVE, forecast: LinearForecast) -> int:
    """Count the responses, compressed inputs and residuals of a window."""
    n_regressions = 1 if forecast.joint else forecast.future_shape[1]
    n_inputs = _n_inputs(forecast)
    return module.n_classes + n_regressions * n_inputs + int(np.prod(forecast.future_shape))


def _classes_at_once(forecast: LinearForecast) -> int:
    n_regressions, n_outputs = forecast.intercept.shape
    n_inputs = _n_inputs(forecast)
    return max(1, _PRODUCTS // (n_regressions * n_inputs * max(n_inputs, n_outputs)))


def _fit_classes(
    module: DeepDIVE,
    linear: LinearForecast,
    fold_maps: list[LinearForecast],
    i: int,
    classes: slice,
    n_classes: int,
    folds: list[_Encoded],
    valid: _Encoded,
) -> None:
    """Set the i-th maps of some classes, if those significantly lower the error."""
    parts = [
        _moments(module, forecast, i, classes, fold)
        for forecast, fold in zip(fold_maps, folds, strict=True)
    ]
    xx, xy = (sum(sums) for sums in zip(*parts, strict=True))
    candidates = {penalty: _solve(xx, xy, penalty).float() for penalty in PENALTIES}
    penalty = _best_penalty(module, linear, i, classes, valid, candidates)
    if penalty is None:
        return
    linear.set_class_maps(i, classes, candidates[penalty], n_classes)
    valid.subtract(module, i, classes, candidates[penalty])
    for forecast, fold, (own_xx, own_xy) in zip(fold_maps, folds, parts, strict=True):
        maps = _solve(xx - own_xx, xy - own_xy, penalty).float()
        forecast.set_class_maps(i, classes, maps, n_classes)
        fold.subtract(module, i, classes, maps)


def _moments(module: DeepDIVE, forecast: LinearForecast, i: int, classes: slice, encoded: _Encoded):
    """Sum products of inputs with inputs and with residuals, weighed by the responses.

    They are `(n_regressions, n_classes, n_inputs, n_inputs or n_outputs)`. Responses of windows
    that are nearest to the same class hardly differ: windows are summed by that class, the sums
    are weighed by its mean responses, and only clear deviations from these are summed one by one.
    """
    n_regressions, n_outputs = forecast.intercept.shape
    n_inputs = _n_inputs(forecast)
    of_nearest = _mean_responses(module, i, classes, encoded)
    shape = n_regressions, len(of_nearest), n_inputs, n_inputs + n_outputs
    sums, deviations = (of_nearest.new_zeros(shape) for _ in range(2))
    for weights, inputs, residuals in encoded.parts(module, forecast):
        values = torch.cat([inputs, residuals], dim=2).transpose(0, 1)
        weight = weights[i][:, classes]
        nearest = weight.argmax(1)
        order = nearest.argsort(stable=True)
        _add(sums, values, order, nearest[order], torch.ones_like(order))
        weight = (weight - of_nearest[nearest]).T
        k, rows = (weight.abs() > _CLEAR_DEVIATION).nonzero(as_tuple=True)
        _add(deviations, values, rows, k, weight[k, rows])
    sums = (of_nearest.T @ sums.flatten(2)).view_as(sums) + deviations
    return sums.split([n_inputs, n_outputs], dim=3)


def _mean_responses(module: DeepDIVE, i: int, classes: slice, encoded: _Encoded) -> torch.Tensor:
    """Mean responses of windows by the class of the greatest one, `(n_classes, n_classes)`."""
    n_classes = classes.stop - classes.start
    total = torch.zeros(n_classes, n_classes, dtype=torch.float64, device=encoded.b.device)
    counts = total.new_zeros(n_classes, 1)
    for weights in encoded.weights(module):
        weight = weights[i][:, classes].double()
        nearest = weight.argmax(1)
        total.index_add_(0, nearest, weight)
        counts += nearest.bincount(minlength=n_classes).unsqueeze(1)
    return total / counts.clamp(min=1)


def _add(
    sums: torch.Tensor,
    values: torch.Tensor,
    rows: torch.Tensor,
    classes: torch.Tensor,
    weights: torch.Tensor,
) -> None:
    """Add products of values of some rows, `(n, n_targets, n_columns)`, to those of their classes.

    Rows are in the order of classes.
    """
    n_regressions, n_classes, n_inputs, _ = sums.shape
    size = max(1, _GATHERED // values[0].numel())
    parts = zip(*(part.split(size) for part in (rows, classes, weights)), strict=True)
    for own_rows, own_classes, own_weights in parts:
        own = values.index_select(0, own_rows).double()
        weighed = own[..., :n_inputs] * own_weights.double()[:, None, None]
        counts = own_classes.bincount(minlength=n_classes).tolist()
        # Windows of targets that share a regression are below each other.
        left, right = (
            part.unflatten(1, (n_regressions, -1)).transpose(0, 1) for part in (weighed, own)
        )
        of_classes = zip(left.split(counts, dim=1), right.split(counts, dim=1), strict=True)
        for k, (of_left, of_right) in enumerate(of_classes):
            if counts[k]:
                sums[:, k].baddbmm_(of_left.flatten(1, 2).mT, of_right.flatten(1, 2))


def _solve(xx: torch.Tensor, xy: torch.Tensor, penalty: float) -> torch.Tensor:
    """Solve for every class; the penalty is relative to the mean square of the inputs of all.

    So a class with few windows is drawn closer to zero than one with many.
    """
    diagonal = xx.diagonal(dim1=-2, dim2=-1)[..., :-1]  # the constant aside
    absolute = penalty * diagonal.mean((1, 2)).clamp(min=1e-9)
    penalised = xx + absolute[:, None, None, None] * torch.eye(xx.shape[-1]).to(xx)
    return torch.cholesky_solve(xy, torch.linalg.cholesky(penalised))


def _best_penalty(
    module: DeepDIVE,
    linear: LinearForecast,
    i: int,
    classes: slice,
    valid: _Encoded,
    candidates: dict,
) -> float | None:
    """Choose the penalty of the greatest gain on validation windows; None if not significant."""
    gains = []
    for weights, inputs, residuals in valid.parts(module, linear):
        found = apply_class_maps(inputs, weights[i][:, classes], *candidates.values())
        errors = [(residuals - outputs).square().sum((0, 2)) for outputs in found]
        gains.append(residuals.square().sum((0, 2)).unsqueeze(1) - torch.stack(errors, dim=1))
    gain = torch.cat(gains)  # (n_windows, n_penalties)
    best = int(gain.sum(0).argmax())
    blocks = gain[:, best].tensor_split(N_BLOCKS)
    means = torch.stack([block.mean() for block in blocks])
    significant = means.mean() > _SIGNIFICANT_GAIN * means.std() / len(means) ** 0.5
    return list(candidates)[best] if significant else None
