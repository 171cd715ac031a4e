"""The closed-form start of the encoder of a and of the decoder of windows."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from skdeepdive import DeepDIVEForecaster
from skdeepdive.nn.features import WindowFeatures

N_TIMESTEPS, N_CHANNELS = 6, 2
MEANS, NOISE = {"hour": 3, "kind": 2}, 0.3


def make_windows(n=4000, seed=0, n_timesteps=N_TIMESTEPS):
    """Windows of a linear-Gaussian model, their means given their labels, and what is left."""
    random = np.random.default_rng(seed)
    size = n_timesteps * N_CHANNELS
    means = [4 * random.normal(size=(k, size)) for k in MEANS.values()]
    loadings = random.normal(size=(2, size)) * [[2.0], [1.0]]
    labels = np.stack([random.integers(0, k, n) for k in MEANS.values()], axis=1)
    mean = sum(m[column] for m, column in zip(means, labels.T, strict=True))
    X = mean + random.normal(size=(n, 2)) @ loadings + NOISE * random.normal(size=(n, size))
    shape = n, n_timesteps, N_CHANNELS
    return X.reshape(shape), labels, mean.reshape(shape), loadings.T @ loadings


def fit(X, labels, **parameters):
    """A model whose networks hardly leave zero."""
    small = {"n_conditional": 2, "n_hidden": 8, "max_epochs": 1, "learning_rate": 1e-8}
    model = DeepDIVEForecaster(
        **{**small, "n_channels": N_CHANNELS, "random_state": 0, **parameters}
    )
    return model.fit(X, X[:, -1:], factors=labels)


@pytest.fixture(scope="module")
def known():
    X, labels, *truth = make_windows()
    return fit(X, labels), X, labels, *truth


def test_noise_and_bound_of_a_linear_gaussian_model_are_found():
    X, _, mean, covariance = make_windows()
    X = X - mean
    model = fit(X, None, latent="conditional")
    scale = model._x_scaling.scale
    noise = model.module_.window_decoder.log_scale.exp().numpy() * scale
    np.testing.assert_allclose(noise, NOISE, rtol=0.05)
    density = multivariate_normal(cov=covariance + NOISE**2 * np.eye(len(covariance)))
    log_density = density.logpdf(X.reshape(len(X), -1)) + N_TIMESTEPS * np.log(scale).sum()
    bound = model.score_samples(X)
    assert bound.mean() == pytest.approx(log_density.mean(), abs=0.05)
    assert np.corrcoef(bound, log_density)[0, 1] > 0.99


def test_the_conditional_dimensions_are_standard_normal_whatever_the_class(known):
    model, X, labels, *_ = known
    a = model.transform(X)[:, -2:]
    np.testing.assert_allclose(a.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(a.T), np.eye(2), atol=0.1)
    for k in range(3):
        np.testing.assert_allclose(a[labels[:, 0] == k].mean(axis=0), 0.0, atol=0.15)


def test_a_window_with_the_label_of_another_class_gets_its_mean(known):
    model, X, labels, mean, _ = known
    what_if = model.counterfactual(X, {"factor0": 2}).window
    expected = {kind: mean[(labels == [2, kind]).all(axis=1)][0] for kind in (0, 1)}
    moved = np.array([expected[kind] for kind in labels[:, 1]]) - mean
    error = np.square(what_if - X - moved).mean()
    assert error < 0.01 * np.square(moved).mean()


@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
def test_windows_are_reconstructed_as_well_as_their_principal_components_and_means_do(latent):
    X, labels, mean, _ = make_windows(n=1000)
    model = fit(X, None if latent == "conditional" else labels, latent=latent)
    error = np.square(model.reconstruct(X) - X).mean()
    known = mean if latent != "conditional" else X.mean(axis=0)
    left = (X - known).reshape(len(X), -1)
    if latent != "marginal":
        pca = PCA(2).fit(left)
        left -= pca.inverse_transform(pca.transform(left))
    assert error < 1.2 * np.square(left).mean()


def test_compressed_windows_are_scored_as_if_they_were_whole(monkeypatch):
    X, *_ = make_windows(n=500)
    scores = []
    for most in (2048, 2 * (N_TIMESTEPS - 1)):
        monkeypatch.setattr(WindowFeatures.__init__, "__defaults__", (most, None, None))
        model = fit(X, None, latent="conditional")
        assert model.module_.features.compressed == (most < 2048)
        scores.append(model.score_terms(X))
    np.testing.assert_allclose(scores[0]["kl_a"].mean(), scores[1]["kl_a"].mean(), rtol=0.01)
    np.testing.assert_allclose(*(s["reconstruction"].mean() for s in scores), rtol=0.01)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_few_windows_have_few_components(n):
    X, *_ = make_windows(n=n)
    model = fit(X, None, latent="conditional", n_conditional=16)
    used = (model.module_.linear_window.loadings != 0).any(dim=1).sum()
    assert used < n
    assert np.isfinite(model.transform(X)).all()


def test_constant_windows_have_none():
    X = np.ones((30, 4, N_CHANNELS))
    model = fit(X, None, latent="conditional")
    assert not model.module_.linear_window.loadings.any()
    np.testing.assert_allclose(model.reconstruct(X), X, atol=1e-6)


def test_missing_labels_are_read_from_the_windows():
    X, labels, mean, _ = make_windows()
    partial = np.where(np.arange(len(X))[:, None] % 4, -1, labels)
    model = fit(X, partial)
    assert model.factor_classes_[0].tolist() == [0, 1, 2]
    what_if = model.counterfactual(X, {"factor0": 2}).window
    same = labels[:, 0] == 2
    assert np.square(what_if[same] - X[same]).mean() < 0.1 * np.square(X - mean).mean()
