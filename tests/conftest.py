"""Real electricity loads that several files of tests use."""

from collections import namedtuple

import numpy as np
import pandas as pd
import pytest

from skdeepdive import DeepDIVEForecaster, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

DAY = 24
N_TIMESTEPS = 72

Windows = namedtuple("Windows", ["X", "y", "factors"])


def cut(bunch, columns, fractions=(0.8, 0.2)):
    """Windows of some clients, and of the hours and weekdays of their origins."""
    X, y, origin = sliding_windows(bunch.data[:, columns], N_TIMESTEPS, DAY)
    factors = pd.DataFrame(bunch.factors[origin][:, :2], columns=["hour", "weekday"])
    parts = split_windows(origin, DAY, fractions=fractions)
    return [Windows(X[part], y[part], factors[part]) for part in parts]


def make_model(**parameters):
    return DeepDIVEForecaster(**{"n_hidden": 32, "max_epochs": 3, "random_state": 0, **parameters})


def root_mean_square(error):
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


def relative_errors(forecast, test):
    """Root mean squared error of every client, relative to that of repeating the last day."""
    squares = [np.square(f - test.y).mean(axis=(0, 1)) for f in (forecast, test.X[:, -DAY:])]
    return np.sqrt(squares[0] / squares[1])


@pytest.fixture(scope="session")
def client():
    """The last 1500 hours of one client, in training and test windows of 72 and 24 hours."""
    electricity = load_electricity()
    electricity.data, electricity.factors = (
        values[-1500:] for values in (electricity.data, electricity.factors)
    )
    return cut(electricity, columns=1)


@pytest.fixture(scope="session")
def clients():
    """Five weeks of every fortieth client, in training and test windows of 72 and 24 hours."""
    return cut(load_electricity("clients_321"), columns=slice(None, None, 40))


@pytest.fixture(scope="session")
def client_model(client):
    """A model of the client that knows hours and weekdays; tests must not refit it."""
    train, _ = client
    return make_model().fit(train.X, train.y, factors=train.factors)
