"""The training loop: what it lowers, keeps, restores and reports, and what it leaves alone."""

import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from skdeepdive._data.batches import WindowData
from skdeepdive._data.labels import Factors
from skdeepdive._data.scaling import Scaling
from skdeepdive._estimators.progress import progress
from skdeepdive._start.start import Sizes, closed_form_start, fit_features
from skdeepdive._train import loop, phases, shrinkage
from skdeepdive._train.adam import Adam
from skdeepdive._train.loop import _EVALUATION_BATCH, Interrupted, Settings
from skdeepdive._train.monitor import Monitor, copies
from skdeepdive._train.phases import deepdive_phases, evaluate_forecast, warmed_up
from skdeepdive._train.shrinkage import best_shrinkage, calibrate_forecast
from skdeepdive.windows import sliding_windows

N_TIMESTEPS, HORIZON, PERIOD = 16, 4, 8
LATENTS = {"both": (2, 4), "conditional": (0, 4), "marginal": (2, 0)}


def make_data(n_steps=240, seed=0):
    """Two noisy waves whose amplitude changes sign with a hidden state, and the phase as label."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_steps)
    state = np.sign(np.sin(2 * np.pi * time / 60 + 0.5))
    wave = np.sin(2 * np.pi * time / PERIOD)
    series = np.stack([wave * state, np.abs(wave)], axis=1) + 0.1 * rng.normal(size=(n_steps, 2))
    X, y, origin = sliding_windows(series, N_TIMESTEPS, HORIZON)
    labels = (origin % PERIOD // 2)[:, None]
    scaling = Scaling(series.mean(axis=0), series.std(axis=0))
    data = WindowData(X, y, labels, scaling, scaling, torch.device("cpu"))
    n_valid = len(X) // 4
    return data.part(slice(0, -n_valid)), data.part(slice(-n_valid, None))


def make_start(latent="both", seed=0, interleave=True):
    """A module at its closed-form start, training and validation data, out-of-fold forecasts."""
    data, valid = make_data()
    n_marginal, n_conditional = LATENTS[latent]
    if n_marginal:
        factors = Factors(["phase"], [np.arange(4)], data.labels)
    else:
        factors = Factors([], [], data.labels[:, :0])
    data, valid = (part_with_labels(part, bool(n_marginal)) for part in (data, valid))
    sizes = Sizes(n_marginal, n_conditional, n_hidden=16, n_clusters=4)
    start = closed_form_start(
        data,
        valid,
        fit_features(data, 0),
        [np.arange(2)],
        factors,
        sizes,
        seed,
        interleave=interleave,
    )
    return start.module, data, valid, start.out_of_fold


def part_with_labels(data, has_labels):
    labels = data.labels if has_labels else data.labels[:, :0]
    return WindowData(data.X, data.y, labels, data.x_scaling, data.y_scaling, data.device)


def make_settings(**changes):
    settings = {
        "max_epochs": 4,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "patience": None,
        "seed": 0,
        "report": lambda history, finished: False,
    }
    return SimpleNamespace(**(settings | changes))


def phases_of(module, settings):
    return deepdive_phases(module, settings.max_epochs, settings.patience)


calibrate = calibrate_forecast


def train(module, data, valid, out_of_fold, settings):
    """Train, and return the records of the epochs."""

    def finish(trained, history):
        calibrate(trained, valid, settings.batch_size)
        return SimpleNamespace(module=trained, history=history)

    parts = phases_of(module, settings)
    told = Settings(settings.batch_size, settings.learning_rate, settings.seed, settings.report)
    return loop.train(module, data, valid, parts, told, finish, out_of_fold).history


def make_run(module, data, valid, parts):
    told = Settings(32, 1e-2, 0, lambda history, finished: False)
    return loop._Run(module, data, valid, parts, told, lambda *args: None, None)


def reporting(show):
    """Report the last record alone, and never stop."""

    def report(history, finished):
        show(history[-1])
        return False

    return report


def interleaved(history):
    return [record for record in history if record["phase"] == "interleaved"]


def interleaved_phase(module):
    return phases_of(module, make_settings())[-2]


@pytest.fixture
def without_calibration(monkeypatch):
    """Leave the weights as the loop left them."""
    monkeypatch.setitem(globals(), "calibrate", lambda *args: None)


# Learning


@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize("latent", LATENTS)
def test_reconstruction_and_objective_improve_on_training_and_validation_windows(
    latent, interleave
):
    module, data, valid, out_of_fold = make_start(latent, interleave=interleave)
    for buffer in module.linear_window.buffers():
        buffer.zero_()
    start = interleaved_phase(module).evaluate(module, valid, 32)
    history = interleaved(train(module, data, valid, out_of_fold, make_settings(max_epochs=12)))
    first, last = history[0], history[-1]
    assert last["log_px"] > first["log_px"] + 1
    assert last["validation_log_px"] > start["validation_log_px"] + 1
    assert last["validation_loss"] < start["validation_loss"] - 1
    assert last["log_py"] > first["log_py"]


@pytest.mark.parametrize("latent", ["both", "marginal"])
def test_the_marginal_phase_lowers_the_cross_entropy(latent):
    module, data, valid, out_of_fold = make_start(latent)
    with torch.no_grad():  # forget the closed-form start
        module.marginal_encoder.discriminant.weight.zero_()
    history = train(module, data, valid, out_of_fold, make_settings(max_epochs=10))
    marginal = [record for record in history if record["phase"] == "marginal"]
    assert len(marginal) > 1
    assert marginal[-1]["cross_entropy"] < 0.8 * marginal[0]["cross_entropy"]
    assert min(r["validation_loss"] for r in marginal[1:]) < marginal[0]["validation_loss"]


@pytest.mark.parametrize("latent", ["both", "marginal"])
def test_the_marginal_phase_moves_the_marginal_path_only(latent, monkeypatch):
    module, data, valid, out_of_fold = make_start(latent)
    monkeypatch.setitem(globals(), "phases_of", lambda m, s, f=phases_of: f(m, s)[:1])
    before = {k: v.clone() for k, v in module.named_parameters()}
    train(module, data, valid, out_of_fold, make_settings(max_epochs=1, learning_rate=1e-3))
    moved = {k for k, v in module.named_parameters() if not torch.equal(v, before[k])}
    moved.discard("forecast_decoder.log_scale")  # by the calibration
    assert moved
    assert all(name.startswith(("marginal_encoder.", "priors.")) for name in moved)


@pytest.mark.parametrize("latent", LATENTS)
def test_phases_follow_each_other_where_there_are_marginal_dimensions(latent):
    history = train(*make_start(latent), make_settings(max_epochs=2))
    expected = [(name, epoch) for name in ("interleaved", "forecast") for epoch in (1, 2)]
    if latent != "conditional":
        expected = [("marginal", 1), ("marginal", 2), *expected]
    assert [(record["phase"], record["epoch"]) for record in history] == expected


def test_the_marginal_phase_has_a_limit_of_its_own(monkeypatch):
    monkeypatch.setattr(phases, "MARGINAL_EPOCHS", 2)
    history = train(*make_start(), make_settings(max_epochs=3))
    expected = ["marginal"] * 2 + ["interleaved"] * 3 + ["forecast"] * 3
    assert [r["phase"] for r in history] == expected


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.usefixtures("without_calibration")
def test_the_forecast_phase_starts_anew_and_moves_the_forecast_only(latent, monkeypatch):
    module, data, valid, out_of_fold = make_start(latent)
    phase = phases_of(module, make_settings())[-1]
    train(module, data, valid, out_of_fold, make_settings(max_epochs=2))
    spoil(module, 1.0)
    phase.prepare()
    assert not module.forecast_parts(valid.batch(slice(None)))[1].any()
    before = {k: v.clone() for k, v in module.named_parameters()}
    monkeypatch.setitem(globals(), "phases_of", lambda *args: [phase])
    train(module, data, valid, out_of_fold, make_settings(max_epochs=1))
    moved = {k for k, v in module.named_parameters() if not torch.equal(v, before[k])}
    assert moved
    assert all(name.startswith("forecast_decoder.") for name in moved)


@pytest.mark.parametrize("latent", LATENTS)
def test_means_of_latent_variables_are_computed_once_where_there_is_room(latent, monkeypatch):
    weights, n_computed = [], []
    for most_kept in (2**25, 0):
        monkeypatch.setattr(phases, "_MOST_KEPT", most_kept)
        module, data, valid, out_of_fold = make_start(latent)
        monkeypatch.setitem(
            globals(), "phases_of", lambda m, s, f=deepdive_phases: f(m, 3, None)[-1:]
        )
        infer, sizes = module.means_for_forecast, []
        monkeypatch.setattr(
            module, "means_for_forecast", lambda b, f=infer, s=sizes: s.append(len(b)) or f(b)
        )
        train(module, data, valid, out_of_fold, make_settings())
        weights.append(copies(module.state_dict(), ""))
        n_computed.append(sum(sizes) - 1)  # one window tells how much room they take
    assert n_computed == [len(data), 3 * len(data)]
    assert weights[0]["forecast_decoder.head.weight"].any()
    for name, kept in weights[0].items():
        torch.testing.assert_close(kept, weights[1][name], rtol=1e-4, atol=1e-6)


def test_terms_of_an_epoch_are_means_over_all_windows(monkeypatch):
    """With a learning rate of zero the batches do not matter to the noiseless terms."""
    module, data, valid, out_of_fold = make_start("both")
    infer = module.infer
    monkeypatch.setattr(module, "infer", lambda window, draws=None: infer(window))
    every = [
        make_settings(max_epochs=1, learning_rate=0.0, batch_size=size) for size in (7, len(data))
    ]
    records = [train(module, data, valid, out_of_fold, settings) for settings in every]
    uneven, whole = (interleaved(record)[0] for record in records)
    for term in ("log_px", "kl_a", "kl_b"):
        assert uneven[term] == pytest.approx(whole[term], rel=1e-5)


def test_validation_loss_is_the_whole_objective_of_its_terms():
    record = interleaved(train(*make_start(), make_settings(max_epochs=1)))[0]
    terms = {k.removeprefix("validation_"): v for k, v in record.items() if "validation" in k}
    expected = terms["kl_a"] + terms["kl_b"] + terms["cross_entropy"]
    expected -= terms["log_px"] + terms["log_py"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluations_draw_the_same_numbers_every_time():
    module, _, valid, _ = make_start()
    phase = interleaved_phase(module)
    assert phase.evaluate(module, valid, 32) == phase.evaluate(module, valid, 32)


def test_of_many_validation_windows_a_sample_judges_every_epoch(monkeypatch):
    monkeypatch.setattr(loop, "_MOST_EVALUATED", 9)
    module, data, valid, _ = make_start()
    parts = phases_of(module, make_settings())
    samples = [make_run(module, data, valid, parts).evaluated for _ in range(2)]
    rows = samples[0].rows
    np.testing.assert_array_equal(rows, samples[1].rows)
    assert len(rows) == 9
    assert np.isin(rows, np.arange(len(valid))).all()
    assert (np.diff(rows) > 0).all()
    phase = interleaved_phase(module)
    drawn = replace(valid, X=valid.X[rows], y=valid.y[rows], labels=valid.labels[rows])
    assert phase.evaluate(module, samples[0], 4) == phase.evaluate(module, drawn, 4)


def test_few_validation_windows_all_judge_every_epoch():
    module, data, valid, _ = make_start()
    parts = phases_of(module, make_settings())
    assert make_run(module, data, valid, parts).evaluated is valid


def test_evaluation_leaves_no_gradients():
    module, _, valid, _ = make_start()
    interleaved_phase(module).evaluate(module, valid, 32)
    assert all(p.grad is None for p in module.parameters())


# Early stopping


@pytest.mark.parametrize("patience", [None, 5])
@pytest.mark.parametrize("losses", [(1, 2, 3, 4), (4, 3, 2, 1), (3, 1, 2, 0, 4), (2, 1, 1, 1)])
@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.usefixtures("without_calibration")
def test_the_best_weights_are_kept_and_without_patience_the_last(
    latent, losses, patience, monkeypatch
):
    """The validation windows are made to say the loss of the start and of every epoch."""
    module, data, valid, out_of_fold = make_start(latent)
    told = iter(losses)
    phase = replace(
        interleaved_phase(module),
        evaluate=lambda *args: {"validation_loss": next(told)},
        max_epochs=len(losses) - 1,
        patience=patience,
    )
    monkeypatch.setitem(globals(), "phases_of", lambda *args: [phase])
    states = [copies(module.state_dict())]
    note = reporting(lambda record: states.append(copies(module.state_dict())))
    train(module, data, valid, out_of_fold, make_settings(report=note))
    assert len(states) == len(losses)
    expected = states[-1] if patience is None else states[int(np.argmin(losses))]
    assert all(torch.equal(v, expected[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("latent", LATENTS)
def test_training_stops_after_that_many_epochs_without_improvement(latent, patience):
    settings = make_settings(max_epochs=20, learning_rate=0.0, patience=patience)
    history = train(*make_start(latent), settings)
    assert len(interleaved(history)) == patience
    n_marginal = 0 if latent == "conditional" else min(patience, phases.MARGINAL_PATIENCE)
    n_forecast = min(patience, phases.FORECAST_PATIENCE)
    assert len(history) == n_marginal + patience + n_forecast


def test_the_monitor_counts_the_epochs_since_the_best():
    module = torch.nn.Linear(1, 1, bias=False)
    best, counts, over = Monitor(module, patience=3), [], []
    for i, loss in enumerate([3.0, 2.0, 2.0, 2.5, float("nan"), 1.0, 4.0]):
        torch.nn.init.constant_(module.weight, i)
        best.update(loss)
        counts.append(best.n_epochs_since)
        over.append(best.is_over)
    best.restore()
    assert counts == [0, 0, 1, 2, 3, 0, 1]
    assert over == [False, False, False, False, True, False, False]
    assert best.loss == 1.0
    assert module.weight.item() == 5


@pytest.mark.parametrize("phase", ["marginal", "interleaved", "forecast"])
def test_a_report_can_end_the_training(phase):
    module, data, valid, out_of_fold = make_start()
    settings = make_settings(report=lambda history, _: history[-1]["phase"] == phase)
    history = train(module, data, valid, out_of_fold, settings)
    assert [record["phase"] for record in history].count(phase) == 1
    assert history[-1]["phase"] == phase
    linear, corrected = squared_errors(module, valid)
    assert (corrected <= linear * (1 + 1e-6)).all()


def test_a_report_gets_the_module_as_the_end_would_leave_it():
    module, data, valid, out_of_fold = make_start()
    states = []

    def report(history, finished):
        states.append(copies(finished().module.state_dict()))
        return False

    train(module, data, valid, out_of_fold, make_settings(report=report))
    after = module.state_dict()
    assert all(torch.equal(states[-1][name], after[name]) for name in after)
    assert not all(torch.equal(states[-2][name], after[name]) for name in after)


# Calibration


def squared_errors(module, valid):
    """Sums of squared errors of every target, of the linear forecast and of the whole."""
    batch = valid.batch(slice(None))
    with torch.no_grad():
        linear, correction = (part.double() for part in module.forecast_parts(batch))
    return [(batch.y - some).square().sum((0, 1)) for some in (linear, linear + correction)]


def spoil(module, scale, seed=0):
    """Give the correction arbitrary weights."""
    generator = torch.Generator().manual_seed(seed)
    for layer in ("from_fused", "from_target", "head"):
        for parameter in getattr(module.forecast_decoder, layer).parameters():
            torch.nn.init.normal_(parameter, std=scale, generator=generator)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("latent", LATENTS)
def test_calibrated_forecast_is_never_worse_than_the_linear_one(latent, scale, seed):
    module, _, valid, _ = make_start(latent)
    spoil(module, scale, seed)
    calibrate_forecast(module, valid, 32)
    linear, corrected = squared_errors(module, valid)
    assert (corrected <= linear * (1 + 1e-6)).all()


@pytest.mark.parametrize("learning_rate", [1e-3, 1.0])
@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("latent", LATENTS)
def test_a_trained_forecast_is_never_worse_than_the_linear_one(latent, patience, learning_rate):
    module, data, valid, out_of_fold = make_start(latent)
    settings = make_settings(learning_rate=learning_rate, patience=patience)
    train(module, data, valid, out_of_fold, settings)
    linear, corrected = squared_errors(module, valid)
    assert (corrected <= linear * (1 + 1e-6)).all()


def make_folded_data(n=400):
    """Waves of either sign whose future is the size of their amplitude: no linear map finds it."""
    rng = np.random.default_rng(0)
    amplitude = rng.normal(size=(n, 1, 1))
    wave = np.sin(2 * np.pi * np.arange(N_TIMESTEPS) / PERIOD)[:, None]
    X = amplitude * wave + 0.1 * rng.normal(size=(n, N_TIMESTEPS, 1))
    y = np.abs(amplitude) * np.ones((HORIZON, 1)) + 0.1 * rng.normal(size=(n, HORIZON, 1))
    labels = np.zeros((n, 0), dtype=np.int64)
    scalings = [Scaling(v.mean((0, 1)), v.std((0, 1))) for v in (X, y)]
    data = WindowData(X, y, labels, *scalings, torch.device("cpu"))
    return data.part(slice(0, 300)), data.part(slice(300, None))


def test_the_correction_learns_what_no_linear_map_can():
    data, valid = make_folded_data()
    sizes = Sizes(0, 4, n_hidden=32, n_clusters=1)
    no_factors = Factors([], [], data.labels)
    start = closed_form_start(
        data, valid, fit_features(data, 0), [None], no_factors, sizes, 0, interleave=True
    )
    module = start.module
    train(module, data, valid, start.out_of_fold, make_settings(max_epochs=25))
    linear, corrected = squared_errors(module, valid)
    assert corrected.sum() < 0.5 * linear.sum()


@pytest.mark.parametrize("parts", [(0.3, 0.8), (0.0, 0.5), (1.0, 1.0)])
def test_calibration_finds_the_factor_that_surely_gains_most(parts):
    """Futures hold known parts of an arbitrary correction, and noise."""
    module, _, valid, _ = make_start()
    spoil(module, 1.0)
    batch = valid.batch(slice(None))
    with torch.no_grad():
        linear, correction = (part.double() for part in module.forecast_parts(batch))
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=linear.shape))
    futures = linear + correction * torch.tensor(parts) + 0.5 * correction.std((0, 1)) * noise
    valid = replace(valid, y=valid.y_scaling.invert(futures.numpy()))
    y = valid.batch(slice(None)).y
    calibrate_forecast(module, valid, 32)

    def errors(factor):
        squares = (y - linear - factor * correction).square().sum(1).numpy()
        return np.stack([block.sum(axis=0) for block in np.array_split(squares, 8)])

    grid = np.linspace(0, 1, 101)
    gains = errors(0) - np.stack([errors(factor) for factor in grid])
    sure = gains.mean(axis=1) - 2 * gains.std(axis=1, ddof=1) / 8**0.5
    best = grid[sure.argmax(axis=0)]
    gains = gains.sum(axis=2)
    assert (gains.mean(axis=1) > 2 * gains.std(axis=1, ddof=1) / 8**0.5).any()
    np.testing.assert_allclose(module.forecast_decoder.shrinkage, best, atol=1e-6)
    np.testing.assert_allclose(best, parts, atol=0.2)


@pytest.mark.parametrize("n_harmed", [0, 5])
def test_a_correction_that_harms_most_targets_is_trusted_for_none(n_harmed):
    signs = torch.ones(1 + n_harmed)
    signs[1:] = -1

    class Corrected:
        def forecast_parts(self, batch):
            rows = len(batch)
            return torch.zeros(rows, 2, len(signs)), torch.ones(rows, 2, len(signs))

    futures = np.ones((80, 2, 1)) * signs.numpy()
    scaling = Scaling(np.zeros(len(signs)), np.ones(len(signs)))
    no_labels = np.empty((80, 0), dtype=np.int64)
    data = WindowData(np.zeros((80, 3, 1)), futures, no_labels, Scaling(np.zeros(1), np.ones(1)),
                      scaling, torch.device("cpu"))  # fmt: skip
    factor, _ = best_shrinkage(Corrected(), data, 32)
    assert factor[0].item() == (0 if n_harmed else 1)


def test_a_gain_of_one_lucky_block_is_not_trusted():
    """Seven blocks lose a little where one gains much: the sum gains, but nothing is sure."""
    linear = torch.full((8, 1), -1.0, dtype=torch.float64)
    linear[0] = 20.0
    quadratic = torch.full_like(linear, 10.0)
    assert linear.sum() > 0
    assert shrinkage._sure_factor(linear, quadratic).item() == 0
    even = torch.full_like(linear, linear.mean())
    factor = shrinkage._sure_factor(even, quadratic)
    assert factor.item() == pytest.approx(linear.mean().item() / 10, abs=0.005)


def test_the_forecast_is_judged_by_the_error_it_has_once_it_is_shrunk():
    module, _, valid, _ = make_start()
    spoil(module, 0.3)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    judged = evaluate_forecast(module, valid, 32)["validation_loss"]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    factor, _ = best_shrinkage(module, valid, 32)
    assert (factor < 1).any()
    calibrate_forecast(module, valid, 32)
    batch = valid.batch(slice(None))
    x, y = batch.x, batch.y
    with torch.no_grad():
        error = (y - module.forecast(x)).square().mean().item()
    assert judged == pytest.approx(error, rel=1e-4)


@pytest.mark.usefixtures("without_calibration")
def test_the_best_correction_is_kept():
    module, data, valid, out_of_fold = make_start()
    history = train(module, data, valid, out_of_fold, make_settings(patience=4, learning_rate=0.3))
    errors = [r["validation_loss"] for r in history if r["phase"] == "forecast"]
    assert evaluate_forecast(module, valid, 32)["validation_loss"] <= min(errors) * (1 + 1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_the_calibrated_scale_is_the_error_on_the_validation_windows(scale):
    module, _, valid, _ = make_start()
    spoil(module, scale)
    calibrate_forecast(module, valid, 32)
    batch = valid.batch(slice(None))
    x, y = batch.x, batch.y
    with torch.no_grad():
        expected = (y - module.forecast(x)).square().mean(0).sqrt()
    torch.testing.assert_close(
        module.forecast_decoder.log_scale.exp().detach(), expected, rtol=1e-4, atol=0
    )


# Divergence


def make_break(module, term, after):
    """Make a term of the loss NaN from the call number `after` on."""
    loss, calls = module.loss, []

    def broken(*args, **options):
        calls.append(None)
        terms = loss(*args, **options)
        if len(calls) > after:
            setattr(terms, term, getattr(terms, term) * float("nan"))
        return terms

    module.loss = broken


@pytest.mark.parametrize("patience", [None, 3])
@pytest.mark.parametrize(("term", "epoch"), [("log_py", 1), ("kl_a", 2), ("cross_entropy", 3)])
def test_divergence_names_term_and_epoch(term, epoch, patience):
    module, data, valid, out_of_fold = make_start()
    n_train, n_valid = (-(-len(part) // 256) for part in (data, valid))
    # One evaluation of the start, then training and evaluation in every epoch.
    make_break(module, term, n_valid + (epoch - 1) * (n_train + n_valid))
    message = f"'{term}' became nan in epoch {epoch} of the interleaved phase.*'learning_rate'"
    with (
        pytest.warns(ConvergenceWarning, match=message) as warned,
        pytest.raises(FloatingPointError, match=message),
    ):
        train(module, data, valid, out_of_fold, make_settings(batch_size=256, patience=patience))
    assert len(warned) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_terms_of_validation_windows_must_be_finite_as_well(value, monkeypatch):
    module, data, valid, out_of_fold = make_start()
    evaluated = iter([1.0, 1.0, value, 1.0, 1.0])
    phase = replace(interleaved_phase(module), evaluate=lambda *args: {
        "validation_loss": next(evaluated)}, max_epochs=3)  # fmt: skip
    monkeypatch.setitem(globals(), "phases_of", lambda *args: [phase])
    message = f"'validation_loss' became {value} in epoch 2 of the interleaved phase"
    with pytest.warns(ConvergenceWarning, match=message):
        history = train(module, data, valid, out_of_fold, make_settings())
    assert [record["epoch"] for record in history] == [1, 2, 3]
    expected = [1e-2, 1e-3 * 2 / 3, 1e-3 / 3]
    assert [record["learning_rate"] for record in history] == pytest.approx(expected)


def test_a_diverged_epoch_is_not_reported():
    module, data, valid, out_of_fold = make_start("conditional")
    make_break(module, "log_py", 0)
    records = []
    with (
        pytest.warns(ConvergenceWarning),
        pytest.raises(FloatingPointError, match="'log_py' became nan in epoch 1"),
    ):
        train(module, data, valid, out_of_fold, make_settings(report=reporting(records.append)))
    assert records == []


# Interrupts


@pytest.mark.parametrize("phase", ["marginal", "interleaved", "forecast"])
@pytest.mark.parametrize("n_epochs", [0, 1, 3])
@pytest.mark.parametrize("learning_rate", [1e-2, 0.3])
@pytest.mark.usefixtures("without_calibration")
def test_an_interrupt_keeps_the_best_weights_so_far(phase, n_epochs, learning_rate, monkeypatch):
    module, data, valid, out_of_fold = make_start()
    parts = {p.name: p for p in phases_of(module, make_settings())}
    monkeypatch.setitem(globals(), "phases_of", lambda *args: [parts[phase]])
    start = parts[phase].evaluate(module, valid, _EVALUATION_BATCH)["validation_loss"]
    states = [(start, copies(module.state_dict()))]
    loss = parts[phase].loss

    def interrupted(module, batch, draws, **options):
        if len(states) > n_epochs and options:  # evaluations have none
            with torch.no_grad():
                next(module.parameters()).fill_(np.nan)
            raise KeyboardInterrupt
        return loss(module, batch, draws, **options)

    def report(history, finished):
        states.append((history[-1]["validation_loss"], copies(module.state_dict())))
        return False

    parts[phase] = replace(parts[phase], loss=interrupted)
    settings = make_settings(learning_rate=learning_rate, report=report)
    message = f"in epoch {n_epochs + 1} of the {phase} phase"
    with pytest.raises(Interrupted, match=message) as interrupt:
        train(module, data, valid, out_of_fold, settings)
    assert len(interrupt.value.result.history) == n_epochs
    _, best = min(states, key=lambda state: state[0])
    assert all(torch.equal(weights, best[k]) for k, weights in module.state_dict().items())


# Random numbers


@pytest.mark.parametrize("latent", LATENTS)
def test_the_same_seed_gives_the_same_bits(latent):
    results = []
    for _ in range(2):
        module, data, valid, out_of_fold = make_start(latent)
        history = train(module, data, valid, out_of_fold, make_settings(max_epochs=2))
        results.append((module.state_dict(), history))
    (first, first_history), (second, second_history) = results
    assert first_history == second_history
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_another_seed_gives_another_training():
    histories = [train(*make_start(), make_settings(max_epochs=1, seed=seed)) for seed in (0, 1)]
    assert histories[0][-1]["squared_error"] != histories[1][-1]["squared_error"]


@pytest.mark.parametrize("latent", LATENTS)
def test_training_leaves_global_generators_and_settings_alone(latent):
    module, data, valid, out_of_fold = make_start(latent)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    n_threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    train(module, data, valid, out_of_fold, make_settings(max_epochs=2))
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (n_threads, dtype)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("seed", [0, 1])
def test_global_seeds_do_not_enter_the_result(seed):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    expected = train(*make_start(), make_settings(max_epochs=1))
    try:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        assert train(*make_start(), make_settings(max_epochs=1)) == expected
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def test_data_are_not_changed():
    module, data, valid, out_of_fold = make_start()
    copies = [np.array(a) for a in (data.X, data.y, data.labels, valid.X)]
    train(module, data, valid, out_of_fold, make_settings(max_epochs=1))
    for array, copy in zip((data.X, data.y, data.labels, valid.X), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# Schedule


@pytest.mark.parametrize(
    ("part", "weight"), [(0.0, 0.0), (0.1, 0.1), (0.5, 0.5), (1.0, 1.0), (1.2, 1.0), (100.0, 1.0)]
)
def test_weight_of_the_kl_rises_evenly_to_one(part, weight):
    assert warmed_up(part * phases.KL_WARMUP_EPOCHS) == pytest.approx(weight)


def test_the_weight_of_the_kl_rises_with_every_batch(monkeypatch):
    epochs = []
    module, data, valid, out_of_fold = make_start("conditional")
    phase = replace(interleaved_phase(module), kl_weight=lambda epoch: epochs.append(epoch) or 1.0)
    monkeypatch.setitem(globals(), "phases_of", lambda *args: [replace(phase, max_epochs=2)])
    train(module, data, valid, out_of_fold, make_settings(batch_size=len(data) // 4 + 1))
    np.testing.assert_allclose(epochs, [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])


# Progress


RECORDS = [
    {"phase": "marginal", "epoch": 1, "kl_b": 2.0, "cross_entropy": 1.5, "validation_loss": 3.25},
    {"phase": "interleaved", "epoch": 1, "log_py": -4.0, "log_px": -20.0, "validation_loss": 30.0},
    {"phase": "interleaved", "epoch": 2, "log_py": -3.0, "log_px": -10.0, "validation_loss": 12.5},
]


def report_all(verbose, records=RECORDS):
    with progress(verbose, 5) as report:
        for record in records:
            report(dict(record))


@pytest.mark.parametrize("tqdm", ["present", "absent"])
def test_nothing_is_shown_without_verbose(tqdm, capfd, monkeypatch):
    if tqdm == "absent":
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    report_all(0)
    assert capfd.readouterr() == ("", "")


def test_without_tqdm_every_epoch_is_a_line_on_standard_error(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    report_all(1)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "marginal epoch 1: validation_loss 3.25, kl_b 2, cross_entropy 1.5",
        "interleaved epoch 1: validation_loss 30, log_py -4, log_px -20",
        "interleaved epoch 2: validation_loss 12.5, log_py -3, log_px -10",
    ]


@pytest.mark.parametrize("tqdm", ["present", "absent"])
def test_the_second_level_shows_every_term_line_by_line(tqdm, capfd, monkeypatch):
    if tqdm == "absent":
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    report_all(2, [RECORDS[0] | {"validation_kl_b": 2.5}])
    assert capfd.readouterr() == (
        "",
        "marginal epoch 1: kl_b 2, cross_entropy 1.5, validation_loss 3.25, validation_kl_b 2.5\n",
    )


def test_with_tqdm_a_bar_counts_the_interleaved_epochs_on_standard_error(capfd):
    pytest.importorskip("tqdm")
    report_all(1)
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(r"fit:\s+40%.* 2/5 .*validation_loss 12.5, log_py -3", err)


def test_an_error_closes_the_bar(capfd):
    pytest.importorskip("tqdm")
    from tqdm.auto import tqdm

    report_nothing = {}
    with pytest.raises(KeyError):
        report_all(1, [RECORDS[1], report_nothing])
    assert not tqdm._instances
    assert capfd.readouterr().err.endswith("\n")


@pytest.mark.parametrize("verbose", [0, 1])
def test_reporting_does_not_change_the_training(verbose, capfd):
    with progress(verbose, 2) as report:
        settings = make_settings(max_epochs=2, report=reporting(report))
        history = train(*make_start(), settings)
    assert history == train(*make_start(), make_settings(max_epochs=2))


@pytest.mark.parametrize("latent", LATENTS)
def test_every_epoch_is_reported_once_and_in_order(latent):
    records = []
    settings = make_settings(max_epochs=2, report=reporting(records.append))
    history = train(*make_start(latent), settings)
    assert records == history
    assert all("validation_loss" in record for record in records)


def test_steps_are_those_of_adam_and_go_on_from_its_moments():
    generator = torch.Generator().manual_seed(0)
    own = [torch.nn.Parameter(torch.randn(n, 2, generator=generator)) for n in (1, 3, 4)]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in own]
    rates = [0.1, 0.01, 0.1]
    optimizer = Adam(dict(zip(own, rates, strict=True)))
    reference = torch.optim.Adam(
        [{"params": [p], "lr": rate} for p, rate in zip(theirs, rates, strict=True)]
    )
    for step in range(6):
        for i, (p, q) in enumerate(zip(own, theirs, strict=True)):
            if step % (i + 1) == 0:
                p.grad = torch.randn(p.shape, generator=generator)
                q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
        for p, q in zip(own, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
        optimizer.zero_grad()
        reference.zero_grad()
        if step == 2:
            optimizer = Adam(dict(zip(own, rates, strict=True)), optimizer.moments())
