"""The estimator among scikit-learn's tools, on real electricity loads."""

import io
from collections import namedtuple

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

DAY = 24
N_TIMESTEPS = 72

Windows = namedtuple("Windows", ["X", "y", "factors"])


def make_model(**parameters):
    return DeepDIVEForecaster(**{"n_hidden": 32, "max_epochs": 3, "random_state": 0, **parameters})


def cut(bunch, columns, fractions=(0.8, 0.2)):
    """Windows of some clients, and of the hours and weekdays of their origins."""
    X, y, origin = sliding_windows(bunch.data[:, columns], N_TIMESTEPS, DAY)
    factors = pd.DataFrame(bunch.factors[origin][:, :2], columns=["hour", "weekday"])
    parts = split_windows(origin, DAY, fractions=fractions)
    return [Windows(X[part], y[part], factors[part]) for part in parts]


@pytest.fixture(scope="module")
def client():
    """The last 1500 hours of one client, in training and test windows."""
    electricity = load_electricity()
    electricity.data, electricity.factors = (
        values[-1500:] for values in (electricity.data, electricity.factors)
    )
    return cut(electricity, columns=1)


@pytest.fixture(scope="module")
def clients():
    """Five weeks of every fortieth client, in training and test windows."""
    return cut(load_electricity("clients_321"), columns=slice(None, None, 40))


@pytest.fixture(scope="module")
def fitted(client):
    """A model that knows hours and weekdays; tests must not refit it."""
    train, _ = client
    return make_model().fit(train.X, train.y, factors=train.factors)


def flatten(X):
    return X.reshape(len(X), -1)


def root_mean_square(error):
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


def rrse(y, forecast):
    """Root relative squared error: 1 for a forecast of the overall mean."""
    return root_mean_square(y - forecast) / root_mean_square(y - y.mean())


# Learning


def test_forecasts_of_held_out_days_beat_repeating_the_last_day(client, fitted):
    _, test = client
    error = root_mean_square(fitted.predict(test.X) - test.y)
    assert error < 0.8 * root_mean_square(test.X[:, -DAY:] - test.y)


def relative_errors(forecast, test):
    """Root mean squared error of every client, relative to that of repeating the last day."""
    squares = [np.square(f - test.y).mean(axis=(0, 1)) for f in (forecast, test.X[:, -DAY:])]
    return np.sqrt(squares[0] / squares[1])


def test_forecasts_of_several_clients_beat_repeating_their_last_day(clients):
    train, test = clients
    model = make_model().fit(train.X, train.y, factors=train.factors)
    assert relative_errors(model.predict(test.X), test).mean() < 0.9


def test_hours_and_weekdays_of_held_out_windows_are_read_from_the_load(client, fitted):
    _, test = client
    assigned = fitted.predict_cluster(test.X)
    hour, weekday = (assigned == test.factors).mean()
    assert hour > 0.9  # chance: 1 in 24
    assert weekday > 0.5  # chance: 1 in 7


def test_hours_are_read_where_some_labels_are_missing(client):
    train, test = client
    known = np.random.default_rng(0).random(len(train.X)) < 0.8
    hour = train.factors["hour"].where(known)
    model = make_model().fit(train.X, train.y, factors=hour)
    assert model.factor_names_ == ["hour"]
    assert (model.predict_cluster(test.X) == test.factors["hour"]).mean() > 0.7


# Pipelines


def test_flattened_windows_go_through_a_scaler(clients):
    train, test = clients
    pipeline = make_pipeline(StandardScaler(), make_model(n_channels=9))
    pipeline.fit(flatten(train.X), train.y, deepdiveforecaster__factors=train.factors)
    forecast = pipeline.predict(flatten(test.X))
    assert forecast.shape == test.y.shape
    assert pipeline[-1].n_channels_ == 9
    assert relative_errors(forecast, test).mean() < 0.9
    scaled = pipeline[:-1].transform(flatten(test.X))
    assert pipeline.score(flatten(test.X), test.y) == pipeline[-1].score(scaled, test.y)


def test_factors_reach_the_model_by_metadata_routing_as_by_name(client):
    train, test = client
    by_name = make_pipeline(StandardScaler(), make_model())
    by_name.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(StandardScaler(), make_model().set_fit_request(factors=True))
        routed.fit(train.X, train.y, factors=train.factors)
    assert routed[-1].factor_names_ == ["hour", "weekday"]
    np.testing.assert_array_equal(routed.predict(test.X), by_name.predict(test.X))


def test_factors_that_nobody_asked_for_are_an_error_under_metadata_routing(client):
    train, _ = client
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), make_model())
        with pytest.raises(UnsetMetadataPassedError, match="factors"):
            pipeline.fit(train.X, train.y, factors=train.factors)


def test_a_pipeline_gives_the_embedding_as_a_data_frame(client):
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model(n_marginal=2, n_conditional=3))
    pipeline.set_output(transform="pandas")
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    index = pd.date_range("2014-12-01", periods=len(test.X), freq="h")
    embedding = pipeline.transform(pd.DataFrame(test.X, index=index))
    assert embedding.columns.tolist() == [
        "hour_0",
        "hour_1",
        "weekday_0",
        "weekday_1",
        "conditional_0",
        "conditional_1",
        "conditional_2",
    ]
    assert embedding.columns.tolist() == pipeline.get_feature_names_out().tolist()
    assert embedding.index.equals(index)


def test_the_embedding_feeds_a_classifier(client):
    train, test = client
    weekend, test_weekend = (part.factors["weekday"] >= 5 for part in (train, test))
    # The label to predict takes the place of the future: numbers are all that is asked of it.
    pipeline = make_pipeline(
        StandardScaler(), make_model(latent="conditional"), LogisticRegression(max_iter=1000)
    )
    pipeline.fit(train.X, weekend)
    assert pipeline.predict(test.X).dtype == bool
    assert pipeline.score(test.X, test_weekend) > max(test_weekend.mean(), 1 - test_weekend.mean())


def test_marginal_dimensions_hold_their_factor_for_a_linear_classifier(client, fitted):
    train, test = client
    names = fitted.get_feature_names_out()
    columns = [name.startswith("hour_") for name in names]
    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(fitted.transform(train.X)[:, columns], train.factors["hour"])
    embedding = fitted.transform(test.X)[:, columns]
    assert classifier.score(embedding, test.factors["hour"]) > 0.9


def test_a_pipeline_is_cloned_saved_and_loaded(client):
    train, test = client
    pipeline = make_pipeline(StandardScaler(), make_model())
    pipeline.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    file = io.BytesIO()
    joblib.dump(pipeline, file, compress=3)
    loaded = joblib.load(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(loaded.predict(test.X), pipeline.predict(test.X))
    cloned = clone(loaded)
    assert not hasattr(cloned[-1], "module_")
    cloned.fit(train.X, train.y, deepdiveforecaster__factors=train.factors)
    np.testing.assert_array_equal(cloned.predict(test.X), pipeline.predict(test.X))


@pytest.mark.parametrize("y_shape", ["1-D", "2-D"])
def test_forecasts_of_transformed_targets_come_back_in_their_own_units(client, y_shape):
    train, test = client
    y, test_y = (part.y if y_shape == "2-D" else part.y[:, -1] for part in client)
    y = y.astype(np.float64)  # the transformer checks that its functions are exact inverses
    model = TransformedTargetRegressor(make_model(), func=np.log, inverse_func=np.exp)
    forecast = model.fit(train.X, y).predict(test.X)
    assert forecast.shape == test_y.shape
    assert (forecast > 0).all()
    persistence = test.X[:, -DAY:] if y_shape == "2-D" else test.X[:, -1]
    assert root_mean_square(forecast - test_y) < root_mean_square(persistence - test_y)


# Model selection


def test_a_grid_is_searched_inside_a_pipeline_with_routed_factors(client):
    train, test = client
    grid = {
        "deepdiveforecaster__latent": ["both", "conditional"],
        "deepdiveforecaster__n_hidden": [8, 32],
    }
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), make_model().set_fit_request(factors=True))
        search = GridSearchCV(pipeline, grid, cv=TimeSeriesSplit(2, gap=DAY), error_score="raise")
        search.fit(train.X, train.y, factors=train.factors)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_.keys() == grid.keys()
    assert all(value in grid[name] for name, value in search.best_params_.items())
    best = search.best_estimator_[-1]
    assert best.latent == search.best_params_["deepdiveforecaster__latent"]
    assert best.factor_names_ == (["hour", "weekday"] if best.latent == "both" else [])
    forecast = search.predict(test.X)
    assert root_mean_square(forecast - test.y) < root_mean_square(test.X[:, -DAY:] - test.y)


def test_cross_validation_tells_windows_of_the_load_from_noise():
    series = load_electricity().data[-800:, 1]
    X, y, _ = sliding_windows(series, N_TIMESTEPS, DAY)
    noise = np.random.default_rng(0).standard_normal(X.shape)
    scores = [
        cross_val_score(
            make_model(latent="conditional"), windows, y, cv=TimeSeriesSplit(2, gap=DAY)
        )
        for windows in (X, noise)
    ]
    assert scores[0].mean() > 0 > scores[1].mean()


def test_threads_of_a_search_give_the_scores_of_one_after_the_other(client):
    train, _ = client
    model = make_model(latent="conditional")
    options = {"cv": TimeSeriesSplit(3, gap=DAY), "error_score": "raise"}
    expected = cross_val_score(model, train.X, train.y, **options)
    with joblib.parallel_backend("threading"):
        scores = cross_val_score(model, train.X, train.y, n_jobs=3, **options)
    np.testing.assert_array_equal(scores, expected)


def test_cross_validation_routes_factors_and_keeps_the_models(client):
    train, _ = client
    with sklearn.config_context(enable_metadata_routing=True):
        results = cross_validate(
            make_model().set_fit_request(factors=True),
            train.X,
            train.y,
            params={"factors": train.factors},
            cv=TimeSeriesSplit(2, gap=DAY),
            return_estimator=True,
            error_score="raise",
        )
    assert np.isfinite(results["test_score"]).all()
    for model in results["estimator"]:
        assert model.factor_names_ == ["hour", "weekday"]
        assert set(model.factor_classes_[0]) == set(range(DAY))


def test_a_scorer_of_ones_own_is_the_root_relative_squared_error(client, fitted):
    _, test = client
    scorer = make_scorer(rrse, greater_is_better=False)
    error = -scorer(fitted, test.X, test.y)
    assert error == pytest.approx(rrse(test.y, fitted.predict(test.X)))
    assert 0 < error < rrse(test.y, test.X[:, -DAY:])


def test_a_scorer_of_ones_own_serves_cross_validation_of_several_clients(clients):
    train, _ = clients
    scores = cross_val_score(
        make_model(latent="conditional"),
        train.X,
        train.y,
        scoring=make_scorer(rrse, greater_is_better=False),
        cv=TimeSeriesSplit(2, gap=DAY),
        error_score="raise",
    )
    assert ((scores > -1) & (scores < 0)).all()


def test_epochs_are_a_resource_of_successive_halving(client):
    train, _ = client
    search = HalvingGridSearchCV(
        make_model(latent="conditional", n_hidden=16),
        {"n_conditional": [2, 4]},
        resource="max_epochs",
        min_resources=1,
        max_resources=2,
        factor=2,
        cv=TimeSeriesSplit(2, gap=DAY),
        random_state=0,
        error_score="raise",
    )
    search.fit(train.X[:400], train.y[:400])
    assert search.n_resources_ == [1, 2]
    assert search.best_estimator_.max_epochs == 2


def test_every_window_gets_a_forecast_by_cross_validation(client):
    train, _ = client
    part = slice(0, 400)
    forecast = cross_val_predict(
        make_model(latent="conditional"), train.X[part], train.y[part], cv=2
    )
    assert forecast.shape == train.y[part].shape
    assert np.isfinite(forecast).all()


def test_importance_of_steps_is_measured_by_permuting_them(client, fitted):
    _, test = client
    importance = permutation_importance(fitted, test.X, test.y, n_repeats=1, random_state=0)
    assert importance.importances_mean.shape == (N_TIMESTEPS,)
    # The last hour seen tells more of the next day than most hours before it.
    assert importance.importances_mean[-1] > np.median(importance.importances_mean) > 0
