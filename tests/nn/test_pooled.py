"""Features that do not depend on where a window was cut."""

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import Batch, WindowData
from skdeepdive._data.scaling import STANDARDISED
from skdeepdive._start.pooled import fit_pooled_features
from skdeepdive.nn.features import WindowFeatures
from skdeepdive.nn.pooled import FEWEST_TIMESTEPS, PooledFeatures


def make_data(X):
    X = np.asarray(X, dtype=np.float32)
    no_labels = np.empty((len(X), 0), dtype=int)
    return WindowData(X, X[:, :1], no_labels, STANDARDISED, STANDARDISED, torch.device("cpu"))


def make_waves(n=60, n_timesteps=64, n_channels=2, seed=0):
    """Sums of two waves, cut anywhere."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (2, n, 1, n_channels))
    time = np.arange(n_timesteps)[:, None]
    waves = [np.sin(2 * np.pi * k * time / n_timesteps + phase[k % 2]) for k in (4, 9)]
    return waves[0] + 0.5 * waves[1]


def describe(pooled, X):
    return pooled(torch.as_tensor(np.asarray(X, dtype=np.float64)))


def double(pooled):
    return pooled.double()


@pytest.fixture(scope="module")
def pooled():
    return double(fit_pooled_features(make_data(make_waves()), seed=0))


def test_on_fitted_windows_they_are_centred_and_have_unit_scale(pooled):
    features = describe(pooled, make_waves().astype(np.float32))
    statistics, scores = features.split([pooled.n_statistics, pooled.n_components], dim=1)
    torch.testing.assert_close(features.mean(0), torch.zeros_like(features[0]), atol=1e-3, rtol=0)
    varying = statistics.std(0, unbiased=False) > 1e-3
    spread = statistics[:, varying].std(0, unbiased=False)
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=2e-2, rtol=0)
    assert float(scores.square().mean()) == pytest.approx(1, abs=2e-2)


def test_a_window_that_moves_changes_them_less_than_another_window(pooled):
    X = make_waves()
    moved, others = np.roll(X, 10, axis=1), X[np.roll(np.arange(len(X)), 1)]
    own, after, other = (describe(pooled, some) for some in (X, moved, others))
    assert (after - own).norm(dim=1).median() < 0.8 * (other - own).norm(dim=1).median()


def test_sums_over_steps_do_not_change_when_a_whole_period_moves():
    """Means over all steps: quantiles and moments, which no border touches."""
    pooled = PooledFeatures(64, 1, 1).double()
    pooled.mixing.fill_(1.0)
    X = torch.from_numpy(make_waves(n_channels=1))
    own, moved = (pooled.raw(some)[:, :9] for some in (X, X.roll(13, dims=1)))
    torch.testing.assert_close(own, moved)


def test_the_maximum_of_kernel_responses_is_that_of_a_convolution(pooled):
    X = torch.from_numpy(make_waves(n=3))
    kernel = -np.ones(9)
    kernel[[0, 1, 2]] = 2  # the first one
    weight = pooled.channels[0, 0].numpy()
    padded = np.pad(X.numpy(), ((0, 0), (4, 4), (0, 0))) @ weight
    expected = [np.convolve(series, kernel[::-1], mode="valid").max() for series in padded]
    n_thresholds = pooled.thresholds.shape[2]
    first_maximum = pooled.n_statistics + n_thresholds * pooled.channels.shape[1]
    np.testing.assert_allclose(pooled.raw(X)[:, first_maximum], expected)


@pytest.mark.parametrize("n_channels", [1, 2, 12, 13, 321])
@pytest.mark.parametrize("n_timesteps", [FEWEST_TIMESTEPS, 9, 31, 400])
def test_their_number_is_bounded(n_timesteps, n_channels):
    pooled = PooledFeatures(n_timesteps, n_channels, 256)
    assert pooled.n_features <= 800
    assert pooled.n_responses <= 3000


def test_many_channels_are_mixed():
    X = np.random.default_rng(0).normal(size=(40, 16, 30))
    pooled = double(fit_pooled_features(make_data(X), seed=0))
    gram = pooled.mixing.T @ pooled.mixing
    torch.testing.assert_close(gram, torch.eye(12).double(), atol=1e-5, rtol=0)
    assert describe(pooled, X).isfinite().all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30, -1e30])
def test_extremes_stay_finite(value, pooled):
    X = make_waves(n=3)
    X[0], X[1, 5, 1], X[2, :, 0] = value, value, value
    assert describe(pooled, X).isfinite().all()


@pytest.mark.parametrize("n", [2, 5])
def test_constant_windows_and_few_of_them_are_fitted(n):
    X = make_waves(n=n)
    X[..., 0] = 3.0
    features = describe(double(fit_pooled_features(make_data(X), seed=0)), X)
    assert features.isfinite().all()
    flat = fit_pooled_features(make_data(np.ones((n, 16, 2))), seed=0)
    assert describe(double(flat), np.ones((n, 16, 2))).abs().max() < 1e-20


def test_the_same_seed_chooses_the_same_kernels():
    data = make_data(make_waves(n_channels=5))
    first, again, other = (fit_pooled_features(data, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), again.buffers(), strict=True))
    assert not torch.equal(first.channels, other.channels)


def test_windows_for_decoders_are_described_without_them(pooled, monkeypatch):
    features = WindowFeatures(64, 2, pooled=pooled).double()
    x = torch.as_tensor(make_waves())
    both = features(x)
    monkeypatch.setattr(pooled, "forward", None)
    alone = features.without_pooled(Batch(x, torch.empty(0), torch.empty(0)))
    torch.testing.assert_close(alone.with_pooled, both.with_pooled[:, : features.n_features])
