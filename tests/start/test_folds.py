"""Out-of-fold forecasts of the closed-form start: a window has no part in its own."""

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData, consecutive_folds
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import ridge, start
from skdeepdive._start.ridge import fit_linear_forecast
from skdeepdive._start.start import make_out_of_fold

N, N_TIMESTEPS, HORIZON = 47, 4, 2
BOUNDS = np.linspace(0, N, 7).astype(int)
# The first and the last window of every fold.
AT_BOUNDS = sorted({*BOUNDS[:-1].tolist(), *(BOUNDS[1:] - 1).tolist()})


def make_data(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_TIMESTEPS, 1))
    y = X[:, :HORIZON] + rng.normal(size=(n, HORIZON, 1))
    unit = Scaling(np.zeros(1), np.ones(1))
    return WindowData(X, y, np.empty((n, 0), dtype=np.int64), unit, unit, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _one_penalty(monkeypatch):
    """Let the futures decide nothing but the maps."""
    monkeypatch.setattr(ridge, "PENALTIES", (1e-3,))
    monkeypatch.setattr(ridge, "_HALF_STEPS", ())


@pytest.fixture(params=["kept", "computed again"])
def _memory(request, monkeypatch):
    monkeypatch.setattr(start, "_MOST_KEPT", {"kept": 2**24, "computed again": 0}[request.param])


def forecasts_of(train):
    """Out-of-fold forecasts of all training windows, and the maps that they come from."""
    _, fold_maps = fit_linear_forecast(train, make_data(seed=1), [None])
    out_of_fold = make_out_of_fold(fold_maps, train)
    return out_of_fold(train.batch(slice(None)).x, []), fold_maps


@pytest.mark.usefixtures("_memory")
@pytest.mark.parametrize("row", AT_BOUNDS)
def test_the_future_of_a_window_has_no_part_in_its_own_forecast(row):
    train = make_data()
    before, _ = forecasts_of(train)
    train.y[row] += 50.0
    after, _ = forecasts_of(train)
    fold = np.searchsorted(BOUNDS, row, side="right") - 1
    own = np.zeros(N, dtype=bool)
    own[BOUNDS[fold] : BOUNDS[fold + 1]] = True
    moved = (after - before).abs().amax((1, 2)).numpy()
    assert moved[own].max() < 1e-4
    assert moved[~own].min() > 1e-3


@pytest.mark.usefixtures("_memory")
@pytest.mark.parametrize("n_rows", [1, 7, N])
def test_every_window_is_forecast_by_the_map_of_its_fold(n_rows, monkeypatch):
    monkeypatch.setattr(start, "rows_per_batch", lambda data: n_rows)
    train = make_data()
    found, fold_maps = forecasts_of(train)
    folds = zip(fold_maps, consecutive_folds(train), strict=True)
    expected = torch.cat([linear(fold.batch(slice(None)).x) for linear, fold in folds])
    torch.testing.assert_close(found, expected)
