"""Fits by several processes: the same as by one, and what only one of them does."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_fits import FITS, fit, make_windows, results

from skdeepdive._data.draws import Draws, make_generator
from skdeepdive._train.distributed import Processes, _portable
from skdeepdive.baselines import BetaTCVAEForecaster

CPU = torch.device("cpu")
SCRIPT = Path(__file__).with_name("distributed_fits.py")

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes under torchrun find, and what they print."""
    folder = tmp_path_factory.mktemp("ranks")
    command = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"
    printed = folder / "stderr"
    with printed.open("w") as file:  # of a pipe, processes that hang would keep the other end
        done = subprocess.run(
            [sys.executable, *command, str(SCRIPT), str(folder)],
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=300,
        )
    assert done.returncode == 0, printed.read_text()
    ranks = []
    for rank in range(2):
        with np.load(folder / f"{rank}.npz") as file:
            ranks.append(dict(file))
    return *ranks, printed.read_text()


def test_all_processes_have_the_same_model_to_the_last_bit(together):
    first, second, _ = together
    assert first.keys() == second.keys()
    for name, found in first.items():
        np.testing.assert_array_equal(found, second[name], err_msg=name)


@pytest.mark.parametrize("name", [name for name in FITS if name != "seed"])
def test_two_processes_find_what_one_does(together, name):
    X, y, labels = make_windows()
    for key, expected in results(name, fit(name, X, y, labels), X).items():
        found = together[0][f"{name}/{key}"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=key)


def test_only_the_first_process_shows_progress(together):
    stderr = together[2]
    for phase in ("marginal", "interleaved", "forecast"):
        assert stderr.count(f"{phase} epoch 1: ") == 1


def test_the_checkpoint_of_all_goes_when_the_fit_is_done(together):
    assert together[0]["checkpoint is gone"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other data", "ValueError: All processes .* process 1 differs from process 0 in data"),
        ("other parameters", "ValueError: .* process 1 differs from process 0 in learning_rate"),
        ("small batches", "ValueError: 'batch_size' must leave every one of 2 processes a window"),
        ("first process fails", "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_an_error_is_that_of_all_processes(together, name, message):
    for found in together[:2]:
        assert re.match(message, str(found[name])), found[name]


def test_baselines_are_fitted_by_every_process_alone(together):
    X, y, _ = make_windows()
    model = BetaTCVAEForecaster(n_hidden=8, max_epochs=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(together[1]["baseline"], model.predict(X))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("n", [3, 7, 64])
@pytest.mark.parametrize("kind", ["normal", "coins"])
def test_shares_and_their_draws_are_parts_of_the_whole(size, n, kind):
    every = torch.empty(n, 4)
    fill = {"normal": every.normal_, "coins": partial(every.random_, 0, 2)}[kind]
    whole = fill(generator=make_generator(0, CPU)).clone()
    parts, rows = [], []
    for rank in range(size):
        share = Processes(rank, size).share(n)
        rows.append(torch.arange(n)[share])
        draws = Draws(make_generator(0, CPU), n, share)
        parts.append(getattr(draws, kind)(every[share]))
    assert torch.equal(torch.cat(rows), torch.arange(n))
    assert torch.equal(torch.cat(parts), whole)


def test_a_process_without_a_group_is_alone():
    assert Processes.current() == Processes(0, 1)
    assert Processes().first(lambda: 3) == 3
    Processes().check_alike({"data": 1})


def test_an_error_that_cannot_be_sent_is_described():
    class Local(Exception):  # pickle does not find it
        pass

    found = _portable(Local("no"))
    assert type(found) is RuntimeError
    assert "Local('no')" in str(found)
    kept = ValueError("yes")
    assert _portable(kept) is kept
