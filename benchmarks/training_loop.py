"""Windows per second of `fit` beside other training loops over the same module.

    python benchmarks/training_loop.py [--dataset medium] [--threads 1] [--json FILE]

`fit`, with all that it does, from the checks and the closed-form start to the calibration, is timed
as a whole, with default parameters; its rate is the training windows of all epochs by its seconds.
Every other loop trains the module as `fit` starts it, with the losses of the same three phases, on
tensors that are standardised and in memory already, evaluates nothing, and is timed for an epoch of
every phase. Its seconds are those of as many epochs as `fit` took. All take turns, and medians of
seconds and of ratios within a turn count.

- plain: Adam, batches by indexing, the loss read at every step;
- best: fused Adam, batches gathered into one place, nothing read;
- best, kept: the best loop, which is also given what stays as it is and what `fit` computes once
  where it is small enough: the features of the windows, their linear forecasts, with what classes
  add to them, and in the last phase the means of the latent variables;
- DataLoader: the best loop, with batches from a DataLoader;
- skorch, Lightning, pythae: the trainers of these libraries, with fused Adam, as far as
  requirements-loops.txt is installed.

The share of the peak is the arithmetic of the matrix products in the training steps, by the time of
all of `fit` (or of the loop), relative to that of a product of two 2048 x 2048 matrices in single
precision.
"""

import argparse
import contextlib
import copy
import io
import json
import logging
import tempfile
import time
import warnings
from importlib import util
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import torch
from forecast import environment
from memory import make_series
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._data.batches import Batch
from skdeepdive._data.draws import Draws, make_generator
from skdeepdive._train import loop as training
from skdeepdive.nn.out_of_fold import OutOfFold

# Windows, time steps, channels, horizon.
SIZES = {
    "small": (100, 24, 1, 12),
    "medium": (30_000, 168, 10, 24),
    "large": (20_000, 168, 321, 24),
}
LIBRARIES = ["numpy", "scikit-learn", "torch", "skorch", "lightning", "pythae"]
CPU = torch.device("cpu")


def make_windows(size):
    n, n_timesteps, n_channels, horizon = SIZES[size]
    series = make_series(n + n_timesteps + horizon - 1, n_channels)
    X, y, origin = sliding_windows(series, n_timesteps, horizon)
    return X, y, np.stack([origin % 24, origin // 24 % 7], axis=1)


class Job:
    """What `fit` trains: the module as it starts, its phases, and the standardised windows."""

    def __init__(self, module, data, phases, settings, out_of_fold):
        self.module, self.batch_size = module, settings.batch_size
        self.learning_rate, self.n_windows = settings.learning_rate, len(data)
        self.phases = {phase.name: phase for phase in phases}
        self.data, self.out_of_fold = data, out_of_fold
        batch = data.batch(slice(None))
        self.tensors, self.kept = [batch.x, batch.y, batch.labels, out_of_fold.folds], []

    def with_kept(self, phase):
        """Return the same job with what fit keeps in a phase."""
        data, out_of_fold = phase.describe(self.data, self.out_of_fold)
        batch = data.batch(slice(None))
        parts = {
            "features": batch.features,
            "means": batch.means,
            "completed": out_of_fold.completed,
        }
        job = copy.copy(self)
        job.kept = [name for name, part in parts.items() if part is not None]
        job.tensors = [*self.tensors, *(parts[name] for name in job.kept)]
        return job

    def loss(self, phase, module, tensors, generator):
        """Return the loss of a batch, given its rows of the tensors."""
        x, y, labels, folds, *parts = tensors
        kept = dict(zip(self.kept, parts, strict=True))
        linear = OutOfFold(self.out_of_fold.maps, folds, None, kept.get("completed"))
        options = {"out_of_fold": linear, "dropout": True}
        batch = Batch(x, y, labels, features=kept.get("features"), means=kept.get("means"))
        return phase.loss(module, batch, Draws(generator), **options)[0]

    def optimizer(self, phase, module, **options):
        groups = module.parameter_groups()
        return torch.optim.Adam(
            [
                {"params": groups[name], "lr": self.learning_rate * rate}
                for name, rate in phase.rates.items()
                if name in groups
            ],
            **options,
        )

    def flops(self, phase):
        """Operations of the matrix products of an epoch."""
        module = copy.deepcopy(self.module)
        rows = torch.arange(min(self.batch_size, self.n_windows))
        with FlopCounterMode(display=False) as counter:
            batch = [tensor[rows] for tensor in self.tensors]
            self.loss(phase, module, batch, make_generator(0, CPU)).backward()
        return counter.get_total_flops() * self.n_windows / len(rows)


def fit(X, y, factors, max_epochs):
    """Fit by the estimator; return its seconds, its epochs in every phase, and its job."""
    jobs = []

    def train(module, data, valid, phases, settings, finish, out_of_fold):
        jobs.append((copy.deepcopy(module), data, phases, settings, out_of_fold))
        return training.train(module, data, valid, phases, settings, finish, out_of_fold)

    model = DeepDIVEForecaster(max_epochs=max_epochs, random_state=0)
    with mock.patch("skdeepdive._estimators.fit.train", train):
        start = time.perf_counter()
        model.fit(X, y, factors=factors)
        seconds = time.perf_counter() - start
    names, counts = np.unique(model.history_["phase"], return_counts=True)
    return seconds, dict(zip(names.tolist(), counts.tolist(), strict=True)), jobs[0]


# The loops: each trains a module for one epoch of a phase.


def plain(job, phase, module):
    optimizer, generator = job.optimizer(phase, module), make_generator(0, CPU)
    total = 0.0
    for rows in torch.randperm(job.n_windows, generator=generator).split(job.batch_size):
        batch = [tensor[rows] for tensor in job.tensors]
        optimizer.zero_grad()
        loss = job.loss(phase, module, batch, generator)
        loss.backward()
        optimizer.step()
        total += loss.item()


def best(job, phase, module):
    optimizer = job.optimizer(phase, module, fused=True)
    generator = make_generator(0, CPU)
    places = [tensor[: job.batch_size].clone() for tensor in job.tensors]
    for rows in torch.randperm(job.n_windows, generator=generator).split(job.batch_size):
        batch = [
            torch.index_select(tensor, 0, rows, out=place[: len(rows)])
            for tensor, place in zip(job.tensors, places, strict=True)
        ]
        optimizer.zero_grad(set_to_none=True)
        job.loss(phase, module, batch, generator).backward()
        optimizer.step()


def data_loader(job, phase, module):
    optimizer = job.optimizer(phase, module, fused=True)
    generator = make_generator(0, CPU)
    for batch in make_loader(job, generator):
        optimizer.zero_grad(set_to_none=True)
        job.loss(phase, module, batch, generator).backward()
        optimizer.step()


def make_loader(job, generator=None):
    dataset = TensorDataset(*job.tensors)
    return DataLoader(dataset, job.batch_size, shuffle=True, generator=generator)


class Loss(torch.nn.Module):
    """The loss of a phase as what a module returns."""

    def __init__(self, job, phase, module):
        super().__init__()
        self.job, self.phase, self.module = job, phase, module
        self.generator = make_generator(0, CPU)

    def forward(self, *batch, **named):
        tensors = batch or list(named.values())
        return self.job.loss(self.phase, self.module, tensors, self.generator)


def with_skorch(job, phase, module):
    from skorch import NeuralNet

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            return y_pred

        def initialize_optimizer(self, *args, **kwargs):
            self.optimizer_ = job.optimizer(phase, module, fused=True)
            return self

    net = Net(
        Loss(job, phase, module), torch.nn.Identity, max_epochs=1, batch_size=job.batch_size,
        iterator_train__shuffle=True, train_split=None, verbose=0, device=None,
    )  # fmt: skip
    net.fit({f"part{i}": tensor for i, tensor in enumerate(job.tensors)}, None)


def with_lightning(job, phase, module):
    import lightning

    class Lit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.loss = Loss(job, phase, module)

        def training_step(self, batch, index):
            return self.loss(*batch)

        def configure_optimizers(self):
            return job.optimizer(phase, module, fused=True)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Lit(), make_loader(job))


def with_pythae(job, phase, module):
    from pythae.data.datasets import BaseDataset, DatasetOutput
    from pythae.models import BaseAE, BaseAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Dataset(BaseDataset):
        def __getitem__(self, index):
            return DatasetOutput(batch=tuple(tensor[index] for tensor in job.tensors))

    class Model(BaseAE):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.model_config, self.model_name = BaseAEConfig(input_dim=(1,)), "loss"
            self.loss = Loss(job, phase, module)

        def forward(self, inputs, **kwargs):
            return ModelOutput(loss=self.loss(*inputs["batch"]))

        def update(self):
            """Nothing to update."""

        def save(self, *args):
            """Nothing to save: the others save nothing either."""

    class Trainer(BaseTrainer):
        def set_optimizer(self):
            self.optimizer = job.optimizer(phase, module, fused=True)

        def save_model(self, *args, **kwargs):
            """Nothing to save."""

        save_checkpoint = save_model

    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            folder, num_epochs=1, per_device_train_batch_size=job.batch_size, no_cuda=True
        )
        dataset = Dataset(job.tensors[0], torch.zeros(job.n_windows))
        Trainer(Model(), dataset, training_config=config).train()


LOOPS = {"best loop": best, "plain loop": plain, "DataLoader": data_loader}
OTHERS = {"skorch": with_skorch, "Lightning": with_lightning, "pythae": with_pythae}


def available():
    installed = {name: loop for name, loop in OTHERS.items() if util.find_spec(name.lower())}
    if missing := OTHERS.keys() - installed.keys():
        print(f"Left out, because not installed: {', '.join(sorted(missing))}.")
    return {**LOOPS, **installed}


def seconds_of_epoch(loop, job, phase):
    module = copy.deepcopy(job.module)
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with silent[0], silent[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        loop(job, phase, module)
        return time.perf_counter() - start


def peak_flops():
    """Operations per second of a large matrix product."""
    a = torch.randn(2048, 2048, generator=make_generator(0, CPU))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * len(a) ** 3 / min(seconds)


def compare(size, loops, repeats, max_epochs):
    """Return what every loop reaches, and what was trained."""
    X, y, factors = make_windows(size)
    fit(X[:100], y[:100], factors[:100], 1)  # what is done once in a process
    rounds = []
    for _ in range(repeats):
        taken, n_epochs, captured = fit(X, y, factors, max_epochs)
        job = Job(*captured)
        kept = {phase: job.with_kept(job.phases[phase]) for phase in n_epochs}
        given = dict.fromkeys(n_epochs, job)
        jobs = [(name, loop, given) for name, loop in loops.items()]
        jobs.insert(1, ("best, kept", best, kept))
        seconds = {"fit": taken}
        for name, loop, own in jobs:
            seconds[name] = sum(
                n * seconds_of_epoch(loop, own[phase], job.phases[phase])
                for phase, n in n_epochs.items()
            )
        rounds.append(seconds)
    n_windows = job.n_windows * sum(n_epochs.values())
    of_given, of_kept = (
        sum(n * own[phase].flops(job.phases[phase]) for phase, n in n_epochs.items())
        for own in (given, kept)
    )
    done = dict.fromkeys(["fit", "best, kept"], of_kept)
    peak, rows = peak_flops(), {}
    for name in rounds[0]:
        taken = median(seconds[name] for seconds in rounds)
        ratio = median(seconds["best loop"] / seconds[name] for seconds in rounds)
        rows[name] = {
            "windows per second": [n_windows / taken, 0.0],
            "relative to the best loop": [ratio, 0.0],
            "peak share": [done.get(name, of_given) / taken / peak, 0.0],
            "time in seconds": [taken, 0.0],
        }
    epochs = ", ".join(f"{n} {phase}" for phase, n in n_epochs.items())
    note = (
        f"{job.n_windows:,} training windows in batches of {job.batch_size}; epochs: {epochs}; "
        f"peak {peak / 1e9:.0f} GFLOP/s."
    )
    return rows, note


def main(arguments):
    results = {**environment(LIBRARIES), "dataset": arguments.dataset, "seeds": [0]}
    rows, note = compare(
        arguments.dataset, available(), arguments.repeats, arguments.max_epochs or "auto"
    )
    results["note"] = f"{arguments.threads} thread(s); {note}"
    print(f"{arguments.dataset}: {results['note']}")
    for name, row in rows.items():
        print(
            f"{name:<12} "
            + ", ".join(f"{column} {value:.3g}" for column, (value, _) in row.items())
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**results, **rows}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=SIZES, default="medium")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-epochs", type=int, help="of fit; default: its own")
    parser.add_argument("--json", help="where to write the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        main(options)
