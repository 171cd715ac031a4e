"""The effect of covariates known for the horizon: a ridge regression for every step.

Its inputs are the covariates about the step, hinges of them in random directions, a summary of the
course of the window, and the target's own level where that clearly helps. It is fitted to the
errors of out-of-fold forecasts. Because the window is among the inputs, what the linear forecast
made of it before covariates were known is taken back.
"""

import functools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from .._data.batches import WindowData, WindowSample, fold_bounds, rows_per_batch
from ..nn.covariates import CovariateEffect, about_every_step, about_step, count_about
from ..nn.linear_forecast import LinearForecast, count_levels
from .ridge import best_penalty
from .sums import MIDDLE_PENALTY, Moments, Sums, add_squares

# Hinges, and the covariates that one looks at, at most.
_MOST_HINGES, _MOST_COVARIATES = 1024, 8
# Windows to a hinge, at least.
_WINDOWS = 4

# Principal components of the hinges that are inputs of regressions, at most, and the part of the
# variance that others may have: hinges resemble each other. They are of so many windows and steps.
_MOST_COMPONENTS, _LEFT, _N_SAMPLED = 512, 5e-4, 4096

# Products of components that are summed (half a minute on one core), and errors, covariates and
# inputs that are kept meanwhile (256 MB in single precision): windows overlap, so that a sample of
# them suffices.
_PRODUCTS, _KEPT = 2**40, 2**26

# Numbers that sum a window up.
_MOST_SUMMARY = 128
# Scores that vary by less, relative to those that vary most, are rounding errors.
_LEAST_DEVIATION = 1e-4

# The level is an input of a step where the squared error of all targets falls by more than a
# twentieth: forecasts that go by levels go wrong where a level changes after the training.
_CLEARLY_LESS = 0.95

# Validation windows that penalties are chosen by.
_MOST_EVALUATED = 8192

# Windows whose inputs are formed at once.
_CHUNK = 2048

# Weights and intercepts of regressions.
_Solution = tuple[torch.Tensor, torch.Tensor]


class _Known(NamedTuple):
    """Some windows: their covariates, the scores of their values, and the errors to explain."""

    covariates: torch.Tensor  # (n, horizon, n_covariates)
    scores: torch.Tensor  # (n, n_scores)
    levels: torch.Tensor  # (n, n_targets)
    errors: torch.Tensor  # (n, horizon, n_targets)

    @classmethod
    def of(cls, linear: LinearForecast, data: WindowData, rows: np.ndarray) -> "_Known":
        parts = []
        for batch in WindowSample(data, rows).batches(rows_per_batch(data)):
            forecast, scores = linear.without_classes(batch.x, with_scores=True)
            errors = batch.weigh(batch.y - forecast)
            own = batch.covariates, scores[:, :-1].flatten(1), linear.levels(batch.x), errors
            parts.append(own)
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def moments(self, inputs: "_Inputs") -> Iterator["_StepMoments"]:
        """Yield the sums of every step."""
        n, levels, summary = len(self.levels), self.levels, self.scores @ inputs.effect.summary
        squares, of_levels = _squares(summary), _sum(levels.double().square())
        of_steps = inputs.of_steps(self.covariates)
        for (values, own), errors in zip(of_steps, self.errors.unbind(1), strict=True):
            outputs = torch.cat([errors, levels], dim=1)
            cross, of_values = _products(values, torch.cat([summary, outputs], dim=1)).split(
                [summary.shape[1], outputs.shape[1]], dim=1
            )
            xx = torch.cat([torch.cat([own, cross], 1), torch.cat([cross.T, squares], 1)])
            xy = torch.cat([of_values, _products(summary, outputs)])
            x, y = _sum(values, summary), _sum(outputs)
            moments = Moments(n, *(part[None] for part in (x, y, xx, xy, y.new_zeros(()))))
            products = _sum(errors.double() * levels), _sum(errors.double().square())
            yield _StepMoments(moments, *products, of_levels)


def _products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Sum the products of columns over rows, in double precision."""
    total = torch.zeros((), dtype=torch.float64, device=left.device)
    for own, other in zip(left.split(_CHUNK), right.split(_CHUNK), strict=True):
        total = total + own.double().T @ other.double()
    return total


def _sum(*parts: torch.Tensor) -> torch.Tensor:
    """Sum columns, put side by side, over rows, in double precision."""
    return torch.cat([part.sum(0, dtype=torch.float64) for part in parts])


class _Inputs(NamedTuple):
    """Hinges that were drawn, and their principal components, the inputs of regressions."""

    effect: CovariateEffect  # without regressions yet
    components: torch.Tensor  # (n_hinges, n_components)

    def of_steps(self, covariates: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield what covariates give for every step, and the sums of its products.

        The former are `(n, n_inputs)`. Where windows begin one step apart, most of it is that of
        the next window at the step before: only the rest is computed.
        """
        values, squares = covariates.new_empty(0), torch.zeros(())
        for about, is_new in about_every_step(covariates):
            found = self._of(about[is_new])
            if is_new.all():
                values, squares = found, _squares(found)
            else:
                values = values.roll(-1, dims=0)
                squares = squares + _squares(found) - _squares(values[is_new])
                values[is_new] = found
            yield values, squares

    def _of(self, about: torch.Tensor) -> torch.Tensor:
        parts = about.split(_CHUNK)
        components = torch.cat([self.effect.hinges(part) @ self.components for part in parts])
        return torch.cat([components, about], dim=1)

    def with_weights(self, weight: torch.Tensor, intercept: torch.Tensor) -> CovariateEffect:
        """Return the effect of regressions on these inputs."""
        n_components = self.components.shape[1]
        of_components, of_others = weight[:, :n_components], weight[:, n_components:]
        of_hinges = self.components.double() @ of_components
        weight = torch.cat([of_hinges, of_others], dim=1)
        return self.effect.with_weights(weight.float(), intercept.float())


def _squares(values: torch.Tensor) -> torch.Tensor:
    """Sum products of columns with each other over rows, in double precision."""
    n_columns = values.shape[1]
    total = torch.zeros(1, n_columns, n_columns, dtype=torch.float64, device=values.device)
    for part in values.split(_CHUNK):
        add_squares(total, part.double()[None])
    return total[0]


@dataclass
class _StepMoments(Sums):
    """Sums for the regressions of a step, of which each has the level of its target as an input.

    The inputs that all targets share are regressed on once: `moments` has errors and then levels
    as their outputs. What is left of the level explains what is left of the error (Frisch, Waugh
    and Lovell), which gives the ridge regression on all inputs.
    """

    moments: Moments
    products: torch.Tensor  # (n_targets,), errors times levels
    errors: torch.Tensor  # (n_targets,), squared
    levels: torch.Tensor  # (n_targets,), squared

    def without_levels(self) -> "_StepMoments":
        """Return sums of which regressions give levels no weight."""
        return replace(self, levels=torch.zeros_like(self.levels))

    def shared(self, penalty: float) -> _Solution:
        """Regress errors and levels on what all targets share, which takes most of the time."""
        weight, bias = self.moments.ridge(penalty)
        return weight[0], bias[0]

    def ridge(self, penalty: float, shared: _Solution) -> _Solution:
        """Return weights `(n_inputs + 1, n_targets)`, the last of the level, and the intercept.

        `shared` is what :meth:`shared` returns, of these sums with or without levels.
        """
        n_targets, moments = len(self.levels), self.moments
        weight, bias = shared
        mean = moments.y[0] / moments.n
        covariance = moments.xy[0] / moments.n - torch.outer(moments.x[0] / moments.n, mean)
        left = (covariance[:, n_targets:, None] * weight.unflatten(1, (2, -1)).mT).sum(0)
        error, level = mean.split(n_targets)
        product = self.products / moments.n - error * level - left[:, 0]
        variance = self.levels / moments.n - level.square()
        square = variance - left[:, 1] + penalty * variance
        own = torch.where(variance > 0, product / square, 0.0)
        (of_error, of_level), (first, second) = weight.split(n_targets, 1), bias.split(n_targets)
        return torch.cat([of_error - of_level * own, own[None]]), first - second * own

    def squared_error(self, weight: torch.Tensor, intercept: torch.Tensor) -> float:
        """Sum over these windows of the squared error of regressions."""
        own = weight[-1]
        squares = self.errors - 2 * own * self.products + own.square() * self.levels
        y, xy = (
            part[..., : len(own)] - part[..., len(own) :] * own
            for part in (self.moments.y, self.moments.xy)
        )
        rest = replace(self.moments, y=y, xy=xy, yy=squares.sum()[None])
        return rest.squared_error(weight[None, :-1], intercept[None])


@torch.no_grad()
def fit_covariate_effect(
    linear: LinearForecast,
    fold_maps: list[LinearForecast],
    train: WindowData,
    valid: WindowData,
    seed: int,
) -> tuple[LinearForecast, list[LinearForecast]]:
    """Add to a forecast what the covariates of the horizon tell beside the window.

    The validation windows choose the penalty of every step, and whether its covariates add
    anything. Without folds, the errors are those of the forecast itself.

    Returns
    -------
    linear : LinearForecast
        The forecast, with the effect of the covariates.
    fold_maps : list of LinearForecast
        The same, fitted without each of the folds.
    """
    rows = _sample(train, len(train), seed)
    bounds = fold_bounds(len(train))[1:-1] if fold_maps else np.empty(0)
    folds = [
        _Known.of(forecast, train, own)
        for forecast, own in zip(
            fold_maps or [linear], np.split(rows, np.searchsorted(rows, bounds)), strict=True
        )
    ]
    evaluated = _Known.of(linear, valid, _sample(valid, _MOST_EVALUATED, seed))
    n_levels = count_levels(train.X.shape[1:], linear.source_channels, linear.joint)
    inputs = _draw_inputs(folds, _of_course(linear, n_levels), len(rows), seed)
    every = zip(*(fold.moments(inputs) for fold in folds), evaluated.moments(inputs), strict=True)
    steps, penalty = [], MIDDLE_PENALTY
    for *of_folds, of_valid in every:
        solutions, penalty = _fit_step(of_folds, of_valid, penalty)
        steps.append(solutions)
    of_all, *of_folds = (
        inputs.with_weights(*map(torch.stack, zip(*solutions, strict=True)))
        for solutions in zip(*steps, strict=True)
    )
    changed = [
        forecast.with_effect(effect) for forecast, effect in zip(fold_maps, of_folds, strict=False)
    ]
    return linear.with_effect(of_all), changed


def _sample(data: WindowData, most: int, seed: int) -> np.ndarray:
    """Return the rows of a sample of the windows, in order."""
    size = math.prod(data.y.shape[1:]) + data.y.shape[1] * data.n_covariates
    size += _MOST_COMPONENTS + count_about(data.n_covariates)
    n = min(len(data), most, max(_CHUNK, _KEPT // size))
    return np.sort(np.random.default_rng(seed).choice(len(data), n, replace=False))


def _of_course(linear: LinearForecast, n_levels: int) -> torch.Tensor:
    """Tell which scores are of the course of a window, by 1, and which of its levels, by 0."""
    components: torch.Tensor = linear.components  # type: ignore[assignment]  # a fit has some
    is_course = (components[len(components) - n_levels :] == 0).all(0).to(components)
    return is_course if linear.joint else is_course.repeat_interleave(linear.future_shape[1])


def _draw_inputs(
    folds: list[_Known], of_course: torch.Tensor, n_windows: int, seed: int
) -> _Inputs:
    """Draw the hinges: each bends along a random direction, at a random window and step."""
    random = np.random.default_rng(seed)
    covariates = torch.cat([fold.covariates for fold in folds])
    _, horizon, n_covariates = covariates.shape
    n_hinges = max(1, min(_MOST_HINGES, n_windows // _WINDOWS))
    drawn = _draw_directions(n_covariates, n_hinges, random)
    directions = torch.from_numpy(drawn).to(covariates)
    points = _draw_about(covariates, n_hinges, random)
    thresholds = (points.T * directions).sum(0)
    nothing = covariates.new_empty(0)
    summary = _summary(torch.cat([fold.scores for fold in folds]) * of_course)
    effect = CovariateEffect(directions, thresholds, summary, nothing, nothing)
    hinges = effect.hinges(_draw_about(covariates, _N_SAMPLED, random))
    affordable = math.isqrt(_PRODUCTS // (n_windows * horizon))
    return _Inputs(effect, _components(hinges, min(_MOST_COMPONENTS, affordable)))


def _draw_about(covariates: torch.Tensor, n: int, random: np.random.Generator) -> torch.Tensor:
    """Draw windows and steps, with replacement; return the covariates about them."""
    n_windows, horizon, n_covariates = covariates.shape
    rows, steps = random.integers(n_windows, size=n), random.integers(horizon, size=n)
    about = covariates.new_empty(n, count_about(n_covariates))
    for step in range(horizon):
        chosen = steps == step
        about[chosen] = about_step(covariates[rows[chosen]], step)
    return about


def _components(hinges: torch.Tensor, most: int) -> torch.Tensor:
    """Return the leading principal components of hinges `(n, n_hinges)`.

    They are as many as nearly all of the variance takes.
    """
    hinges = hinges.double()
    covariance = torch.cov(hinges.T, correction=0)
    variances, components = torch.linalg.eigh(covariance.view(2 * hinges.shape[1:]))
    left = variances.clamp(min=0.0).cumsum(0)
    n = int((left > _LEFT * left[-1]).sum())
    return components[:, -max(1, min(n, most)) :].float()


def _draw_directions(n_covariates: int, n_hinges: int, random: np.random.Generator) -> np.ndarray:
    """Draw unit vectors `(n_about, n_hinges)` with a few entries that are not zero.

    Those of every other one are of the covariates of the step itself, as far as these suffice.
    """
    n_about = count_about(n_covariates)
    n_entries = random.integers(1, min(_MOST_COVARIATES, n_about), n_hinges, endpoint=True)
    priority = random.random((n_about, n_hinges))
    priority[n_covariates:, ::2] += 1.0
    rank = priority.argsort(axis=0).argsort(axis=0)
    drawn = np.where(rank < n_entries, random.standard_normal(rank.shape), 0.0)
    unit: np.ndarray = drawn / np.sqrt(np.square(drawn).sum(axis=0))
    return unit


def _summary(scores: torch.Tensor) -> torch.Tensor:
    """Return the map from scores to their standardised values, or to these' components if many."""
    deviation = scores.std(0, correction=0)
    unit = torch.where(deviation > _LEAST_DEVIATION * deviation.max(), 1 / deviation, 0.0)
    if scores.shape[1] <= _MOST_SUMMARY:
        return unit.diag()
    standardised = ((scores - scores.mean(0)) * unit).cpu().numpy()
    _, _, components = randomized_svd(standardised, _MOST_SUMMARY, random_state=0)
    return unit[:, None] * torch.from_numpy(components.T.copy()).to(scores)


def _fit_step(
    folds: list[_StepMoments], valid: _StepMoments, first: float
) -> tuple[list[_Solution], float]:
    """Return weight and intercept of the regression and of those without each fold, and a penalty.

    The first penalty that is tried is that of the step before.
    """
    total = functools.reduce(operator.add, folds)
    shared = functools.cache(total.shared)

    def best(train: _StepMoments) -> tuple[float, float]:
        return best_penalty(lambda p: valid.squared_error(*train.ridge(p, shared(p))), first)

    with_levels, without = best(total), best(total.without_levels())
    has_levels = with_levels[1] < _CLEARLY_LESS * without[1]
    penalty, error = with_levels if has_levels else without
    parts = [total, *(total - fold for fold in folds)] if len(folds) > 1 else [total]
    solutions = [
        (part if has_levels else part.without_levels()).ridge(
            penalty, (shared if part is total else part.shared)(penalty)
        )
        for part in parts
    ]
    if error < float(valid.errors.sum()):
        return solutions, penalty
    nothing = [(torch.zeros_like(weight), torch.zeros_like(bias)) for weight, bias in solutions]
    return nothing, penalty
