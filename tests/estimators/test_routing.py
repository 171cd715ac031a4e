"""Factors and covariates on their way through scikit-learn, and where there is no way."""

import numpy as np
import pytest
import sklearn
from conftest import Windows
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster
from skdeepdive.baselines import VAEForecaster

FACTORS = ["hour", "weekday"]
FOLDS = TimeSeriesSplit(2, gap=23)
GRID = {"n_conditional": [2, 3]}
HALVING = {
    "resource": "max_epochs",
    "min_resources": 1,
    "max_resources": 2,
    "factor": 2,
    "cv": FOLDS,
    "random_state": 0,
    "error_score": "raise",
}


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 2, "max_epochs": 1, "batch_size": 128}
    return DeepDIVEForecaster(**{**small, "random_state": 0, **parameters})


def make_routed(**parameters):
    return make_model(**parameters).set_fit_request(factors=True)


def fit(model, windows):
    return model.fit(windows.X, windows.y, factors=windows.factors)


def next_hour(windows):
    """The same windows with one value to forecast, for what takes a 1-D `y` alone."""
    return windows._replace(y=windows.y[:, 0])


@pytest.fixture(scope="module")
def windows(client):
    """Two weeks of one client's load, a day in and three hours out, with hours and weekdays."""
    (X, y, factors), _ = client
    return Windows(X[:336, -24:], y[:336, :3], factors[:336])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# Where factors are routed

SEARCHES = {
    "GridSearchCV": lambda model: GridSearchCV(model, GRID, cv=FOLDS, error_score="raise"),
    "RandomizedSearchCV": lambda model: RandomizedSearchCV(
        model, GRID, n_iter=2, cv=FOLDS, random_state=0, error_score="raise"
    ),
    "HalvingGridSearchCV": lambda model: HalvingGridSearchCV(model, GRID, **HALVING),
    "HalvingRandomSearchCV": lambda model: HalvingRandomSearchCV(model, GRID, **HALVING),
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.usefixtures("routing")
def test_a_search_routes_factors(name, windows):
    search = fit(SEARCHES[name](make_routed()), windows)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.factor_names_ == FACTORS
    expected = fit(make_model(**best.get_params()), windows).predict(windows.X)
    np.testing.assert_array_equal(search.predict(windows.X), expected)


@pytest.mark.usefixtures("routing")
def test_a_pipeline_routes_factors_as_it_does_by_name(windows):
    routed = fit(make_pipeline(StandardScaler(), make_routed()), windows)
    assert routed[-1].factor_names_ == FACTORS
    with sklearn.config_context(enable_metadata_routing=False):
        by_name = make_pipeline(StandardScaler(), make_model())
        by_name.fit(windows.X, windows.y, deepdiveforecaster__factors=windows.factors)
    np.testing.assert_array_equal(routed.predict(windows.X), by_name.predict(windows.X))


@pytest.mark.usefixtures("routing")
def test_a_transformed_target_routes_factors_into_a_pipeline_inside_a_search(windows):
    pipeline = make_pipeline(StandardScaler(), make_routed())
    target = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    grid = {"regressor__deepdiveforecaster__n_conditional": [2, 3]}
    search = fit(GridSearchCV(target, grid, cv=FOLDS, error_score="raise"), windows)
    assert search.best_estimator_.regressor_[-1].factor_names_ == FACTORS


@pytest.mark.usefixtures("routing")
def test_cross_validation_gives_every_fold_the_factors_of_its_windows(windows):
    results = cross_validate(
        make_routed(),
        windows.X,
        windows.y,
        params={"factors": windows.factors},
        cv=FOLDS,
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    for model, rows in zip(results["estimator"], results["indices"]["train"], strict=True):
        expected = make_model().fit(
            windows.X[rows], windows.y[rows], factors=windows.factors.iloc[rows]
        )
        np.testing.assert_array_equal(model.predict(windows.X), expected.predict(windows.X))


@pytest.mark.usefixtures("routing")
def test_forecasts_by_cross_validation_know_the_factors_of_the_other_folds(windows):
    forecast = cross_val_predict(
        make_routed(), windows.X, windows.y, params={"factors": windows.factors}, cv=KFold(2)
    )
    for rows, left_out in KFold(2).split(windows.X):
        model = make_model().fit(
            windows.X[rows], windows.y[rows], factors=windows.factors.iloc[rows]
        )
        np.testing.assert_array_equal(forecast[left_out], model.predict(windows.X[left_out]))


@pytest.mark.usefixtures("routing")
def test_groups_and_factors_are_routed_side_by_side(windows):
    half_week = np.arange(len(windows.X)) // 84
    params = {"factors": windows.factors, "groups": half_week}
    scores = cross_val_score(
        make_routed(), windows.X, windows.y, params=params, cv=GroupKFold(4), error_score="raise"
    )
    assert len(scores) == 4
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    "curve",
    [
        lambda *args, **options: learning_curve(*args, train_sizes=[0.5, 1.0], **options)[1:],
        lambda *args, **options: validation_curve(
            *args, param_name="n_conditional", param_range=[2, 3], **options
        ),
    ],
    ids=["learning_curve", "validation_curve"],
)
@pytest.mark.usefixtures("routing")
def test_curves_route_factors(windows, curve):
    params = {"factors": windows.factors}
    options = {"params": params, "cv": FOLDS, "error_score": "raise"}
    model = make_routed().set_partial_fit_request(factors=True)  # learning_curve asks for both
    train, test = curve(model, windows.X, windows.y, **options)
    assert train.shape == test.shape == (2, 2)
    assert np.isfinite(train).all()
    assert np.isfinite(test).all()


@pytest.mark.parametrize(
    ("make", "inside"),
    [
        (lambda model: VotingRegressor([("deep", model), ("ridge", Ridge())]), "estimators_"),
        (lambda model: BaggingRegressor(model, n_estimators=2, random_state=0), "estimators_"),
        (lambda model: MultiOutputRegressor(model), "estimators_"),
        (lambda model: RegressorChain(model), "estimators_"),
    ],
    ids=["VotingRegressor", "BaggingRegressor", "MultiOutputRegressor", "RegressorChain"],
)
@pytest.mark.usefixtures("routing")
def test_ensembles_route_factors(windows, make, inside):
    ensemble = make(make_routed())
    y = windows.y[:, 0] if isinstance(ensemble, VotingRegressor) else windows.y
    ensemble.fit(windows.X, y, factors=windows.factors)
    assert getattr(ensemble, inside)[0].factor_names_ == FACTORS
    assert ensemble.predict(windows.X).shape == y.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda model: make_union(model, StandardScaler()),
        lambda model: ColumnTransformer([("model", model, slice(12, 24))], remainder="passthrough"),
    ],
    ids=["FeatureUnion", "ColumnTransformer"],
)
@pytest.mark.usefixtures("routing")
def test_transformers_side_by_side_route_factors(windows, make):
    embedding = make(make_routed()).fit_transform(windows.X, windows.y, factors=windows.factors)
    n_dims = 16 + 6 + 2  # hour, weekday, conditional
    assert embedding.shape in [(336, n_dims + 24), (336, n_dims + 12)]


@pytest.mark.usefixtures("routing")
def test_factors_may_be_routed_under_another_name(windows):
    model = make_model().set_fit_request(factors="labels")
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline.fit(windows.X, windows.y, labels=windows.factors)
    assert pipeline[-1].factor_names_ == FACTORS


def test_the_request_is_cloned_with_the_model():
    with sklearn.config_context(enable_metadata_routing=True):
        copied = sklearn.base.clone(make_routed())
    requests = copied.get_metadata_routing().fit.requests
    assert requests == {"factors": True, "future_covariates": None, "groups": True}


# Where covariates are routed


@pytest.fixture(scope="module")
def known(windows):
    """Two numbers for each of the three hours to come."""
    return np.random.default_rng(0).standard_normal((*windows.y.shape, 2))


def ask_for_covariates(model):
    model.set_fit_request(future_covariates=True)
    model.set_predict_request(future_covariates=True)
    return model.set_score_request(future_covariates=True)


def make_covariate_models():
    small = {"n_hidden": 16, "max_epochs": 1, "batch_size": 128, "random_state": 0}
    return [make_model(n_clusters=2), VAEForecaster(n_latent=2, **small)]


every_model = pytest.mark.parametrize("model", make_covariate_models(), ids=["DeepDIVE", "VAE"])


@every_model
@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.usefixtures("routing")
def test_a_search_routes_covariates_to_fits_forecasts_and_scores(model, name, windows, known):
    model = ask_for_covariates(sklearn.base.clone(model))
    X, y, _ = windows
    search = SEARCHES[name](model)
    if isinstance(model, VAEForecaster):
        grid = "param_distributions" if "Random" in name else "param_grid"
        search.set_params(**{grid: {"n_latent": [2, 3]}})
    search.fit(X, y, future_covariates=known)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_  # a search's own `predict` takes windows alone
    expected = sklearn.base.clone(best).fit(X, y, future_covariates=known)
    np.testing.assert_array_equal(
        best.predict(X, future_covariates=known), expected.predict(X, future_covariates=known)
    )
    assert search.score(X, y, future_covariates=known) == pytest.approx(
        expected.score(X, y, future_covariates=known)
    )


@every_model
@pytest.mark.usefixtures("routing")
def test_a_pipeline_routes_covariates(model, windows, known):
    X, y, _ = windows
    model = ask_for_covariates(sklearn.base.clone(model))
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y, future_covariates=known)
    scaled = pipeline[0].transform(X)
    expected = sklearn.base.clone(model).fit(scaled, y, future_covariates=known)
    np.testing.assert_array_equal(
        pipeline.predict(X, future_covariates=known),
        expected.predict(scaled, future_covariates=known),
    )
    assert pipeline.score(X, y, future_covariates=known) == pytest.approx(
        expected.score(scaled, y, future_covariates=known)
    )


@pytest.mark.usefixtures("routing")
def test_cross_validation_gives_every_fold_the_covariates_of_its_windows(windows, known):
    model = ask_for_covariates(make_routed())
    X, y, factors = windows
    params = {"factors": factors, "future_covariates": known}
    results = cross_validate(
        model, X, y, params=params, cv=FOLDS, return_indices=True, error_score="raise"
    )
    indices = results["indices"]
    for score, rows, left in zip(
        results["test_score"], indices["train"], indices["test"], strict=True
    ):
        expected = make_model().fit(
            X[rows], y[rows], factors=factors.iloc[rows], future_covariates=known[rows]
        )
        assert score == pytest.approx(
            expected.score(X[left], y[left], future_covariates=known[left])
        )


def ask_for_factors(model):
    model.set_fit_request(factors=True).set_predict_request(factors=True)
    return model.set_score_request(factors=True)


@pytest.mark.usefixtures("routing")
def test_a_pipeline_routes_labels_to_forecasts_and_scores(windows):
    X, y, factors = windows
    model = ask_for_factors(make_model(early_stopping=False))
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y, factors=factors)
    scaled, final = pipeline[0].transform(X), pipeline[-1]
    final.module_.forecast_decoder.shrinkage.fill_(1.0)  # trust the correction: labels matter
    told = final.predict(scaled, factors=factors)
    np.testing.assert_array_equal(pipeline.predict(X, factors=factors), told)
    assert not np.array_equal(told, final.predict(scaled))
    assert pipeline.score(X, y, factors=factors) == final.score(scaled, y, factors=factors)


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.usefixtures("routing")
def test_cross_validation_scores_forecasts_given_labels_where_asked_to(windows, is_told):
    X, y, factors = windows
    model = ask_for_factors(make_model()).set_score_request(factors=is_told)
    scores = cross_val_score(model, X, y, params={"factors": factors}, cv=KFold(2))
    for score, (rows, left) in zip(scores, KFold(2).split(X), strict=True):
        expected = make_model().fit(X[rows], y[rows], factors=factors.iloc[rows])
        known = {"factors": factors.iloc[left]} if is_told else {}
        assert score == pytest.approx(expected.score(X[left], y[left], **known), abs=1e-12)


def test_labels_are_never_routed_to_embeddings():
    requests = make_model().get_metadata_routing()
    assert not requests.transform.requests
    assert requests.predict.requests["factors"] is False
    assert requests.score.requests["factors"] is False


@pytest.mark.usefixtures("routing")
def test_covariates_that_nobody_asked_for_are_an_error_that_says_whom_to_ask(windows, known):
    pipeline = make_pipeline(StandardScaler(), make_model())
    with pytest.raises(
        UnsetMetadataPassedError,
        match=r"(?s)future_covariates.*DeepDIVEForecaster\.set_fit_request",
    ):
        pipeline.fit(windows.X, windows.y, future_covariates=known)


# Where they are not


@pytest.mark.parametrize(
    "make",
    [
        lambda model: make_pipeline(StandardScaler(), model),
        SEARCHES["GridSearchCV"],
        SEARCHES["HalvingGridSearchCV"],
        lambda model: TransformedTargetRegressor(model, transformer=StandardScaler()),
        lambda model: StackingRegressor([("deep", model)]),
        lambda model: make_union(model),
    ],
    ids=["Pipeline", "GridSearchCV", "Halving", "TransformedTarget", "Stacking", "FeatureUnion"],
)
@pytest.mark.usefixtures("routing")
def test_factors_that_nobody_asked_for_are_an_error_that_says_whom_to_ask(windows, make):
    with pytest.raises(
        UnsetMetadataPassedError, match=r"(?s)factors.*`DeepDIVEForecaster\.set_fit_request"
    ):
        fit(make(make_model()), next_hour(windows))


@pytest.mark.usefixtures("routing")
def test_factors_that_were_declined_are_not_routed(windows):
    model = make_model().set_fit_request(factors=False)
    with pytest.raises(TypeError, match=r"unexpected argument\(s\) {'factors'}"):
        fit(make_pipeline(StandardScaler(), model), windows)


@pytest.mark.usefixtures("routing")
def test_stacking_hands_factors_to_its_final_estimator_too_which_names_them(windows):
    stack = StackingRegressor([("deep", make_routed())], final_estimator=Ridge(), cv=2)
    with pytest.raises(TypeError, match=r"Ridge\.fit.* unexpected keyword argument 'factors'"):
        fit(stack, next_hour(windows))


def test_stacking_takes_models_that_were_fitted_with_factors_on_earlier_windows(windows):
    X, y, factors = next_hour(windows)
    early, late = slice(0, 200), slice(200, None)
    deep = make_model().fit(X[early], y[early], factors=factors[early])
    ridge = Ridge().fit(X[early], y[early])
    stack = StackingRegressor([("deep", deep), ("ridge", ridge)], cv="prefit")
    stack.fit(X[late], y[late])
    assert stack.estimators_[0].factor_names_ == FACTORS
    assert stack.score(X[late], y[late]) > stack.named_estimators_["ridge"].score(X[late], y[late])


@pytest.mark.parametrize("ensemble", [StackingRegressor, VotingRegressor])
@pytest.mark.usefixtures("routing")
def test_ensembles_of_one_output_say_so(windows, ensemble):
    with pytest.raises(ValueError, match="y should be a 1d array"):
        fit(ensemble([("deep", make_routed())]), windows)


@pytest.mark.usefixtures("routing")
def test_boosting_does_not_route(windows):
    with pytest.raises(TypeError, match="unexpected keyword argument 'factors'"):
        fit(AdaBoostRegressor(make_routed(), n_estimators=2), next_hour(windows))


# Without metadata routing


@pytest.mark.parametrize(
    ("make", "inside"),
    [
        (SEARCHES["GridSearchCV"], lambda search: search.best_estimator_),
        (SEARCHES["HalvingGridSearchCV"], lambda search: search.best_estimator_),
        (
            lambda model: TransformedTargetRegressor(model, transformer=StandardScaler()),
            lambda target: target.regressor_,
        ),
        (lambda model: MultiOutputRegressor(model), lambda outputs: outputs.estimators_[0]),
    ],
    ids=["GridSearchCV", "HalvingGridSearchCV", "TransformedTarget", "MultiOutput"],
)
def test_what_passes_all_arguments_of_fit_on_needs_no_routing(windows, make, inside):
    assert inside(fit(make(make_model()), windows)).factor_names_ == FACTORS


@pytest.mark.parametrize(
    "make",
    [
        lambda model: StackingRegressor([("deep", model)]),
        lambda model: VotingRegressor([("deep", model)]),
        lambda model: BaggingRegressor(model),
    ],
    ids=["StackingRegressor", "VotingRegressor", "BaggingRegressor"],
)
def test_the_others_name_the_setting_that_is_missing(windows, make):
    with pytest.raises(ValueError, match=r"(?s)enable_metadata_routing=True.*'factors'"):
        fit(make(make_model()), next_hour(windows))


def test_a_pipeline_asks_for_the_name_of_the_step(windows):
    with pytest.raises(ValueError, match="factors parameter.*stepname__parameter"):
        fit(make_pipeline(StandardScaler(), make_model()), windows)


def test_a_request_needs_metadata_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        make_model().set_fit_request(factors=True)


# Weights and factors that there are not


@pytest.mark.parametrize("estimator", [DeepDIVEForecaster, VAEForecaster])
def test_fit_takes_no_weights_and_names_them(windows, estimator):
    weights = np.ones(len(windows.X))
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
        estimator(max_epochs=1).fit(windows.X, windows.y, sample_weight=weights)


@pytest.mark.usefixtures("routing")
def test_weights_cannot_be_requested_for_fit_but_for_the_score(windows):
    with pytest.raises(TypeError, match="sample_weight.*Accepted arguments are: {.*'factors'"):
        make_model().set_fit_request(sample_weight=True)
    X, y, factors = windows
    model = make_routed().set_score_request(sample_weight=True)
    rows, left_out = next(FOLDS.split(X))
    weights = np.ones(len(X))
    weights[left_out[::2]] = 0
    params = {"factors": factors, "sample_weight": weights}
    score = cross_val_score(model, X, y, params=params, cv=[(rows, left_out)])
    expected = make_model().fit(X[rows], y[rows], factors=factors.iloc[rows])
    assert score == pytest.approx(expected.score(X[left_out[1::2]], y[left_out[1::2]]))


@pytest.mark.usefixtures("routing")
def test_embeddings_are_no_metadata(windows):
    model = fit(make_routed(), windows)
    assert not hasattr(model, "set_inverse_transform_request")
    assert "Z" not in str(model.get_metadata_routing())
    pipeline = make_pipeline(StandardScaler(), make_routed())
    embedding = fit(pipeline, windows).transform(windows.X)
    assert pipeline.inverse_transform(embedding).shape == windows.X.shape


def test_a_model_without_factors_requests_none():
    with sklearn.config_context(enable_metadata_routing=True):
        assert set(VAEForecaster().get_metadata_routing().fit.requests) == {"future_covariates"}
