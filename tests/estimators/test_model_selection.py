"""Folds, scorers and searches over overlapping windows."""

from itertools import pairwise

import joblib
import numpy as np
import pytest
import sklearn
from conftest import DAY, N_TIMESTEPS, make_model, root_mean_square
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import sliding_windows, split_windows
from skdeepdive.datasets import load_electricity, load_watch_imu
from skdeepdive.metrics import rrse_score

SCORER = make_scorer(rrse_score, greater_is_better=False)


# Folds


def gap_of_folds(horizon, gap, stride):
    """Windows between the folds so that all futures of the first are past at the second's start."""
    return -(-(gap + horizon) // stride) - 1


LAYOUTS = [
    (horizon, gap, stride) for horizon in (1, 5, 24) for gap in (0, 3) for stride in (1, 2, 7, 30)
]


@pytest.mark.parametrize(("horizon", "gap", "stride"), LAYOUTS)
def test_the_gap_keeps_all_futures_of_a_fold_before_the_origins_of_the_next(horizon, gap, stride):
    row = np.arange(1000)  # the value of a row is its number
    _, y, origin = sliding_windows(row, 10, horizon, gap=gap, stride=stride)
    n_between = gap_of_folds(horizon, gap, stride)
    for train, test in TimeSeriesSplit(3, gap=n_between).split(y):
        assert y[train].max() <= origin[test].min()
    if n_between == 0:
        return
    for train, test in TimeSeriesSplit(3, gap=n_between - 1).split(y):
        assert y[train].max() > origin[test].min()


def test_folds_of_windows_that_are_not_evenly_spaced_are_cut_by_their_origins():
    row = np.arange(1000)
    _, y, origin = sliding_windows(row, 10, 24)
    kept = np.random.default_rng(0).random(len(origin)) < 0.3  # the others had missing values
    y, origin = y[kept], origin[kept]
    cv = [
        (np.flatnonzero(origin <= start - 24), np.flatnonzero((start <= origin) & (origin < stop)))
        for start, stop in pairwise([400, 600, 800, 1000])
    ]
    for train, test in cv:
        assert y[train].max() <= origin[test].min()
        assert len(train) > 50
        assert len(test) > 30
    train, test = next(TimeSeriesSplit(3, gap=23).split(y))
    assert origin[test].min() - y[train].max() > 24  # windows are counted, not hours: too wide


def test_groups_keep_the_windows_of_a_subject_together():
    watch = load_watch_imu()
    windows, subject = [], []
    for k in np.flatnonzero(np.isin(watch.subject, np.unique(watch.subject)[:4])):
        X, y, _ = sliding_windows(watch.data[k], 50, 10, stride=100, targets=[0])
        windows.append((X, y))
        subject += [watch.subject[k]] * len(X)
    X, y = map(np.concatenate, zip(*windows, strict=True))
    folds = list(GroupKFold(4).split(X, y, groups=subject))
    assert all(not set(np.take(subject, a)) & set(np.take(subject, b)) for a, b in folds)
    scores = cross_val_score(
        make_model(latent="conditional"), X, y, cv=GroupKFold(4), groups=subject
    )
    assert (scores > 0).all()


def test_shuffled_folds_flatter_what_remembers_its_windows():
    X, y, origin = sliding_windows(load_electricity().data[-3000:, 1], N_TIMESTEPS, DAY)
    train, test = split_windows(origin, DAY, fractions=(0.8, 0.2))
    model = KNeighborsRegressor(5)  # of overlapping windows, the nearest are those an hour apart
    shuffled, chronological = (
        -cross_val_score(model, X[train], y[train], scoring=SCORER, cv=cv).mean()
        for cv in (KFold(5, shuffle=True, random_state=0), TimeSeriesSplit(5, gap=DAY - 1))
    )
    later = rrse_score(y[test], model.fit(X[train], y[train]).predict(X[test]))
    assert shuffled < 0.7 * later
    assert chronological == pytest.approx(later, rel=0.1)


# Searches


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


# Scorers


def test_a_scorer_of_ones_own_is_the_root_relative_squared_error(client, client_model):
    _, test = client
    error = -SCORER(client_model, test.X, test.y)
    assert error == pytest.approx(rrse_score(test.y, client_model.predict(test.X)))
    assert 0 < error < rrse_score(test.y, test.X[:, -DAY:])


def test_a_scorer_of_ones_own_serves_cross_validation_of_several_clients(clients):
    train, _ = clients
    scores = cross_val_score(
        make_model(latent="conditional"),
        train.X,
        train.y,
        scoring=SCORER,
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
