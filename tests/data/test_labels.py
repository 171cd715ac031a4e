"""Labels in tables and dicts: their names, and the order of their classes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._data.labels import (
    Factors,
    check_factors,
    check_known_factors,
    check_labels_of_factors,
    check_labels_of_windows,
)

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday"]
LABELS = ["Tuesday", "Monday", "Thursday", None, "Monday"]


def ordered(labels=LABELS, categories=DAYS):
    return pd.Categorical(labels, categories=categories, ordered=True)


@pytest.mark.parametrize(
    "column",
    [
        pd.DataFrame({"day": ordered(), "half": [0, 1, 0, 1, 0]}),
        pd.Series(ordered(), name="day"),
        ordered(),
    ],
    ids=["frame", "series", "categorical"],
)
def test_ordered_categories_keep_their_order(column):
    found = check_factors(column, 5)
    assert found.classes[0].tolist() == ["Monday", "Tuesday", "Thursday"]
    assert found.codes[:, 0].tolist() == [1, 0, 2, -1, 0]


@pytest.mark.parametrize("categories", [[30, 10, 20], [2.0, 3.0, 1.0]])
def test_ordered_numbers_keep_their_order(categories):
    labels = [categories[k] for k in (2, 0, 1, 0)]
    found = check_factors(pd.Series(ordered(labels, categories)), 4)
    assert found.classes[0].tolist() == categories
    assert found.codes[:, 0].tolist() == [2, 0, 1, 0]


def test_categories_without_an_order_are_sorted():
    found = check_factors(pd.Series(pd.Categorical(LABELS, categories=DAYS)), 5)
    assert found.classes[0].tolist() == ["Monday", "Thursday", "Tuesday"]


def test_a_dict_names_the_factors():
    found = check_factors({"exercise": ["b", "a", None], "side": np.array([1, 2, 1])}, 3)
    assert found.names == ["exercise", "side"]
    assert [classes.tolist() for classes in found.classes] == [["a", "b"], [1, 2]]
    assert found.codes.tolist() == [[1, 0], [0, 1], [-1, 0]]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "at least one column, got none"),
        ({"a": [1, 2]}, "one entry for each of the 3 windows of 'X', got 2"),
        ({"a": [[1], [2], [1]]}, r"Factor 'a' of 'factors' .* one dimension, got shape \(3, 1\)"),
        ({"a": "xyz"}, r"Factor 'a' of 'factors' .* one dimension, got shape \(\)"),
        ({"conditional": [1, 2, 1]}, "must not name a factor 'conditional'"),
    ],
)
def test_a_dict_that_holds_no_labels_is_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        check_factors(factors, 3)


KNOWN = Factors(["kind"], [np.array(["calm", "lively"])], np.empty((0, 1), int))


@pytest.mark.parametrize("form", [list, np.array, np.vstack, pd.Series])
def test_labels_without_a_name_are_those_of_the_only_factor(form):
    codes = check_labels_of_windows(form(["lively", "calm"]), 2, KNOWN)
    assert codes.tolist() == [[1], [0]]
    assert check_known_factors(form(["lively", "calm"]), 2, KNOWN).codes.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("factors", "known", "match"),
    [
        (["calm"], replace(KNOWN, names=["a", "b"], classes=KNOWN.classes * 2), "without names. P"),
        (["calm"], replace(KNOWN, names=["cluster"]), "labels without names. Pass a dict"),
        (pd.Series(["calm"], name="half"), KNOWN, r"among \['kind'\], as in fit, got 'half'.$"),
    ],
)
def test_labels_of_which_factor_is_not_known_are_refused(factors, known, match):
    with pytest.raises(ValueError, match=match):
        check_labels_of_windows(factors, 1, known)


@pytest.mark.parametrize(("n", "last"), [(12, "10, 11"), (24, r"9, \.\.\., 23")])
def test_a_dozen_labels_are_listed_and_more_cut(n, last):
    known = Factors(["hour"], [np.arange(n)], np.empty((0, 1), int))
    with pytest.raises(ValueError, match=rf"one of its labels \[0, 1, .*{last}\], got 'noon'"):
        check_labels_of_factors("factors", {"hour": "noon"}, known)


def test_a_table_of_polars_keeps_its_names():
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"hour": [3, 1, None, 3], "kind": ["u", "v", "v", "u"]})
    found = check_factors(table, 4)
    assert found.names == ["hour", "kind"]
    assert [classes.tolist() for classes in found.classes] == [[1, 3], ["u", "v"]]
    assert found.codes.tolist() == [[1, 0], [0, 1], [-1, 1], [1, 0]]


def test_a_model_counts_its_classes_in_the_order_given():
    X, y, origin = sliding_windows(np.sin(np.arange(120.0)), 8, 2)
    names = np.array(["low", "middle", "high"])
    labels = ordered(names[origin % 3], names)
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    model.fit(X, y, factors={"level": labels})
    assert model.factor_names_ == ["level"]
    assert model.factor_classes_[0].tolist() == names.tolist()
    assert set(model.predict_cluster(X)) <= set(names)
