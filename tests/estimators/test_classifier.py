"""A factor as a scikit-learn classifier, among scikit-learn's tools for classifiers."""

import copy

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from matplotlib.figure import Figure
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import ConfusionMatrixDisplay, balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score

from skdeepdive import DeepDIVEForecaster, FactorClassifier

NAMES = ["calm", "lively"]


def make_cases(n=120, seed=0):
    """Windows of two kinds, cut anywhere, sorted by kind, and their futures."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) * 2 // n
    phase, speed = rng.uniform(0, 2 * np.pi, (n, 1)), np.array([0.4, 0.9])[kind, None]
    series = np.sin(phase + speed * np.arange(40)) + 0.1 * rng.normal(size=(n, 40))
    return series[:, :32], series[:, 32:], np.array(NAMES)[kind]


def make_model(**parameters):
    return DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0, **parameters)


@pytest.fixture(scope="module")
def fitted():
    X, y, kind = make_cases()
    factors = {"kind": kind, "half": np.arange(len(X)) % 2}
    return make_model().fit(X, y, factors)


def test_a_view_predicts_what_the_forecaster_reads(fitted):
    X, _, kind = make_cases(seed=1)
    classifier = fitted.as_classifier("kind")
    assert is_classifier(classifier)
    assert classifier.classes_.tolist() == NAMES
    np.testing.assert_array_equal(classifier.predict(X), fitted.predict_cluster(X)[:, 0])
    np.testing.assert_array_equal(classifier.predict_proba(X), fitted.predict_cluster_proba(X)[0])
    assert classifier.score(X, kind) > 0.95


def test_the_only_factor_needs_no_name():
    X, y, kind = make_cases()
    model = make_model().fit(X, y, kind)
    classifier = model.as_classifier()
    np.testing.assert_array_equal(classifier.predict(X), model.predict_cluster(X))


@pytest.mark.parametrize("name", [None, "exercise"])
def test_a_factor_that_is_none_is_named(fitted, name):
    with pytest.raises(ValueError, match=r"'factor' must be one of \['kind', 'half'\], got"):
        fitted.as_classifier(name)


def test_before_fit_there_is_no_classifier():
    with pytest.raises(NotFittedError):
        make_model().as_classifier("kind")
    with pytest.raises(NotFittedError):
        FactorClassifier(make_model()).predict(make_cases()[0])


def test_futures_are_asked_for():
    X, _, kind = make_cases()
    with pytest.raises(
        ValueError, match=r"'futures' must be given.*params=\{'futures'.*set_fit_request"
    ):
        FactorClassifier(make_model()).fit(X, kind)


def test_it_is_cross_validated_with_its_futures_as_metadata():
    X, y, kind = make_cases()
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = FactorClassifier(make_model(), "kind").set_fit_request(futures=True)
        scores = cross_val_score(
            classifier, X, kind, cv=StratifiedKFold(3), scoring="accuracy", params={"futures": y}
        )
    assert scores.min() > 0.9


def test_groups_are_handed_on_to_the_forecaster():
    X, y, kind = make_cases()
    person = np.arange(len(X)) % 12
    direct = make_model().fit(X, y, {"kind": kind}, groups=person)
    classifier = FactorClassifier(make_model(), "kind").fit(X, kind, futures=y, groups=person)
    np.testing.assert_array_equal(classifier.predict_proba(X), direct.predict_cluster_proba(X))
    alone = FactorClassifier(make_model(), "kind").fit(X, kind, futures=y)
    assert (classifier.predict_proba(X) != alone.predict_proba(X)).any()


@pytest.mark.parametrize("routing", [False, True])
def test_groups_divide_the_folds_of_cross_validation_and_reach_fit(routing):
    X, y, kind = make_cases()
    person, seen = np.arange(len(X)) % 12, []

    class Watched(FactorClassifier):
        def fit(self, X, y, futures=None, groups=None):
            seen.append(None if groups is None else set(groups))
            return super().fit(X, y, futures, groups)

    options = {"params": {"futures": y, "groups": person}, "error_score": "raise"}
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier = Watched(make_model(), "kind")
        if routing:
            classifier.set_fit_request(futures=True)
        else:
            options["groups"] = person
        scores = cross_val_score(classifier, X, kind, cv=GroupKFold(3), **options)
    assert scores.min() > 0.9
    assert [len(people) for people in seen] == [8, 8, 8]


@pytest.mark.parametrize("form", [np.asarray, list, lambda kind: kind.astype(object), pd.Series])
def test_labels_in_place_of_futures_are_told_where_they_go(form):
    X, _, kind = make_cases()
    with pytest.raises(ValueError, match="'y' must hold numbers.* 'factors' of .*Classifier"):
        make_model().fit(X, form(kind))


def test_it_is_calibrated(fitted):
    X, _, kind = make_cases(seed=2)
    frozen = FrozenEstimator(fitted.as_classifier("kind"))
    calibrated = CalibratedClassifierCV(frozen, method="sigmoid").fit(X, kind)
    assert calibrated.score(X, kind) > 0.95


def test_its_confusion_is_displayed(fitted):
    X, _, kind = make_cases(seed=3)
    ax = Figure().subplots()
    display = ConfusionMatrixDisplay.from_estimator(fitted.as_classifier("kind"), X, kind, ax=ax)
    assert display.confusion_matrix.sum() == len(X)
    assert display.display_labels.tolist() == NAMES


def test_a_clone_is_unfitted_and_leaves_the_forecaster_alone(fitted):
    cloned = clone(fitted.as_classifier("kind"))
    assert cloned.factor == "kind"
    assert not hasattr(cloned, "classes_")
    X, y, kind = make_cases()
    before = fitted.predict(X)
    assert cloned.set_params(forecaster__max_epochs=2).fit(X, kind, futures=y).score(X, kind) > 0.9
    np.testing.assert_array_equal(fitted.predict(X), before)


# Frequencies of the classes


def make_rare(seed=0, n=1000):
    """Windows of which one in twenty is of a rare kind, a little above the others."""
    rng = np.random.default_rng(seed)
    rare = rng.random(n) < 0.05
    return rng.normal(size=(n, 16)) + 0.5 * rare[:, None], rng.normal(size=(n, 2)), rare


def test_uniform_priors_are_assumed_by_encoder_and_mixture():
    X, y, rare = make_rare()
    model = make_model().fit(X, y, rare)
    equal = copy.deepcopy(model)
    (mixture,) = equal.module_.priors
    with torch.no_grad():
        equal.module_.marginal_encoder.discriminant.bias -= mixture.log_weights
    mixture.set_weights(torch.full((2,), 0.5))
    np.testing.assert_allclose(
        model.set_params(priors="uniform").predict_cluster_proba(X),
        equal.predict_cluster_proba(X),
        rtol=1e-5,
    )


def test_uniform_priors_find_a_rare_class():
    X, y, rare = make_rare()
    model = make_model().fit(X, y, rare)
    X, _, rare = make_rare(seed=1)
    shares = [
        balanced_accuracy_score(rare, model.set_params(priors=priors).predict_cluster(X))
        for priors in ("observed", "uniform")
    ]
    assert shares[0] < 0.65
    assert shares[1] > 0.75  # were frequencies taken from the mixture alone: 0.65


def test_priors_change_neither_forecasts_nor_embeddings(fitted):
    X, *_ = make_cases()
    uniform = clone(fitted).set_params(priors="uniform")
    _, y, kind = make_cases()
    uniform.fit(X, y, {"kind": kind, "half": np.arange(len(X)) % 2})
    np.testing.assert_array_equal(uniform.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(uniform.transform(X), fitted.transform(X))


def test_priors_are_checked():
    X, y, kind = make_cases()
    with pytest.raises(
        ValueError, match="'priors' must be one of 'observed', 'uniform', got 'flat'"
    ):
        make_model(priors="flat").fit(X, y, kind)
