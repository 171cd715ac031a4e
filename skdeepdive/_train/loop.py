"""The training loop: phases of epochs of mini-batches, stopped, rolled back and resumed.

The loop gets the module as an argument and knows of it what `module.Module` says.
"""

import copy
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._data.batches import WindowData, rows_per_batch
from .._data.draws import Draws, make_generator
from .adam import Adam
from .checkpoint import Checkpoint, State
from .distributed import Processes
from .module import Module, OutOfFold
from .monitor import ADVICE, Monitor, copies
from .phases import Phase, weighted_means

# Validation windows, drawn at random, that an epoch is evaluated on. They overlap, so more of them
# would add little information, and take up to a fifth of the time. `finish` uses all of them.
_MOST_EVALUATED = 512

# Windows that are evaluated at a time; fewer where they are large.
_EVALUATION_BATCH = 256

# PyTorch's words for it: on Linux, on Windows, and on accelerators.
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """Settings of a training run, beside the module, the data and the phases.

    Attributes
    ----------
    batch_size : int
    learning_rate : float
    seed : int
    end_epoch : callable
        Called at the end of every epoch with the records so far and a function that returns the
        result as if this were the last epoch; returns whether to stop.
    checkpoint : Checkpoint or None, default=None
        Where to go on from, and what to write at the end of every epoch.
    processes : Processes, default=one
        Those that share the batches; the first one reports for all.
    """

    batch_size: int
    learning_rate: float
    seed: int
    end_epoch: Callable[[list[dict], Callable[[], Any]], bool]
    checkpoint: Checkpoint | None = None
    processes: Processes = field(default_factory=Processes)


class Interrupted(KeyboardInterrupt):
    """Training was interrupted, and its best weights so far are ready to use.

    Parameters
    ----------
    message : str
    result : object
        What `finish` makes of the best weights.
    """

    def __init__(self, message: str, result: Any):
        super().__init__(message)
        self.result = result


def train(
    module: Module,
    data: WindowData,
    valid: WindowData,
    phases: list[Phase],
    settings: Settings,
    finish: Callable[[Any, list[dict]], Result],
    out_of_fold: OutOfFold | None = None,
) -> Result:
    """Train in place, phase by phase.

    After an interrupt the module gets its best weights so far and is made ready to forecast, and
    the interrupt goes on with the result. A second one, while that is done, ends it at once, and so
    does one among several processes, for the others cannot go on.

    Parameters
    ----------
    module : Module
    data, valid : WindowData
        Training and validation windows.
    phases : list of Phase
    settings : Settings
    finish : callable
        (module, records) -> result; calibrates a trained module in place. Records are one dict for
        each epoch, with its mean terms in nats per window.
    out_of_fold : OutOfFold or None, default=None
        Linear forecasts of the training windows, used in place of the module's own.

    Returns
    -------
    result : object
        What `finish` makes of the trained module.

    Raises
    ------
    Interrupted
        If training is interrupted; it holds the result.
    FloatingPointError
        If a term is not finite in the smallest steps either.
    MemoryError
        If a batch does not fit into memory.
    ValueError
        If batches have too few windows for every process to have one.

    Warns
    -----
    ConvergenceWarning
        If a term is not finite, and training goes on from the last good epoch in smaller steps.
    """

    def ready() -> Result:
        with memory_for(settings.batch_size):
            return settings.processes.first(lambda: finish(module, run.history))

    run = _Run(module, data, valid, phases, settings, finish, out_of_fold)
    try:
        run.train()
    except KeyboardInterrupt:
        if settings.processes.size > 1:
            raise
        run.monitor.restore()
        message = (
            f"Training was interrupted in {run.moment}. The estimator has the best weights so far, "
            "without what would have followed. To train to the end, fit again."
        )
        raise Interrupted(message, ready()) from None
    if settings.checkpoint:
        settings.checkpoint.is_done = True
    return ready()


class _Run:
    """A training run: what changes from epoch to epoch, and how it is taken back."""

    def __init__(
        self,
        module: Module,
        data: WindowData,
        valid: WindowData,
        phases: list[Phase],
        settings: Settings,
        finish: Callable[[Any, list[dict]], Any],
        out_of_fold: OutOfFold | None,
    ):
        self.module, self.data, self.phases, self.settings = module, data, phases, settings
        self.finish, self.out_of_fold = finish, out_of_fold
        self.evaluated = valid.sample(_MOST_EVALUATED, settings.seed)
        self.evaluation_batch = min(_EVALUATION_BATCH, rows_per_batch(valid))
        self.processes = settings.processes
        self.n_batches = -(-len(data) // settings.batch_size)
        if len(data) // self.n_batches < self.processes.size:
            raise ValueError(
                f"'batch_size' must leave every one of {self.processes.size} processes a window of "
                f"each batch, got {settings.batch_size}."
            )
        self.phase, self.epoch = phases[0], 0
        self.history: list[dict] = []
        self.monitor = Monitor(module, self.phase.patience)

    @property
    def moment(self) -> str:
        """Where in the training the run is."""
        epoch = min(self.epoch + 1, self.phase.max_epochs)
        return f"epoch {epoch} of the {self.phase.name} phase"

    @property
    def learning_rate(self) -> float:
        """Step size: it falls to 0 along the phase, and every time that the run diverges."""
        return self._first_rate * self.decay

    @property
    def _first_rate(self) -> float:
        """Step size at the beginning of a phase."""
        return self.settings.learning_rate * self.monitor.step

    @property
    def decay(self) -> float:
        """Share of the phase that is left, which the step size is proportional to."""
        return 1.0 - self.epoch / self.phase.max_epochs

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
        if self.settings.checkpoint:  # which the first process alone has
            self.settings.checkpoint.write(self.good)

    def _begin(self, phase: Phase) -> None:
        self.phase, self.epoch = phase, 0
        phase.prepare()
        # Anew in every phase, so that it does not matter after how many epochs the last one ended.
        self.generator = make_generator(self.settings.seed, self.data.device)
        self.order = np.random.default_rng(self.settings.seed)
        monitor = Monitor(self.module, phase.patience, self.monitor.n_rollbacks)
        monitor.update(self.processes.first(self._evaluate)["validation_loss"])
        self.monitor = monitor  # until now an interrupt goes back to the phase before
        self.optimizer = self._make_optimizer()

    def _train_phase(self) -> bool:
        """Run the epochs of the phase; return whether a report stopped them."""
        stopped = False
        described = self.phase.describe(self.data, self.out_of_fold)
        while not (stopped or self.monitor.is_over or self.epoch >= self.phase.max_epochs):
            terms = self._run_epoch(*described)
            wrong = next((name for name in terms if not math.isfinite(terms[name])), None)
            if wrong is None:
                stopped = self._finish_epoch(terms)
            else:
                self._roll_back(wrong, terms[wrong])
        if self.phase.patience is not None:
            self.monitor.restore()
        return stopped

    def _finish_epoch(self, terms: dict[str, float]) -> bool:
        learning_rate = self.learning_rate
        self.epoch += 1
        about = {"phase": self.phase.name, "epoch": self.epoch, "learning_rate": learning_rate}
        self.history.append({**about, **terms})
        self.monitor.update(terms["validation_loss"])
        stopped = self.settings.end_epoch(self.history, self._finished)
        if not stopped:
            self._keep()
        return stopped

    def _finished(self) -> Any:
        return self.finish(copy.deepcopy(self.module), list(self.history))

    def _roll_back(self, term: str, value: float) -> None:
        """Go on from the last good epoch in smaller steps.

        An epoch that fails once more starts from the best weights: those of the epoch before may
        be finite, but far out.
        """
        problem = (
            f"The training term '{term}' became {value} in {self.moment}, with a learning rate of "
            f"{self.learning_rate:.2g}."
        )
        self.monitor.roll_back(problem)
        again = self.monitor.n_rollbacks > self.good.record["n_rollbacks"] + 1
        self._restore(self.good, self.monitor.n_rollbacks)
        if again:
            self.monitor.restore()
            self.optimizer = self._make_optimizer()
        if not self.processes.is_first:
            return
        warnings.warn(
            f"{problem} Training goes on from {'its best weights' if again else 'the epoch before'}"
            f", with {self.learning_rate:.2g}. {ADVICE}",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _state(self) -> State:
        tensors = {f"best.{name}": weights for name, weights in self.monitor.weights.items()}
        if self.monitor.n_epochs_since:
            tensors |= copies(self.module.state_dict(), "last.")
        tensors |= copies(self.optimizer.moments(), "optimizer.")
        tensors["best_loss"] = torch.tensor(self.monitor.loss, dtype=torch.float64)
        tensors["draws"] = self.generator.get_state()
        record = {
            "phase": self.phase.name,
            "epoch": self.epoch,
            "n_epochs_since": self.monitor.n_epochs_since,
            "n_rollbacks": self.monitor.n_rollbacks,
            "order": self.order.bit_generator.state,
            "history": list(self.history),
        }
        return State(tensors, record)

    def _restore(self, state: State, n_rollbacks: int) -> None:
        """Go on from a state of the phase, after some number of rollbacks."""
        record, tensors = state.record, state.tensors
        self.module.load_state_dict(_part(tensors, "last.") or _part(tensors, "best."))
        self.epoch, self.history = record["epoch"], list(record["history"])
        self.monitor.resume(
            _part(tensors, "best."),
            tensors["best_loss"].item(),
            record["n_epochs_since"],
            n_rollbacks,
        )
        self.optimizer = self._make_optimizer(state)
        self.generator.set_state(tensors["draws"])
        self.order.bit_generator.state = record["order"]

    def _make_optimizer(self, state: State | None = None) -> Adam:
        rates = {
            parameter: self._first_rate * self.phase.rates[name]
            for name, parameters in self.module.parameter_groups().items()
            if name in self.phase.rates
            for parameter in parameters
        }
        return Adam(rates, None if state is None else _part(state.tensors, "optimizer."))

    def _run_epoch(self, data: WindowData, out_of_fold: OutOfFold | None) -> dict[str, float]:
        """Train for an epoch on described windows, and evaluate; return the mean terms.

        The terms of the first batch whose loss is not finite, where there is one.
        """
        terms, sizes = [], []
        order = self.order.permutation(len(data))
        for i, rows in enumerate(np.array_split(order, self.n_batches)):
            with memory_for(self.settings.batch_size):
                done = self.epoch + (i + 1) / self.n_batches
                loss, means = self._step(data, out_of_fold, rows, done)
            if not math.isfinite(loss):
                return {name: float(value) for name, value in means.items()} | {"loss": loss}
            terms.append(means)
            sizes.append(len(rows))
        return weighted_means(terms, sizes) | self.processes.first(self._evaluate)

    def _step(
        self, data: WindowData, out_of_fold: OutOfFold | None, rows: np.ndarray, epochs: float
    ) -> tuple[float, dict[str, torch.Tensor]]:
        """Take a step for a batch, if the loss is finite; return the loss before it, and its terms.

        Every process computes the part of its own rows; losses, terms and gradients are summed.
        """
        share = self.processes.share(len(rows))
        own = rows[share]
        of_rows = out_of_fold and out_of_fold.rows(torch.from_numpy(own))
        loss, means = self.phase.loss(
            self.module,
            data.batch(own),
            Draws(self.generator, len(rows), share),
            kl_weight=self.phase.kl_weight(epochs),
            out_of_fold=of_rows,
            dropout=True,
        )
        weight = len(own) / len(rows)
        self.optimizer.zero_grad()
        (weight * loss).backward()
        total, *terms = self.processes.add_up(
            [weight * value for value in (loss.detach(), *means.values())],
            self.optimizer.gradients(),
        )
        value = total.item()
        if math.isfinite(value):
            self.optimizer.step(self.decay)
        return value, dict(zip(means, terms, strict=True))

    def _evaluate(self) -> dict[str, float]:
        with memory_for(self.settings.batch_size):
            return self.phase.evaluate(self.module, self.evaluated, self.evaluation_batch)


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
