"""Which windows `fit` trains on: none whose future shares a step with a validation future."""

import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._data.scaling import Scaling
from skdeepdive._estimators import fit as fit_module
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

ESTIMATORS = [DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]
SMALL = {"n_hidden": 4, "max_epochs": 1, "random_state": 0}


class Stop(Exception):
    """Ends a fit where training would begin."""


@pytest.fixture
def trained(monkeypatch):
    """Return a function that fits and returns the futures trained on and those for validation."""
    unit = Scaling(np.zeros(1), np.ones(1))
    monkeypatch.setattr(fit_module, "Scaling", lambda loc, scale: unit)
    monkeypatch.setattr(fit_module, "find_source_channels", lambda *args: ([None], unit))
    futures = []

    def spy(module, data, valid, *args):
        futures[:] = data.y, valid.y
        raise Stop

    monkeypatch.setattr(fit_module, "train", spy)

    def run(model, X, y):
        with pytest.raises(Stop):
            model.fit(X, y)
        return futures

    return run


def steps_of(futures):
    """Steps that futures reach: every value of the series is the number of its step."""
    return set(np.asarray(futures).ravel().astype(int).tolist())


def count_up(n=400, n_timesteps=24, horizon=6, **options):
    """Windows of a series whose values are the numbers of its steps."""
    return sliding_windows(np.arange(float(n)), n_timesteps, horizon, **options)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("horizon", [1, 2, 24])
def test_no_future_is_shared_and_no_other_window_is_left_out(estimator, horizon, trained):
    X, y, _ = count_up(horizon=horizon)
    data, valid = trained(estimator(**SMALL), X, y)
    n_valid = round(0.2 * len(X))
    assert len(valid) == n_valid
    assert len(data) == len(X) - n_valid - (horizon - 1)
    assert not steps_of(data) & steps_of(valid)
    assert max(steps_of(data)) + 1 == min(steps_of(valid))


@pytest.mark.parametrize("scaler", ["raw", "scaled"])
def test_a_scaler_in_front_changes_nothing(scaler, trained):
    X, y, _ = count_up()
    model = DeepDIVEForecaster(**SMALL)
    data, _ = trained(model if scaler == "raw" else make_pipeline(StandardScaler(), model), X, y)
    assert len(data) == len(X) - round(0.2 * len(X)) - 5


@pytest.mark.parametrize(("stride", "gap"), [(1, 95), (24, 3), (24, np.int8(3)), (50, 1), (96, 0)])
def test_the_gap_of_strided_windows_is_the_horizon_over_the_stride(stride, gap, trained):
    X, y, _ = count_up(20_000, 24, 96, stride=stride)
    data, valid = trained(DeepDIVEForecaster(validation_gap=gap, **SMALL), X, y)
    assert len(data) == len(X) - len(valid) - int(gap)
    assert not steps_of(data) & steps_of(valid)
    if gap:
        data, valid = trained(DeepDIVEForecaster(validation_gap=gap - 1, **SMALL), X, y)
        assert steps_of(data) & steps_of(valid)


def test_several_recordings_are_treated_alike(trained):
    parts = [sliding_windows(np.arange(1000.0 * k, 1000.0 * k + 60), 12, 4) for k in range(6)]
    X, y = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    data, valid = trained(DeepDIVEForecaster(**SMALL), X, y)
    assert len(data) == len(X) - len(valid) - 3
    assert not steps_of(data) & steps_of(valid)


def test_separate_cases_lose_no_window(trained):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 20)), rng.normal(size=(50, 10))
    data, valid = trained(DeepDIVEForecaster(validation_gap=0, **SMALL), X, y)
    assert (len(data), len(valid)) == (40, 10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_default_that_leaves_few_windows_warns(estimator):
    X, y, _ = count_up(94, n_timesteps=20, horizon=25)
    message = r"\(horizon - 1 by default\) leaves out 24 of the 40 windows.*validation_gap=0"
    with pytest.warns(UserWarning, match=message):
        estimator(**SMALL).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator(validation_gap=24, **SMALL).fit(X, y)


def test_cases_of_their_own_have_no_gap(trained):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 20)), rng.normal(size=(50, 25))
    data, valid = trained(DeepDIVEForecaster(**SMALL), X, y)
    assert (len(data), len(valid)) == (40, 10)


@pytest.mark.parametrize("gap", [None, 40])
def test_a_gap_that_leaves_nothing_to_train_on_is_an_error(gap):
    X, y, _ = count_up(110, n_timesteps=20, horizon=41)
    with pytest.raises(ValueError, match="'validation_gap' .*leaves out 40 of the 40 windows"):
        DeepDIVEForecaster(validation_gap=gap, **SMALL).fit(X, y)


@pytest.mark.parametrize(
    ("gap", "error"), [(-1, ValueError), (1.5, TypeError), ("auto", TypeError), (True, TypeError)]
)
def test_a_gap_is_a_number_of_windows(gap, error):
    X, y, _ = count_up()
    with pytest.raises(error, match="'validation_gap' must be an integer"):
        DeepDIVEForecaster(validation_gap=gap, **SMALL).fit(X, y)


def test_chunks_have_a_gap_too(monkeypatch):
    counts = []
    train = fit_module.train

    def spy(module, data, *args):
        counts.append(len(data))
        return train(module, data, *args)

    monkeypatch.setattr(fit_module, "train", spy)
    model = DeepDIVEForecaster(n_clusters=2, **SMALL)
    for start in (0.0, 1000.0):
        X, y, _ = sliding_windows(np.sin(np.arange(start, start + 200)), 12, 4)
        model.partial_fit(X, y)
    assert counts == [len(X) - round(0.2 * len(X)) - 3] * 2
