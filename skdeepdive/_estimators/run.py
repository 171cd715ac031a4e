"""One fit of an estimator: checks arrays, makes settings, shows progress, calls back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._data.checks import check_path
from .._data.devices import resolve_device
from .._data.seeds import make_seed
from .._data.threads import threads_for
from .._train.checkpoint import Checkpoint, digest
from .._train.distributed import Processes
from .._train.loop import Interrupted, Settings
from .._version import __version__
from .callbacks import begin_fit, end_fit, never_stop
from .fit import Duration, Fitted, Plan
from .progress import progress

# Parameters whose values may differ between a fit and its resumption from a checkpoint.
_WITHOUT_EFFECT = ("checkpoint_path", "verbose")

# Epochs of a phase that are enough, as many as make so many steps: fewer where there are many
# windows, which overlap. On validation windows of two clients, 5 epochs in place of 8 forecast as
# well and reconstruct 0.5 % worse; of the watch, with half as many windows, 2 to 3 % worse.
_ENOUGH_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 300, 5, 8


class Task(NamedTuple):
    """The computation of a fit, and the arrays that its result depends on.

    A checkpoint belongs to a fit of the same arrays and parameters.
    """

    fit: Callable[[Duration, Settings], Fitted]
    arrays: list[np.ndarray]


class FitRun:
    """A fit of a copy of an estimator, so that a fit that fails leaves the estimator as it was.

    Of several processes the first one shows progress, calls back and writes the checkpoint.

    Parameters
    ----------
    estimator : BaseForecaster
    X, y : array-like
        Windows and futures as they were given.
    plan : Plan
    processes : Processes
        Those that fit together.
    future_covariates, groups : array-like or None, default=None
        Covariates and groups of the windows as they were given.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        plan: Plan,
        processes: Processes,
        *,
        future_covariates: Any = None,
        groups: Any = None,
    ):
        self.estimator, self.X, self.y, self.plan = estimator, X, y, plan
        self.future_covariates, self.groups, self.processes = future_covariates, groups, processes
        self.fitted = estimator  # until there is a copy
        self.call_back: Callable = never_stop
        self.show: Callable[[dict], object] = lambda record: None
        self.checkpoint: Checkpoint | None = None
        self.interrupt: Interrupted | None = None

    def fit(self, *labels: Any) -> dict[str, Any]:
        """Fit with labels as they were given; return the attributes of the fitted estimator.

        Where training is interrupted, they are those of its best weights so far.
        """
        processes = self.processes
        self.estimator._check_parameters()
        if not self.plan.is_chunk:
            processes.first(self._begin)
        # Callbacks keep their context in the estimator: the copy needs it, to end what began.
        fitted = self.fitted = self.estimator._shallow_copy()
        device = resolve_device(fitted.device)
        options = self.future_covariates, self.groups
        windows = fitted._take_windows(self.X, self.y, *options, self.plan)
        task = fitted._make_task(windows, *labels, plan=self.plan, device=device)
        batch_size = self._batch_size(windows.n_train)
        seed = processes.first(self._seed)
        if self.checkpoint or processes.size > 1:
            identity = self._identity(task.arrays, device.type, seed)
            processes.check_alike(identity)
            if self.checkpoint:
                self.checkpoint.identify(identity)
        settings = Settings(
            batch_size=batch_size,
            learning_rate=float(fitted.learning_rate),
            seed=seed,
            end_epoch=self.end_epoch,
            checkpoint=self.checkpoint,
            processes=processes,
        )
        n_batches = -(-windows.n_train // batch_size)
        duration, n_values = self._duration(n_batches), batch_size * windows.X[0].size
        verbose = fitted.verbose if processes.is_first else 0
        with threads_for(n_values), progress(verbose, duration.max_epochs) as self.show:
            result = self._train(task, duration, settings)
        fitted._keep(result, self.plan, device)
        if not self.plan.is_chunk:
            processes.first(self._end)
        return fitted.__dict__

    def finish(self) -> None:
        """Remove the checkpoint of a fit that is done; raise the interrupt of one that is not.

        A search or a loop about the fit ends with it.
        """
        if self.interrupt is not None:
            raise KeyboardInterrupt(str(self.interrupt))
        self.processes.first(self._remove_checkpoint)

    def _train(self, task: Task, duration: Duration, settings: Settings) -> Fitted:
        try:
            return task.fit(duration, settings)
        except Interrupted as interrupt:
            self.interrupt = interrupt
            return interrupt.result

    def end_epoch(self, history: list[dict], snapshot: Callable[[], Fitted]) -> bool:
        """Show an epoch that has ended, and tell the callbacks; return whether to stop."""
        self.show(history[-1])
        name = "{phase} epoch {epoch}".format(**history[-1])

        def attributes() -> dict[str, Any]:
            copied = self.fitted._shallow_copy()
            copied._keep(snapshot(), self.plan, resolve_device(copied.device))
            return copied.__dict__

        return self.processes.first(lambda: self.call_back(name, attributes))

    def _begin(self) -> None:
        self.call_back = begin_fit(self.estimator, self.X, self.y)
        path = check_path("checkpoint_path", self.estimator.checkpoint_path)
        self.checkpoint = None if path is None else Checkpoint(path)

    def _remove_checkpoint(self) -> None:
        if self.checkpoint and self.checkpoint.is_done:
            self.checkpoint.remove()

    def _end(self) -> None:
        # While an error can still leave everything as it was.
        end_fit(self.estimator, self.X, self.y, self.fitted.__dict__)

    def _duration(self, n_batches: int) -> Duration:
        if self.plan.is_chunk:
            return Duration(1, None)
        estimator = self.estimator
        patience = estimator.n_iter_no_change if estimator.early_stopping else None
        max_epochs = estimator.max_epochs
        if max_epochs == "auto":
            max_epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, -(-_ENOUGH_STEPS // n_batches)))
        return Duration(max_epochs, patience)

    def _batch_size(self, n_train: int) -> int:
        batch_size = self.estimator.batch_size
        if batch_size == "auto":
            return min(256, max(16, n_train // 32))
        return int(batch_size)  # NumPy's small integers overflow where Python's do not

    def _seed(self) -> int:
        """Return the seed; without a `random_state`, that of a fit which is to be resumed."""
        random_state = self.estimator.random_state
        saved = self.checkpoint.seed() if self.checkpoint and random_state is None else None
        return make_seed(random_state) if saved is None else saved

    def _identity(self, arrays: list[np.ndarray], device: str, seed: int) -> dict[str, Any]:
        """Return what a checkpoint must agree with to belong to this fit."""
        parameters = self.estimator.get_params(deep=False)
        parameters = {k: v for k, v in parameters.items() if k not in _WITHOUT_EFFECT}
        facts = {"random_state": seed, "device": device, "data": digest(arrays)}
        name = type(self.estimator).__name__
        return {"estimator": name, "version": __version__, **parameters, **facts}
