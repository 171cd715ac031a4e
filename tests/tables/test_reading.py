"""Tables become series with a row at every step, or an error that names the first bad time."""

import subprocess
import sys

import numpy as np
import pytest

from skdeepdive._tables.dates import future_index
from skdeepdive._tables.layout import Layout
from skdeepdive._tables.reading import read_table

pd = pytest.importorskip("pandas")

HOURS = pd.date_range("2014-10-25", periods=60, freq="h")


def table_at(index, **columns):
    columns = columns or {"load": np.arange(float(len(index)))}
    return pd.DataFrame(columns, index=index)


def read(table, freq=None, **layout):
    return read_table(table, Layout(**layout), freq)


def read_one(table, freq=None):
    (series,) = read(table, freq).series
    return series


FREQUENCIES = [
    *("s", "15min", "h", "2h", "D", "3D", "7D", "B"),
    *("MS", "ME", "BMS", "QS", "QE", "YS"),
]


@pytest.mark.parametrize("zone", [None, "Europe/Lisbon"])
@pytest.mark.parametrize("freq", FREQUENCIES)
def test_a_missing_row_is_a_step_of_nan(freq, zone):
    full = pd.date_range("2014-09-01", periods=60, freq=freq, tz=zone)
    series = read_one(table_at(full.delete(40)))
    assert series.index.equals(full)  # the frequency may have another name
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(series.values)), [40])


@pytest.mark.parametrize("freq", ["h", "D", "M", "Q", "Y"])
def test_periods_stay_periods(freq):
    full = pd.period_range("2014-01-01", periods=30, freq=freq)
    series = read_one(table_at(full.delete(5)))
    pd.testing.assert_index_equal(series.index, full, check_names=False)
    assert np.isnan(series.values[5])


@pytest.mark.parametrize(("start", "n_hours"), [("2014-10-26", 25), ("2014-03-30", 23)])
def test_days_on_which_clocks_change_have_their_hours(start, n_hours):
    day = pd.date_range(start, periods=n_hours, freq="h", tz="Europe/Lisbon")
    assert {stamp.day for stamp in day} == {day[0].day}
    series = read_one(table_at(day))
    assert len(series) == n_hours
    assert not np.isnan(series.values).any()


def test_days_are_local_days():
    days = pd.date_range("2014-10-20", periods=20, freq="D", tz="Europe/Lisbon")
    series = read_one(table_at(days.delete(10)))
    assert series.index.equals(days)


def test_leap_days_are_days():
    days = pd.date_range("2016-02-20", periods=20, freq="D")
    assert len(read_one(table_at(days.delete(3)))) == 20


@pytest.mark.parametrize(
    ("index", "match"),
    [
        (
            HOURS[::-1],
            r"order of time, got 2014-10-27 10:00:00 after .* 11:00:00. Call table.sort_",
        ),
        (
            HOURS.insert(8, HOURS[7]),
            r"one per time step, got 2014-10-25 07:00:00 .*Where a local clock was put back, first "
            r"call table.tz_localize\(zone, ambiguous='infer'\); where that fails, drop copies .*"
            r"table\[~table.*\]. Only then call table.groupby\(level=0\).mean\(\), or .*'id'",
        ),
        (
            HOURS.insert(8, HOURS[7]).tz_localize("UTC"),
            r"07:00:00\+00:00. Call table.groupby\(level=0\).mean\(\), or .*'id'",
        ),
        (
            HOURS[[*range(20), *range(18, 60)]],
            r"first call table.tz_localize\(.*sorting would mix .* Only then call table.sort_index",
        ),
        (
            HOURS[:50].append(HOURS[50:] + pd.Timedelta("7min")),
            "steps of the frequency 'h', got 2014-10-27 02:07:00, .*resample",
        ),
        (HOURS.insert(3, pd.NaT), "NaT in row 3"),
        (HOURS[:5].insert(5, pd.Timestamp("2090")), "6 rows for some .* 2090-01-01"),
        (HOURS[:0], "must have rows, got none"),
        (
            HOURS + pd.to_timedelta(np.arange(60) ** 2, unit="s"),
            r"steps of other lengths, such as from 2014-10-25 00:00:00 to .* 01:00:01 .*resample\(",
        ),
        (HOURS[[0, 3]], "show their frequency, got 2. Name it by 'freq'"),
        (pd.date_range("2014-01-15", periods=9, freq="MS") + pd.Timedelta("5D"), "'M'"),
    ],
)
def test_the_first_bad_time_is_named(index, match):
    with pytest.raises(ValueError, match=match):
        read(table_at(index))


def test_the_calls_that_errors_name_mend_the_table():
    table = table_at(HOURS.insert(8, HOURS[7])[::-1])
    mended = table.sort_index()
    mended = mended.groupby(level=0).mean()
    assert len(read_one(mended)) == 60
    odd = table_at(HOURS[:50].append(HOURS[50:] + pd.Timedelta("7min")))
    assert len(read_one(odd.resample("h").mean())) == 60


def rows_of_a_clock_put_back(freq):
    local = pd.date_range("2014-10-25", "2014-10-27", freq=freq, tz="Europe/Lisbon", name="time")
    return table_at(local.tz_localize(None)), local


@pytest.mark.parametrize("freq", ["h", "15min"])
@pytest.mark.parametrize("n_copies", [1, 2])
def test_both_hours_of_a_clock_put_back_are_kept_by_the_calls_in_their_order(freq, n_copies):
    clock, local = rows_of_a_clock_put_back(freq)
    table = pd.concat([clock] * n_copies)
    with pytest.raises(ValueError, match="Where a local clock was put back, first call"):
        read(table)
    table = table[~table.reset_index().duplicated().to_numpy()]
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer").sort_index()
    series = read_one(table.groupby(level=0).mean())
    assert series.index.equals(local)
    np.testing.assert_array_equal(series.values[:, 0], np.arange(len(local)))


def test_what_cannot_be_told_apart_of_a_clock_put_back_can_be_left_out():
    clock, local = rows_of_a_clock_put_back("h")
    corrected = clock.iloc[[25]] + 0.5  # a second reading of the hour that is there twice
    table = pd.concat([clock[:25], corrected, clock[25:]])
    with pytest.raises(ValueError, match="switches"):
        table.tz_localize("Europe/Lisbon", ambiguous="infer")
    table = table.tz_localize("Europe/Lisbon", ambiguous="NaT", nonexistent="NaT")
    series = read_one(table[table.index.notna()])
    assert series.index.equals(local)
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [25, 26]


@pytest.mark.parametrize("freq", ["30min", pd.offsets.Minute(30)])
def test_a_given_frequency_counts(freq):
    assert len(read_one(table_at(HOURS), freq)) == 119


@pytest.mark.parametrize(
    ("freq", "match"),
    [
        ("fortnight", "'freq' must be a frequency of pandas"),
        (
            "2h",
            "got 2014-10-25 01:00:00, which .* Of 59 steps between rows, 59 are of 0 days 01:00:00",
        ),
    ],
)
def test_a_frequency_that_does_not_fit_is_refused(freq, match):
    with pytest.raises(ValueError, match=match):
        read(table_at(HOURS), freq)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (np.ones((5, 2)), "got ndarray. Date the rows"),
        (table_at(np.arange(5)), "one of dtype int64. Call set_index"),
        (table_at(pd.Index(["01/02/2014", "02/02/2014"])), r"got '01/02/2014' .*format="),
        (
            table_at(HOURS, load=1.0, name="a", other="1,5"),
            r"others in \['name', 'other'\]. Read .*\(decimal=','\), .* pandas.to_numeric\(",
        ),
        (table_at(HOURS)[[]], "columns of numbers, got none"),
    ],
)
def test_what_is_no_table_of_dated_numbers_is_refused(table, match):
    with pytest.raises(TypeError, match=match):
        read(table)


def test_times_as_text_are_read_where_they_are_not_ambiguous():
    assert read_one(table_at(HOURS.strftime("%Y-%m-%d %H:%M"))).index.equals(HOURS)


def test_columns_of_the_same_name_are_refused():
    table = table_at(HOURS, load=1.0, wind=2.0).set_axis(["load", "load"], axis=1)
    with pytest.raises(ValueError, match=r"distinct column names, got \['load', 'load'\]"):
        read(table)


@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [("f8", -np.inf, "infinity"), ("f4", np.inf, "infinity"), ("f8", 2e300, r"beyond 1e\+300")],
)
def test_infinity_and_what_is_close_to_it_is_refused_with_its_place(dtype, value, kind):
    table = table_at(HOURS, load=1.0, wind=2.0).astype(dtype)
    table.iloc[7, 1] = value
    with pytest.raises(ValueError, match=f"{kind}, got it in column 'wind' at 2014-10-25 07:00:00"):
        read(table)


def test_columns_of_several_levels_are_refused():
    table = pd.concat({"meter": table_at(HOURS, load=1.0)}, axis=1)
    with pytest.raises(ValueError, match="'table' must have columns of one level, got 2"):
        read(table)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "Float64", "bool", "float32"])
def test_columns_of_any_numbers_are_taken(dtype):
    series = read_one(table_at(HOURS, load=np.arange(60) % 2).astype(dtype))
    np.testing.assert_array_equal(series.values[:, 0], np.arange(60) % 2)
    assert series.values.dtype == (np.float32 if dtype == "float32" else np.float64)


def test_missing_nullable_values_are_nan():
    column = pd.array([1, None, *range(58)], dtype="Int64")
    assert np.flatnonzero(np.isnan(read_one(table_at(HOURS, load=column)).values)).tolist() == [1]


def test_a_series_is_a_table_of_one_column():
    found = read(pd.Series(np.arange(60.0), HOURS))
    assert found.columns == ["value"]
    assert read(pd.Series(np.arange(60.0), HOURS, name="load")).columns == ["load"]


# Panels


def make_panel():
    """Two series of different lengths, ids that are no text, as an index of two levels."""
    index = [(7, hour) for hour in HOURS] + [(3, hour) for hour in HOURS[10:30]]
    index = pd.MultiIndex.from_tuples(index, names=["meter", "at"])
    return pd.DataFrame({"load": np.arange(80.0)}, index=index)


def test_an_index_of_ids_and_times_is_cut_id_by_id():
    found = read(make_panel())
    assert [one.id for one in found.series] == [7, 3]
    assert found.id_name == "meter"
    assert [one.values[0, 0] for one in found.series] == [0, 60]
    assert found.series[1].index.equals(HOURS[10:30])
    assert found.series[1].index.name == "at"


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_long_table_is_cut_id_by_id(shuffled):
    table = make_panel().reset_index()
    if shuffled:  # ids among each other, the times of each in order
        table = table.sort_values("at", kind="stable")
    found = read(table, id="meter", time="at")
    assert [one.id for one in found.series] == [7, 3]
    assert found.columns == ["load"]
    np.testing.assert_array_equal(found.series[1].values[:, 0], np.arange(60, 80))


def test_ids_may_stand_beside_a_dated_index():
    found = read(make_panel().reset_index("meter"), id="meter")
    assert [len(one) for one in found.series] == [60, 20]


@pytest.mark.parametrize(
    ("table", "layout", "match"),
    [
        (make_panel(), {"id": "name"}, "'id' and 'time' must each name a column .* got 'name'"),
        (
            pd.concat([make_panel(), make_panel()], axis=1),
            {"id": "load"},
            "name a column .* 'load'",
        ),
        (pd.concat({"a": make_panel()}, axis=1), {"id": "a"}, "name a column .* got 'a'"),
        (make_panel().iloc[[0, 0, 1]], {}, r"groupby\(level=\[0, 1\]\)"),
        (
            make_panel().reset_index().iloc[[0, 0, 1]],
            {"id": "meter", "time": "at"},
            r"groupby\(\['meter', 'at'\], as_index=False\)",
        ),
        (
            make_panel().reset_index().iloc[::-1],
            {"id": "meter", "time": "at"},
            r"sort_values\(\['meter', 'at'\]\)",
        ),
        (make_panel().reset_index("meter").iloc[[0, 0, 1]], {"id": "meter"}, "table.index"),
        (
            make_panel().reset_index().assign(meter=[None] + [1.0] * 79),
            {"id": "meter", "time": "at"},
            "an id in every row, got none in row 0",
        ),
        (pd.concat([make_panel()], keys=["a"]), {}, "at most two levels"),
    ],
)
def test_what_is_wrong_with_a_panel_is_named(table, layout, match):
    with pytest.raises(ValueError, match=match):
        read(table, **layout)


def test_ids_and_times_in_the_wrong_order_are_refused():
    with pytest.raises(TypeError, match=r"last level of its index, .*table.swaplevel\(\)"):
        read(make_panel().swaplevel())


def test_numbers_for_times_are_refused_with_what_makes_times_of_them():
    table = pd.DataFrame({"at": 3600 * np.arange(5), "load": 1.0})
    with pytest.raises(TypeError, match="got one of dtype int64. .*to_datetime, .* unit='s'"):
        read(table, time="at")
    assert (
        len(read(table.assign(at=pd.to_datetime(table["at"], unit="s")), time="at").series[0]) == 5
    )


def test_tables_of_polars_are_taken_with_their_time_zone():
    pl = pytest.importorskip("polars")
    times = pd.date_range("2014-10-26", periods=50, freq="h", tz="Europe/Lisbon")
    utc = pl.Series(times.tz_convert(None).to_numpy()).dt.replace_time_zone("UTC")
    table = pl.DataFrame(
        {"time": utc.dt.convert_time_zone("Europe/Lisbon"), "load": np.arange(50.0)}
    )
    (series,) = read(table, time="time").series
    assert series.index.equals(times)
    assert str(series.index.tz) == "Europe/Lisbon"
    with pytest.raises(ValueError, match="'time' must name the column"):
        read(table)
    with pytest.raises(TypeError, match=r"got LazyFrame. Call its collect\(\)"):
        read(table.lazy(), time="time")


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2014-10-25", periods=10, freq="h", tz="Europe/Lisbon"),
        pd.date_range("2014-01-31", periods=5, freq="ME"),
        pd.bdate_range("2014-01-01", periods=5),
        pd.period_range("2014-01", periods=5, freq="M"),
    ],
)
def test_the_steps_to_come_follow_those_that_were(index):
    whole = index.append(future_index(index, 30))
    again = type(index)(whole[1:])
    assert (again == whole[:-1] + index.freq).all()
    assert len(whole) == len(index) + 30


def test_without_pandas_what_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas.*pip install pandas"):
        read([[1, 2], [3, 4]])


def test_the_package_is_imported_without_pandas():
    code = "import sys; sys.modules['pandas'] = None; import skdeepdive.tables"
    subprocess.run([sys.executable, "-c", code], check=True)
