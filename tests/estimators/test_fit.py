"""What a fit hands to the training loop: windows, scalings, module, phases and settings."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skdeepdive import DeepDIVEForecaster
from skdeepdive._data.batches import WindowData
from skdeepdive._estimators import fit as fit_module
from skdeepdive._estimators.fit import Plan
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

N_TIMESTEPS, HORIZON, N, N_VALID, GAP = 6, 2, 120, 24, 5
GAP_ROWS, VALID_ROWS = slice(N - N_VALID - GAP, N - N_VALID), slice(N - N_VALID, N)
MODELS = {
    "labels": (DeepDIVEForecaster, {}),
    "clusters": (DeepDIVEForecaster, {"n_clusters": 2}),
    "conditional": (DeepDIVEForecaster, {"latent": "conditional"}),
    "VAE": (VAEForecaster, {}),
    "beta-TCVAE": (BetaTCVAEForecaster, {}),
}

all_models = pytest.mark.parametrize("name", MODELS)


class Stop(Exception):
    """Ends a fit where training would begin."""


def make_windows(n=N, seed=0):
    """Windows that show their class, futures that follow from them with noise, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    X = rng.normal(size=(n, N_TIMESTEPS)) + 3 * labels[:, None]
    return X, X[:, :HORIZON] + 0.5 * rng.normal(size=(n, HORIZON)), labels


def make_model(name, **parameters):
    estimator, own = MODELS[name]
    small = {"n_hidden": 4, "max_epochs": 2, "batch_size": 16, "validation_gap": GAP}
    return estimator(**{**small, "learning_rate": 1e-2, "random_state": 0, **own, **parameters})


def fit(model, name, X, y, labels):
    return model.fit(X, y, labels) if name == "labels" else model.fit(X, y)


def arrays_of(model):
    scalings = [model._x_scaling, model._y_scaling]
    return [
        *(weights.numpy() for weights in model.module_.state_dict().values()),
        *(array for scaling in scalings for array in (scaling.loc, scaling.scale)),
    ]


def at_the_start(monkeypatch, fit, *arrays):
    """Return what a fit hands to the training loop."""
    seen = {}

    def spy(module, data, valid, phases, settings, finish, out_of_fold=None):
        seen.update(module=module, data=data, valid=valid, phases=phases, settings=settings)
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(fit_module, "train", spy)
        with pytest.raises(Stop):
            fit(*arrays)
    return SimpleNamespace(**seen)


@all_models
def test_windows_in_the_gap_have_no_effect(name):
    X, y, labels = make_windows()
    expected = fit(make_model(name), name, X, y, labels)
    X, y = X.copy(), y.copy()
    X[GAP_ROWS] += 7.0
    y[GAP_ROWS] *= -3.0
    found = fit(make_model(name), name, X, y, labels)
    for array, true in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_array_equal(array, true)


@all_models
def test_validation_windows_have_no_part_in_the_scaling(name):
    X, y, labels = make_windows()
    X[VALID_ROWS] *= 3.0
    y[VALID_ROWS] *= 3.0
    model, train = fit(make_model(name), name, X, y, labels), X[: GAP_ROWS.start]
    np.testing.assert_allclose(model._x_scaling.loc, train.mean())
    np.testing.assert_allclose(model._x_scaling.scale, train.std())


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"),
    [(200, "auto", 16), (1000, "auto", 25), (20_000, "auto", 256), (200, 7, 7)],
)
def test_a_batch_has_a_32nd_of_the_training_windows_within_bounds(
    n, batch_size, expected, monkeypatch
):
    model = make_model("VAE", batch_size=batch_size, validation_gap=0)
    seen = at_the_start(monkeypatch, model.fit, *make_windows(n)[:2])
    assert seen.settings.batch_size == expected


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_fit_has_the_epochs_and_the_patience_that_it_was_given(early_stopping, monkeypatch):
    options = {"max_epochs": 30, "n_iter_no_change": 7, "early_stopping": early_stopping}
    seen = at_the_start(monkeypatch, make_model("labels", **options).fit, *make_windows())
    phases = {phase.name: phase for phase in seen.phases}
    assert list(phases) == ["marginal", "interleaved", "forecast"]
    assert [phases[name].max_epochs for name in ("interleaved", "forecast")] == [30, 30]
    assert phases["interleaved"].patience == (7 if early_stopping else None)


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"),
    [(200, "auto", 8), (10_752, 256, 8), (10_753, 256, 7), (15_105, "auto", 5), (9_000, 64, 5)],
)
def test_few_windows_have_more_epochs(n, batch_size, expected, monkeypatch):
    options = {"max_epochs": "auto", "batch_size": batch_size, "validation_gap": 0}
    model = make_model("labels", **options, validation_fraction=0.2)
    seen = at_the_start(monkeypatch, model.fit, *make_windows(round(n / 0.8)))
    assert len(seen.data) == n
    assert [phase.max_epochs for phase in seen.phases] == [expected] * 3


def test_every_phase_of_a_chunk_is_one_epoch(monkeypatch):
    seen = at_the_start(monkeypatch, make_model("labels").partial_fit, *make_windows())
    assert [(phase.max_epochs, phase.patience) for phase in seen.phases] == [(1, None)] * 3


def fitted_with_correction():
    """A model of one chunk whose correction is there, but was not trusted."""
    model = make_model("labels").partial_fit(*make_windows())
    decoder = model.module_.forecast_decoder
    with torch.no_grad():
        decoder.head.weight.fill_(0.1)
        decoder.shrinkage.fill_(0.25)
    return model


def test_the_correction_learns_on_in_a_chunk_unshrunk(monkeypatch):
    model = fitted_with_correction()
    seen = at_the_start(monkeypatch, model.partial_fit, *make_windows(seed=1))
    decoder = seen.module.forecast_decoder
    seen.phases[-1].prepare()
    assert decoder.head.weight.unique().tolist() == [pytest.approx(0.1)]
    assert decoder.shrinkage.tolist() == [1.0]


def test_the_correction_starts_anew_at_the_end_of_any_other_fit(monkeypatch):
    model = fitted_with_correction().set_params(warm_start=True)
    seen = at_the_start(monkeypatch, model.fit, *make_windows(seed=1))
    decoder = seen.module.forecast_decoder
    assert decoder.shrinkage.tolist() == [0.25]  # until then, as it was
    seen.phases[-1].prepare()
    assert not decoder.head.weight.any()
    assert decoder.shrinkage.tolist() == [1.0]


@pytest.mark.parametrize("plan", [Plan.ANEW, Plan.FURTHER, Plan.FIRST_CHUNK, Plan.NEXT_CHUNK])
def test_the_scale_to_start_with_is_the_error_on_the_validation_windows(plan, monkeypatch):
    model = fitted_with_correction() if plan.goes_on else make_model("labels")
    model.set_params(warm_start=plan.goes_on)
    fit = model.partial_fit if plan.is_chunk else model.fit
    seen = at_the_start(monkeypatch, fit, *make_windows(seed=1))
    assert isinstance(seen.valid, WindowData)
    assert len(seen.valid) == N_VALID
    batch = seen.valid.batch(slice(None))
    with torch.no_grad():
        error = (seen.module.forecast(batch.x) - batch.y).square().mean(0).sqrt()
        found = seen.module.forecast_decoder.log_scale.exp()
    torch.testing.assert_close(found, error)


def test_a_fit_that_fails_does_not_change_the_module(monkeypatch):
    model = fitted_with_correction()
    before = {name: value.clone() for name, value in model.module_.state_dict().items()}
    at_the_start(monkeypatch, model.partial_fit, *make_windows(seed=1))
    for name, value in model.module_.state_dict().items():
        assert torch.equal(value, before[name])


def test_sums_are_those_of_the_training_windows_of_all_chunks():
    model = make_model("labels")
    for seed in range(3):
        model.partial_fit(*make_windows(seed=seed))
        n_train = (seed + 1) * (N - N_VALID - GAP)
        errors = model._sums["errors"]
        assert errors["train"]["n"] == n_train
        assert errors["valid"]["n"] == (seed + 1) * N_VALID
        assert model._sums["labels"]["counts"].sum() == n_train


@pytest.mark.parametrize("name", ["labels", "clusters"])
def test_gradients_of_the_decoders_stay_away_from_labels_but_not_from_clusters(name, monkeypatch):
    X, y, labels = make_windows()
    arrays = (X, y, labels) if name == "labels" else (X, y)
    seen = at_the_start(monkeypatch, make_model(name).fit, *arrays)
    assert seen.module.interleave == (name == "labels")


@all_models
def test_the_scale_in_the_end_is_the_error_on_the_validation_windows(name):
    X, y, labels = make_windows()
    model = fit(make_model(name), name, X, y, labels)
    error = (model.predict(X[VALID_ROWS]) - y[VALID_ROWS]) / model._y_scaling.scale
    decoder = "forecast_decoder" if isinstance(model, DeepDIVEForecaster) else "future_decoder"
    found = getattr(model.module_, decoder).log_scale.exp().detach().numpy()[:, 0]
    np.testing.assert_allclose(found, np.sqrt(np.square(error).mean(axis=0)), rtol=1e-4)


def test_errors_of_chunks_are_kept_together_and_those_of_any_other_fit_alone():
    model = make_model("labels", warm_start=True)
    for n_chunks in (1, 2, 3):
        model.partial_fit(*make_windows(seed=n_chunks))
        assert len(model.module_.conformal.errors) == n_chunks * N_VALID
    assert len(model.fit(*make_windows()).module_.conformal.errors) == N_VALID


@pytest.mark.parametrize("name", ["VAE", "beta-TCVAE"])
def test_the_kl_of_a_baseline_is_weighed_in(name, monkeypatch):
    (phase,) = at_the_start(monkeypatch, make_model(name).fit, *make_windows()[:2]).phases
    weights = [phase.kl_weight(epochs) for epochs in (0.0, 1.0, 100.0)]
    assert weights[0] == 0
    assert 0 < weights[1] < weights[2] == 1


def test_the_total_correlation_is_estimated_for_the_training_windows_alone(monkeypatch):
    seen = at_the_start(monkeypatch, make_model("beta-TCVAE").fit, *make_windows()[:2])
    assert seen.module.n_windows == len(seen.data) == N - N_VALID - GAP
