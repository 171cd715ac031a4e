"""The fit of the distribution that fills gaps."""

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData
from skdeepdive._data.draws import make_generator
from skdeepdive._data.scaling import STANDARDISED
from skdeepdive._start import completion as fit_of_completion
from skdeepdive._start.completion import (
    _MOST_PRODUCTS,
    _moments_of_pairs,
    _nearest_covariance,
    fit_completion,
    with_gaps_filled,
)
from skdeepdive.nn.completion import WindowCompletion


def make_data(X):
    X = np.asarray(X, dtype=np.float32)
    no_labels = np.empty((len(X), 0), dtype=int)
    return WindowData(X, X[:, :1], no_labels, STANDARDISED, STANDARDISED, torch.device("cpu"))


def make_series(n, n_channels=2, seed=0):
    """A cycle of 12 steps in every channel, with noise."""
    noise = np.random.default_rng(seed).standard_normal((n, n_channels))
    return np.sin(2 * np.pi * np.arange(n)[:, None] / 12) + 0.3 * noise


def cut(series, n_timesteps=24):
    views = np.lib.stride_tricks.sliding_window_view(series, n_timesteps, axis=0)
    return views.transpose(0, 2, 1)


def lose(X, part=0.1, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < part, np.nan, X)


@pytest.mark.parametrize("most", [10, 4096])
def test_vectors_are_drawn_from_all_windows_without_replacement(most, monkeypatch):
    monkeypatch.setattr(fit_of_completion, "BLOCK_ENTRIES", 3 * 600 * 2)
    monkeypatch.setattr(fit_of_completion, "_MOST_VECTORS", most)
    x = torch.randn(7, 600, 2, generator=make_generator(0, torch.device("cpu")))
    completion = WindowCompletion(600, 2)
    completion.loadings = torch.full((2,), 0.5)
    whole = completion.vectors(x)
    found = fit_of_completion._draw_vectors(completion, x, seed=0)
    assert len(found) == min(most, len(whole)) > 7
    places = [int((whole.nan_to_num(7.0) == row.nan_to_num(7.0)).all(1).nonzero()) for row in found]
    assert len(set(places)) == len(places)
    assert places != sorted(places)


def error(completion, X, lossy):
    filled = completion(torch.from_numpy(lossy.astype(np.float32))).numpy()
    return np.sqrt(np.square((filled - X)[np.isnan(lossy)]).mean())


def interpolation_error(X, lossy):
    steps, squares = np.arange(X.shape[1]), []
    for window, true in zip(lossy.transpose(0, 2, 1), X.transpose(0, 2, 1), strict=True):
        for channel, wanted in zip(window, true, strict=True):
            known = ~np.isnan(channel)
            found = np.interp(steps, steps[known], channel[known])
            squares.append(np.square((found - wanted)[~known]))
    return np.sqrt(np.concatenate(squares).mean())


def fit_to(series, n_timesteps=24, n_valid=100):
    X = cut(series, n_timesteps)
    return fit_completion(make_data(X[:-n_valid]), make_data(X[-n_valid:]), seed=0)


@pytest.mark.parametrize(("n_timesteps", "n_channels"), [(24, 2), (300, 4), (24, 1)])
@pytest.mark.parametrize("part", [0.0, 0.1])
def test_filled_values_are_closer_than_interpolated_ones(n_timesteps, n_channels, part):
    completion = fit_to(lose(make_series(900, n_channels), part), n_timesteps)
    X = cut(make_series(500, n_channels, seed=1), n_timesteps)[::20]
    lossy = lose(X)
    assert error(completion, X, lossy) < 0.9 * interpolation_error(X, lossy)


def test_gaps_in_training_cost_little():
    series, X = make_series(900), cut(make_series(500, seed=1))
    complete, gaps = fit_to(series), fit_to(lose(series))
    assert error(gaps, X, lose(X)) < 1.05 * error(complete, X, lose(X))


def make_recordings(n, n_timesteps=60, n_channels=4, seed=0):
    """Waves of a period of their own, and any phase in every channel."""
    random = np.random.default_rng(seed)
    period, phase = random.uniform(15, 40, (n, 1, 1)), random.random((n, 1, n_channels))
    angle = 2 * np.pi * (np.arange(n_timesteps)[:, None] / period + phase)
    return np.sin(angle) + 0.1 * random.standard_normal(angle.shape)


def lose_stretch(X, length, seed=0):
    """Lose a stretch of every channel."""
    random = np.random.default_rng(seed)
    start = random.integers(X.shape[1] - length + 1, size=(len(X), 1, X.shape[2]))
    step = np.arange(X.shape[1])[:, None] - start
    return np.where((step >= 0) & (step < length), np.nan, X)


def test_more_windows_are_looked_at_rather_than_more_rounds(monkeypatch):
    X, test = make_recordings(700), make_recordings(200, seed=1)
    lossy, lossy_test = lose_stretch(X, 25), lose_stretch(test, 25, seed=1)
    n_products = 600 * (4 * 25) ** 2
    errors = []
    for most in (_MOST_PRODUCTS, 2 * n_products, n_products // 4):
        monkeypatch.setattr("skdeepdive._start.completion._MOST_PRODUCTS", most)
        completion = fit_completion(make_data(lossy[:600]), make_data(lossy[600:]), seed=0)
        errors.append(error(completion, test, lossy_test))
    assert errors[1] < 1.06 * errors[0]
    assert errors[2] > 1.1 * errors[0]


def test_moments_of_pairs_are_those_of_what_was_observed():
    X = torch.tensor([[1.0, 4.0, torch.nan], [3.0, torch.nan, 1.0], [5.0, 8.0, 3.0]])
    mean, pairs = _moments_of_pairs(X.double())
    np.testing.assert_allclose(mean, [3, 6, 2])
    np.testing.assert_allclose(pairs, [[8 / 3, 4, 1], [4, 4, 2], [1, 2, 1]])


def test_nearest_covariance_has_no_negative_eigenvalue():
    matrix = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    np.testing.assert_allclose(_nearest_covariance(matrix), np.full((2, 2), 1.5))


def test_deviations_are_those_of_the_errors():
    completion = fit_to(lose(make_series(900)))
    X = cut(make_series(900, seed=1))
    lossy = lose(X)
    deviation = completion.deviation(torch.from_numpy(lossy.astype(np.float32))).numpy()
    filled = completion(torch.from_numpy(lossy.astype(np.float32))).numpy()
    missing = np.isnan(lossy)
    ratio = np.square(((filled - X) / np.where(missing, deviation, 1))[missing]).mean()
    assert 0.7 < ratio < 1.4


def test_series_with_a_law_are_continued_through_a_gap():
    X = cut(np.sin(2 * np.pi * np.arange(500)[:, None] / 12))
    completion = fit_completion(make_data(X[:300]), make_data(X[300:]), seed=0)
    lossy = X[300:].copy()
    lossy[:, 6:18] = np.nan
    assert error(completion, X[300:], lossy) < 0.01


@pytest.mark.parametrize("n", [2, 5, 30])
def test_few_windows_do_not_fail(n):
    X = cut(make_series(200))[: 2 * n]
    completion = fit_completion(make_data(X[:n]), make_data(X[n:]), seed=0)
    assert torch.isfinite(completion(torch.from_numpy(lose(X).astype(np.float32)))).all()


@pytest.mark.parametrize("part", [0.0, 0.3])
def test_constant_windows_are_filled_by_their_constant(part):
    X = lose(np.zeros((40, 12, 2)), part)
    completion = fit_completion(make_data(X[:30]), make_data(X[30:]), seed=0)
    filled = completion(torch.from_numpy(X.astype(np.float32)))
    np.testing.assert_allclose(filled, 0, atol=1e-6)


def test_filled_windows_are_kept_or_filled_again(monkeypatch):
    X = lose(cut(make_series(200)))
    data = make_data(X)
    completion = fit_completion(data, data, seed=0)
    kept = with_gaps_filled(data, completion)
    monkeypatch.setattr("skdeepdive._start.completion._MOST_KEPT", 1)
    again = with_gaps_filled(data, completion)
    assert kept.completed is not None
    assert again.completed is None
    for rows in (slice(3, 9), np.array([7, 2])):
        one, other = kept.batch(rows), again.batch(rows)
        np.testing.assert_allclose(one.x, other.x, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(one.observed, ~np.isnan(X[rows]))
