"""The training loop: labels, interleaved epochs, the forecast's correction, its calibration.

The loop gets the module as an argument and knows only its losses, its sets of parameters and its
forecast.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from . import _schedule
from ._torch_utils import N_BLOCKS, WindowData, fold_bounds, make_generator

# Evaluations draw the same noise every time, so that epochs differ by their weights alone.
_EVALUATION_SEED = 0


@dataclass(frozen=True)
class Settings:
    """What a training run is told beside the module and the data."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    patience: int | None  # epochs without a better validation loss; None: run them all
    seed: int
    # After every epoch: (records so far, function that returns the module as if this were the last
    # one) -> whether to stop
    report: Callable[[list[dict], Callable[[], Any]], bool]
    kl_warmup: bool = False  # the encoder has no start of its own: its KL gets its weight slowly
    # More windows may follow: the forecast's correction learns on, and what they need is kept.
    incremental: bool = False


@dataclass(frozen=True)
class Phase:
    """One part of the training: which loss is lowered, at which rates, and for how long."""

    name: str
    loss: Callable  # (module, batch, generator, kl_weight) -> loss and mean terms
    rates: dict[str, float]  # learning rates of the parameter groups, relative
    max_epochs: int
    patience: int | None
    evaluate: Callable  # (module, validation windows, batch size) -> what they say of the weights
    prepare: Callable[[], None] = lambda: None


@dataclass
class BestWeights:
    """The weights of the lowest validation loss so far, and how long ago that was."""

    module: torch.nn.Module
    loss: float = float("inf")
    n_epochs_since: int = 0
    weights: dict = field(default_factory=dict)

    def update(self, loss: float) -> None:
        """Take the validation loss of the start, or of one more epoch."""
        self.n_epochs_since += 1
        if loss < self.loss:
            self.loss, self.n_epochs_since = loss, 0
            self.weights = {k: v.clone() for k, v in self.module.state_dict().items()}

    def restore(self) -> None:
        """Give the module its best weights back."""
        self.module.load_state_dict(self.weights)


def train(module, data: WindowData, valid: WindowData, settings: Settings) -> list[dict]:
    """Train in place; return a record of every epoch, with its mean terms in nats per window."""
    history: list[dict] = []
    stopped = False
    for phase in _phases(module, settings):
        if stopped:
            break
        phase.prepare()
        draws, optimizer = _Draws(settings.seed, data.device), _optimizer(module, phase, settings)
        best = BestWeights(module)
        best.update(phase.evaluate(module, valid, settings.batch_size)["validation_loss"])
        for epoch in range(1, phase.max_epochs + 1):
            terms = _run_epoch(module, data, phase, settings, optimizer, draws, epoch)
            terms |= phase.evaluate(module, valid, settings.batch_size)
            _check_finite(phase, epoch, terms)
            history.append({"phase": phase.name, "epoch": epoch, **terms})
            best.update(terms["validation_loss"])
            stopped = settings.report(history, partial(_finished, module, valid, settings))
            worn_out = phase.patience is not None and best.n_epochs_since >= phase.patience
            if stopped or worn_out:
                break
        if phase.patience is not None:
            best.restore()
    calibrate_forecast(module, valid, settings.batch_size)
    return history


def _finished(module, valid: WindowData, settings: Settings):
    """Return a copy of a module in training that is ready to forecast."""
    finished = copy.deepcopy(module)
    calibrate_forecast(finished, valid, settings.batch_size)
    return finished


class _Draws:
    """Sources of noise and of the order of windows.

    Anew in every phase, so that it does not matter after how many epochs the last one ended.
    """

    def __init__(self, seed: int, device: torch.device):
        self.generator = make_generator(seed, device)
        self.order = np.random.default_rng(seed)


def _optimizer(module, phase: Phase, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        [
            {"params": parameters, "lr": settings.learning_rate * phase.rates[name]}
            for name, parameters in module.parameter_groups().items()
            if name in phase.rates
        ],
        fused=True,
    )


def _phases(module, settings: Settings) -> list[Phase]:
    """Labels alone and a forecast's correction alone where there are any; all together between."""
    marginal = Phase(
        "marginal",
        marginal_loss,
        _schedule.MARGINAL_RATES,
        min(_schedule.MARGINAL_EPOCHS, settings.max_epochs),
        settings.patience and min(_schedule.MARGINAL_PATIENCE, settings.patience),
        partial(evaluate_loss, loss=marginal_loss),
    )
    interleaved = Phase(
        "interleaved",
        interleaved_loss,
        _schedule.INTERLEAVED_RATES,
        settings.max_epochs,
        settings.patience,
        partial(evaluate_loss, loss=interleaved_loss),
    )
    phases = [marginal, interleaved] if module.has_marginal else [interleaved]
    if "forecast" in module.parameter_groups():
        phases.append(_forecast_phase(module, settings))
    return phases


def _forecast_phase(module, settings: Settings) -> Phase:
    return Phase(
        "forecast",
        forecast_loss,
        _schedule.FORECAST_RATES,
        settings.max_epochs,
        settings.patience and min(_schedule.FORECAST_PATIENCE, settings.patience),
        evaluate_forecast,
        (lambda: None) if settings.incremental else module.restart_forecast,
    )


def marginal_loss(module, batch, generator, kl_weight):
    """Cross-entropy and KL of b: what the marginal step of the interleaving lowers."""
    x, _, labels, _ = batch
    kl_b, cross_entropy = module.marginal_terms(module.infer_marginal(x, generator), labels)
    means = {"kl_b": kl_b.detach().mean(), "cross_entropy": cross_entropy.detach().mean()}
    return (kl_b + cross_entropy).mean(), means


def interleaved_loss(module, batch, generator, kl_weight):
    """Sum of the losses of the marginal and of the conditional step.

    Their parameter sets are disjoint and b is detached where it enters the conditional path, so
    the gradient of the sum is that of either step for its own parameters: both steps are taken
    from the same point, at the cost of one.
    """
    x, y, labels, folds = batch
    terms = module.loss(x, y, labels, generator, folds)
    return terms.objective(kl_weight).mean(), terms.means()


def forecast_loss(module, batch, generator, kl_weight):
    """Mean squared error of the futures, given latent variables that stay as they are."""
    x, y, _, folds = batch
    squared_error = (module.frozen_forecast(x, generator, folds) - y).square().mean()
    return squared_error, {"squared_error": squared_error.detach()}


def _run_epoch(module, data, phase, settings, optimizer, draws, epoch):
    n_batches = -(-len(data) // settings.batch_size)
    totals: dict = {}
    bounds = fold_bounds(len(data))
    for i, rows in enumerate(np.array_split(draws.order.permutation(len(data)), n_batches)):
        passed = epoch - 1 + (i + 1) / n_batches
        kl_weight = _schedule.kl_weight(passed) if settings.kl_warmup else 1.0
        folds = torch.from_numpy(np.searchsorted(bounds[1:], rows, side="right")).to(data.device)
        loss, means = phase.loss(module, (*data.batch(rows), folds), draws.generator, kl_weight)
        if not torch.isfinite(loss):
            _check_finite(phase, epoch, {**means, "loss": loss})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        _accumulate(totals, means, len(rows) / len(data))
    return {name: float(total) for name, total in totals.items()}


@torch.no_grad()
def evaluate_loss(module, valid: WindowData, batch_size: int, loss: Callable) -> dict[str, float]:
    """Mean loss and terms on the validation windows."""
    generator = make_generator(_EVALUATION_SEED, valid.device)
    totals: dict = {}
    for batch in valid.batches(batch_size):
        value, means = loss(module, (*batch, None), generator, 1.0)
        _accumulate(totals, {"loss": value, **means}, len(batch[0]) / len(valid))
    return {f"validation_{name}": float(total) for name, total in totals.items()}


def evaluate_forecast(module, valid: WindowData, batch_size: int) -> dict[str, float]:
    """Mean squared error on the validation windows once the correction is shrunk at its best."""
    squared_error = float(best_shrinkage(module, valid, batch_size)[1].mean())
    return {"validation_loss": squared_error, "validation_squared_error": squared_error}


def _accumulate(totals: dict, means: dict, weight: float) -> None:
    for name, value in means.items():
        totals[name] = totals.get(name, 0.0) + weight * value.detach()


def _check_finite(phase: Phase, epoch: int, terms: dict) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The training term '{name}' became {float(value)} in epoch {epoch} of the "
                f"{phase.name} phase. Lower 'learning_rate', or look for extreme values in 'X'."
            )


def calibrate_forecast(module, valid: WindowData, batch_size: int) -> None:
    """Shrink the correction of the forecast, and set its noise, by validation windows.

    The noise is that of windows which chose the model, and so a little too small.
    """
    factor, squared_error = best_shrinkage(module, valid, batch_size)
    module.set_forecast_calibration(factor, squared_error.sqrt())


@torch.no_grad()
def best_shrinkage(module, data: WindowData, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose by how much the correction of each target is shrunk, `(n_targets,)`, from 0 to 1.

    The mean squared errors that the forecast then has are `(horizon, n_targets)`. No target's error
    is larger than that of the linear forecast. The correction is one network for all targets:
    where no common factor surely gains, it is trusted for none of them.
    """
    squared = product = torch.zeros((), device=data.device)
    gains = []  # of every window: what is linear and what is quadratic in the factor
    for batch in data.batches(batch_size):
        sums = _sums_for_shrinkage(module, *batch[:2])
        gains.append(sums[0])
        squared, product = squared + sums[1], product + sums[2]
    gains = torch.cat(gains, dim=1)
    factor = _sure_factor(*gains) * (_sure_factor(*gains.sum(2, keepdim=True)) > 0)
    error = squared[0] - 2 * factor * product + factor.square() * squared[1]
    return factor, error.clamp(min=0.0) / len(data)


def _sums_for_shrinkage(module, x: torch.Tensor, y: torch.Tensor):
    """Sum the products of residuals and corrections over steps, and squares and both over windows.

    They are `(2, n, n_targets)`, `(2, horizon, n_targets)` and `(horizon, n_targets)`.
    """
    start, correction = (part.double() for part in module.forecast_parts(x))
    residual = y - start
    linear, quadratic = residual * correction, correction.square()
    gains = torch.stack([linear.sum(1), quadratic.sum(1)])
    return gains, torch.stack([residual.square().sum(0), quadratic.sum(0)]), linear.sum(0)


def _sure_factor(linear: torch.Tensor, quadratic: torch.Tensor) -> torch.Tensor:
    """Return the factors f that gain most, in 2 f linear - f² quadratic `(n, n_targets)`, for sure.

    What counts is the gain less two standard errors over consecutive blocks of windows: neighbours
    tell much the same.
    """
    blocks = torch.stack(
        [
            torch.stack([part.sum(0) for part in sums.tensor_split(min(N_BLOCKS, len(sums)))])
            for sums in (linear, quadratic)
        ]
    )
    factors = torch.linspace(0, 1, 101).to(linear)[:, None, None]
    gains = 2 * factors * blocks[0] - factors.square() * blocks[1]
    error = 2 * gains.std(1) / gains.shape[1] ** 0.5 if gains.shape[1] > 1 else 0.0
    return factors[(gains.mean(1) - error).argmax(0), 0, 0]
