"""Gaps of windows, filled by conditional means."""

import numpy as np
import pytest
import torch

from skdeepdive.nn.completion import WindowCompletion, condition

N_TIMESTEPS = 6


def make_covariance(n, seed=0):
    factor = np.random.default_rng(seed).standard_normal((n, n))
    return factor @ factor.T / n + 0.1 * np.eye(n)


def make_completion(n_channels=2, n_timesteps=N_TIMESTEPS):
    completion = WindowCompletion(n_timesteps, n_channels).double()
    n = len(completion.mean)
    inverse = np.linalg.inv(make_covariance(n))
    completion.factor.copy_(torch.from_numpy(np.linalg.cholesky(inverse)))
    completion.mean.copy_(torch.linspace(-1, 1, n))
    return completion


def make_windows(n=5, n_channels=2, part=0.3, seed=1):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, N_TIMESTEPS, n_channels))
    x[random.random(x.shape) < part] = np.nan
    return torch.from_numpy(x)


def conditional(window, mean, covariance):
    """Mean and covariance of what is NaN, by the textbook's formula."""
    missing = np.isnan(window)
    cross = covariance[np.ix_(missing, ~missing)]
    gain = cross @ np.linalg.inv(covariance[np.ix_(~missing, ~missing)])
    left = covariance[np.ix_(missing, missing)] - gain @ cross.T
    return mean[missing] + gain @ (window[~missing] - mean[~missing]), left


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_gaps_are_filled_by_the_conditional_mean(part):
    completion, x = make_completion(), make_windows(part=part)
    mean, covariance = completion.mean.numpy(), make_covariance(len(completion.mean))
    filled, deviation = completion(x), completion.deviation(x)
    for window, found, spread in zip(x, filled, deviation, strict=True):
        missing = window.isnan().flatten()
        expected, left = conditional(window.flatten().numpy(), mean, covariance)
        np.testing.assert_allclose(found.flatten()[missing], expected, rtol=1e-8)
        np.testing.assert_allclose(spread.flatten()[missing] ** 2, left.diagonal(), rtol=1e-8)
        np.testing.assert_array_equal(found.flatten()[~missing], window.flatten()[~missing])
        assert not spread.flatten()[~missing].any()


def test_draws_have_the_conditional_distribution():
    completion, x = make_completion(), make_windows(n=1)
    missing = x[0].isnan().flatten()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, len(missing), generator=generator)
    draws = completion.deviate(x, noise).flatten(1)[:, missing]
    covariance = make_covariance(len(missing))
    _, left = conditional(x[0].flatten().numpy(), completion.mean.numpy(), covariance)
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.numpy(), rowvar=False), left, atol=0.05)


def test_windows_without_any_value_are_filled_by_the_mean():
    completion = make_completion()
    x = torch.full((2, N_TIMESTEPS, 2), torch.nan, dtype=torch.float64)
    expected = completion.mean.view(N_TIMESTEPS, 2).expand(2, -1, -1)
    np.testing.assert_allclose(completion(x), expected, rtol=1e-10)


def test_what_is_filled_does_not_depend_on_other_windows():
    completion, x = make_completion(), make_windows(n=40)
    noise = torch.randn(1, len(completion.mean), generator=torch.Generator().manual_seed(0))
    for found in (completion, completion.deviation, lambda x: completion.deviate(x, noise)[0]):
        alone = torch.cat([found(window[None]) for window in x])
        np.testing.assert_allclose(found(x), alone, rtol=1e-9)


def test_complete_windows_stay_as_they_are():
    completion, x = make_completion(), make_windows(part=0.0)
    np.testing.assert_array_equal(completion(x), x)


@pytest.mark.parametrize("n_timesteps", [600, 1500])
def test_long_windows_are_filled_part_by_part(n_timesteps):
    completion = WindowCompletion(n_timesteps, 2)
    assert not completion.joint
    assert len(completion.mean) <= 1024
    x = torch.randn(3, n_timesteps, 2, generator=torch.Generator().manual_seed(0))
    x[:, ::7] = torch.nan
    filled = completion(x)
    np.testing.assert_array_equal(filled[~x.isnan()], x[~x.isnan()])
    assert not filled.isnan().any()


def test_a_channel_is_expected_from_the_others():
    completion = WindowCompletion(600, 3)
    completion.loadings.copy_(torch.tensor([0.9, 0.9, -0.9]))
    common = torch.randn(2, 600, 1, generator=torch.Generator().manual_seed(0))
    x = common * completion.loadings
    x[0, :, 0] = torch.nan
    x[1, 5] = torch.nan
    pairs = completion.vectors(x).view(2, 3, 600, 2)[..., 1]
    assert np.corrcoef(pairs[0, 0], common[0, :, 0])[0, 1] > 0.999
    assert np.corrcoef(pairs[0, 2], -common[0, :, 0])[0, 1] > 0.999
    assert pairs[1, :, 5].isnan().all()


def test_vectors_may_lack_different_numbers_of_values():
    covariance = torch.from_numpy(make_covariance(4))
    vectors = torch.tensor([[1.0, 2.0, 3.0, torch.nan], [torch.nan, torch.nan, 0.0, 0.0]]).double()
    gaps = condition(vectors, torch.zeros(4).double(), torch.linalg.inv(covariance))
    assert gaps.missing.sum(1).tolist() == [1, 2]
    assert gaps.covariance[0].count_nonzero() == 1
    np.testing.assert_array_equal(gaps.put(gaps.mean, vectors)[0, :3], vectors[0, :3])
