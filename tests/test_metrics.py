"""Scores of forecasts and embeddings against their definitions and known values."""

import types

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import make_scorer, mutual_info_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.metrics import (
    accuracy_above_chance,
    corr_score,
    dci_scores,
    forecast_scorer,
    mutual_information_gap,
    rrse_score,
    sap_score,
)


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


# Mutual information gap


def make_copies(error_rates, n, n_classes=4, seed=0):
    """Labels, and a copy for every rate in which that part of them became another label."""
    random = np.random.default_rng(seed)
    labels = random.integers(n_classes, size=n)
    wrong = random.random((n, len(error_rates))) < error_rates
    other = random.integers(1, n_classes, size=wrong.shape)
    return labels, ((labels[:, None] + wrong * other) % n_classes).astype(float)


def information_of_copy(error_rate, n_classes=4):
    """log K - h(e) - e log(K - 1): what a symmetric channel passes of uniform labels."""
    e, k = error_rate, n_classes
    return np.log(k) + (1 - e) * np.log(1 - e) + e * np.log(e) - e * np.log(k - 1)


def information_of_noisy_centres(deviation, n_classes, n_bins=None):
    """I(k; z) for uniform k and z from N(k, deviation²), z cut at its own quantiles or left."""
    k = np.arange(n_classes)
    if n_bins is None:

        def integrand(z):
            joint = norm.pdf(z, k, deviation) / n_classes
            return (joint * np.log(np.maximum(joint, 1e-300) / (joint.sum() / n_classes))).sum()

        ends = -10 * deviation, n_classes - 1 + 10 * deviation
        return quad(integrand, *ends, limit=500, points=k)[0]
    below = lambda z: norm.cdf(z, k, deviation).mean()  # noqa: E731
    edges = [brentq(lambda z, q=q: below(z) - q, -99, 99) for q in np.arange(1, n_bins) / n_bins]
    joint = np.diff(norm.cdf([-np.inf, *edges, np.inf], k[:, None], deviation), axis=1) / n_classes
    ratio = np.where(joint > 0, joint * n_bins * n_classes, 1)
    return (joint * np.log(ratio)).sum()


def mean_and_error(values):
    return np.mean(values), np.std(values, ddof=1) / len(values) ** 0.5


def make_embedding(n=600, seed=0):
    """Two factors of which three of five dimensions tell more or less."""
    random = np.random.default_rng(seed)
    factors = np.column_stack([random.integers(3, size=n), random.integers(5, size=n)])
    Z = random.normal(size=(n, 5))
    Z[:, :3] += 3 * factors[:, [0, 1, 1]] * [1, 1, 0.3]
    return factors, Z


@pytest.mark.parametrize("error_rates", [(0.1, 0.4), (0.5, 0.2), (0.05, 0.7)])
def test_mig_of_noisy_copies_is_known(error_rates):
    labels, Z = make_copies(error_rates, 50_000)
    expected = np.abs(np.subtract(*map(information_of_copy, error_rates))) / np.log(4)
    assert mutual_information_gap(labels, Z) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [150, 1500])
def test_mig_of_noisy_copies_is_unbiased(n):
    expected = (information_of_copy(0.1) - information_of_copy(0.4)) / np.log(4)
    runs = [mutual_information_gap(*make_copies((0.1, 0.4), n, seed=i)) for i in range(200)]
    mean, error = mean_and_error(runs)
    assert error < 0.01
    assert abs(mean - expected) < 4 * error


@pytest.mark.parametrize(("n_classes", "n", "bias"), [(3, 300, 0.01), (7, 1000, 0.015)])
def test_mig_of_noisy_centres_is_that_of_the_binned_dimensions(n_classes, n, bias):
    """Without the correction the mean is 0.04 and 0.03 too low."""
    deviations = np.array([0.3, 1.5])
    best, second = (information_of_noisy_centres(d, n_classes, 20) for d in deviations)

    def run(seed):
        random = np.random.default_rng(seed)
        labels = random.integers(n_classes, size=n)
        return mutual_information_gap(
            labels, labels[:, None] + deviations * random.normal(size=(n, 2))
        )

    mean, error = mean_and_error([run(seed) for seed in range(100)])
    assert error < 0.005
    assert abs(mean - (best - second) / np.log(n_classes)) < bias


@pytest.mark.parametrize("deviation", [0.5, 1.0, 3.0])
def test_many_bins_lose_little_of_the_information(deviation):
    random = np.random.default_rng(0)
    labels = random.integers(3, size=100_000)
    Z = labels[:, None] + deviation * random.normal(size=(len(labels), 1))
    expected = information_of_noisy_centres(deviation, 3) / np.log(3)
    assert mutual_information_gap(labels, Z, n_bins=100) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("n_latent", [2, 10])
@pytest.mark.parametrize(("n", "n_classes"), [(1000, 4), (5000, 24)])
def test_mig_of_independent_dimensions_is_about_zero(n, n_classes, n_latent):
    """Within four deviations of the estimated information, over the entropy."""
    random = np.random.default_rng(0)
    labels = random.integers(n_classes, size=n)
    bound = 4 * np.sqrt(2 * 19 * (n_classes - 1)) / (2 * n) / np.log(n_classes)
    assert bound < 0.05
    assert 0 <= mutual_information_gap(labels, random.normal(size=(n, n_latent))) < bound


def test_information_is_that_of_scikit_learn_with_miller_and_madow_s_correction():
    factors, Z = make_embedding()
    labels = factors[:, 1]
    bins = pd.DataFrame(Z).apply(lambda z: pd.qcut(z, 20, labels=False))

    def n_occupied(z):
        return len(set(zip(labels, z, strict=True)))

    information = sorted(
        mutual_info_score(labels, z) + (20 + 5 - n_occupied(z) - 1) / (2 * len(z))
        for z in bins.to_numpy().T
    )
    share = np.bincount(labels) / len(labels)
    entropy = -(share * np.log(share)).sum() + 4 / (2 * len(labels))
    expected = (information[-1] - information[-2]) / entropy
    assert mutual_information_gap(labels, Z) == pytest.approx(expected)


def test_one_dimension_that_tells_all_scores_one():
    labels = np.arange(400) % 5
    assert mutual_information_gap(labels, np.column_stack([np.zeros(400), labels])) == 1


def test_a_dimension_that_is_there_twice_leaves_no_gap():
    factors, Z = make_embedding()
    assert mutual_information_gap(factors, np.hstack([Z, Z])) == 0


def test_constant_dimensions_tell_nothing():
    factors, Z = make_embedding()
    assert mutual_information_gap(factors, np.full((len(Z), 3), 0.1)) == 0
    expected = mutual_information_gap(factors, Z)
    assert mutual_information_gap(factors, np.insert(Z, 1, 7.0, axis=1)) == expected


def test_to_a_single_dimension_the_second_best_tells_nothing():
    factors, Z = make_embedding()
    alone = mutual_information_gap(factors, Z[:, :1])
    assert alone == mutual_information_gap(factors, np.insert(Z[:, :1], 0, 0, axis=1)) > 0.3


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_monotone_transformations_change_nothing(scale):
    factors, Z = make_embedding()
    expected = mutual_information_gap(factors, Z)
    for transformed in (scale * Z, np.exp(Z), Z**3 - 7, np.argsort(np.argsort(Z, axis=0), axis=0)):
        assert mutual_information_gap(factors, transformed) == expected


def test_an_outlier_changes_next_to_nothing():
    factors, Z = make_embedding()
    expected = mutual_information_gap(factors, Z)
    Z[0] = 1e9
    assert mutual_information_gap(factors, Z) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_samples_dimensions_and_factors_does_not_matter(seed):
    factors, Z = make_embedding()
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(len(Z)), random.permutation(Z.shape[1])
    permuted = mutual_information_gap(factors[rows][:, ::-1], Z[rows][:, columns])
    assert permuted == pytest.approx(mutual_information_gap(factors, Z), rel=1e-12)


@pytest.mark.parametrize("n_bins", [2, 20, 1000])
def test_mig_lies_between_zero_and_one(n_bins):
    factors, Z = make_embedding(n=60)
    assert 0 <= mutual_information_gap(factors, Z, n_bins=n_bins) <= 1


def test_raw_values_are_those_of_every_factor_alone():
    factors, Z = make_embedding()
    each = [mutual_information_gap(column, Z) for column in factors.T]
    raw = mutual_information_gap(factors, Z, multioutput="raw_values")
    np.testing.assert_array_equal(raw, each)
    assert each[0] != each[1]
    assert mutual_information_gap(factors, Z) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f.tolist(),
        lambda f: f.astype(float),
        lambda f: f.astype(str),
        lambda f: 7 * f + 3,
        lambda f: pd.DataFrame(f, columns=["gait", "stride"]),
        lambda f: pd.DataFrame(f.astype(str)).astype("category"),
    ],
)
def test_the_kind_of_the_labels_does_not_matter(convert):
    factors, Z = make_embedding()
    expected = mutual_information_gap(factors, Z)
    assert mutual_information_gap(convert(factors), Z) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("unknown", [-1, None, np.nan])
def test_unlabelled_samples_are_left_out_of_their_factor(unknown):
    factors, Z = make_embedding()
    hidden = np.arange(len(Z)) % 4 == 0
    each = [
        mutual_information_gap(factors[:, 0], Z),
        mutual_information_gap(factors[~hidden, 1], Z[~hidden]),
    ]
    partial = factors.astype(object)
    partial[hidden, 1] = unknown
    raw = mutual_information_gap(partial, Z, multioutput="raw_values")
    np.testing.assert_array_equal(raw, each)


def test_embeddings_may_be_data_frames_and_are_not_changed():
    factors, Z = make_embedding()
    frame = pd.DataFrame(Z.copy())
    assert mutual_information_gap(factors, frame) == mutual_information_gap(factors, Z)
    np.testing.assert_array_equal(frame, Z)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_bins": 1}, ValueError, "'n_bins' must be an integer of at least 2, got 1"),
        ({"n_bins": 20.0}, TypeError, "'n_bins' must be an integer, got 20.0"),
        ({"multioutput": "mean"}, ValueError, "'multioutput' must be one of 'uniform_average', "),
        ({"Z": np.zeros(600)}, ValueError, "Expected 2D array, got 1D array"),
        ({"Z": np.full((600, 2), np.nan)}, ValueError, "Input Z contains NaN"),
        ({"Z": np.zeros((599, 2))}, ValueError, r"inconsistent numbers of samples: \[600, 599\]"),
        ({"factors": np.ones(600)}, ValueError, "'factor0' .* must have at least two classes"),
        ({"factors": -np.ones(600)}, ValueError, "'factor0' .* has no labelled"),
        ({"factors": np.linspace(0, 1, 600)}, ValueError, "'factor0' .* must hold discrete labels"),
        ({"factors": np.zeros((600, 2, 2))}, ValueError, "got 3 dimension"),
    ],
)
def test_gaps_of_what_is_not_labels_and_embeddings_are_rejected(change, error, message):
    factors, Z = make_embedding()
    arguments = {"factors": factors, "Z": Z, **change}
    with pytest.raises(error, match=message):
        mutual_information_gap(**arguments)


class Embedder(BaseEstimator):
    """An estimator whose predictions are an embedding: every window as it is."""

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return X


def test_mig_makes_a_scorer_of_predicted_embeddings():
    factors, Z = make_embedding()
    scorer = make_scorer(mutual_information_gap, n_bins=10)
    expected = mutual_information_gap(factors, Z, n_bins=10)
    assert scorer(Embedder().fit(Z), Z, factors) == expected
    scores = cross_validate(Embedder(), Z, factors, scoring=scorer, cv=3, error_score="raise")
    assert (scores["test_score"] > 0.2).all()


def gap_of_transformer(transformer, X, factors):
    return mutual_information_gap(factors, transformer.transform(X))


needs_scoring_of_transformers = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scorers call classifiers and regressors only",
)


@pytest.mark.parametrize(
    "scorer",
    [
        gap_of_transformer,
        pytest.param(
            make_scorer(mutual_information_gap, response_method=["transform"]),
            marks=needs_scoring_of_transformers,
        ),
    ],
)
def test_mig_scores_transformers_in_a_search(scorer):
    factors, Z = make_embedding()
    X = Z @ np.random.default_rng(1).normal(size=(5, 5))
    pipeline = make_pipeline(StandardScaler(), PCA())
    search = GridSearchCV(
        pipeline, {"pca__n_components": [1, 3]}, scoring=scorer, cv=3, error_score="raise"
    ).fit(X, factors)
    fitted = pipeline.set_params(**search.best_params_).fit(X)
    expected = mutual_information_gap(factors, fitted.transform(X))
    assert search.score(X, factors) == pytest.approx(expected)


# Scorers


def make_forecasts(n_targets=2):
    """A model that forecasts zeros, and futures."""
    y = np.random.default_rng(0).normal(size=(30, 4, n_targets))
    return types.SimpleNamespace(predict=lambda X: np.zeros((len(X), 4, n_targets))), y


def test_scorers_count_every_step_of_every_target():
    model, y = make_forecasts()
    X = np.zeros((30, 5, 2))
    mae, r2, rrse = (
        forecast_scorer(name)(model, X, y) for name in ("neg_mean_absolute_error", "r2", "neg_rrse")
    )
    assert mae == pytest.approx(-np.abs(y).mean())
    assert r2 == pytest.approx(r2_score(y.reshape(30, -1), np.zeros((30, 8))))
    assert rrse == pytest.approx(-rrse_score(y, np.zeros_like(y)))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scorers_serve_searches_of_forecasts_with_several_targets(n_jobs):
    time = np.arange(300)
    series = np.column_stack([np.sin(time / 4), np.cos(time / 4)])
    X, y, _ = sliding_windows(series, 24, 6)
    scores = cross_val_score(
        DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0),
        *(X, y),
        cv=TimeSeriesSplit(2, gap=5),
        scoring=forecast_scorer("neg_mean_absolute_error"),
        error_score="raise",
        n_jobs=n_jobs,
    )
    assert (scores > -0.1).all()


@pytest.mark.parametrize("scoring", ["accurate", 5, None])
def test_an_unknown_scorer_is_refused(scoring):
    with pytest.raises(ValueError, match="'scoring' must be 'neg_rrse' or the name of a scorer"):
        forecast_scorer(scoring)


def test_a_scorer_of_forecasts_needs_futures():
    with pytest.raises(TypeError, match="'y' must hold the futures .* leave 'scoring' None or"):
        forecast_scorer("r2")(None, None)


# Reading labels, and measures of disentanglement by classifiers


def make_classes(kind, n=1500, n_latent=4):
    """Labels of three classes, and embeddings that depend on them in some way."""
    random = np.random.default_rng(0)
    labels = random.integers(3, size=n)
    Z = random.normal(size=(n, n_latent))
    signs = random.choice([-1.0, 1.0], size=(n, n_latent))
    common = random.normal(size=(n, 1))
    wide = labels[:, np.newaxis]
    other = {
        "nothing": Z,
        "location": Z + 3 * wide * (np.arange(n_latent) == 0),
        "scale": Z * 4.0**wide,
        "correlation": np.where(wide == 1, 0.2 * Z + common, Z * np.hypot(0.2, 1)),
        "shape": np.where(wide == 1, 0.1 * Z + signs, Z * np.hypot(0.1, 1)),
    }
    return labels, other[kind]


@pytest.mark.parametrize("classifier", ["neighbors", "boosting"])
def test_nothing_is_read_of_labels_that_the_embedding_does_not_depend_on(classifier):
    labels, Z = make_classes("nothing")
    assert accuracy_above_chance(labels, Z, classifier=classifier) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("classifier", ["neighbors", "boosting"])
@pytest.mark.parametrize("kind", ["scale", "correlation", "shape"])
def test_classes_of_equal_means_are_read_where_a_linear_classifier_reads_nothing(kind, classifier):
    labels, Z = make_classes(kind)
    linear = accuracy_above_chance(labels, Z, classifier=LogisticRegression())
    assert linear < 0.06
    assert accuracy_above_chance(labels, Z, classifier=classifier) > 0.15 + linear


@pytest.mark.parametrize("classifier", ["neighbors", "boosting", GaussianNB()])
def test_what_is_read_with_certainty_scores_one_less_the_commonest_label(classifier):
    labels = np.repeat(["a", "b", "c"], [500, 300, 200])
    Z = 10.0 * (labels[:, np.newaxis] == ["b", "c"])
    assert accuracy_above_chance(labels, Z, classifier=classifier) == pytest.approx(0.5)


def test_whole_groups_are_read_by_what_others_teach():
    random = np.random.default_rng(0)
    groups = np.arange(400) % 40
    labels = random.integers(2, size=40)[groups]
    Z = random.normal(size=(40, 3))[groups] + 0.01 * random.normal(size=(400, 3))
    assert accuracy_above_chance(labels, Z) > 0.3  # the group is recognised
    assert accuracy_above_chance(labels, Z, groups=groups) < 0.1


class Memory(ClassifierMixin, BaseEstimator):
    """Keeps the samples of all fits and predictions."""

    learnt, read = [], []

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.learnt.append(X[:, 0])
        return self

    def predict(self, X):
        self.read.append(X[:, 0])
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def memory():
    Memory.learnt, Memory.read = [], []
    return Memory


@pytest.mark.parametrize("gap", [0, 4])
def test_no_sample_is_learnt_from_within_the_gap_of_one_that_is_read(memory, gap):
    labels, Z = np.arange(200) // 10 % 2, np.arange(200.0)[:, np.newaxis]
    accuracy_above_chance(labels, Z, classifier=memory(), cv=4, gap=gap)
    distances = [
        np.abs(learnt[:, np.newaxis] - read).min()
        for learnt, read in zip(memory.learnt, memory.read, strict=True)
    ]
    assert distances == [gap + 1] * 4
    assert sorted(np.concatenate(memory.read)) == list(range(200))


def test_folds_may_be_given(memory):
    labels, Z = np.arange(20) % 2, np.arange(20.0)[:, np.newaxis]
    splits = [(np.arange(12), np.arange(15, 20))]
    accuracy_above_chance(labels, Z, classifier=memory(), cv=splits)
    assert memory.learnt[0].tolist() == list(range(12))
    assert memory.read[0].tolist() == list(range(15, 20))


@pytest.mark.parametrize("cv", [5, KFold(5)])
@pytest.mark.parametrize("score", [accuracy_above_chance, sap_score])
def test_samples_without_a_label_are_left_out(score, cv):
    labels, Z = make_classes("location")
    hidden = np.arange(len(Z)) % 3 == 0
    Z[hidden] = 1e6
    expected = score(labels[~hidden], Z[~hidden], cv=5)
    found = score(np.where(hidden, -1, labels), Z, cv=cv)
    assert found == pytest.approx(expected, abs=0 if cv == 5 else 0.03)


@pytest.mark.parametrize("score", [accuracy_above_chance, sap_score])
def test_raw_scores_are_those_of_every_factor(score):
    labels, Z = make_classes("location")
    factors = np.column_stack([labels, labels[::-1]])
    raw = score(factors, Z, multioutput="raw_values")
    np.testing.assert_array_equal(raw, [score(column, Z) for column in factors.T])
    assert raw[0] > raw[1] + 0.2
    assert score(factors, Z) == pytest.approx(raw.mean())


@pytest.mark.parametrize("score", [accuracy_above_chance, dci_scores, sap_score])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cv": 1}, ValueError, "'cv' must be an integer of at least 2, got 1"),
        ({"gap": -1}, ValueError, "'gap' must be an integer of at least 0, got -1"),
        ({"gap": 1500}, ValueError, "'cv' must leave labelled samples to learn from"),
        (
            {"groups": [1, 2]},
            ValueError,
            r"'groups' .* inconsistent numbers of samples: \[2, 1500\]",
        ),
        ({"Z": np.full((1500, 2), np.nan)}, ValueError, "Input Z contains NaN"),
        ({"factors": np.ones(1500)}, ValueError, "'factor0' .* must have at least two classes"),
    ],
)
def test_folds_and_embeddings_that_cannot_be_are_rejected(score, change, error, message):
    labels, Z = make_classes("nothing")
    with pytest.raises(error, match=message):
        score(**{"factors": labels, "Z": Z, **change})


def test_classifiers_go_by_name_or_are_classifiers():
    labels, Z = make_classes("nothing")
    with pytest.raises(ValueError, match="'classifier' must be one of 'neighbors', 'boosting'"):
        accuracy_above_chance(labels, Z, classifier="forest")


def make_code(turned, n=600):
    """Two factors, each of which is one of four dimensions, or all of them, turned."""
    random = np.random.default_rng(0)
    factors = random.integers(4, size=(n, 2))
    Z = np.column_stack([factors, random.normal(size=(n, 2))])
    rotation = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    return factors, Z @ rotation / 2 if turned else Z


def test_a_factor_for_a_dimension_is_disentangled_and_complete():
    scores = dci_scores(*make_code(turned=False))
    assert min(scores.disentanglement, scores.completeness, scores.informativeness) > 0.95
    assert sap_score(*make_code(turned=False)) == pytest.approx(0.75, abs=0.05)


def test_turned_dimensions_are_neither_disentangled_nor_complete():
    scores, turned = (dci_scores(*make_code(turned)) for turned in (False, True))
    assert turned.disentanglement < scores.disentanglement - 0.3
    assert turned.completeness < scores.completeness - 0.3
    assert turned.informativeness > 0.8
    assert sap_score(*make_code(turned=True)) < 0.3


def test_a_dimension_that_is_there_twice_is_disentangled_but_not_complete():
    factors, Z = make_code(turned=False)
    twice = np.column_stack([Z[:, :2], Z[:, :2]])
    scores = dci_scores(factors, twice)
    assert scores.disentanglement > 0.95
    assert scores.completeness == pytest.approx(0.5, abs=0.05)
    assert sap_score(factors, twice) == 0


def test_of_a_single_factor_every_dimension_is_disentangled_and_a_single_dimension_complete():
    labels, Z = make_classes("location")
    assert dci_scores(labels, Z).disentanglement == 1
    assert dci_scores(labels, Z[:, :1]).completeness == 1


def test_independent_dimensions_have_no_accuracy_to_separate():
    labels, Z = make_classes("nothing")
    assert sap_score(labels, Z) == pytest.approx(0, abs=0.05)
    assert dci_scores(labels, Z).informativeness == pytest.approx(1 / 3, abs=0.06)
