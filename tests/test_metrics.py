"""Scores of forecasts against their definitions."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import make_scorer, r2_score

from skdeepdive.metrics import corr_score, rrse_score


def make_pair(shape=(40, 5, 3)):
    random = np.random.default_rng(0)
    y = random.normal(size=shape).cumsum(axis=0)
    return y, y + random.normal(size=shape)


def test_rrse_of_one_series_is_the_root_of_one_minus_r2():
    y, forecast = make_pair((40,))
    assert rrse_score(y, forecast) == pytest.approx(np.sqrt(1 - r2_score(y, forecast)))


def test_rrse_is_one_for_the_mean_and_zero_for_the_truth():
    y, _ = make_pair()
    assert rrse_score(y, np.full_like(y, y.mean())) == pytest.approx(1)
    assert rrse_score(y, y) == 0


def test_corr_is_the_mean_correlation_of_the_series():
    y, forecast = make_pair()
    series = [np.corrcoef(y[..., j].ravel(), forecast[..., j].ravel())[0, 1] for j in range(3)]
    assert corr_score(y, forecast) == pytest.approx(np.mean(series))


@pytest.mark.parametrize("constant", ["truth", "forecast"])
def test_corr_leaves_constant_series_out(constant):
    y, forecast = make_pair()
    others = corr_score(y[..., 1:], forecast[..., 1:])
    {"truth": y, "forecast": forecast}[constant][..., 0] = 0.1
    assert corr_score(y, forecast) == pytest.approx(others)


@pytest.mark.parametrize("score", [rrse_score, corr_score])
def test_other_shapes_are_rejected(score):
    y, forecast = make_pair()
    with pytest.raises(ValueError, match="must have the same shape"):
        score(y, forecast[:-1])


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_truth_has_no_score(value):
    _, forecast = make_pair()
    y = np.full_like(forecast, value)
    with pytest.raises(ValueError, match="'y_true' must hold different values"):
        rrse_score(y, forecast)
    with pytest.raises(ValueError, match="a series that varies in both"):
        corr_score(y, forecast)


def test_rrse_makes_a_scorer():
    scorer = make_scorer(rrse_score, greater_is_better=False)
    y, x = make_pair((40,))
    model = LinearRegression().fit(x[:, None], y)
    assert scorer(model, x[:, None], y) == -rrse_score(y, model.predict(x[:, None]))
