"""The training loop: labels, interleaved epochs, the forecast's correction, its calibration.

The loop gets the module as an argument and knows only its losses, its sets of parameters and its
forecast.
"""

import copy
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._data.batches import WindowData, fold_bounds, rows_per_batch
from .._data.devices import make_generator
from . import schedule
from .adam import Adam
from .checkpoint import State
from .phases import Phase, Settings, phases_of, weighted_means
from .shrinkage import calibrate_forecast

# Held-out windows, drawn at random, that an epoch is judged by: more tell little else, for they
# overlap, and would take up to a fifth of the time. What is kept in the end is calibrated on all.
_MOST_EVALUATED = 512

# Values of linear forecasts, which stay as they are, that are kept of the training windows (64 MB).
# More are computed again for every batch.
_MOST_KEPT = 2**24

# Windows that are evaluated at a time; fewer where they are large.
_EVALUATION_BATCH = 256

# A run that diverges goes on from its last good epoch in steps of a tenth, this many times.
_SMALLER_STEP = 0.1
_MOST_ROLLBACKS = 3

# PyTorch's words for it: on Linux, on Windows, and on accelerators.
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)


@dataclass
class BestWeights:
    """The weights of the lowest validation loss so far, and how long ago that was."""

    module: torch.nn.Module
    loss: float = float("inf")
    n_epochs_since: int = 0
    weights: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = self.weights or _copies(self.module.state_dict())

    def update(self, loss: float) -> None:
        """Take the validation loss of the start, or of one more epoch."""
        self.n_epochs_since += 1
        if loss < self.loss:
            self.weights = _copies(self.module.state_dict())
            self.loss, self.n_epochs_since = loss, 0

    def restore(self) -> None:
        """Give the module its best weights back."""
        self.module.load_state_dict(self.weights)


def train(module, data: WindowData, valid: WindowData, settings: Settings) -> list[dict]:
    """Train in place; return a record of every epoch, with its mean terms in nats per window.

    An interrupt ends the training, but not the program: the module has its best weights so far
    and is made ready to forecast. A second one, while that is done, has its usual effect, and so
    has one among several processes, for the others cannot go on.

    Warns
    -----
    ConvergenceWarning
        If training is interrupted; if a term is not finite, and training goes on from the last
        good epoch in smaller steps.

    Raises
    ------
    FloatingPointError
        If a term is not finite in the smallest steps either.
    MemoryError
        If a batch does not fit into memory.
    ValueError
        If batches have too few windows for every process to have one.
    """
    run = _Run(module, data, valid, settings)
    try:
        run.train()
    except KeyboardInterrupt:
        if settings.processes.size > 1:
            raise
        run.best.restore()
        warnings.warn(
            f"Training was interrupted in {run.moment}. The best weights so far are kept, and what "
            "would have followed is left out. To train to the end, fit again.",
            ConvergenceWarning,
            stacklevel=2,
        )
    else:
        if settings.checkpoint:
            settings.checkpoint.is_done = True
    with memory_for(settings.batch_size):
        calibrate_forecast(module, valid, settings.batch_size)
    return run.history


class _Run:
    """A training run: what changes from epoch to epoch, and how it is taken back."""

    def __init__(self, module, data: WindowData, valid: WindowData, settings: Settings):
        self.module, self.data, self.valid, self.settings = module, data, valid, settings
        self.evaluated = valid.sample(_MOST_EVALUATED, settings.seed)
        self.evaluation_batch = min(_EVALUATION_BATCH, rows_per_batch(valid))
        self.processes = settings.processes
        self.n_batches = -(-len(data) // settings.batch_size)
        if len(data) // self.n_batches < self.processes.size:
            raise ValueError(
                f"'batch_size' must leave every one of {self.processes.size} processes a window of "
                f"each batch, got {settings.batch_size}."
            )
        self.held_out = _hold_out(module, data)
        self.phases = phases_of(module, settings)
        self.phase, self.epoch, self.n_rollbacks = self.phases[0], 0, 0
        self.history: list[dict] = []
        self.best = BestWeights(module)

    @property
    def moment(self) -> str:
        """Where in the training the run is."""
        epoch = min(self.epoch + 1, self.phase.max_epochs)
        return f"epoch {epoch} of the {self.phase.name} phase"

    @property
    def learning_rate(self) -> float:
        """Step size, smaller after every time that the run diverged."""
        return self.settings.learning_rate * _SMALLER_STEP**self.n_rollbacks

    def train(self) -> None:
        """Go through all phases, or those that a checkpoint leaves, unless a report stops the run.

        Raises
        ------
        ValueError
            If the checkpoint is that of another fit.
        """
        checkpoint = self.settings.checkpoint
        saved = self.processes.first(lambda: checkpoint and checkpoint.read())
        names = [phase.name for phase in self.phases]
        first = names.index(saved.record["phase"]) if saved else 0
        for phase in self.phases[first:]:
            self._begin(phase)
            if saved:
                self._restore(saved, saved.record["n_rollbacks"])
                saved = None
            self._keep()
            if self._train_phase():
                break

    def _keep(self) -> None:
        self.good = self._state()
        self.processes.first(self._write_checkpoint)

    def _write_checkpoint(self) -> None:
        if self.settings.checkpoint:
            self.settings.checkpoint.write(self.good)

    def _begin(self, phase: Phase) -> None:
        self.phase, self.epoch = phase, 0
        phase.prepare()
        self.draws = _Draws(self.settings.seed, self.data.device)
        self.optimizer = self._optimizer()
        best = BestWeights(self.module)
        best.update(self.processes.first(self._evaluate)["validation_loss"])
        self.best = best  # until now an interrupt goes back to those of the phase before

    def _train_phase(self) -> bool:
        """Run the epochs of the phase; return whether a report stopped them."""
        patience, stopped = self.phase.patience, False
        while not stopped and self.epoch < self.phase.max_epochs:
            if patience is not None and self.best.n_epochs_since >= patience:
                break
            terms = self._run_epoch()
            wrong = next((name for name in terms if not math.isfinite(terms[name])), None)
            if wrong is None:
                stopped = self._finish_epoch(terms)
            else:
                self._roll_back(wrong, terms[wrong])
        if patience is not None:
            self.best.restore()
        return stopped

    def _finish_epoch(self, terms: dict[str, float]) -> bool:
        self.epoch += 1
        about = {"phase": self.phase.name, "epoch": self.epoch, "learning_rate": self.learning_rate}
        self.history.append({**about, **terms})
        self.best.update(terms["validation_loss"])
        finished = partial(_finished, self.module, self.valid, self.settings)
        stopped = self.settings.report(self.history, finished)
        if not stopped:
            self._keep()
        return stopped

    def _roll_back(self, term: str, value: float) -> None:
        """Go on from the last good epoch in smaller steps; too often is an error.

        An epoch that fails once more starts from the best weights: those of the epoch before may
        be finite, but far out.
        """
        problem = (
            f"The training term '{term}' became {value} in {self.moment}, with a learning rate of "
            f"{self.learning_rate:.2g}."
        )
        advice = "Lower 'learning_rate', or look for extreme values in 'X' and 'y'."
        if self.n_rollbacks == _MOST_ROLLBACKS:
            raise FloatingPointError(f"{problem} Larger ones had failed as well. {advice}")
        again = self.n_rollbacks > self.good.record["n_rollbacks"]
        self._restore(self.good, self.n_rollbacks + 1)
        if again:
            self.best.restore()
            self.optimizer = self._optimizer()
        if not self.processes.is_first:
            return
        warnings.warn(
            f"{problem} Training goes on from {'its best weights' if again else 'the epoch before'}"
            f", with {self.learning_rate:.2g}. {advice}",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _state(self) -> State:
        tensors = {f"best.{name}": weights for name, weights in self.best.weights.items()}
        if self.best.n_epochs_since:
            tensors |= _copies(self.module.state_dict(), "last.")
        tensors |= _copies(self.optimizer.moments(), "optimizer.")
        tensors["best_loss"] = torch.tensor(self.best.loss, dtype=torch.float64)
        tensors["noise"] = self.draws.generator.get_state()
        record = {
            "phase": self.phase.name,
            "epoch": self.epoch,
            "n_epochs_since": self.best.n_epochs_since,
            "n_rollbacks": self.n_rollbacks,
            "order": self.draws.order.bit_generator.state,
            "history": list(self.history),
        }
        return State(tensors, record)

    def _restore(self, state: State, n_rollbacks: int) -> None:
        """Take up a state of the phase, after some number of rollbacks."""
        record, tensors = state.record, state.tensors
        self.module.load_state_dict(_part(tensors, "last.") or _part(tensors, "best."))
        self.epoch, self.n_rollbacks = record["epoch"], n_rollbacks
        self.history = list(record["history"])
        self.best = BestWeights(
            self.module,
            tensors["best_loss"].item(),
            record["n_epochs_since"],
            _part(tensors, "best."),
        )
        self.optimizer = self._optimizer(_part(tensors, "optimizer."))
        self.draws.generator.set_state(tensors["noise"])
        self.draws.order.bit_generator.state = record["order"]

    def _optimizer(self, moments: dict[str, torch.Tensor] | None = None) -> Adam:
        rates = {
            parameter: self.learning_rate * self.phase.rates[name]
            for name, parameters in self.module.parameter_groups().items()
            if name in self.phase.rates
            for parameter in parameters
        }
        return Adam(rates, moments)

    def _run_epoch(self) -> dict[str, float]:
        """Train for an epoch and evaluate; return the mean terms.

        The terms of the first batch whose loss is not finite, where there is one.
        """
        terms, sizes = [], []
        order = self.draws.order.permutation(len(self.data))
        for i, rows in enumerate(np.array_split(order, self.n_batches)):
            with memory_for(self.settings.batch_size):
                loss, means = self._step(rows, self.epoch + (i + 1) / self.n_batches)
            if not math.isfinite(loss):
                return {name: float(value) for name, value in means.items()} | {"loss": loss}
            terms.append(means)
            sizes.append(len(rows))
        return weighted_means(terms, sizes) | self.processes.first(self._evaluate)

    def _step(self, rows: np.ndarray, passed: float) -> tuple[float, dict[str, torch.Tensor]]:
        """Take a step for a batch, if the loss is finite; return the loss before it, and its terms.

        Every process computes the part of its own rows.
        """
        share = self.processes.share(len(rows))
        own = rows[share]
        numbers = torch.from_numpy(own).to(self.data.device)
        batch = *self.data.batch(own), self.held_out.of(numbers)
        noise = self.processes.noise(self.draws.generator, len(rows))
        kl_weight = schedule.kl_weight(passed) if self.settings.kl_warmup else 1.0
        loss, means = self.phase.loss(self.module, batch, noise, kl_weight)
        if self.processes.size > 1:
            return self._step_together(loss, means, len(own) / len(rows))
        value = loss.item()
        if math.isfinite(value):
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return value, means

    def _step_together(self, loss, means, weight: float) -> tuple[float, dict[str, torch.Tensor]]:
        """Take a step by the sum of what the processes found, each with the weight of its share."""
        self.optimizer.zero_grad()
        (weight * loss).backward()
        parameters = self.optimizer.parameters
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        means = {name: weight * mean for name, mean in means.items()}
        total = weight * loss.detach()
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.processes.add_up([total, *means.values(), *gradients])
        value = total.item()
        if math.isfinite(value):
            self.optimizer.step()
        return value, means

    def _evaluate(self) -> dict[str, float]:
        with memory_for(self.settings.batch_size):
            return self.phase.evaluate(self.module, self.evaluated, self.evaluation_batch)


@torch.no_grad()
def _hold_out(module, data: WindowData):
    """Forecast training windows by linear maps that have not seen them, if there is room for it."""
    folds = np.searchsorted(fold_bounds(len(data))[1:], np.arange(len(data)), side="right")
    folds = torch.from_numpy(folds).to(data.device)
    first = module.hold_out(data.batch(slice(1))[0], folds[:1])
    if first.forecast is None or sum(part.numel() for part in first) * len(data) > _MOST_KEPT:
        return type(first)(folds)  # the loop knows nothing of the networks' types
    size = rows_per_batch(data)
    starts = range(0, len(data), size)
    parts = [
        module.hold_out(x, folds[start : start + size])
        for start, (x, _, _) in zip(starts, data.batches(size), strict=True)
    ]
    return type(first)(*map(torch.cat, zip(*parts, strict=True)))


def _copies(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in tensors.items()}


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@contextmanager
def memory_for(batch_size: int) -> Iterator[None]:
    """Say what to do where there is not enough memory for a batch."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
            raise
        raise MemoryError(
            f"A batch of {batch_size} windows does not fit into memory. Lower 'batch_size', which "
            f"is {batch_size}, or 'n_hidden', or take shorter windows."
        ) from error


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
