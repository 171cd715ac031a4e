"""Windows without a label teach their labels, on real recordings."""

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity, load_watch_imu


def make_load():
    """A week of two clients' hourly loads and the next six hours; the last fifth is for tests."""
    data = load_electricity()
    X, y, origin = sliding_windows(data.data, 168, 6)
    known, test = split_windows(origin, 6, fractions=(0.8, 0.2))
    return X, y, data.factors[origin][:, :2], known, test


def make_exercises(tested):
    """Two seconds of a smartwatch and the next half; the subjects in `tested` come last."""
    data = load_watch_imu()
    order = np.argsort(np.isin(data.subject, tested), kind="stable")
    parts = [sliding_windows(data.data[i], 100, 25, stride=50)[:2] for i in order]
    sizes = [len(X) for X, _ in parts]
    X, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    n_known = sum(n for n, i in zip(sizes, order, strict=True) if data.subject[i] not in tested)
    labels = np.repeat(data.target[order], sizes)[:, None]
    return X, y, labels, slice(0, n_known), slice(n_known, None)


def accuracies(parts, seed):
    """Accuracy on the test windows with a tenth of the labels: of all windows, and of those alone.

    Both fits have the same encoder, start and validation windows; they differ in the windows that
    have no label.
    """
    X, y, labels, known, test = parts
    X_known, y_known = X[known], y[known]
    keep = np.random.default_rng(seed).random(len(X_known)) < 0.1
    partial = np.where(keep[:, None], labels[known], -1)
    scores = []
    for rows in (slice(None), keep):
        model = DeepDIVEForecaster(
            latent="marginal",
            n_hidden=64,
            max_epochs=8,
            validation_fraction=0.25,
            random_state=seed,
        ).fit(X_known[rows], y_known[rows], factors=partial[rows])
        found = model.predict_cluster(X[test]).reshape(labels[test].shape)
        scores.append((found == labels[test]).mean(axis=0))
    return scores


@pytest.mark.parametrize("seed", [0, 1])
def test_unlabelled_weeks_of_load_help_to_read_hour_and_weekday(seed):
    semi_supervised, supervised = accuracies(make_load(), seed)
    assert (semi_supervised - supervised > [0.02, 0.003]).all()


@pytest.mark.parametrize("subjects", [(1, 2), (5, 6), (9, 10)])
def test_unlabelled_exercises_do_no_harm_to_reading_those_of_other_subjects(subjects):
    """Pooled features read them from few labels already."""
    semi_supervised, supervised = accuracies(make_exercises(subjects), seed=0)
    assert semi_supervised > supervised - 0.01
    assert supervised > 0.75
