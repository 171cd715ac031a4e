"""The estimator learns from real electricity loads, and what scikit-learn shows of it."""

import numpy as np
from conftest import DAY, N_TIMESTEPS, make_model, relative_errors, root_mean_square
from sklearn.inspection import permutation_importance

# Learning


def test_forecasts_of_test_days_beat_repeating_the_last_day(client, client_model):
    _, test = client
    error = root_mean_square(client_model.predict(test.X) - test.y)
    assert error < 0.8 * root_mean_square(test.X[:, -DAY:] - test.y)


def test_forecasts_of_several_clients_beat_repeating_their_last_day(clients):
    train, test = clients
    model = make_model().fit(train.X, train.y, factors=train.factors)
    assert relative_errors(model.predict(test.X), test).mean() < 0.9


def test_hours_and_weekdays_of_test_windows_are_read_from_the_load(client, client_model):
    _, test = client
    assigned = client_model.predict_cluster(test.X)
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


# Inspection


def test_importance_of_steps_is_measured_by_permuting_them(client, client_model):
    _, test = client
    importance = permutation_importance(client_model, test.X, test.y, n_repeats=1, random_state=0)
    assert importance.importances_mean.shape == (N_TIMESTEPS,)
    # The last hour seen tells more of the next day than most hours before it.
    assert importance.importances_mean[-1] > np.median(importance.importances_mean) > 0
