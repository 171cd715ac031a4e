"""Errors of Python, such as those of unknown arguments, name the classes that users know."""

import inspect
import pickle
import re

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

ESTIMATORS = [DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]
PUBLIC = "DeepDIVEForecaster|VAEForecaster|BetaTCVAEForecaster"


def methods_of(estimator):
    for name, member in inspect.getmembers(estimator, callable):
        if name.startswith("_") or inspect.ismethod(member):  # class methods serve all classes
            continue
        if member.__module__.startswith("skdeepdive"):
            yield estimator, name


@pytest.mark.parametrize(
    ("estimator", "name"), [pair for estimator in ESTIMATORS for pair in methods_of(estimator)]
)
def test_an_unknown_argument_is_one_of_a_method_of_a_public_class(estimator, name):
    expected = rf"({PUBLIC})\.{name}\(\) got an unexpected keyword argument 'unknown'"
    with pytest.raises(TypeError, match=expected):
        inspect.unwrap(getattr(estimator, name))(estimator(), unknown=1)


def test_a_horizon_is_no_argument_of_predict():
    X, y, _ = sliding_windows(np.sin(np.arange(80)), 6, 3)
    model = DeepDIVEForecaster(n_hidden=4, max_epochs=1, random_state=0).fit(X, y)
    message = "DeepDIVEForecaster.predict() got an unexpected keyword argument 'horizon'"
    with pytest.raises(TypeError, match=re.escape(message)):
        model.predict(X, horizon=48)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_inherited_methods_keep_signatures_and_docstrings_and_can_be_pickled(estimator):
    for _, name in methods_of(estimator):
        assert getattr(estimator, name).__doc__
        assert "self" not in inspect.signature(getattr(estimator(), name)).parameters
    assert pickle.loads(pickle.dumps(estimator.score)) is estimator.score


def test_a_class_of_ones_own_inherits_as_ever():
    class Own(DeepDIVEForecaster):
        def __init__(self, n_channels=None):
            super().__init__(n_channels)

    assert Own.predict is DeepDIVEForecaster.predict
