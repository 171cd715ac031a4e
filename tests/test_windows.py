"""Windows are views, labels follow the calendar, and parts of a split share no future value."""

from datetime import datetime, timezone

import numpy as np
import pytest

from skdeepdive.windows import calendar_factors, sliding_windows, split_windows

HOURS = np.arange("2012-01-01T00", "2012-03-01T00", dtype="datetime64[h]")


def make_series(n_steps=40, n_channels=3):
    return np.arange(n_steps * n_channels, dtype=np.float64).reshape(n_steps, n_channels)


# What windows hold


@pytest.mark.parametrize("n_timesteps", [1, 4])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("n_channels", [None, 1, 3])
def test_windows_and_futures_are_the_rows_around_the_origin(
    n_timesteps, horizon, gap, stride, n_channels
):
    series = np.arange(23.0) if n_channels is None else make_series(23, n_channels)
    X, y, origin = sliding_windows(series, n_timesteps, horizon, gap=gap, stride=stride)
    assert len(X) == len(y) == len(origin)
    for i, row in enumerate(origin):
        np.testing.assert_array_equal(X[i], series[row - n_timesteps + 1 : row + 1])
        np.testing.assert_array_equal(y[i], series[row + 1 + gap : row + 1 + gap + horizon])
    assert origin[0] == n_timesteps - 1
    assert set(np.diff(origin)) <= {stride}
    assert 23 - stride <= origin[-1] + gap + horizon < 23


def test_one_dimensional_series_has_no_channel_axis():
    X, y, origin = sliding_windows(np.arange(10), n_timesteps=4, horizon=2)
    assert (X.shape, y.shape, origin.shape) == ((5, 4), (5, 2), (5,))


def test_gap_gives_the_single_step_protocol():
    series = np.arange(200)
    X, y, origin = sliding_windows(series, n_timesteps=168, horizon=1, gap=23)
    np.testing.assert_array_equal(X[:, -1], origin)
    np.testing.assert_array_equal(y[:, 0], origin + 24)
    assert y[-1, 0] == 199


def test_series_that_just_fits_gives_one_window():
    X, y, origin = sliding_windows(make_series(9), n_timesteps=5, horizon=3, gap=1, stride=4)
    assert (len(X), len(y), origin.tolist()) == (1, 1, [4])


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f4", "f8", ">f4"])
def test_dtype_of_the_series_is_kept(dtype):
    X, y, _ = sliding_windows(np.ones(10, dtype=dtype), 3, 2)
    assert X.dtype == y.dtype == np.dtype(dtype)


def test_lists_are_taken():
    X, _, _ = sliding_windows([[1, 2], [3, 4], [5, 6]], 2, 1)
    assert X.tolist() == [[[1, 2], [3, 4]]]


def test_numpy_integers_are_taken_as_counts():
    X, _, _ = sliding_windows(np.arange(10), np.int32(3), np.uint8(2), gap=np.int64(1))
    assert X.shape == (5, 3)


def test_missing_values_pass_through():
    series = np.array([1.0, np.nan, 3.0, 4.0])
    X, _, _ = sliding_windows(series, 2, 1)
    np.testing.assert_array_equal(X, [[1, np.nan], [np.nan, 3]])


# What windows share with the series


@pytest.mark.parametrize(
    "arrange",
    [
        lambda a: a,
        lambda a: a[:, 0],
        np.asfortranarray,
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::2, 1:],
        lambda a: np.broadcast_to(a[:, :1], a.shape),
    ],
    ids=["C", "1-D", "F", "reversed rows", "reversed columns", "strided", "broadcast"],
)
def test_windows_of_any_memory_layout_are_read_only_views(arrange):
    series = arrange(make_series())
    before = series.copy()
    X, y, _ = sliding_windows(series, n_timesteps=6, horizon=2, gap=1, stride=3)
    for view in (X, y):
        assert np.shares_memory(view, series)
        assert not view.flags.writeable
    np.testing.assert_array_equal(X[1], before[3:9])
    np.testing.assert_array_equal(y[1], before[10:12])


def test_series_stays_writeable_and_unchanged():
    series = make_series()
    before = series.copy()
    X, y, _ = sliding_windows(series, 6, 2, targets=[0, 2])
    assert series.flags.writeable
    np.testing.assert_array_equal(series, before)
    for view in (X, y):
        with pytest.raises(ValueError, match="read-only"):
            view[:] = 0


def test_read_only_series_are_taken():
    series = make_series()
    series.flags.writeable = False
    X, _, _ = sliding_windows(series, 6, 2)
    assert np.shares_memory(X, series)


@pytest.mark.parametrize("targets", [None, 1, [0, 2]])
def test_memory_map_stays_on_disk(tmp_path, targets):
    np.save(tmp_path / "series.npy", make_series())
    series = np.load(tmp_path / "series.npy", mmap_mode="r")
    X, y, _ = sliding_windows(series, 6, 2, targets=targets)
    assert np.shares_memory(X, series)
    assert np.shares_memory(y, series)


# Which channels are forecast


@pytest.mark.parametrize(
    ("targets", "columns"),
    [
        (None, [0, 1, 2, 3, 4]),
        (2, [2]),
        (-1, [4]),
        (np.int64(0), [0]),
        ([3], [3]),
        ((1, 3), [1, 3]),
        ([0, 2, 4], [0, 2, 4]),
        ([4, 3, 2, 1, 0], [4, 3, 2, 1, 0]),
        ([3, 1], [3, 1]),
        ([2, 0], [2, 0]),
        (range(1, 4), [1, 2, 3]),
        (np.array([1, -1]), [1, 4]),
    ],
)
def test_evenly_spaced_targets_are_views_in_the_order_asked_for(targets, columns):
    series = make_series(n_channels=5)
    X, y, origin = sliding_windows(series, 6, 2, targets=targets)
    assert X.shape == (len(origin), 6, 5)
    assert np.shares_memory(y, series)
    np.testing.assert_array_equal(y[4], series[origin[4] + 1 : origin[4] + 3][:, columns])


@pytest.mark.parametrize("targets", [[0, 1, 3], [4, 0, 1], [2, 2]])
def test_uneven_targets_copy_columns_but_not_windows(targets):
    series = make_series(n_channels=5)
    _, y, origin = sliding_windows(series, 6, 4, targets=targets)
    np.testing.assert_array_equal(y[0], series[6:10][:, targets])
    assert not np.shares_memory(y, series)
    assert np.shares_memory(y[0], y[1])
    assert not y.flags.writeable
    assert y.shape == (len(origin), 4, len(targets))


# Series from pandas


def test_frame_of_one_dtype_is_not_copied():
    pd = pytest.importorskip("pandas")
    values = make_series()
    frame = pd.DataFrame(values, columns=["a", "b", "c"], copy=False)
    X, y, _ = sliding_windows(frame, 6, 2, targets="b")
    assert np.shares_memory(X, values)
    assert np.shares_memory(y, values)
    np.testing.assert_array_equal(y[0], values[6:8, 1:2])
    frame.iloc[0, 0] = -1.0
    assert frame.iloc[0, 0] == -1.0


def test_pandas_series_is_not_copied():
    pd = pytest.importorskip("pandas")
    values = np.arange(20.0)
    X, y, _ = sliding_windows(pd.Series(values, copy=False), 4, 2)
    assert X.shape == (15, 4)
    assert np.shares_memory(X, values)
    assert np.shares_memory(y, values)


@pytest.mark.parametrize(
    ("targets", "columns"),
    [("c", [2]), (["a", "c"], [0, 2]), (["c", "a", "b"], [2, 0, 1]), (1, [1]), (["a", -1], [0, 2])],
)
def test_targets_of_a_frame_are_names_or_positions(targets, columns):
    pd = pytest.importorskip("pandas")
    values = make_series()
    _, y, _ = sliding_windows(pd.DataFrame(values, columns=list("abc")), 6, 2, targets=targets)
    np.testing.assert_array_equal(y[0], values[6:8][:, columns])


def test_integers_are_positions_even_where_columns_are_named_by_integers():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(make_series(), columns=[2, 1, 0])
    _, y, _ = sliding_windows(frame, 6, 1, targets=0)
    np.testing.assert_array_equal(y[0, :, 0], frame[2].iloc[6:7])


def test_tuples_name_the_columns_of_a_multi_index():
    pd = pytest.importorskip("pandas")
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")])
    frame = pd.DataFrame(make_series(), columns=columns)
    _, one, _ = sliding_windows(frame, 6, 2, targets=("b", "x"))
    _, two, _ = sliding_windows(frame, 6, 2, targets=[("b", "x"), ("a", "x")])
    np.testing.assert_array_equal(one[0], make_series()[6:8, [2]])
    np.testing.assert_array_equal(two[0], make_series()[6:8][:, [2, 0]])


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "Float32"])
def test_nullable_series_become_numbers_with_nan_for_missing(dtype):
    pd = pytest.importorskip("pandas")
    full = pd.Series([1, 2, 3, 4], dtype=dtype)
    holed = pd.Series([1, None, 3, 4], dtype=dtype)
    assert sliding_windows(full, 2, 1)[0].tolist() == [[1, 2], [2, 3]]
    for series in (holed, holed.to_frame()):
        X, _, _ = sliding_windows(series, 2, 1)
        assert X.dtype.kind == "f"
        np.testing.assert_array_equal(X.ravel(), [1, np.nan, np.nan, 3])


def test_frame_of_mixed_numeric_dtypes_becomes_one_array():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"load": [1.5, 2.5, 3.5], "holiday": [True, False, True]})
    X, _, _ = sliding_windows(frame, 2, 1)
    np.testing.assert_array_equal(X[0], [[1.5, 1], [2.5, 0]])


# Arguments that make no windows


@pytest.mark.parametrize("name", ["n_timesteps", "horizon", "stride"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_that_are_not_positive_are_errors(name, value):
    counts = {"n_timesteps": 3, "horizon": 2, "stride": 1} | {name: value}
    with pytest.raises(ValueError, match=f"'{name}' must be a positive integer, got {value}"):
        sliding_windows(make_series(), **counts)


@pytest.mark.parametrize("name", ["n_timesteps", "horizon", "stride", "gap"])
@pytest.mark.parametrize("value", [True, np.True_, 2.0, "3", None, [2]])
def test_counts_that_are_not_integers_are_errors(name, value):
    counts = {"n_timesteps": 3, "horizon": 2} | {name: value}
    with pytest.raises(TypeError, match=f"'{name}' must be an integer, got .*"):
        sliding_windows(make_series(), **counts)


def test_negative_gap_is_an_error():
    with pytest.raises(ValueError, match="'gap' must be an integer of at least 0, got -1"):
        sliding_windows(make_series(), 3, 2, gap=-1)


@pytest.mark.parametrize("n_steps", [0, 5, 8])
def test_too_short_series_is_an_error_that_tells_the_length_needed(n_steps):
    with pytest.raises(ValueError, match=rf"'series' must .* 5 \+ 1 \+ 3 = 9 rows, got {n_steps}"):
        sliding_windows(make_series(n_steps), n_timesteps=5, horizon=3, gap=1)


@pytest.mark.parametrize("shape", [(), (10, 2, 2)])
def test_series_of_other_dimensions_are_errors(shape):
    with pytest.raises(ValueError, match=r"'series' must have shape \(n_steps,\) or"):
        sliding_windows(np.zeros(shape), 3, 2)


def test_series_without_channels_is_an_error():
    with pytest.raises(ValueError, match="'series' must have at least one channel"):
        sliding_windows(np.zeros((10, 0)), 3, 2)


@pytest.mark.parametrize(
    "series",
    [["a", "b", "c"], np.array([1, None, 2]), np.zeros(5, dtype=complex), HOURS],
    ids=["strings", "objects", "complex", "datetimes"],
)
def test_series_that_is_not_numeric_is_an_error(series):
    with pytest.raises(TypeError, match="'series' must hold real numbers, got dtype"):
        sliding_windows(series, 1, 1)


def test_frame_with_a_column_of_text_is_an_error():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"load": [1.0, 2.0], "note": ["1", "2"]})
    with pytest.raises(
        TypeError, match=r"'series' must hold real numbers.*to_numeric\(.*drop columns"
    ):
        sliding_windows(frame, 1, 1)


def test_masked_series_is_an_error():
    with pytest.raises(TypeError, match=r"'series' must not be a masked array.*filled"):
        sliding_windows(np.ma.masked_equal(np.arange(10.0), 3), 3, 2)


@pytest.mark.parametrize("target", [3, -4, [0, 3]])
def test_target_out_of_range_is_an_error(target):
    with pytest.raises(ValueError, match=r"'targets' must lie between -3 and 2 .* got (3|-4)"):
        sliding_windows(make_series(), 3, 2, targets=target)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([], ValueError, "'targets' must name at least one channel"),
        (True, TypeError, "'targets' must hold positions or column names, got True"),
        ([True, False, True], TypeError, "flatnonzero"),
        ("load", TypeError, "'targets' must hold integer positions .* got 'load'"),
        (1.0, TypeError, "'targets' must hold integer positions .* got 1.0"),
    ],
)
def test_targets_that_select_nothing_sensible_are_errors(targets, error, message):
    with pytest.raises(error, match=message):
        sliding_windows(make_series(), 3, 2, targets=targets)


def test_targets_of_a_one_dimensional_series_are_errors():
    with pytest.raises(ValueError, match="'targets' must be None for a 1-D series, got 0"):
        sliding_windows(np.arange(10), 3, 2, targets=0)


@pytest.mark.parametrize(
    ("target", "message"),
    [("z", "'z' is not one among 'a', 'b', 'b'"), ("b", "'b' stands more than once")],
)
def test_unknown_or_ambiguous_column_is_an_error(target, message):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(make_series(), columns=["a", "b", "b"])
    with pytest.raises(ValueError, match=message):
        sliding_windows(frame, 3, 2, targets=[target])


# Calendar

ALL_FACTORS = ["minute", "hour", "weekday", "day", "month", "quarter"]


def calendar_of(moment):
    month = moment.month
    return [
        moment.minute,
        moment.hour,
        moment.weekday(),
        moment.day,
        month,
        (month + 2) // 3,
    ]


@pytest.mark.parametrize("unit", ["m", "s", "ms", "us", "ns"])
@pytest.mark.parametrize("start", ["1899-12-25", "1969-12-20", "2000-02-25", "2012-01-01"])
def test_calendar_agrees_with_the_standard_library(unit, start):
    stamps = np.datetime64(start, "m") + 607 * np.arange(1000)
    labels = calendar_factors(stamps.astype(f"M8[{unit}]"), ALL_FACTORS)
    assert labels.dtype == np.int64
    assert labels.tolist() == [calendar_of(moment) for moment in stamps.tolist()]


@pytest.mark.parametrize("unit", ["h", "D", "W", "M", "Y"])
def test_calendar_of_coarse_units_is_that_of_the_start_of_the_unit(unit):
    stamps = np.array(["1960-01-01", "2024-02-29", "2025-12-31"], dtype=f"M8[{unit}]")
    starts = stamps.astype("M8[s]").tolist()
    assert calendar_factors(stamps, ALL_FACTORS).tolist() == [calendar_of(s) for s in starts]


def test_columns_follow_the_names_asked_for():
    stamps = np.array(["2012-05-06T07:08"], dtype="M8[m]")
    assert calendar_factors(stamps, ("month", "hour")).tolist() == [[5, 7]]


def test_datetime_index_gives_a_frame_over_the_same_index():
    pd = pytest.importorskip("pandas")
    index = pd.date_range("1969-12-25 05:30", periods=500, freq="7h", name="time")
    factors = calendar_factors(index, ALL_FACTORS)
    assert factors.index is index
    assert list(factors.columns) == ALL_FACTORS
    assert (factors.dtypes == np.int64).all()
    assert factors.to_numpy().tolist() == [calendar_of(moment) for moment in index]


def test_datetime_series_keeps_its_own_index():
    pd = pytest.importorskip("pandas")
    series = pd.Series(pd.to_datetime(["2012-01-01", "2012-01-02"]), index=["x", "y"])
    factors = calendar_factors(series, ["weekday"])
    assert factors.index.tolist() == ["x", "y"]
    assert factors["weekday"].tolist() == [6, 0]


def test_calendar_keeps_an_index_of_pyarrow():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    hours = pd.date_range("2012-01-01T22", periods=3, freq="h")
    index = pd.Index(hours).astype(pd.ArrowDtype(pa.timestamp("ns")))
    factors = calendar_factors(index, ["hour"])
    assert factors.index is index
    assert factors["hour"].tolist() == [22, 23, 0]


@pytest.mark.parametrize("as_series", [False, True])
def test_hours_with_a_time_zone_are_those_of_the_local_clock(as_series):
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2013-03-31 00:00", periods=4, freq="h", tz="Europe/Lisbon")
    autumn = pd.date_range("2013-10-27 00:00", periods=4, freq="h", tz="Europe/Lisbon")
    wrap = pd.Series if as_series else pd.DatetimeIndex
    assert calendar_factors(wrap(index), ["hour"])["hour"].tolist() == [0, 2, 3, 4]
    assert calendar_factors(wrap(autumn), ["hour"])["hour"].tolist() == [0, 1, 1, 2]


def test_no_timestamps_give_no_labels():
    assert calendar_factors(HOURS[:0], ["hour", "day"]).shape == (0, 2)


def test_factors_of_windows_are_those_of_their_origins():
    _, _, origin = sliding_windows(np.arange(len(HOURS)), 168, 24)
    hours = calendar_factors(HOURS[origin], ["hour"])[:, 0]
    np.testing.assert_array_equal(hours, origin % 24)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("hour", TypeError, r"'names' must be a list of factor names, got 'hour'. Pass \['hour'\]"),
        (5, TypeError, "'names' must be a list of factor names, got 5"),
        ([], ValueError, "'names' must name at least one factor"),
        (["hour", "year"], ValueError, "'names' must be among 'minute', .*, got 'year'"),
        ([3], ValueError, "'names' must be among .* got 3"),
        (["hour", "hour"], ValueError, "'names' must be distinct"),
    ],
)
def test_wrong_factor_names_are_errors(names, error, message):
    with pytest.raises(error, match=message):
        calendar_factors(HOURS, names)


@pytest.mark.parametrize("index", [[1, 2], ["2012-01-01"], [datetime(2012, 1, 1)], np.arange(3)])
def test_index_without_timestamps_is_an_error(index):
    with pytest.raises(TypeError, match=r"'index' must hold timestamps, got dtype .*to_datetime"):
        calendar_factors(index, ["hour"])


def test_series_indexed_by_time_is_an_error_that_points_to_its_index():
    pd = pytest.importorskip("pandas")
    load = pd.Series([1.0, 2.0], index=pd.to_datetime(["2012-01-01", "2012-01-02"]))
    for data in (load, load.to_frame()):
        with pytest.raises(TypeError, match=r"'index' must hold timestamps.*Pass series\.index"):
            calendar_factors(data, ["hour"])


def test_two_dimensional_timestamps_are_an_error():
    with pytest.raises(ValueError, match=r"'index' must be one-dimensional, got shape \(24, 2\)"):
        calendar_factors(HOURS[:48].reshape(24, 2), ["hour"])


def test_missing_timestamps_are_an_error():
    stamps = np.array(["2012-01-01", "NaT", "NaT"], dtype="M8[s]")
    with pytest.raises(ValueError, match="'index' must not hold NaT, got 2"):
        calendar_factors(stamps, ["hour"])
    pd = pytest.importorskip("pandas")
    for index in (pd.DatetimeIndex(stamps), pd.Series(stamps), pd.Series(stamps).dt.tz_localize(0)):
        with pytest.raises(ValueError, match="'index' must not hold NaT, got 2"):
            calendar_factors(index, ["hour"])


# Splits


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("gap", [0, 4])
@pytest.mark.parametrize("stride", [1, 3, 7])
@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.5, 0.5), (0.25,) * 4])
def test_no_target_row_of_a_part_lies_in_another_part(horizon, gap, stride, fractions):
    n_steps = 200
    _, y, origin = sliding_windows(np.arange(n_steps), 10, horizon, gap=gap, stride=stride)
    index = np.arange(n_steps)
    parts = split_windows(origin, horizon, gap=gap, fractions=fractions, index=index)
    cuts = np.round(np.cumsum([0, *fractions]) * n_steps)
    assert len(parts) == len(fractions)
    assigned = np.concatenate([np.arange(len(y))[part] for part in parts])
    assert np.all(np.diff(assigned) > 0)
    for part, low, high in zip(parts, cuts[:-1], cuts[1:], strict=True):
        rows = y[part]
        assert low <= rows.min()
        assert rows.max() < high
    left_out = np.setdiff1d(np.arange(len(y)), assigned)
    inner = cuts[1:-1, None]
    straddles = (y[left_out].min(axis=1) < inner) & (inner <= y[left_out].max(axis=1))
    assert straddles.any(axis=0).all()


def test_parts_are_views():
    X, _, origin = sliding_windows(make_series(100), 10, 5)
    assert all(np.shares_memory(X[part], X) for part in split_windows(origin, 5))


def test_default_split_is_that_of_the_single_step_literature():
    X, y, origin = sliding_windows(np.arange(26304), 168, 1, gap=23)
    train, validation, test = split_windows(origin, 1, gap=23)
    assert y[train].max() + 1 == y[validation].min() == int(0.6 * 26304)
    assert y[validation].max() + 1 == y[test].min() == int(0.8 * 26304)
    assert X[test].min() < y[test].min()


@pytest.mark.parametrize(
    ("fractions", "cuts"),
    [((0.7, 0.1, 0.2), [14, 16]), ((0.1, 0.2, 0.7), [2, 6]), ((1 / 3,) * 3, [6, 13])],
)
def test_rounding_of_fractions_loses_no_row(fractions, cuts):
    parts = split_windows(np.arange(19), 1, fractions=fractions, index=range(20))
    # Window i forecasts row i + 1.
    assert [part.start + 1 for part in parts[1:]] == cuts


def test_one_part_holds_all_windows():
    assert split_windows(np.arange(9), 1, fractions=[1.0]) == (slice(0, 9),)


def test_without_index_the_series_ends_with_the_last_target():
    origin = np.arange(9, 95)
    assert split_windows(origin, 5) == split_windows(origin, 5, index=range(100))


def test_index_tells_of_rows_after_the_last_target():
    # With stride 50 the windows end at row 60, and 0.6 of 110 rows is later than 0.6 of 61.
    origin = np.array([9, 59])
    with pytest.raises(ValueError, match="in the test part, rows 66:110"):
        split_windows(origin, 1, fractions=(0.6, 0.4), index=range(110))
    assert split_windows(origin, 1, fractions=(0.6, 0.4)) == (slice(0, 1), slice(1, 2))


DATES = ["2012-02-01", "2012-02-15"]


@pytest.mark.parametrize(
    "dates",
    [
        DATES,
        np.array(DATES, dtype="M8[D]"),
        [np.datetime64(date) for date in DATES],
        [datetime.fromisoformat(date) for date in DATES],
    ],
    ids=["strings", "array", "datetime64", "datetime"],
)
def test_dates_begin_the_later_parts(dates):
    _, y, origin = sliding_windows(np.arange(len(HOURS)), 24, 6)
    train, validation, test = split_windows(origin, 6, dates=dates, index=HOURS)
    assert HOURS[y[train].max()] == np.datetime64("2012-01-31T23")
    assert HOURS[y[validation].min()] == np.datetime64("2012-02-01T00")
    assert HOURS[y[validation].max()] == np.datetime64("2012-02-14T23")
    assert HOURS[y[test].min()] == np.datetime64("2012-02-15T00")


def test_dates_take_precedence_over_fractions():
    parts = split_windows(
        np.arange(99), 1, fractions=(0.5, 0.5), dates=DATES[:1], index=HOURS[700:800]
    )
    assert parts == (slice(0, 43), slice(43, 99))


def test_pandas_indexes_and_dates_give_the_same_parts():
    pd = pytest.importorskip("pandas")
    origin = np.arange(23, len(HOURS) - 6)
    expected = split_windows(origin, 6, dates=DATES, index=HOURS)
    index = pd.DatetimeIndex(HOURS)
    for stamps in (index, pd.Series(index), HOURS):
        for dates in (DATES, list(map(pd.Timestamp, DATES)), pd.to_datetime(DATES)):
            assert split_windows(origin, 6, dates=dates, index=stamps) == expected


def test_dates_are_local_times_of_an_index_with_a_time_zone():
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2013-10-26", "2013-10-29", freq="h", tz="Europe/Lisbon")
    origin = np.arange(len(index) - 1)
    (_, later) = split_windows(origin, 1, dates=["2013-10-28"], index=index)
    assert index[origin[later.start] + 1] == pd.Timestamp("2013-10-28", tz="Europe/Lisbon")
    aware = [pd.Timestamp("2013-10-28", tz="UTC")]
    assert split_windows(origin, 1, dates=aware, index=index)[1] == later


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.6, 0.2), "'fractions' must sum to 1, got .* with sum 0.8"),
        ((3, 1, 1), "'fractions' must sum to 1, got .* Divide them by their sum"),
        ((1.0, 0.0), "'fractions' must be a sequence of positive numbers"),
        ((1.5, -0.5), "'fractions' must be a sequence of positive numbers"),
        ((0.5, float("nan")), "'fractions' must be a sequence of positive numbers"),
        ((), "'fractions' must be a sequence of positive numbers"),
        (1.0, "'fractions' must be a sequence of positive numbers"),
        (("most", "rest"), "'fractions' must be a sequence of positive numbers"),
    ],
)
def test_wrong_fractions_are_errors(fractions, message):
    with pytest.raises(ValueError, match=message):
        split_windows(np.arange(100), 1, fractions=fractions)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["2012-02-15", "2012-02-01"], "'dates' must be increasing"),
        (["2012-02-01", "2012-02-01"], "'dates' must be increasing"),
        (["2011-12-31"], "'dates' must lie after the first .* got 2011-12-31"),
        (["2012-01-01"], "'dates' must lie after the first .* got 2012-01-01"),
        (["2012-03-01"], "'dates' must lie after the first .* got 2012-03-01"),
        (["soon"], "'dates' must hold dates such as '2014-01-01', got 'soon'"),
        ([5], "'dates' must hold dates such as '2014-01-01', got 5"),
        (["NaT"], "'dates' must not hold missing dates, got 'NaT'"),
        ([], "'dates' must hold at least one date"),
        ([datetime(2012, 2, 1, tzinfo=timezone.utc)], "'dates' must have no time zone"),
    ],
)
def test_wrong_dates_are_errors(dates, message):
    with pytest.raises(ValueError, match=message):
        split_windows(np.arange(100), 1, dates=dates, index=HOURS)


@pytest.mark.parametrize("date", ["2012-02-01", np.datetime64("2012-02-01")])
def test_single_date_is_an_error(date):
    with pytest.raises(TypeError, match=r"'dates' must be a list of dates, got .*2012-02-01"):
        split_windows(np.arange(100), 1, dates=date, index=HOURS)


def test_dates_without_index_are_an_error():
    with pytest.raises(ValueError, match="'dates' needs 'index'"):
        split_windows(np.arange(100), 1, dates=DATES)


def test_unsorted_index_is_an_error():
    with pytest.raises(ValueError, match="'index' must be sorted"):
        split_windows(np.arange(100), 1, dates=DATES, index=HOURS[::-1])


def test_dates_need_an_index_of_timestamps():
    with pytest.raises(TypeError, match="'index' must hold timestamps"):
        split_windows(np.arange(100), 1, dates=DATES, index=np.arange(1000))


def test_index_of_the_windows_in_place_of_the_series_is_an_error():
    with pytest.raises(ValueError, match=r"'index' must cover the 125 rows .* got 100 timestamps"):
        split_windows(np.arange(100), 25, index=HOURS[:100])


@pytest.mark.parametrize(
    ("origin", "error", "message"),
    [
        ([0.0, 1.0], TypeError, "'origin' must hold integer row positions, got dtype float64"),
        ([[0, 1]], ValueError, r"'origin' must have shape \(n_windows,\)"),
        (np.arange(0), ValueError, "'origin' must have .* at least one window"),
        ([3, 2, 1], ValueError, "'origin' must be increasing .* before shuffling"),
        ([1, 1, 2], ValueError, "'origin' must be increasing"),
        ([-1, 0, 1], ValueError, "'origin' must be increasing and non-negative"),
    ],
)
def test_wrong_origins_are_errors(origin, error, message):
    with pytest.raises(error, match=message):
        split_windows(origin, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"horizon": 30},
            r"'fractions' must .* 30 target rows in the validation part, rows 78:104",
        ),
        ({"horizon": 5, "fractions": (0.98, 0.02)}, "in the test part, rows 102:105"),
        ({"horizon": 5, "fractions": (0.02, 0.4, 0.4, 0.18)}, "in part 1, rows 0:2"),
        ({"horizon": 5, "dates": DATES[:1]}, "'dates' must .* in the test part, rows 744:"),
        (
            {"horizon": 5, "dates": ["2012-01-01T02", "2012-01-02"]},
            "in the training part, rows 0:2",
        ),
    ],
)
def test_part_without_windows_is_an_error_that_names_it(options, message):
    index = HOURS if "dates" in options else None
    with pytest.raises(ValueError, match=message):
        split_windows(np.arange(100), index=index, **options)


@pytest.mark.parametrize("name", ["horizon", "gap"])
def test_steps_of_a_split_must_be_integers(name):
    with pytest.raises(TypeError, match=f"'{name}' must be an integer, got 1.5"):
        split_windows(np.arange(100), **({"horizon": 1} | {name: 1.5}))


# Tables as users have them


def test_a_table_of_several_series_is_refused():
    pd = pytest.importorskip("pandas")
    index = pd.MultiIndex.from_product([["a", "b"], range(30)], names=["meter", "hour"])
    table = pd.DataFrame({"load": np.arange(60.0)}, index=index)
    with pytest.raises(ValueError, match=r"index of several levels.*series\.groupby\(level=0\)"):
        sliding_windows(table, 5, 2)
    parts = [sliding_windows(part.droplevel(0), 5, 2) for _, part in table.groupby(level=0)]
    assert [len(X) for X, _, _ in parts] == [24, 24]


@pytest.mark.parametrize("shapes", [[(40,), (50,)], [(40, 3), (40, 3)], [(40, 3), (50, 3)]])
def test_recordings_are_cut_one_by_one(shapes):
    recordings = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    options = {"stride": 2, "targets": None if len(shapes[0]) == 1 else [1]}
    X, y, origin, recording = sliding_windows(recordings, 5, 2, **options)
    parts = [sliding_windows(part, 5, 2, **options) for part in recordings]
    for found, expected in zip((X, y, origin), zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(expected))
    assert recording.tolist() == [k for k, part in enumerate(parts) for _ in part[0]]


def test_series_of_a_table_are_cut_as_a_list():
    pd = pytest.importorskip("pandas")
    index = pd.MultiIndex.from_product([["a", "b"], pd.date_range("2014", periods=30, freq="h")])
    table = pd.DataFrame({"load": np.arange(60.0), "wind": 0.0}, index=index)
    recordings = [part.droplevel(0) for _, part in table.groupby(level=0)]
    X, y, _, recording = sliding_windows(recordings, 5, 2, targets="load")
    assert (X.shape, y.shape) == ((48, 5, 2), (48, 2, 1))
    assert np.bincount(recording).tolist() == [24, 24]


def test_short_recordings_are_left_out_with_one_warning_that_names_them():
    recordings = [np.zeros((20, 2)), np.zeros((6, 2)), np.zeros((20, 2)), np.zeros((3, 2))]
    with pytest.warns(UserWarning, match=r"2 of 4 recordings .* = 7 rows .*: \[1, 3\]") as warned:
        recording = sliding_windows(recordings, 5, 2)[3]
    assert len(warned) == 1
    assert np.unique(recording).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("recordings", "error", "match"),
    [
        ([np.zeros((3, 2)), np.zeros((4, 2))], ValueError, "at least .* = 7 rows, got none"),
        ([np.zeros((9, 2)), np.zeros((9, 3))], ValueError, r"got steps of the shapes \[\(2,\), "),
        (
            [np.zeros((9, 2)), np.full((9, 2), "a")],
            TypeError,
            "Recording 1 of 'series': 'series' m",
        ),
        ([np.zeros(5), np.zeros(5)], ValueError, r"of one channel have shape \(n_steps, 1\)"),
    ],
)
def test_recordings_that_cannot_be_cut_are_named(recordings, error, match):
    with pytest.raises(error, match=match):
        sliding_windows(recordings, 5, 2)


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("n_channels", [None, 2])
def test_windows_with_nan_are_left_out_on_request(gap, n_channels):
    series = np.arange(40.0) if n_channels is None else make_series(40, n_channels)
    series[20] = np.nan
    options = {"n_timesteps": 5, "horizon": 3, "gap": gap}
    X, y, origin = sliding_windows(series, **options)
    whole = [not (np.isnan(x).any() or np.isnan(f).any()) for x, f in zip(X, y, strict=True)]
    found = sliding_windows(series, **options, drop_nan=True)
    for part, expected in zip(found, (X, y, origin), strict=True):
        np.testing.assert_array_equal(part, expected[whole])
    assert np.isfinite(found[0]).all()


def test_windows_without_nan_stay_views():
    series = make_series(40)
    series[:3, 1] = np.nan
    X, _, _ = sliding_windows(series[3:], 5, 2, drop_nan=True)
    assert np.shares_memory(X, series)
    only_inputs = sliding_windows(series, 5, 2, targets=[0], drop_nan=True)[2]
    assert only_inputs[0] == 7


def test_a_list_of_rows_is_one_series():
    rows = list(np.arange(30.0).reshape(10, 3))
    np.testing.assert_array_equal(
        sliding_windows(rows, 5, 2)[0], sliding_windows(np.array(rows), 5, 2)[0]
    )


def test_columns_of_text_are_named():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"load": np.arange(30.0), "site": "north", "note": "x"})
    with pytest.raises(TypeError, match=r"got the columns \['site', 'note'\] in dtype object"):
        sliding_windows(table, 5, 2)


def test_integers_are_positions_and_the_error_says_how_to_get_one():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(np.zeros((30, 2)), columns=[0, 320])
    with pytest.raises(ValueError, match=r"got 320\. Integers are positions.*get_loc\(320\)"):
        sliding_windows(table, 5, 2, targets=320)
    _, y, _ = sliding_windows(table, 5, 2, targets=table.columns.get_loc(320))
    assert y.shape[2] == 1
    with pytest.raises(ValueError, match=r"got 7\.$"):
        sliding_windows(table, 5, 2, targets=7)


def test_periods_are_taken_for_their_first_moment():
    pd = pytest.importorskip("pandas")
    periods = pd.period_range("2014-03-30", periods=50, freq="h")
    names = ["hour", "weekday", "month"]
    expected = calendar_factors(periods.to_timestamp(), names).to_numpy()
    for index in (periods, pd.Series(periods)):
        np.testing.assert_array_equal(calendar_factors(index, names).to_numpy(), expected)
        cut = {"dates": ["2014-03-31"], "index": index}
        assert split_windows(np.arange(10, 40), 2, **cut) == split_windows(
            np.arange(10, 40), 2, **cut | {"index": periods.to_timestamp()}
        )


YEAR = 24 * 365


def hours_of(change):
    """A year of hours as read from a file: without a frequency, and changed."""
    pd = pytest.importorskip("pandas")
    index = pd.DatetimeIndex(list(pd.date_range("2014", periods=YEAR, freq="h")))
    return pd.Series(np.arange(YEAR + 0.0), index=index).iloc[change(np.arange(YEAR))]


@pytest.mark.parametrize(
    ("change", "message", "mend"),
    [
        pytest.param(
            lambda rows: rows[::-1],
            r"in the order of time, got 2014-12-31 22:00:00 in row 1 after .*sort_index\(\)",
            lambda series: series.sort_index(),
            id="newest first",
        ),
        pytest.param(
            lambda rows: np.random.default_rng(0).permutation(rows),
            r"in the order of time, .*sort_index\(\)",
            lambda series: series.sort_index(),
            id="shuffled",
        ),
        pytest.param(
            lambda rows: np.insert(rows, 5, 4),
            r"one per time step, got 2014-01-01 04:00:00 in row 5 after .*groupby\(level=0\)\.mean",
            lambda series: series.groupby(level=0).mean(),
            id="doubled",
        ),
        pytest.param(
            lambda rows: np.repeat(rows, 2),
            r"one per time step, got 2014-01-01 00:00:00 in row 1 after",
            lambda series: series.groupby(level=0).mean(),
            id="all doubled",
        ),
        pytest.param(
            lambda rows: np.delete(rows, [100, 101, 4000]),
            r"evenly spaced in time, got 2014-01-05 06:00:00 in row 100 after 2014-01-05 03:00:00"
            r".*resample\('h'\)\.mean\(\)",
            lambda series: series.resample("h").mean().interpolate(),
            id="hole",
        ),
    ],
)
def test_rows_missing_doubled_or_out_of_order_are_named_and_mended(change, message, mend):
    series = hours_of(change)
    with pytest.raises(ValueError, match=f"'series' must have rows {message}"):
        sliding_windows(series, 24, 6)
    expected, _, _ = sliding_windows(hours_of(lambda rows: rows), 24, 6)
    np.testing.assert_allclose(sliding_windows(mend(series), 24, 6)[0], expected)
    as_they_come, _, _ = sliding_windows(series.reset_index(drop=True), 24, 6)
    assert len(as_they_come) == len(series) - 29


def test_missing_periods_are_named_and_mended():
    pd = pytest.importorskip("pandas")
    series = hours_of(lambda rows: np.delete(rows, 7)).to_period("h")
    with pytest.raises(ValueError, match=r"got 2014-01-01 08:00 in row 7 after 2014-01-01 06:00"):
        sliding_windows(series, 24, 6)
    mended = series.to_timestamp().resample("h").mean()
    assert len(sliding_windows(mended, 24, 6)[0]) == YEAR - 29
    assert isinstance(mended.index, pd.DatetimeIndex)


def test_a_local_clock_put_back_has_even_steps_with_its_time_zone():
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2014", periods=YEAR, freq="h", tz="Europe/Berlin").tz_localize(None)
    series = pd.Series(np.arange(YEAR), index=index)
    with pytest.raises(ValueError, match=r"got 2014-10-26 02.* first call series.tz_localize\("):
        sliding_windows(series.loc["2014-04":], 24, 6)
    with pytest.raises(ValueError, match=r"evenly spaced in time, got 2014-03-30 03.* after .* 01"):
        sliding_windows(series.loc[:"2014-09"], 24, 6)
    zoned = series.tz_localize("Europe/Berlin", ambiguous="infer")
    assert len(sliding_windows(zoned, 24, 6)[0]) == YEAR - 29


@pytest.mark.parametrize(
    "make_index",
    [
        pytest.param(lambda pd: pd.date_range("2014", periods=50, freq="MS"), id="months"),
        pytest.param(
            lambda pd: pd.period_range("2014", periods=50, freq="M"), id="monthly periods"
        ),
        pytest.param(
            lambda pd: pd.date_range("2014-03", periods=50, freq="D", tz="Europe/Berlin"), id="days"
        ),
        pytest.param(
            lambda pd: pd.to_datetime((np.arange(50) * 1000 / 30).round(), unit="ms"), id="30 Hz"
        ),
    ],
)
def test_steps_that_are_nearly_even_pass(make_index):
    pd = pytest.importorskip("pandas")
    index = make_index(pd)
    series = pd.Series(np.arange(50), index=type(index)(list(index)))
    assert len(sliding_windows(series, 12, 2)[0]) == 37


def test_business_days_pass_with_their_frequency():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2014", periods=50, freq="B")
    series = pd.Series(np.arange(50), index=pd.DatetimeIndex(list(days)))
    with pytest.raises(ValueError, match=r"got 2014-01-06.* in row 3 .*series\.asfreq\('B'\)"):
        sliding_windows(series, 12, 2)
    assert len(sliding_windows(series.asfreq("B"), 12, 2)[0]) == 37


def test_rows_without_a_date_are_named():
    pd = pytest.importorskip("pandas")
    index = pd.DatetimeIndex([*pd.date_range("2014", periods=30, freq="h"), pd.NaT])
    with pytest.raises(ValueError, match="'series' must have dated rows, got NaT in row 30"):
        sliding_windows(pd.Series(np.arange(31), index=index), 12, 2)
