"""Fits and forecasts on CUDA: as on the CPU but for rounding. Skipped where there is no device."""

import gc
import pickle

import numpy as np
import pytest
import torch

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SMALL = {"n_hidden": 32, "max_epochs": 3, "random_state": 0}


def make_windows(n_steps=700, seed=0):
    """Two noisy waves of a period of 12, in windows with the phase as label."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_steps)
    wave = np.sin(2 * np.pi * time / 12)
    series = np.stack([5 + wave, np.abs(wave)], axis=1) + 0.1 * rng.normal(size=(n_steps, 2))
    X, y, origin = sliding_windows(series, 24, 6)
    return X, y, origin % 12


def fit(estimator, device, **parameters):
    X, y, labels = make_windows()
    model = estimator(device=device, **{**SMALL, **parameters})
    factors = {"factors": labels} if isinstance(model, DeepDIVEForecaster) else {}
    return model.fit(X, y, **factors)


LATENTS = [{"latent": latent} for latent in ("both", "conditional", "marginal")]
MODELS = [
    *((DeepDIVEForecaster, latent) for latent in LATENTS),
    (VAEForecaster, {}),
    (BetaTCVAEForecaster, {}),
]


@pytest.mark.parametrize(("estimator", "parameters"), MODELS)
def test_errors_are_those_of_the_cpu(estimator, parameters):
    X, y, _ = make_windows(seed=1)
    errors = [
        np.square(fit(estimator, device, **parameters).predict(X) - y).mean()
        for device in ("cpu", "cuda")
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


@pytest.mark.parametrize(("estimator", "parameters"), MODELS)
def test_the_same_seed_gives_the_same_model(estimator, parameters):
    X, *_ = make_windows(seed=1)
    first, second = (fit(estimator, "cuda", **parameters).predict(X) for _ in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("estimator", "parameters"), MODELS)
def test_outputs_of_a_model_do_not_depend_on_the_device(estimator, parameters):
    X, y, _ = make_windows(seed=1)
    on_device = fit(estimator, "cuda", **parameters)
    assert on_device.device_.startswith("cuda")
    on_cpu = pickle.loads(pickle.dumps(on_device)).set_params(device="cpu")
    state = on_cpu.__getstate__() | {"device_": "cpu"}
    on_cpu.__setstate__(state)
    assert on_cpu.device_ == "cpu"
    names = ["predict", "transform", "reconstruct"]
    if isinstance(on_device, DeepDIVEForecaster):
        names += ["predict_quantiles", "score_samples"]
    for name in names:
        found, expected = (getattr(model, name)(X) for model in (on_device, on_cpu))
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8, err_msg=name)
    assert on_device.score(X, y) == pytest.approx(on_cpu.score(X, y))


def test_all_that_a_model_explains_is_computed_on_the_device():
    X, _, labels = make_windows()
    model = fit(DeepDIVEForecaster, "cuda")
    parts = model.attribute(X[:5])
    total = parts.level + parts.linear + parts.window + parts.conditional
    total = total + sum(parts.factors.values())
    np.testing.assert_allclose(total, model.predict(X[:5]), rtol=1e-8)
    assert (model.predict_cluster(X) == labels).mean() > 0.9
    assert model.counterfactual(X[:5], {"factor0": 3}).forecast.shape == (5, 6, 2)
    assert model.traverse(X[:5], "conditional_0", [-1.0, 1.0]).window.shape == (5, 24, 2, 2)
    assert model.sample(X[:5], n_samples=4, random_state=0).shape == (5, 6, 2, 4)
    assert np.isfinite(model.inverse_transform(model.transform(X[:5]))).all()


def test_a_model_learns_further_on_the_device():
    X, y, labels = make_windows()
    model = DeepDIVEForecaster(device="cuda", warm_start=True, **SMALL)
    for part in (slice(0, 300), slice(300, 600)):
        model.partial_fit(X[part], y[part], factors=labels[part], classes=range(12))
    model.fit(X, y, factors=labels)
    assert model.score(X, y) > 0.8


def test_clusters_are_discovered_on_the_device():
    X, y, _ = make_windows()
    model = DeepDIVEForecaster(device="cuda", n_clusters=4, **SMALL).fit(X, y)
    assert len(np.unique(model.predict_cluster(X))) > 1


def test_a_killed_fit_is_resumed_on_the_device(tmp_path):
    pytest.importorskip("safetensors")
    X, y, labels = make_windows()
    whole = fit(DeepDIVEForecaster, "cuda").predict(X)
    path = tmp_path / "fit.checkpoint"
    model = DeepDIVEForecaster(device="cuda", checkpoint_path=path, **SMALL)
    resumed = model.fit(X, y, factors=labels).predict(X)
    np.testing.assert_allclose(resumed, whole, rtol=1e-4, atol=1e-4)
    assert not path.exists()


def test_memory_of_the_device_is_given_back():
    X, *_ = make_windows()
    fit(DeepDIVEForecaster, "cuda").predict(X)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        fit(DeepDIVEForecaster, "cuda").predict(X)
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + 2**20


def test_global_state_of_the_device_stays_as_it_was():
    state = torch.cuda.get_rng_state()
    fit(DeepDIVEForecaster, "cuda")
    assert torch.equal(torch.cuda.get_rng_state(), state)
