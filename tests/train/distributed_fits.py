"""Fits for test_distributed.py, which runs them under torchrun and in a process of its own."""

import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
from torch import distributed

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._start import start
from skdeepdive.baselines import BetaTCVAEForecaster

SMALL = {"n_hidden": 16, "n_conditional": 4, "max_epochs": 3, "random_state": 0}
FITS = {
    "labels": {"early_stopping": False},
    "batches that do not divide": {"batch_size": 37},
    "clusters": {"n_clusters": 3},
    "conditional": {"latent": "conditional"},
    "seed": {"random_state": None},
    "two fits": {"warm_start": True},
    "chunks": {},
    "covariates": {},
}


def make_windows():
    rng, time = np.random.default_rng(0), np.arange(400)
    waves = np.sin(2 * np.pi * (time[:, None] + [0, 6]) / 24)
    X, y, origin = sliding_windows(waves + 0.3 * rng.normal(size=(400, 2)), 24, 6)
    return X, y, origin % 24 // 6


def covariates_of(name, X):
    """Random covariates of the six steps to come, for the fit that has some."""
    shape = len(X), 6, 2
    return np.random.default_rng(1).normal(size=shape) if name == "covariates" else None


def fit(name, X, y, labels):
    model = DeepDIVEForecaster(**{**SMALL, **FITS[name]})
    factors = labels if name not in ("clusters", "conditional") else None
    if name == "chunks":
        half = len(X) // 2
        model.partial_fit(X[:half], y[:half], labels[:half])
        return model.partial_fit(X[half:], y[half:], labels[half:])
    model.fit(X, y, factors, future_covariates=covariates_of(name, X))
    return model.fit(X, y, factors) if name == "two fits" else model


def results(name, model, X):
    forecast = model.predict(X, future_covariates=covariates_of(name, X))
    losses = model.history_["validation_loss"]
    return {"forecast": forecast, "embedding": model.transform(X), "losses": losses}


def message_of(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(folder):
    distributed.init_process_group("gloo", timeout=timedelta(minutes=4))
    warnings.simplefilter("error")
    rank, (X, y, labels) = distributed.get_rank(), make_windows()
    found = {}
    for name in FITS:
        for key, value in results(name, fit(name, X, y, labels), X).items():
            found[f"{name}/{key}"] = value
    baseline = BetaTCVAEForecaster(n_hidden=8, max_epochs=2, random_state=0).fit(X, y)
    found["baseline"] = baseline.predict(X)

    shown = DeepDIVEForecaster(**SMALL, verbose=2, checkpoint_path=folder / "checkpoint")
    shown.fit(X, y, labels)
    found["checkpoint is gone"] = not (folder / "checkpoint").exists()

    model = DeepDIVEForecaster(**SMALL)
    found["other data"] = message_of(lambda: model.fit(X + (rank == 1), y, labels))
    model.set_params(learning_rate=1e-3 * (1 + rank))
    found["other parameters"] = message_of(lambda: model.fit(X, y, labels))
    model.set_params(learning_rate=1e-3, batch_size=1)
    found["small batches"] = message_of(lambda: model.fit(X, y, labels))
    start.fit_linear_window = None  # in the first process, whose error all are to get
    found["first process fails"] = message_of(lambda: model.fit(X, y, labels))
    np.savez(folder / f"{rank}.npz", **found)
    distributed.barrier()  # one that leaves early ends the other, too
    distributed.destroy_process_group()
    os._exit(0)  # after failed fits torch at times aborts while the interpreter ends


if __name__ == "__main__":
    main(Path(sys.argv[1]))
