"""Which windows are for validation, and how others are cut into folds."""

import numpy as np
import pytest

from skdeepdive._data.folds import label_folds
from skdeepdive._data.validation import check_groups, last_groups, last_of_classes, share_steps
from skdeepdive.windows import sliding_windows


@pytest.mark.parametrize("stride", [1, 3, 11])
def test_windows_cut_from_a_series_share_steps(stride):
    series = np.random.default_rng(0).normal(size=(400, 2))
    X, y, _ = sliding_windows(series, 12, 1, stride=stride)
    assert share_steps(X, y)
    assert share_steps(X.copy(), y)


def test_futures_tell_where_windows_were_scaled():
    X, y, _ = sliding_windows(np.random.default_rng(0).normal(size=(400, 2)), 12, 6)
    assert share_steps(X * np.arange(1, 13)[:, None], y)


@pytest.mark.parametrize("stride", [12, 20])
def test_windows_that_do_not_overlap_share_none(stride):
    series = np.random.default_rng(0).normal(size=(400, 2))
    X, y, _ = sliding_windows(series, 12, 1, stride=stride)
    assert not share_steps(X, y)


def test_cases_of_their_own_share_none_though_some_values_are_equal():
    X = np.random.default_rng(0).integers(10, size=(50, 30, 1)).astype(float)
    X[1:, 0] = X[:-1, 7]
    assert not share_steps(X, X[:, :1])


@pytest.mark.parametrize("shape", [(1, 8, 1), (20, 1, 1), (20, 8, 1)])
def test_where_it_cannot_be_told_steps_count_as_shared(shape):
    assert share_steps(np.zeros(shape), np.zeros((shape[0], 1, 1)))


# Groups


def test_groups_are_numbered_as_they_appear():
    np.testing.assert_array_equal(check_groups(["b", "b", "a", "c", "a"], 5), [0, 0, 1, 2, 1])


def test_a_single_group_is_as_none():
    assert check_groups([7, 7, 7], 3) is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2, 3], r"'groups' must have one entry for each of the 4 windows"),
        ([[1, 2], [3, 4]], r"'groups' must have shape \(n_samples,\), got \(2, 2\)"),
        ([1, 1, np.nan, 2], "'groups' must be known for every window"),
    ],
)
def test_groups_that_are_none_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        check_groups(groups, 4)


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.01, {3}), (0.2, {3}), (0.4, {2, 3}), (0.99, {1, 2, 3})]
)
def test_the_last_groups_come_nearest_to_the_fraction(fraction, expected):
    groups = np.array([0] * 5 + [1] * 2 + [0] * 2 + [2] * 3 + [3] * 3)
    assert set(groups[last_groups(groups, fraction)]) == expected


# Classes


def test_windows_sorted_by_class_have_the_last_of_every_class_for_validation():
    labels = np.repeat([0, 1, 2, 3], 10)[:, None]
    last = last_of_classes(labels, 8)
    np.testing.assert_array_equal(np.flatnonzero(last), [8, 9, 18, 19, 28, 29, 38, 39])


@pytest.mark.parametrize(
    "labels", [np.arange(40) % 4, np.random.default_rng(0).integers(4, size=40), np.full(40, -1)]
)
def test_windows_in_mixed_order_stay_as_they_are(labels):
    assert last_of_classes(labels[:, None], 8) is None


def test_several_factors_share_the_last_windows():
    labels = np.stack([np.repeat([0, 1, 2, 3], 10), np.arange(40) % 2], axis=1)
    last = last_of_classes(labels, 8)
    _, counts = np.unique(labels[last], axis=0, return_counts=True)
    np.testing.assert_array_equal(counts, [1] * 8)


# Folds


def test_folds_are_stretches_of_every_combination_of_labels():
    labels = np.stack([np.arange(60) % 2, np.arange(60) % 3], axis=1)
    folds = label_folds(labels, 5)
    for combination in np.unique(labels, axis=0):
        own = folds[(labels == combination).all(axis=1)]
        np.testing.assert_array_equal(own, np.repeat(np.arange(5), 2))


def test_rare_combinations_are_spread_over_the_folds():
    np.testing.assert_array_equal(label_folds(np.arange(10)[:, None], 5), np.arange(10) // 2)


def test_folds_do_not_divide_groups():
    groups = np.random.default_rng(0).integers(7, size=200)
    folds = label_folds(np.zeros((200, 1), dtype=int), 3, groups)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in range(7))
    assert np.bincount(folds).min() > 200 / 3 - 40
