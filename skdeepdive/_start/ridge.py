"""Ridge regression from windows to futures, the closed-form start of the forecast.

Moments are summed in double precision, over batches or from the series that the windows are views
of: windows are never in memory together. Validation windows choose the regularisation.
"""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from .._data.batches import WindowData, consecutive_folds, rows_per_batch
from .._data.series_sums import series_of, sum_of_products, sum_of_steps
from ..nn.linear_forecast import (
    LinearForecast,
    count_levels,
    regression_inputs,
    regression_outputs,
)
from .sums import MIDDLE_PENALTY, PENALTIES, ROUNDING, Moments, descend

# Window entries above which the second moments of all of them together are not formed.
MAX_JOINT_ENTRIES = 4096

# Rounding errors that subtracting last values leaves in the moments, for each of the inputs,
# relative to the squares before. The windows of a straight line have no other variance.
_LOST = 100 * ROUNDING

# Rounds in which missing futures are filled by what the regression so far expects.
_N_ROUNDS = 2

# Ratios of the penalties halfway to the neighbours of the best one.
_HALF_STEPS = (10**-0.5, 10**0.5)

# Values of series that are summed at once (32 MB in double precision).
_SERIES_ENTRIES = 2**22

# Principal components of the inputs, the input of class maps; regressions side by side share them.
_MOST_COMPONENTS = 128
_FEWEST_COMPONENTS = 8


@dataclass(frozen=True)
class _Design:
    """Inputs and outputs of one way to set the forecast regression up."""

    joint: bool  # one regression from all channels, or one for each target from its source channel
    source_channels: torch.Tensor | None

    def moments(self, data: WindowData) -> Moments:
        widest = max(data.X.shape[2], data.y.shape[2])
        n_parts = 1 + len(data) * widest // _SERIES_ENTRIES
        bounds = np.linspace(0, len(data), n_parts + 1).astype(int)
        parts = (self._moments_of_part(data.part(slice(*pair))) for pair in pairwise(bounds))
        return functools.reduce(operator.add, parts)

    def _moments_of_part(self, data: WindowData) -> Moments:
        past, future = series_of(data.X), series_of(data.y)
        if past is None or future is None or data.has_gaps:
            return Moments.of(self._batches(data))
        past = data.x_scaling.apply(past, np.float64).T
        future = data.y_scaling.apply(future, np.float64).T
        sums = self._sums_of_series(past, future, len(data))
        return Moments(len(data), *(torch.from_numpy(part).to(data.device) for part in sums))

    def _sums_of_series(self, past: np.ndarray, future: np.ndarray, n: int):
        """Sum over the n windows of series `(n_channels, n_steps)`, and over their futures.

        They are summed as the series have them; that last values are subtracted follows.
        """
        channels = None if self.source_channels is None else self.source_channels.cpu().numpy()
        if self.joint:
            past, future = past[None], future[None]
        else:  # a group for each target, with the one channel that it continues
            past, future = past[channels][:, None], future[:, None]
            channels = np.zeros(1, dtype=int)
        x, y = (sum_of_steps(series, n).swapaxes(1, 2) for series in (past, future))
        xx, xy = sum_of_products(past, past, n), sum_of_products(past, future, n)
        yy = sum_of_steps(future**2, n).sum((1, 2))
        if channels is not None:
            horizon, targets = y.shape[1], range(len(channels))
            yy += horizon * xx[:, -1, channels, -1, channels].sum(1)
            yy -= 2 * xy[:, -1][:, channels, :, targets].sum((0, 2))
            y -= x[:, -1:, channels]
            xy -= xx[:, :, :, -1:, channels]
            steps = slice(-1 if self.joint else None)
            diagonal = np.einsum("gtctc->gtc", xx)
            rounding = _LOST * x[0].size * diagonal.mean((1, 2), keepdims=True)
            for sums in (x, xy, xx, xx.transpose(0, 3, 4, 1, 2)):
                sums[:, steps] -= sums[:, -1:].copy()
            diagonal += rounding  # a view
        n_inputs, n_outputs = x[0].size, y[0].size
        shapes = (n_inputs,), (n_outputs,), (n_inputs, n_inputs), (n_inputs, n_outputs), ()
        return [
            part.reshape(len(part), *shape)
            for part, shape in zip((x, y, xx, xy, yy), shapes, strict=True)
        ]

    def _batches(self, data: WindowData):
        for batch in data.batches(rows_per_batch(data)):
            x, y = batch.x.double(), batch.y.double()
            if self.source_channels is not None:
                y = y - x[:, -1:, self.source_channels]
            inputs = regression_inputs(x, self.source_channels, self.joint)
            yield inputs, regression_outputs(y, self.joint)

    def forecast(self, weight, intercept, components, future_shape, varies=None) -> LinearForecast:
        return LinearForecast(
            weight.float(),
            intercept.float(),
            future_shape,
            joint=self.joint,
            source_channels=self.source_channels,
            components=components,
            varies=varies,
        )


@dataclass
class _Fit:
    """A choice of design and penalty, with its squared error on the validation windows."""

    error: float
    design: _Design
    penalty: float
    pooled: bool
    moments: Moments  # of the training windows, side by side
    solution: tuple[torch.Tensor, torch.Tensor]  # weight and intercept

    def forecast(
        self, components: torch.Tensor | None, future_shape, without: Moments | None = None
    ) -> LinearForecast:
        """Return the forecast of all training windows, or that without some of them."""
        weight, intercept = self.solution
        if without is not None:
            moments = self.moments - without
            moments = moments.pooled() if self.pooled else moments
            weight, intercept = moments.ridge(self.penalty)
        # Side by side, the outputs of every target are its differences from the last value.
        varies = (self.moments.yy > 0).float() if self.pooled else None
        return self.design.forecast(weight, intercept, components, future_shape, varies)


def fit_linear_forecast(
    train: WindowData, valid: WindowData, candidates: list[torch.Tensor | None]
) -> tuple[LinearForecast, list[LinearForecast]]:
    """Fit the linear forecast that has the least squared error on the validation windows.

    The choice is between maps from all channels, maps from a target's own channel and one such
    map shared by all targets, each under several penalties.

    Parameters
    ----------
    train, valid : WindowData
    candidates : list of tensor of shape (n_targets,) or None
        Channels that the targets may continue, the likeliest first; None for no correspondence.

    Returns
    -------
    forecast : LinearForecast
    fold_maps : list of LinearForecast
        The same, fitted without each of the consecutive folds of the training windows.
    """
    designs = _designs(candidates, train.X[0].size)
    train, valid = _with_expected_futures(designs, train, valid)
    best = _best(designs, train, valid)
    design = best.design
    n_levels = count_levels(train.X.shape[1:], design.source_channels, design.joint)
    components = principal_components(best.moments, n_levels).to(train.device)

    future_shape = train.y.shape[1:]
    fold_maps = [
        best.forecast(components, future_shape, design.moments(fold))
        for fold in consecutive_folds(train)
    ]
    return best.forecast(components, future_shape), fold_maps


def _with_expected_futures(
    designs: list[_Design], train: WindowData, valid: WindowData
) -> tuple[WindowData, WindowData]:
    """Fill gaps of futures by their expectation under the regression: the EM algorithm.

    Zeros, the first filling, shrink the regression by the share that was observed.
    """
    if train.shares is None:
        return train, valid
    unit = train.shares
    for _ in range(_N_ROUNDS):
        best = _best(designs, train, valid)
        linear = best.forecast(None, train.y.shape[1:]).to(train.device)
        expect = functools.partial(_expect, linear, unit)
        train, valid = (replace(data, expect=expect) for data in (train, valid))
        unit = torch.ones_like(unit)
    return train, valid


def _expect(
    linear: LinearForecast, unit: torch.Tensor, x: torch.Tensor, covariates: torch.Tensor | None
) -> torch.Tensor:
    return linear(x) / unit


def _best(designs: list[_Design], train: WindowData, valid: WindowData) -> _Fit:
    return min((_best_of(design, train, valid) for design in designs), key=lambda fit: fit.error)


def _best_of(design: _Design, train: WindowData, valid: WindowData) -> _Fit:
    """Choose the penalty, and whether targets share their map, on the validation windows."""
    moments, validation = design.moments(train), design.moments(valid)
    pairs = [(False, moments, validation)]
    if not design.joint and train.y.shape[2] > 1:
        pairs.append((True, moments.pooled(), validation.pooled()))

    def fit(pooled, own, other):
        few, few_others = own.sketched(), other.sketched()
        penalty, _ = best_penalty(lambda p: few_others.squared_error(*few.ridge(p)))
        solution = own.ridge(penalty)
        return _Fit(other.squared_error(*solution), design, penalty, pooled, moments, solution)

    return min((fit(*pair) for pair in pairs), key=operator.attrgetter("error"))


def best_penalty(
    error: Callable[[float], float], first: float = MIDDLE_PENALTY
) -> tuple[float, float]:
    """Return the penalty of a least error, and the error.

    The search begins at the first one, and ends halfway between the best of the penalties and one
    of its neighbours.
    """
    error = functools.cache(error)
    best = descend(error, PENALTIES, first)
    near = [best, *(best * step for step in _HALF_STEPS)]
    return min(((penalty, error(penalty)) for penalty in near), key=operator.itemgetter(1))


def principal_components(moments: Moments, n_levels: int) -> torch.Tensor:
    """Leading principal components of the inputs of all regressions, `(n_inputs, n_components)`.

    Each is either of the last `n_levels` inputs, the levels of channels, or of all others.
    """
    square = moments.xx.sum(0).cpu().numpy()
    most = max(_FEWEST_COMPONENTS, _MOST_COMPONENTS // len(moments.xx))
    n_course = len(square) - n_levels
    values, vectors = [], []
    for block in (slice(n_course), slice(n_course, None)) if n_levels else (slice(None),):
        own = square[block, block]
        found, of_found, _ = randomized_svd(own, min(most, len(own)), random_state=0)
        placed = np.zeros((len(square), len(of_found)))
        placed[block] = found
        values.append(of_found)
        vectors.append(placed)
    leading = np.argsort(-np.concatenate(values), kind="stable")[:most]
    return torch.from_numpy(np.concatenate(vectors, axis=1)[:, leading]).float()


def _designs(candidates, n_entries: int) -> list[_Design]:
    """All channels for the likeliest candidate and for None, own channels for all but None."""
    joint = [_Design(True, a) for i, a in enumerate(candidates) if i == 0 or a is None]
    own = [
        _Design(False, source_channels)
        for source_channels in candidates
        if source_channels is not None
    ]
    return own if n_entries > MAX_JOINT_ENTRIES else joint + own
