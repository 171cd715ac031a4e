"""The phases of the training, and the loss that each lowers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from .._data.batches import WindowData, WindowSample
from .._data.devices import make_generator
from . import schedule
from .checkpoint import Checkpoint
from .distributed import Processes
from .shrinkage import best_shrinkage

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
    checkpoint: Checkpoint | None = None  # where to go on from, and what to write after every epoch
    # Those that share the batches; the first one reports for all.
    processes: Processes = field(default_factory=Processes)


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


def phases_of(module, settings: Settings) -> list[Phase]:
    """Labels alone and a forecast's correction alone where there are any; all together between."""
    marginal = Phase(
        "marginal",
        marginal_loss,
        schedule.MARGINAL_RATES,
        min(schedule.MARGINAL_EPOCHS, settings.max_epochs),
        settings.patience and min(schedule.MARGINAL_PATIENCE, settings.patience),
        partial(evaluate_loss, loss=marginal_loss),
    )
    interleaved = Phase(
        "interleaved",
        interleaved_loss,
        schedule.INTERLEAVED_RATES,
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
        schedule.FORECAST_RATES,
        settings.max_epochs,
        settings.patience and min(schedule.FORECAST_PATIENCE, settings.patience),
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
    x, y, labels, held_out = batch
    terms = module.loss(x, y, labels, generator, held_out)
    return terms.objective(kl_weight).mean(), terms.means()


def forecast_loss(module, batch, generator, kl_weight):
    """Mean squared error of the futures, given latent variables that stay as they are."""
    x, y, _, held_out = batch
    squared_error = (module.frozen_forecast(x, generator, held_out) - y).square().mean()
    return squared_error, {"squared_error": squared_error.detach()}


@torch.no_grad()
def evaluate_loss(
    module, valid: WindowData | WindowSample, batch_size: int, loss: Callable
) -> dict[str, float]:
    """Mean loss and terms on the validation windows."""
    generator = make_generator(_EVALUATION_SEED, valid.device)
    terms, sizes = [], []
    for batch in valid.batches(batch_size):
        value, means = loss(module, (*batch, None), generator, 1.0)
        terms.append({"loss": value, **means})
        sizes.append(len(batch[0]))
    means = weighted_means(terms, sizes)
    return {f"validation_{name}": mean for name, mean in means.items()}


def evaluate_forecast(
    module, valid: WindowData | WindowSample, batch_size: int
) -> dict[str, float]:
    """Mean squared error on the validation windows once the correction is shrunk at its best."""
    squared_error = float(best_shrinkage(module, valid, batch_size)[1].mean())
    return {"validation_loss": squared_error, "validation_squared_error": squared_error}


def weighted_means(terms: list[dict[str, torch.Tensor]], sizes: list[int]) -> dict[str, float]:
    """Mean of every term over windows, given its means over batches of some sizes."""
    weights = np.array(sizes) / sum(sizes)
    columns = {name: torch.stack([means[name] for means in terms]) for name in terms[0]}
    return {
        name: float(weights @ column.cpu().double().numpy()) for name, column in columns.items()
    }
