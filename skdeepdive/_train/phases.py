"""The phases of the training: which loss each lowers, how fast and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from .._data.batches import Batch, WindowData, WindowSample
from .._data.draws import Draws, make_generator
from .module import DeepDIVEModule, Module, OutOfFold
from .shrinkage import best_shrinkage

# The marginal path is first trained on the labels alone, for at most this many epochs, so that the
# decoders meet clusters that hardly move any more.
MARGINAL_EPOCHS = 10
MARGINAL_PATIENCE = 1

# Learning rates of the parameter groups, by the names that `Module.parameter_groups` gives them,
# relative to the estimator's. The discriminants are at their optimum before training, and the whole
# marginal path is near its own after the marginal phase.
MARGINAL_RATES = {"marginal": 0.3, "discriminant": 0.03}
INTERLEAVED_RATES = {"conditional": 1.0, "forecast": 1.0, "marginal": 0.1, "discriminant": 0.01}

# The correction overfits long before the rest has learnt to reconstruct. So in the last phase it is
# trained anew on the finished latent variables. Early stopping follows its validation error after
# shrinkage: a correction that overfits can still lower the error once it is shrunk.
FORECAST_PATIENCE = 3
FORECAST_RATES = {"forecast": 2.0}

# Means of latent variables that are kept (128 MB); more are computed again for every batch.
_MOST_KEPT = 2**25

# The weight of the KL grows to 1 over this many epochs where the encoder has no closed-form start.
KL_WARMUP_EPOCHS = 5

# The phase that trains all parameters; `max_epochs` and `n_iter_` count its epochs.
INTERLEAVED = "interleaved"

# Evaluations draw the same numbers every time, so that epochs differ by their weights alone.
_EVALUATION_SEED = 0

Means = dict[str, torch.Tensor]

Describe = Callable[[WindowData, OutOfFold | None], tuple[WindowData, OutOfFold | None]]


@dataclass(frozen=True)
class Phase:
    """One part of the training.

    Attributes
    ----------
    name : str
    loss : callable
        (module, batch, draws, **options) -> the loss and the mean of each of its terms. Training
        passes the options `kl_weight`, `out_of_fold` and `dropout`, evaluation none.
    rates : dict of str to float
        Learning rates of the parameter groups that are trained, relative to the estimator's.
    max_epochs : int
    patience : int or None
        Epochs without a better validation loss before the phase ends; None: it runs to its end.
    evaluate : callable
        (module, validation windows, batch size) -> mean terms on these windows, by name; early
        stopping follows "validation_loss".
    prepare : callable
        Called before the phase begins.
    describe : callable
        (training windows, their out-of-fold forecasts) -> the same with what stays as it is in this
        phase, computed once.
    kl_weight : callable
        Number of epochs so far, a fraction counts -> weight of the KL.
    """

    name: str
    loss: Callable[..., tuple[torch.Tensor, Means]]
    rates: dict[str, float]
    max_epochs: int
    patience: int | None
    evaluate: Callable[[Any, WindowData | WindowSample, int], dict[str, float]]
    prepare: Callable[[], None] = lambda: None
    describe: Describe = lambda data, out_of_fold: (data, out_of_fold)
    kl_weight: Callable[[float], float] = lambda epochs: 1.0


def deepdive_phases(
    module: DeepDIVEModule,
    max_epochs: int,
    patience: int | None,
    *,
    restart_correction: bool = True,
) -> list[Phase]:
    """Labels alone, if there are any, then labels and the rest interleaved, then the forecast.

    `restart_correction` says whether the last phase trains the correction anew.
    """
    marginal = Phase(
        "marginal",
        marginal_loss,
        MARGINAL_RATES,
        min(MARGINAL_EPOCHS, max_epochs),
        patience and min(MARGINAL_PATIENCE, patience),
        partial(evaluate_loss, loss=marginal_loss),
    )
    forecast = Phase(
        "forecast",
        forecast_loss,
        FORECAST_RATES,
        max_epochs,
        patience and min(FORECAST_PATIENCE, patience),
        evaluate_forecast,
        module.forecast_decoder.restart if restart_correction else lambda: None,
        partial(with_means, module),
    )
    interleaved = interleaved_phase(max_epochs, patience)
    return [*([marginal] if module.has_marginal else []), interleaved, forecast]


def interleaved_phase(max_epochs: int, patience: int | None, **options: Any) -> Phase:
    """All parameters on the whole objective: the only phase of the baselines."""
    evaluate = partial(evaluate_loss, loss=interleaved_loss)
    return Phase(
        INTERLEAVED,
        interleaved_loss,
        INTERLEAVED_RATES,
        max_epochs,
        patience,
        evaluate,
        **options,
    )


def warmed_up(epochs: float) -> float:
    """Weight of the KL, from 0 to 1, where the encoder has no closed-form start."""
    return min(1.0, epochs / KL_WARMUP_EPOCHS)


def marginal_loss(
    module: DeepDIVEModule, batch: Batch, draws: Draws, **options: Any
) -> tuple[torch.Tensor, Means]:
    """Cross-entropy and KL of b: what the marginal step of the interleaving lowers."""
    latents = module.infer_marginal(module.features.of(batch), draws)
    kl_b, cross_entropy = module.marginal_terms(latents, batch.labels)
    means = {"kl_b": kl_b.detach().mean(), "cross_entropy": cross_entropy.detach().mean()}
    return (kl_b + cross_entropy).mean(), means


def interleaved_loss(
    module: Module, batch: Batch, draws: Draws, *, kl_weight: float = 1.0, **options: Any
) -> tuple[torch.Tensor, Means]:
    """Sum of the losses of the marginal and of the conditional step.

    Their parameter sets are disjoint and b is detached where it enters the conditional path, so
    the gradient of the sum is that of either step for its own parameters: both steps are taken
    from the same point, at the cost of one.
    """
    terms = module.loss(batch, draws, **options)
    return terms.objective(kl_weight).mean(), terms.means()


def forecast_loss(
    module: DeepDIVEModule,
    batch: Batch,
    draws: Draws,
    *,
    kl_weight: float = 1.0,
    out_of_fold: Any = None,
    dropout: bool = False,
) -> tuple[torch.Tensor, Means]:
    """Mean squared error of the futures, given latent variables that stay as they are."""
    forecast = module.forecast_at_means(
        batch, out_of_fold=out_of_fold, dropout_draws=draws if dropout else None
    )
    squared_error = batch.weigh((forecast - batch.y).square()).mean()
    return squared_error, {"squared_error": squared_error.detach()}


def with_means(
    module: DeepDIVEModule, data: WindowData, out_of_fold: OutOfFold | None
) -> tuple[WindowData, OutOfFold | None]:
    """Return windows with the means of latent variables, and forecasts with what classes add.

    If there is no room for the means, both are returned as they were.
    """
    if len(data) * module.means_for_forecast(data.batch(slice(0, 1))).numel() > _MOST_KEPT:
        return data, out_of_fold
    means = data.collect(module.means_for_forecast, module.n_classes)
    if out_of_fold is not None:
        responses = means[:, means.shape[1] - module.n_classes :]
        out_of_fold = out_of_fold.completed_by(responses, module.class_counts)
    return replace(data, means=means), out_of_fold


@torch.no_grad()
def evaluate_loss(
    module: Module, valid: WindowData | WindowSample, batch_size: int, loss: Callable
) -> dict[str, float]:
    """Mean loss and terms on the validation windows."""
    draws = Draws(make_generator(_EVALUATION_SEED, valid.device))
    terms, sizes = [], []
    for batch in valid.batches(batch_size):
        value, means = loss(module, batch, draws)
        terms.append({"loss": value, **means})
        sizes.append(len(batch))
    return {f"validation_{name}": mean for name, mean in weighted_means(terms, sizes).items()}


def evaluate_forecast(
    module: Module, valid: WindowData | WindowSample, batch_size: int
) -> dict[str, float]:
    """Mean squared error on the validation windows, with the best shrinkage of the correction."""
    squared_error = float(best_shrinkage(module, valid, batch_size)[1].mean())
    return {"validation_loss": squared_error, "validation_squared_error": squared_error}


def weighted_means(terms: list[Means], sizes: list[int]) -> dict[str, float]:
    """Mean of every term over windows, given its means over batches of some sizes."""
    weights = np.array(sizes) / sum(sizes)
    columns = {name: torch.stack([means[name] for means in terms]) for name in terms[0]}
    return {
        name: float(weights @ column.cpu().double().numpy()) for name, column in columns.items()
    }
