"""Faults in the middle of a fit: what is mended, what is said, and what stays as it was.

Every fault is injected for real, into a training batch of some phase and epoch.
"""

import pickle
import signal
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score

from skdeepdive import DeepDIVEForecaster, SeriesForecaster, sliding_windows
from skdeepdive._train import phases, shrinkage
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

N_EPOCHS = 3
PHASES = {
    DeepDIVEForecaster: ["marginal", "interleaved", "forecast"],
    VAEForecaster: ["interleaved"],
    BetaTCVAEForecaster: ["interleaved"],
}
EVERY_PHASE = [(estimator, phase) for estimator, phases in PHASES.items() for phase in phases]
# First and last batch of the first and of the last epoch, of 4 batches each.
MOMENTS = [(1, 1), (1, 4), (N_EPOCHS, 1), (N_EPOCHS, 4)]


def make_windows(n_steps=150, seed=0):
    noise = np.random.default_rng(seed).standard_normal(n_steps)
    X, y, origin = sliding_windows(np.sin(np.arange(n_steps) * np.pi / 6) + 0.1 * noise, 12, 4)
    return X, y, origin % 12 // 3


def make_model(estimator=DeepDIVEForecaster, **parameters):
    small = {"n_hidden": 8, "max_epochs": N_EPOCHS, "early_stopping": False, "batch_size": 28}
    return estimator(**{**small, "learning_rate": 1e-2, "random_state": 0, **parameters})


def fit(model, X, y, labels):
    return model.fit(X, y, labels) if isinstance(model, DeepDIVEForecaster) else model.fit(X, y)


def inject(monkeypatch, phase, moment, fault, n_times=1):
    """Let a fault happen to the loss of a batch of a phase, and to those after it."""
    name, (epoch, batch) = f"{phase}_loss", moment
    loss, calls = getattr(phases, name), []

    def faulty(module, batch_, draws, **options):
        value, means = loss(module, batch_, draws, **options)
        if not options:  # an evaluation
            return value, means
        calls.append(None)
        if 0 <= len(calls) - ((epoch - 1) * 4 + batch) < n_times:
            return fault(module, value, means)
        return value, means

    monkeypatch.setattr(phases, name, faulty)
    return calls


# Terms that are not finite


def spoil(number):
    """Make a term, the loss and all weights some number."""

    def fault(module, loss, means):
        for parameter in module.parameters():
            parameter.data.fill_(number)  # behind the back of autograd, as a fault would
        return loss * number, {name: value * number for name, value in means.items()}

    return fault


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("estimator", "phase"), EVERY_PHASE)
def test_a_run_that_diverges_goes_on_from_its_last_good_epoch(
    estimator, phase, moment, number, monkeypatch
):
    X, y, labels = make_windows()
    inject(monkeypatch, phase, moment, spoil(number))
    where = rf"became (nan|-?inf) in epoch {moment[0]} of the {phase} phase"
    with pytest.warns(ConvergenceWarning, match=rf"'\w+' {where}.*Lower 'learning_rate'"):
        model = fit(make_model(estimator), X, y, labels)
    assert np.isfinite(model.predict(X)).all()
    history = model.history_
    diverged = (history["phase"] == phase) & (history["epoch"] == moment[0])
    before = np.arange(len(diverged)) < diverged.argmax()
    rate = np.where(before, 1e-2, 1e-3) * (1 - (history["epoch"] - 1) / N_EPOCHS)
    np.testing.assert_allclose(history["learning_rate"], rate)
    assert len(before) == len(PHASES[estimator]) * N_EPOCHS


@pytest.mark.parametrize("estimator", PHASES)
def test_a_run_that_diverges_at_once_is_one_with_smaller_steps_from_the_start(
    estimator, monkeypatch
):
    X, y, labels = make_windows()
    expected = fit(make_model(estimator, learning_rate=1e-3), X, y, labels)
    inject(monkeypatch, PHASES[estimator][0], (1, 4), spoil(np.nan))
    with pytest.warns(ConvergenceWarning, match="became nan in epoch 1"):
        model = fit(make_model(estimator), X, y, labels)
    for name, weights in expected.module_.state_dict().items():
        assert torch.equal(model.module_.state_dict()[name], weights)


@pytest.mark.parametrize(
    ("estimator", "learning_rate"), [(DeepDIVEForecaster, 1e3), (VAEForecaster, 1e4)]
)
def test_far_too_large_steps_are_made_small_enough(estimator, learning_rate):
    """Some epochs are finite, but the weights that they leave cannot be mended."""
    X, y, labels = make_windows()
    model = make_model(estimator, learning_rate=learning_rate, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="Lower 'learning_rate'"):
        fit(model, X, y, labels)
    assert model.score(X, y) > 0
    assert model.history_["learning_rate"][-1] < learning_rate


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("estimator", "phase"), EVERY_PHASE)
def test_one_that_diverges_in_small_steps_too_is_an_error_that_says_what_to_change(
    estimator, phase, moment, monkeypatch
):
    X, y, labels = make_windows()
    model = fit(make_model(estimator), X, y, labels)
    forecast = model.predict(X)
    calls = inject(monkeypatch, phase, moment, spoil(np.nan), n_times=1000)
    rate = 1e-5 * (1 - (moment[0] - 1) / N_EPOCHS)
    message = (
        rf"'\w+' became nan in epoch {moment[0]} of the {phase} phase, with a learning rate of "
        rf"{rate:.2g}\..*Lower 'learning_rate', or look for extreme values in 'X' and 'y'"
    )
    with (
        pytest.warns(ConvergenceWarning) as warned,
        pytest.raises(FloatingPointError, match=message),
    ):
        fit(model, X[:, 1:], y, labels)
    assert len(warned) == 3
    assert len(calls) == 4 * (moment[0] - 1) + moment[1] + 3  # later batches are not tried
    np.testing.assert_array_equal(model.predict(X), forecast)


# Interrupts


def interrupt(*args):
    """Press Ctrl-C, also in a process that ignores it, as those in the background do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)  # Python looks for signals now and then
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("estimator", "phase"), EVERY_PHASE)
def test_an_interrupt_goes_on_and_leaves_a_usable_estimator(
    estimator, phase, moment, monkeypatch, tmp_path
):
    X, y, labels = make_windows()
    model = make_model(estimator)
    inject(monkeypatch, phase, moment, interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"in epoch {moment[0]} of the {phase} phase"):
        fit(model, X, y, labels)
    assert np.isfinite(model.predict(X)).all()
    n_before = PHASES[estimator].index(phase) * N_EPOCHS
    assert len(model.history_["phase"]) == n_before + moment[0] - 1
    assert model.n_iter_ == (model.history_["phase"] == "interleaved").sum()
    model.save(tmp_path / "model")
    loaded = estimator.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_an_interrupted_model_forecasts_no_worse_than_its_linear_start(monkeypatch):
    X, y, labels = make_windows()
    start = make_model()
    inject(monkeypatch, "marginal", (1, 1), interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(start, X, y, labels)
    assert start.score(X, y) > 0.9
    assert len(start.predict_cluster(X)) == len(X)
    assert np.isfinite(start.predict(X, return_std=True)[1]).all()


def test_an_interrupted_model_learns_on(monkeypatch):
    X, y, labels = make_windows()
    model = fit(make_model(warm_start=True), X, y, labels)
    with monkeypatch.context() as patched:
        inject(patched, "interleaved", (1, 1), interrupt)
        with pytest.raises(KeyboardInterrupt, match="interrupted"):
            model.partial_fit(X, y, labels)
    n_epochs = len(model.history_["epoch"])
    assert n_epochs == 3 * N_EPOCHS + 1
    assert len(model.partial_fit(X, y, labels).history_["epoch"]) == n_epochs + 3
    assert len(model.fit(X, y, labels).history_["epoch"]) == 3 * N_EPOCHS


def test_an_interrupt_ends_a_search_and_is_not_scored(monkeypatch):
    X, y, labels = make_windows()
    calls = inject(monkeypatch, "interleaved", (2, 1), interrupt)
    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        cross_val_score(make_model(), X, y, cv=2, params={"factors": labels})
    assert len(calls) == 5  # the first fold, and no other


def test_a_table_is_forecast_by_the_best_weights_of_an_interrupted_fit(monkeypatch):
    hours = pd.date_range("2020", periods=150, freq="h")
    table = pd.DataFrame({"load": np.sin(np.arange(150) * np.pi / 6)}, index=hours)
    forecaster = SeriesForecaster(make_model(), n_timesteps=12, horizon=4)
    inject(monkeypatch, "interleaved", (2, 1), interrupt)
    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        forecaster.fit(table)
    found = forecaster.predict().to_numpy()[:, 0]
    np.testing.assert_allclose(found, np.sin(np.arange(150, 154) * np.pi / 6), atol=0.3)


@pytest.mark.parametrize("estimator", PHASES)
def test_a_second_interrupt_leaves_the_estimator_as_it_was(estimator, monkeypatch):
    X, y, labels = make_windows()
    model = fit(make_model(estimator), X, y, labels)
    forecast = model.predict(X)
    inject(monkeypatch, "interleaved", (2, 1), interrupt)
    monkeypatch.setattr("skdeepdive._estimators.fit.calibrate_forecast", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X[:, 1:], y, labels)
    np.testing.assert_array_equal(model.predict(X), forecast)


@pytest.mark.parametrize(
    "step",
    [
        "_start.start.fit_linear_forecast",
        "_start.start.fit_discriminants",
        "_estimators.fit.fit_conformal_errors",
    ],
)
def test_an_interrupt_outside_of_the_training_leaves_the_estimator_as_it_was(step, monkeypatch):
    X, y, labels = make_windows()
    model = make_model()
    state = vars(model).copy()
    monkeypatch.setattr(f"skdeepdive.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, y, labels)
    assert vars(model) == state


def interrupted_after(seconds, call):
    """Press Ctrl-C some time after a call; return what the interrupt says, None if too late."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt as error:
        return str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return None


# An interrupt within coverage can leave its lock locked, for which the next call would then wait.
@pytest.mark.no_cover
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers")
@pytest.mark.parametrize(
    "n_interrupts", [10, pytest.param(200, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.parametrize("estimator", [DeepDIVEForecaster, VAEForecaster])
def test_interrupts_at_random_moments_leave_the_old_model_or_a_usable_new_one(
    estimator, n_interrupts
):
    X, y, labels = make_windows()
    old = fit(make_model(estimator), X, y, labels)
    began = time.perf_counter()
    forecast = fit(make_model(estimator, random_state=1), X, y, labels).predict(X)
    duration = time.perf_counter() - began
    for seconds in np.random.default_rng(0).uniform(1e-4, duration, n_interrupts):
        model = pickle.loads(pickle.dumps(old)).set_params(random_state=1)
        message = interrupted_after(seconds, partial(fit, model, X, y, labels))
        if message is not None and np.array_equal(model.predict(X), old.predict(X)):
            continue
        if message:  # in training
            assert np.isfinite(model.predict(X)).all()
            assert np.isfinite(model.reconstruct(X)).all()
        else:  # the fit was faster, or all was done
            np.testing.assert_array_equal(model.predict(X), forecast)


# Memory


def allocate_with_torch():
    return torch.empty(2**57)


def allocate_with_numpy():
    return np.empty(2**57)


def out_of_memory_on_an_accelerator():
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def not_enough_memory_on_windows():
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to ...")


ALLOCATIONS = [
    allocate_with_torch,
    allocate_with_numpy,
    out_of_memory_on_an_accelerator,
    not_enough_memory_on_windows,
]


@pytest.mark.parametrize("allocate", ALLOCATIONS)
@pytest.mark.parametrize(("estimator", "phase"), EVERY_PHASE)
def test_too_large_a_batch_is_an_error_that_names_the_parameter(
    estimator, phase, allocate, monkeypatch
):
    X, y, labels = make_windows()
    model = fit(make_model(estimator), X, y, labels)
    forecast = model.predict(X)
    inject(monkeypatch, phase, (2, 1), lambda *args: allocate())
    with pytest.raises(MemoryError, match="batch of 28 windows.*Lower 'batch_size'") as raised:
        fit(model, X[:, 1:], y, labels)
    assert isinstance(raised.value.__cause__, RuntimeError | MemoryError)
    np.testing.assert_array_equal(model.predict(X), forecast)


def test_too_large_a_batch_for_an_evaluation_is_the_same_error(monkeypatch):
    monkeypatch.setattr(shrinkage, "best_shrinkage", lambda *args: allocate_with_torch())
    with pytest.raises(MemoryError, match="Lower 'batch_size'"):
        fit(make_model(VAEForecaster), *make_windows())


def test_other_errors_of_a_batch_stay_what_they_are(monkeypatch):
    def fault(*args):
        raise RuntimeError("sizes do not match")

    inject(monkeypatch, "interleaved", (1, 1), fault)
    with pytest.raises(RuntimeError, match="^sizes do not match$"):
        fit(make_model(VAEForecaster), *make_windows())
