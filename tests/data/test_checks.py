"""Arguments are checked once, in words a stranger understands, and windows are never copied."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from skdeepdive._data.checks import (
    check_choice,
    check_integer,
    check_number,
    check_numeric,
    check_validation_split,
)
from skdeepdive._data.labels import check_factors
from skdeepdive._data.rows import check_finite, distinct_rows, iterate_rows, location_and_scale
from skdeepdive.windows import sliding_windows

# Factors


@pytest.mark.parametrize(
    ("factors", "classes", "codes"),
    [
        pytest.param([5, 3, 5, 4], [3, 4, 5], [2, 0, 2, 1], id="list of integers"),
        pytest.param([5, -1, 5, 4], [4, 5], [1, -1, 1, 0], id="-1"),
        pytest.param(np.array([0, 255, 0, 1], np.uint8), [0, 1, 255], [0, 2, 0, 1], id="uint8"),
        pytest.param([1.0, np.nan, 2.0, 1.0], [1, 2], [0, -1, 1, 0], id="floats with NaN"),
        pytest.param([1.0, -1.0, 2.0, 1.0], [1, 2], [0, -1, 1, 0], id="floats with -1"),
        pytest.param([-2, 0, -2, -1], [-2, 0], [0, 1, 0, -1], id="other negative labels"),
        pytest.param([True, False, True, None], [False, True], [1, 0, 1, -1], id="booleans"),
        pytest.param(["b", "a", "b", "c"], ["a", "b", "c"], [1, 0, 1, 2], id="strings"),
        pytest.param(["b", None, "a", "b"], ["a", "b"], [1, -1, 0, 1], id="strings with None"),
        pytest.param(["b", np.nan, "a", "b"], ["a", "b"], [1, -1, 0, 1], id="strings with NaN"),
        pytest.param(["b", -1, "a", "b"], ["a", "b"], [1, -1, 0, 1], id="strings with -1"),
        pytest.param(
            np.array(["b", None, "a", -1], object), ["a", "b"], [1, -1, 0, -1], id="object array"
        ),
        pytest.param(
            pd.Series(["b", pd.NA, "a", "b"], dtype="string"),
            ["a", "b"],
            [1, -1, 0, 1],
            id="pandas strings",
        ),
        pytest.param(
            pd.Series([2, None, 1, 2], dtype="Int64"), [1, 2], [1, -1, 0, 1], id="nullable integers"
        ),
        pytest.param(
            pd.Series([True, None, False, True], dtype="boolean"),
            [False, True],
            [1, -1, 0, 1],
            id="nullable booleans",
        ),
        pytest.param(
            pd.Categorical(["b", None, "a", "b"], categories=["z", "b", "a"]),
            ["a", "b"],
            [1, -1, 0, 1],
            id="categorical with an unused category",
        ),
        pytest.param(
            pd.Series(["b", None, "a", "b"], dtype="category"),
            ["a", "b"],
            [1, -1, 0, 1],
            id="categorical series",
        ),
        pytest.param(
            np.array(["2020", "2021", "2020", "NaT"], "M8[D]"),
            np.array(["2020", "2021"], "M8[D]"),
            [0, 1, 0, -1],
            id="dates",
        ),
    ],
)
def test_one_factor_becomes_sorted_classes_and_codes(factors, classes, codes):
    checked = check_factors(factors, 4)
    np.testing.assert_array_equal(checked.classes[0], classes)
    assert checked.codes.tolist() == [[code] for code in codes]
    assert checked.codes.dtype == np.int64


@pytest.mark.parametrize(
    ("factors", "names"),
    [
        ([1, 2, 1], ["factor0"]),
        ([[1, 5], [2, 5], [1, 6]], ["factor0", "factor1"]),
        (pd.Series([1, 2, 1], name="hour"), ["hour"]),
        (pd.Series([1, 2, 1]), ["factor0"]),
        (pd.Series([1, 2, 1], name=0), ["0"]),
        (pd.DataFrame({"hour": [1, 2, 1], "gait": ["a", "b", "b"]}), ["hour", "gait"]),
        (pd.DataFrame([[1, 2], [2, 1], [1, 1]]), ["0", "1"]),
    ],
)
def test_factor_names_come_from_the_columns_or_are_numbered(factors, names):
    assert check_factors(factors, 3).names == names


def test_every_column_of_a_data_frame_keeps_its_own_type():
    frame = pd.DataFrame(
        {
            "hour": [3, 1, 3],
            "gait": ["walk", None, "run"],
            "shift": pd.Categorical(["day", "night", None]),
        }
    )
    checked = check_factors(frame, 3)
    assert [classes.tolist() for classes in checked.classes] == [
        [1, 3],
        ["run", "walk"],
        ["day", "night"],
    ]
    assert checked.codes.tolist() == [[1, 1, 0], [0, -1, 1], [1, 0, -1]]


def test_columns_of_a_nested_list_keep_their_own_types():
    checked = check_factors([[1, "a"], [None, "b"], [2, None]], 3)
    assert [classes.tolist() for classes in checked.classes] == [[1, 2], ["a", "b"]]
    assert checked.codes.tolist() == [[0, 0], [-1, 1], [1, -1]]


def test_labels_given_are_not_changed():
    factors = np.array([3, -1, 2, 3])
    before = factors.copy()
    factors.flags.writeable = False
    check_factors(factors, 4)
    np.testing.assert_array_equal(factors, before)


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        pytest.param([{1}, {2}, {1}, {3}], TypeError, "'factor0'.*got {1}", id="sets"),
        pytest.param(["a", 1, "b", 2], TypeError, "'factor0'.*mixes strings", id="mixed types"),
        pytest.param([0.5, 1.2, 3.3, 4.1], ValueError, "discrete labels.*0.5", id="continuous"),
        pytest.param(
            [1, 1, 1, -1], ValueError, "'factor0' of 'factors' must have at least two", id="1 class"
        ),
        pytest.param([-1] * 4, ValueError, "'factor0' of 'factors' has no labelled", id="all -1"),
        pytest.param([None] * 4, ValueError, "no labelled window", id="all None"),
        pytest.param([np.nan] * 4, ValueError, "no labelled window", id="all NaN"),
        pytest.param([1, 2, 1], ValueError, "'factors' .* 4 windows of 'X', got 3", id="short"),
        pytest.param([[1, 2]] * 5, ValueError, "'factors' .* 4 windows of 'X', got 5", id="long"),
        pytest.param(
            np.zeros((4, 1, 1), int),
            ValueError,
            r"'factors' must be an array of shape.*\(4, 1, 1\)",
            id="3-D",
        ),
        pytest.param(
            "hour", ValueError, "'factors' must be an array of shape.*0 dimension", id="a string"
        ),
        pytest.param(
            7, ValueError, "'factors' must be an array of shape.*0 dimension", id="a number"
        ),
        pytest.param(
            np.zeros((4, 0)), ValueError, "'factors' must have at least one column", id="no column"
        ),
        pytest.param(
            pd.DataFrame([[1, 2]] * 4, columns=["a", "a"]),
            ValueError,
            re.escape("distinct column names, got ['a', 'a']"),
            id="duplicate names",
        ),
        pytest.param(
            pd.DataFrame([[1, 2]] * 4, columns=[0, "0"]),
            ValueError,
            "distinct column names",
            id="names that look alike",
        ),
        pytest.param(
            pd.DataFrame({"hour": [1, 2, 1, 2], "month": [5, 5, 5, 5]}),
            ValueError,
            "Factor 'month' of 'factors' must have at least two classes",
            id="the name of the column at fault",
        ),
        pytest.param(
            pd.DataFrame({"hour": [1, 2, 1, 2], "gait": [None] * 4}),
            ValueError,
            "Factor 'gait' of 'factors' has no labelled window",
            id="the name of the unlabelled column",
        ),
    ],
)
def test_factors_that_are_not_labels_of_the_windows_are_rejected(factors, error, message):
    with pytest.raises(error, match=message):
        check_factors(factors, 4)


# Parameters


@pytest.mark.parametrize("value", [1, 7, np.int8(7), np.int64(7), np.uint32(7)])
def test_integers_of_python_and_numpy_are_accepted(value):
    checked = check_integer("n_hidden", value)
    assert checked == value
    assert type(checked) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, [1], np.float64(1)])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="'n_hidden' must be an integer, got "):
        check_integer("n_hidden", value)


@pytest.mark.parametrize(
    ("value", "minimum", "message"),
    [
        (0, 1, "'horizon' must be a positive integer, got 0."),
        (-3, 1, "'horizon' must be a positive integer, got -3."),
        (-1, 0, "'horizon' must be an integer of at least 0, got -1."),
        (1, 2, "'horizon' must be an integer of at least 2, got 1."),
    ],
)
def test_integers_below_the_minimum_are_a_value_error(value, minimum, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_integer("horizon", value, minimum=minimum)


@pytest.mark.parametrize("value", [1e-3, 1, np.float32(0.5), np.int64(2)])
def test_positive_numbers_are_accepted(value):
    checked = check_number("learning_rate", value)
    assert checked == value
    assert type(checked) is float


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], 1j])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="'learning_rate' must be a number, got "):
        check_number("learning_rate", value)


@pytest.mark.parametrize("value", [0, 0.0, -1e-3, np.inf, -np.inf, np.nan])
def test_numbers_that_are_not_positive_and_finite_are_a_value_error(value):
    with pytest.raises(ValueError, match="'learning_rate' must be a positive number, got "):
        check_number("learning_rate", value)


@pytest.mark.parametrize("value", [0, 1, 1.0, 1.5, -0.2])
def test_fractions_lie_strictly_between_their_bounds(value):
    with pytest.raises(ValueError, match="'validation_fraction' must be between 0 and 1, exclu"):
        check_number("validation_fraction", value, upper=1.0)


def test_a_choice_is_returned_as_it_is():
    assert check_choice("latent", "both", ("both", "marginal")) == "both"


@pytest.mark.parametrize("value", ["Both", "", None, 1, ["both"]])
def test_the_error_of_a_choice_lists_all_choices(value):
    with pytest.raises(
        ValueError, match=re.escape(f"'latent' must be one of 'both', 'marginal', got {value!r}.")
    ):
        check_choice("latent", value, ("both", "marginal"))


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize(
    ("n_samples", "fraction", "n_valid"), [(10, 0.2, 2), (3, 0.2, 1), (4, 0.01, 1), (100, 0.5, 50)]
)
def test_validation_has_its_fraction_and_at_least_one_window(n_samples, fraction, n_valid, gap):
    counts = check_validation_split(n_samples, fraction, gap, default_gap=8)
    assert counts == (n_samples - n_valid - gap, n_valid)


@pytest.mark.parametrize(("n_samples", "fraction"), [(2, 0.9), (100, 0.999)])
def test_a_split_that_leaves_nothing_to_train_on_is_rejected(n_samples, fraction):
    with pytest.raises(ValueError, match=f"'validation_fraction' {fraction} leaves none of the"):
        check_validation_split(n_samples, fraction, 0, 1)


def test_a_single_window_is_rejected_whatever_the_fraction():
    with pytest.raises(ValueError, match="'X' must hold at least two windows, .* got 1 sample"):
        check_validation_split(1, 0.2, 0, 1)


# Values


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3), np.int8),
        np.zeros((2, 3), bool),
        np.zeros((2, 3), object),
        [[1, 2.5], [3, 4]],
        pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}),
        pd.Series([1, 2], dtype="Int64"),
    ],
)
def test_arrays_of_numbers_pass(values):
    check_numeric("X", values)


@pytest.mark.parametrize(
    "values",
    [
        np.array([["a", "b"]]),
        np.array([["1", "2"]]),
        [["a", "b"]],
        np.array([["a", 1.0]], object),
        np.array(["2020-01-01"], "M8[D]"),
        pd.DataFrame({"a": [1.0], "b": ["x"]}),
        pd.Series(["a", "b"]),
    ],
)
def test_arrays_of_something_else_name_the_argument(values):
    with pytest.raises(ValueError, match="'X' must hold numbers"):
        check_numeric("X", values)


# Windows are looked at without a copy


def make_series(n_steps=60, n_channels=2, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((n_steps, n_channels)).astype(dtype)


def make_memory_map(path, n_steps=60, n_channels=2):
    mapped = np.memmap(path, np.float64, "w+", shape=(n_steps, n_channels))
    mapped[:] = make_series(n_steps, n_channels)
    return mapped


@pytest.mark.parametrize("n_timesteps", [1, 4, 7])
@pytest.mark.parametrize("stride", [1, 2, 4, 9])
def test_distinct_rows_are_the_stretch_of_the_series_that_windows_see(n_timesteps, stride):
    series = make_series()
    X, _, origin = sliding_windows(series, n_timesteps, 1, stride=stride)
    rows = distinct_rows(X)
    if stride > n_timesteps:
        assert rows is None
        return
    np.testing.assert_array_equal(rows, series[: origin[-1] + 1])
    assert np.shares_memory(rows, series)
    assert not rows.flags.writeable


def test_distinct_rows_start_where_the_windows_do():
    series = make_series()
    X, _, _ = sliding_windows(series, 5, 1)
    np.testing.assert_array_equal(distinct_rows(X[10:20]), series[10:24])


def test_a_single_window_is_its_own_stretch():
    X = make_series()[None, :5]
    np.testing.assert_array_equal(distinct_rows(X), X[0])


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param(sliding_windows(make_series(), 5, 1)[0][::-1], id="reversed in order"),
        pytest.param(sliding_windows(make_series(), 5, 1)[0][:, ::-1], id="reversed in time"),
        pytest.param(np.broadcast_to(make_series()[:5], (7, 5, 2)), id="one window repeated"),
        pytest.param(np.broadcast_to(make_series()[:7, None], (7, 5, 2)), id="one step repeated"),
        pytest.param(np.asfortranarray(make_series(70).reshape(14, 5, 2)), id="Fortran order"),
        pytest.param(make_series(70).reshape(14, 5, 2)[::2], id="gaps between the windows"),
    ],
)
def test_other_layouts_have_no_distinct_rows_but_all_their_values_are_visited(windows):
    assert distinct_rows(windows) is None
    visited = np.concatenate([rows for rows, _ in iterate_rows(windows, n_entries=16)])
    np.testing.assert_array_equal(visited, windows.reshape(-1, windows.shape[2]))


LAYOUTS = {
    "overlapping": lambda series: sliding_windows(series, 6, 1)[0],
    "with a stride": lambda series: sliding_windows(series, 6, 1, stride=4)[0],
    "side by side": lambda series: series.reshape(-1, 6, series.shape[1]),
    "apart": lambda series: sliding_windows(series, 3, 1, stride=5)[0],
    "reversed in order": lambda series: sliding_windows(series, 6, 1)[0][::-1],
    "reversed in time": lambda series: sliding_windows(series, 6, 1)[0][:, ::-1],
    "reversed channels": lambda series: sliding_windows(series, 6, 1)[0][:, :, ::-1],
    "copied": lambda series: sliding_windows(series, 6, 1)[0].copy(),
    "Fortran order": lambda series: np.asfortranarray(sliding_windows(series, 6, 1)[0]),
    "every other row": lambda series: sliding_windows(series[::2], 6, 1)[0],
    "one step each": lambda series: series[:, None],
    "a single window": lambda series: series[None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("corner", [0, -1])
def test_a_bad_value_in_the_first_or_last_entry_is_found(layout, value, kind, corner):
    windows = LAYOUTS[layout](make_series())
    check_finite("X", windows)
    # The same layout over a series whose entry under that corner is bad.
    series = make_series()
    bad = LAYOUTS[layout](series)[corner, corner, corner]
    series[series == bad] = value
    windows = LAYOUTS[layout](series)
    assert windows[corner, corner, corner] == value or np.isnan(value)
    with pytest.raises(ValueError, match=f"'X' must be finite, but it contains {kind}"):
        check_finite("X", windows)


def test_nan_in_the_last_row_of_a_memory_map_is_found(tmp_path):
    mapped = make_memory_map(tmp_path / "series")
    X = np.lib.stride_tricks.sliding_window_view(mapped, 6, axis=0).transpose(0, 2, 1)
    check_finite("X", X)
    mapped[-1, 1] = np.nan
    with pytest.raises(ValueError, match="'X' must be finite, but it contains NaN"):
        check_finite("X", X)


def test_values_that_no_window_sees_are_not_looked_at():
    series = make_series()
    series[-1] = np.nan
    check_finite("X", sliding_windows(series, 6, 1)[0])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_are_finite(dtype):
    check_finite("X", np.ones((3, 4, 2), dtype))


def traced_peak(look, X):
    tracemalloc.start()
    try:
        look(X)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("look", [lambda X: check_finite("X", X), location_and_scale])
@pytest.mark.parametrize("stored", ["in memory", "memory-mapped"])
def test_looking_at_windows_takes_the_memory_of_a_chunk_of_the_series(look, stored, tmp_path):
    n_steps, n_timesteps = 20_000, 500  # 0.3 MB as a series, 150 MB as windows
    if stored == "in memory":
        series = make_series(n_steps)
    else:
        series = make_memory_map(tmp_path / "series", n_steps)
    X, _, _ = sliding_windows(series, n_timesteps, 1)
    assert traced_peak(look, X) < 8 * series.nbytes < X.nbytes / 50


@pytest.mark.parametrize("look", [lambda X: check_finite("X", X), location_and_scale])
@pytest.mark.parametrize("layout", ["reversed in order", "reversed in time"])
def test_windows_in_other_layouts_are_looked_at_in_chunks(look, layout):
    series = make_series(20_000)
    X, _, _ = sliding_windows(series, 500, 1)
    X = X[::-1] if layout == "reversed in order" else X[:, ::-1]
    assert traced_peak(look, X) < X.nbytes / 3


def test_every_overlapping_row_is_visited_once():
    series = make_series()
    X, _, origin = sliding_windows(series, 6, 1)
    chunks, weights = zip(*iterate_rows(X, n_entries=10), strict=True)
    assert max(map(len, chunks)) == 5
    np.testing.assert_array_equal(np.concatenate(chunks), series[: origin[-1] + 1])
    row = np.arange(origin[-1] + 1)[:, None]
    held = (row >= origin - 5) & (row <= origin)
    np.testing.assert_array_equal(np.concatenate(weights)[:, 0], held.sum(axis=1))


# Location and scale


@pytest.mark.parametrize("layout", ["copied", "apart", "reversed in order", "a single window"])
def test_location_and_scale_are_mean_and_deviation(layout):
    windows = LAYOUTS[layout](make_series())
    loc, scale = location_and_scale(windows)
    values = windows.reshape(-1, windows.shape[2])
    np.testing.assert_allclose(loc, values.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scale, values.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("magnitude", [1e-300, 1e-150, 1e-6, 1.0, 1e9, 1e150, 1e300])
def test_the_scale_follows_any_magnitude(magnitude):
    windows = make_series().reshape(10, 6, 2)
    loc, scale = location_and_scale(windows)
    scaled_loc, scaled = location_and_scale(magnitude * windows)
    np.testing.assert_allclose(scaled / magnitude, scale, rtol=1e-9)
    np.testing.assert_allclose(scaled_loc / magnitude, loc, rtol=1e-9, atol=1e-12)


def test_a_large_offset_does_not_cost_the_scale_its_precision():
    windows = make_series().reshape(10, 6, 2)
    _, scale = location_and_scale(windows)
    _, with_offset = location_and_scale(windows + 1e9)
    np.testing.assert_allclose(with_offset, scale, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9, 1e-6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_channel_has_scale_one(value, dtype):
    windows = make_series(dtype=dtype).reshape(10, 6, 2)
    windows[..., 1] = value
    loc, scale = location_and_scale(windows)
    assert scale[1] == 1.0
    assert loc[1] == pytest.approx(windows[0, 0, 1], rel=1e-6)
    assert scale[0] == pytest.approx(windows[..., 0].std(), rel=1e-6)


@pytest.mark.parametrize("kind", ["nullable", "categorical", "list"])
def test_integers_with_missing_entries_stay_integers(kind):
    pandas = pytest.importorskip("pandas")
    factors = {
        "nullable": pandas.Series([1, None, 2, 1], dtype="Int64"),
        "categorical": pandas.Categorical([1, None, 2, 1]),
        "list": [1, None, 2, 1],
    }[kind]
    encoded = check_factors(factors, 4)
    assert encoded.classes[0].dtype.kind == "i"
    np.testing.assert_array_equal(encoded.codes[:, 0], [0, -1, 1, 0])


def test_infinite_labels_are_rejected():
    with pytest.raises(ValueError, match="must hold finite labels"):
        check_factors([1.0, np.inf, 1.0, 2.0], 4)


@pytest.mark.parametrize("mark", [-1, np.nan, None])
def test_marks_that_numpy_made_strings_of_are_rejected(mark):
    with pytest.raises(ValueError, match="which NumPy makes of what marks unlabelled entries"):
        check_factors(np.array(["a", str(mark), "b", "a"]), 4)


def test_the_message_on_continuous_labels_shows_one_that_is_not_whole():
    with pytest.raises(ValueError, match=r"such as 2\.5\."):
        check_factors([1, 2.5, 1, 2], 4)
