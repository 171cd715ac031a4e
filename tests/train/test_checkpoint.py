"""Checkpoints: fits killed and resumed, files that are refused, and what is left behind."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from test_faults import EVERY_PHASE, PHASES, fit, inject, interrupt, make_model, make_windows, spoil

from skdeepdive import DeepDIVEForecaster
from skdeepdive._saving import safetensors as files
from skdeepdive._train import checkpoint
from skdeepdive._train.checkpoint import Checkpoint, State, digest
from skdeepdive.baselines import VAEForecaster

safetensors = pytest.importorskip("safetensors")


class Killed(Exception):
    """Stand in for the end of the process."""


def die(*args):
    raise Killed


def fit_until(monkeypatch, phase, moment, model, data):
    """Fit until the process "is killed" in a batch."""
    with monkeypatch.context() as patched:
        inject(patched, phase, moment, die)
        with pytest.raises(Killed):
            fit(model, *data)


def assert_same_fit(model, expected):
    weights, others = (m.module_.state_dict() for m in (model, expected))
    assert all(torch.equal(weights[name], others[name]) for name in {**weights, **others})
    assert model.history_.keys() == expected.history_.keys()
    for name, column in expected.history_.items():
        np.testing.assert_array_equal(model.history_[name], column)


# Resuming


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("moment", [(1, 1), (2, 3), (3, 4)])
@pytest.mark.parametrize(("estimator", "phase"), EVERY_PHASE)
def test_a_resumed_fit_ends_like_one_that_was_not_killed(
    estimator, phase, moment, early_stopping, monkeypatch, tmp_path
):
    data, path = make_windows(), tmp_path / "fit"
    options = {"early_stopping": early_stopping, "n_iter_no_change": 4}
    expected = fit(make_model(estimator, **options), *data)
    if moment[0] > (expected.history_["phase"] == phase).sum():
        moment = (1, 4)  # the phase was stopped before
    fit_until(monkeypatch, phase, moment, make_model(estimator, checkpoint_path=path, **options),
              data)  # fmt: skip
    assert os.listdir(tmp_path) == ["fit"]
    calls = inject(monkeypatch, phase, (9, 9), die)
    model = fit(make_model(estimator, checkpoint_path=path, **options), *data)
    assert_same_fit(model, expected)
    assert len(calls) == 4 * ((expected.history_["phase"] == phase).sum() - moment[0] + 1)
    assert os.listdir(tmp_path) == []


def test_a_fit_may_be_killed_again_and_again(monkeypatch, tmp_path):
    data, path = make_windows(), tmp_path / "fit"
    for phase in PHASES[DeepDIVEForecaster]:
        # Counted anew in every process: one epoch each.
        for moment in [(1, 2), (2, 2), (2, 1)]:
            fit_until(monkeypatch, phase, moment, make_model(checkpoint_path=path), data)
    model = fit(make_model(checkpoint_path=str(path)), *data)
    assert_same_fit(model, fit(make_model(), *data))


def test_a_fit_that_diverged_resumes_with_its_smaller_steps(monkeypatch, tmp_path):
    data, path = make_windows(), tmp_path / "fit"
    with monkeypatch.context() as patched:
        inject(patched, "marginal", (2, 1), spoil(np.nan))
        with pytest.warns(ConvergenceWarning, match="nan"):
            expected = fit(make_model(), *data)
    with monkeypatch.context() as patched:
        inject(patched, "marginal", (2, 1), spoil(np.nan))
        with pytest.warns(ConvergenceWarning, match="nan"):
            fit_until(patched, "forecast", (2, 1), make_model(checkpoint_path=path), data)
    assert_same_fit(fit(make_model(checkpoint_path=path), *data), expected)


def test_an_interrupted_fit_can_be_resumed_as_well(monkeypatch, tmp_path):
    data, model = make_windows(), make_model(checkpoint_path=tmp_path / "fit")
    with monkeypatch.context() as patched:
        inject(patched, "interleaved", (2, 1), interrupt)
        with pytest.raises(KeyboardInterrupt, match="interrupted.*fit again"):
            fit(model, *data)
    assert np.isfinite(model.predict(data[0])).all()
    assert_same_fit(fit(model, *data), fit(make_model(), *data))
    assert os.listdir(tmp_path) == []


def test_fine_tuning_is_resumed_from_the_same_model_only(monkeypatch, tmp_path):
    data, more, path = make_windows(), make_windows(seed=1), tmp_path / "fit"
    started = pickle.dumps(fit(make_model(warm_start=True), *data))
    expected, other = fit(pickle.loads(started), *more), fit(make_model(warm_start=True), *more)
    tuned = pickle.loads(started).set_params(checkpoint_path=path)
    fit_until(monkeypatch, "interleaved", (2, 1), tuned, more)
    with pytest.raises(ValueError, match="differs in data"):
        fit(other.set_params(checkpoint_path=path), *more)
    assert_same_fit(fit(pickle.loads(started).set_params(checkpoint_path=path), *more), expected)


def test_without_a_random_state_the_seed_is_that_of_the_killed_fit(monkeypatch, tmp_path):
    data, path = make_windows(), tmp_path / "fit"
    unseeded = make_model(random_state=None, checkpoint_path=path)
    fit_until(monkeypatch, "interleaved", (2, 1), unseeded, data)
    copied = shutil.copy(path, tmp_path / "copy")
    first = fit(unseeded, *data)
    assert_same_fit(fit(clone(unseeded).set_params(checkpoint_path=copied), *data), first)


def test_a_link_to_a_checkpoint_stays(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "fit")
    model = make_model(VAEForecaster, checkpoint_path=tmp_path / "link")
    fit_until(monkeypatch, "interleaved", (2, 1), model, make_windows())
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "fit").is_file()


@pytest.mark.parametrize("estimator", PHASES)
def test_checkpoints_do_not_change_the_result(estimator, tmp_path):
    data = make_windows()
    model = fit(make_model(estimator, checkpoint_path=tmp_path / "fit"), *data)
    assert_same_fit(model, fit(make_model(estimator), *data))
    assert os.listdir(tmp_path) == []


def test_every_epoch_leaves_a_checkpoint(monkeypatch, tmp_path):
    moments, write = [], Checkpoint.write

    def note(checkpoint, state):
        write(checkpoint, state)
        record = checkpoint.read().record
        moments.append((record["phase"], record["epoch"]))
        assert json.loads(json.dumps(state.record)) == record

    monkeypatch.setattr(Checkpoint, "write", note)
    fit(make_model(checkpoint_path=tmp_path / "fit"), *make_windows())
    assert moments == [(phase, i) for phase in PHASES[DeepDIVEForecaster] for i in range(4)]


def test_partial_fit_leaves_no_file(tmp_path):
    make_model(checkpoint_path=tmp_path / "fit").partial_fit(*make_windows())
    assert os.listdir(tmp_path) == []


# Other fits


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"random_state": 1}, "random_state"),
        ({"max_epochs": 4, "n_hidden": 9}, "max_epochs, n_hidden"),
        ({"latent": "marginal"}, "latent"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused(changes, name, monkeypatch, tmp_path):
    data, path = make_windows(), tmp_path / "fit"
    fit_until(monkeypatch, "marginal", (2, 1), make_model(checkpoint_path=path), data)
    content, model = path.read_bytes(), fit(make_model(), *data)
    forecast = model.predict(data[0])
    model.set_params(checkpoint_path=path, **changes)
    message = f"checkpoint of another fit: it differs in {name}. .*remove the file"
    with pytest.raises(ValueError, match=message):
        fit(model, *data)
    assert path.read_bytes() == content
    np.testing.assert_array_equal(model.predict(data[0]), forecast)


@pytest.mark.parametrize("part", range(3))
def test_the_checkpoint_of_other_data_is_refused(part, monkeypatch, tmp_path):
    data, path = list(make_windows()), tmp_path / "fit"
    fit_until(monkeypatch, "marginal", (2, 1), make_model(checkpoint_path=path), data)
    data[part] = data[part].copy()
    data[part][-1] = (data[part][-1] + 1) % 4
    with pytest.raises(ValueError, match="it differs in data"):
        fit(make_model(checkpoint_path=path), *data)


def test_that_of_another_estimator_is_refused(monkeypatch, tmp_path):
    data, path = make_windows(), tmp_path / "fit"
    fit_until(monkeypatch, "marginal", (2, 1), make_model(checkpoint_path=path), data)
    with pytest.raises(ValueError, match="it differs in estimator"):
        fit(make_model(VAEForecaster, checkpoint_path=path), *data)


@pytest.mark.parametrize("name", ["verbose", "checkpoint_path"])
def test_parameters_without_effect_may_change(name, monkeypatch, tmp_path, capfd):
    data, path = make_windows(), tmp_path / "fit"
    fit_until(monkeypatch, "interleaved", (2, 1), make_model(checkpoint_path=path), data)
    changed = {"verbose": 2, "checkpoint_path": path.rename(tmp_path / "renamed")}
    if name == "verbose":
        changed["checkpoint_path"].rename(path)
    model = make_model(checkpoint_path=path).set_params(**{name: changed[name]})
    assert_same_fit(fit(model, *data), fit(make_model(), *data))


def model_file(path):
    fit(make_model(VAEForecaster), *make_windows()).save(path)


def truncated(path):
    path.write_bytes(checkpoint_of_a_fit(path)[:-10])


def without_identity(path):
    content = safetensors.torch.save({}, {checkpoint._KEY: '{"record": {}}'})
    path.write_bytes(content)


def checkpoint_of_a_fit(path):
    with pytest.MonkeyPatch.context() as patched:
        model = make_model(VAEForecaster, checkpoint_path=path)
        fit_until(patched, "interleaved", (2, 1), model, make_windows())
    return path.read_bytes()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("my thesis"),
        lambda path: path.touch(),
        model_file,
        truncated,
        without_identity,
    ],
    ids=["text", "empty", "model", "truncated", "no identity"],
)
def test_what_is_no_checkpoint_is_not_written_over(write, tmp_path):
    path = tmp_path / "file"
    write(path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="'checkpoint_path' must be a new file or a checkpoint"):
        fit(make_model(VAEForecaster, checkpoint_path=path), *make_windows())
    assert path.read_bytes() == content


def test_a_missing_library_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r'pip install "skdeepdive\[io\]"'):
        fit(make_model(checkpoint_path=tmp_path / "fit"), [[1.0]], [1.0], None)


# Clones


@pytest.mark.parametrize("as_text", [True, False])
def test_clones_and_pickles_have_the_path(as_text, tmp_path):
    path = str(tmp_path / "fit") if as_text else tmp_path / "fit"
    model = make_model(checkpoint_path=path)
    assert clone(model).checkpoint_path == path
    assert pickle.loads(pickle.dumps(model)).checkpoint_path == str(path)


def test_a_saved_model_does_not_say_where_to_write(tmp_path):
    data = make_windows()
    model = fit(make_model(checkpoint_path=tmp_path / "fit"), *data)
    model.save(tmp_path / "model")
    assert str(tmp_path).encode() not in (tmp_path / "model").read_bytes()
    assert DeepDIVEForecaster.load(tmp_path / "model").checkpoint_path is None


def test_one_path_serves_the_fits_of_a_search_one_after_the_other(tmp_path):
    X, y, _ = make_windows()
    model = make_model(VAEForecaster, checkpoint_path=tmp_path / "fit")
    search = GridSearchCV(model, {"n_latent": [2, 3]}, cv=TimeSeriesSplit(2), error_score="raise")
    search.fit(X, y)
    assert os.listdir(tmp_path) == []


def test_of_two_fits_at_a_time_one_is_refused(tmp_path, monkeypatch):
    """The second begins in the middle of the first."""
    data, path = make_windows(), tmp_path / "fit"
    second = make_model(VAEForecaster, checkpoint_path=path, random_state=1)

    def begin_second(module, *terms):
        monkeypatch.undo()
        with pytest.raises(ValueError, match="give every fit a path of its own"):
            fit(second, *data)
        return terms

    inject(monkeypatch, "interleaved", (2, 2), begin_second)
    first = fit(make_model(VAEForecaster, checkpoint_path=path), *data)
    assert_same_fit(first, fit(make_model(VAEForecaster), *data))
    assert os.listdir(tmp_path) == []


def make_state(number):
    tensors = {f"weights {i}": torch.full((300, 100), float(number)) for i in range(5)}
    return State(tensors, {"number": number, "history": []})


def test_a_writer_notices_that_another_took_its_file(tmp_path):
    first, second = Checkpoint(tmp_path / "fit"), Checkpoint(tmp_path / "fit")
    first.identify({"n_hidden": 3})
    second.identify({"n_hidden": 4})
    second.write(make_state(1))
    with pytest.raises(ValueError, match="it differs in n_hidden"):
        first.write(make_state(2))
    assert second.read().record["number"] == 1


# Digests


def test_the_digest_is_that_of_values_type_and_shape():
    a = np.arange(24.0)
    variants = [
        a,
        a.astype(np.float32),
        a.reshape(4, 6),
        a.reshape(4, 3, 2),
        np.flip(a),
        np.lib.stride_tricks.sliding_window_view(a, 5)[:, :, None],
        np.lib.stride_tricks.sliding_window_view(a, 6)[:, :, None],
        a[:0],
        a.reshape(4, 6)[:, :0],
    ]
    assert len({digest([variant]) for variant in variants}) == len(variants)
    assert digest([a]) == digest([a[::-1][::-1].copy()])
    assert digest([a, a]) != digest([a])


def test_the_digest_sees_every_value_of_overlapping_windows():
    series = np.arange(30.0)
    before = digest([np.lib.stride_tricks.sliding_window_view(series, 5)[:, :, None]])
    for i in (0, 13, 29):
        changed = series.copy()
        changed[i] += 1e-9
        assert digest([np.lib.stride_tricks.sliding_window_view(changed, 5)[:, :, None]]) != before


# Killed writers


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_the_old_checkpoint_stays_where_writing_fails(error, tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "fit")
    checkpoint.write(make_state(1))

    def fail(*args):
        raise error

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(type(error)):
        checkpoint.write(make_state(2))
    assert os.listdir(tmp_path) == ["fit"]
    assert checkpoint.read().record["number"] == 1


def test_what_killed_writers_left_goes_with_the_file(tmp_path):
    stale, recent = (tmp_path / (files.scratch_prefix(Path("fit")) + end) for end in ("a", "b"))
    stale.mkdir()
    (stale / "part").write_text("half a checkpoint")
    os.utime(stale, (0, 0))
    checkpoint = Checkpoint(tmp_path / "fit")
    recent.mkdir()  # of a writer that may live
    os.utime(recent, (time.time() + 10,) * 2)
    checkpoint.write(make_state(1))
    checkpoint.remove()
    assert os.listdir(tmp_path) == [recent.name]


needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
few_or_many = pytest.mark.parametrize(
    "n_kills", [5, pytest.param(50, marks=pytest.mark.slow)], ids=["few", "many"]
)

WRITER = """
import sys
from pathlib import Path
from test_checkpoint import make_state
from skdeepdive._train.checkpoint import Checkpoint
checkpoint = Checkpoint(Path(sys.argv[1]))
state = make_state(0)
checkpoint.write(state)
print("ready", flush=True)
for number in range(1, 10**9):
    checkpoint.write(make_state(number))
"""

FIT = """
import sys
import test_faults as t
from skdeepdive.baselines import VAEForecaster
estimator = t.DeepDIVEForecaster if sys.argv[2] == "DeepDIVEForecaster" else VAEForecaster
model, data = t.make_model(estimator, checkpoint_path=sys.argv[1], max_epochs=25), t.make_windows()
print("ready", flush=True)
t.fit(model, *data)
print("done", flush=True)
"""


def start(script, *arguments):
    """Start a process and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def kill_after(process, seconds):
    time.sleep(seconds)
    process.kill()
    process.wait()
    process.stdout.close()


@needs_kill
@few_or_many
def test_a_writer_killed_at_a_random_moment_leaves_a_whole_checkpoint(n_kills, tmp_path):
    path, n_half = tmp_path / "fit", 0
    for seconds in np.random.default_rng(0).uniform(0, 0.1, n_kills):
        kill_after(start(WRITER, path), seconds)
        n_half += len(os.listdir(tmp_path)) > 1  # killed while it wrote
        state = Checkpoint(path).read()
        assert all((t == state.record["number"]).all() for t in state.tensors.values())
        Checkpoint(path).remove()
        assert os.listdir(tmp_path) == []
    if n_kills >= 50:
        assert n_half


@needs_kill
@few_or_many
@pytest.mark.parametrize("estimator", [DeepDIVEForecaster, VAEForecaster])
def test_a_fit_killed_at_a_random_moment_is_resumed_to_the_same_result(
    estimator, n_kills, tmp_path
):
    path, data, n_resumed = tmp_path / "fit", make_windows(), 0
    model = make_model(estimator, checkpoint_path=path, max_epochs=25)
    expected = fit(clone(model), *data)
    process, began = start(FIT, path, estimator.__name__), time.perf_counter()
    assert process.stdout.readline() == "done\n"
    duration = time.perf_counter() - began
    process.communicate()
    for seconds in np.random.default_rng(0).uniform(0, duration, n_kills):
        kill_after(start(FIT, path, estimator.__name__), seconds)
        if path.exists():
            n_resumed += 1
            assert Checkpoint(path)._content()["record"]["phase"] in PHASES[estimator]
        assert_same_fit(fit(model, *data), expected)
        assert os.listdir(tmp_path) == []
    if n_kills >= 50:
        assert n_resumed
