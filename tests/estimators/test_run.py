"""What a fit shows, whom it calls back, and which process of several does so."""

import re

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skdeepdive import DeepDIVEForecaster
from skdeepdive._estimators import run
from skdeepdive._train.checkpoint import Checkpoint
from skdeepdive._train.distributed import Processes

BATCHES_OF_ALL = slice(None)


class SecondProcess(Processes):
    """A second process that does all of the work by itself, as no real one does."""

    def __init__(self):
        super().__init__(rank=1, size=1)

    def share(self, n):
        return BATCHES_OF_ALL


def make_windows(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(100, 6))
    return X, X[:, :2] + 0.1 * rng.normal(size=(100, 2)), (X[:, 0] > 0).astype(int)


def make_model(**parameters):
    small = {"n_hidden": 4, "max_epochs": 2, "early_stopping": False, "random_state": 0}
    return DeepDIVEForecaster(**{**small, **parameters})


@pytest.fixture
def calls(monkeypatch):
    """Note what callbacks would be told."""
    told = []

    def begin(estimator, X, y):
        told.append("begin")
        return lambda name, attributes: told.append(name)  # None: go on

    monkeypatch.setattr(run, "begin_fit", begin)
    monkeypatch.setattr(run, "end_fit", lambda *args: told.append("end"))
    return told


def test_callbacks_are_told_of_every_epoch_between_begin_and_end(calls):
    model = make_model().fit(*make_windows())
    phases, epochs = model.history_["phase"], model.history_["epoch"]
    names = [f"{phase} epoch {epoch}" for phase, epoch in zip(phases, epochs, strict=True)]
    assert calls == ["begin", *names, "end"]


def test_a_chunk_is_no_fit_to_callbacks(calls):
    model = make_model()
    for seed in range(2):
        model.partial_fit(*make_windows(seed))
    assert calls == []


def test_every_epoch_is_shown_once_with_its_own_record(capfd):
    model = make_model(verbose=2).fit(*make_windows())
    lines = capfd.readouterr().err.splitlines()
    phases, epochs, losses = (model.history_[n] for n in ("phase", "epoch", "validation_loss"))
    assert len(lines) == len(phases) == 6
    for line, phase, epoch, loss in zip(lines, phases, epochs, losses, strict=True):
        assert line.startswith(f"{phase} epoch {epoch}: ")
        assert f"validation_loss {loss:.4g}" in line


def test_the_first_process_alone_shows_epochs(capfd, monkeypatch):
    alone = make_model(verbose=2).fit(*make_windows())
    assert capfd.readouterr().err
    monkeypatch.setattr(DeepDIVEForecaster, "_processes", lambda self: SecondProcess())
    second = make_model(verbose=2).fit(*make_windows())
    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(
        second.predict(make_windows()[0]), alone.predict(make_windows()[0])
    )


@pytest.mark.parametrize("processes", [Processes(), SecondProcess()], ids=["first", "second"])
def test_the_first_process_alone_warns_of_divergence(processes, monkeypatch, recwarn):
    monkeypatch.setattr(DeepDIVEForecaster, "_processes", lambda self: processes)
    model = make_model(learning_rate=1e20)
    with pytest.raises(FloatingPointError, match="Larger ones had failed as well"):
        model.fit(*make_windows())
    found = [w for w in recwarn if issubclass(w.category, ConvergenceWarning)]
    assert bool(found) == processes.is_first


def test_a_checkpoint_is_written_before_and_after_every_epoch_and_goes_in_the_end(
    tmp_path, monkeypatch
):
    pytest.importorskip("safetensors")
    written, write = [], Checkpoint.write

    def note(checkpoint, state):
        write(checkpoint, state)
        written.append((state.record["phase"], state.record["epoch"]))
        assert checkpoint.path.exists()

    monkeypatch.setattr(Checkpoint, "write", note)
    make_model(checkpoint_path=tmp_path / "fit").fit(*make_windows())
    expected = [(phase, i) for phase in ("marginal", "interleaved", "forecast") for i in range(3)]
    assert written == expected
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_does_not_lend_its_seed_to_a_fit_that_has_one(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    path, data = tmp_path / "fit", make_windows()
    with monkeypatch.context() as patched:
        patched.setattr(run.FitRun, "finish", lambda self: None)  # the file stays
        make_model(checkpoint_path=path).fit(*data)
    with pytest.raises(ValueError, match=re.escape("differs in random_state")):
        make_model(checkpoint_path=path, random_state=1).fit(*data)
