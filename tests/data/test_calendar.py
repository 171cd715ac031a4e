"""Numbers of the calendar: cycles, weekdays, holidays, and what they are read from."""

import datetime

import numpy as np
import pytest

from skdeepdive import calendar_features

HOURS = np.arange("2012-12-24T00", "2013-01-07T00", dtype="datetime64[h]")
ALL = ["hour", "weekday", "day_of_year"]


class Christmas(dict):
    """Makes its days only when it is asked for them, as the holidays package does."""

    def __contains__(self, day):
        return (day.month, day.day) == (12, 25)


def test_the_hour_returns_after_a_day_and_differs_within_it():
    hours = calendar_features(HOURS, ["hour"])
    assert hours.shape == (len(HOURS), 4)
    np.testing.assert_allclose(hours[:24], hours[24:48], atol=1e-12)
    assert len(np.unique(hours[:24].round(9), axis=0)) == 24
    np.testing.assert_allclose(hours[6], [1, 0, 0, -1], atol=1e-12)


def test_parts_of_an_hour_count():
    half_past = calendar_features(np.array(["2012-01-01T00:30"], dtype="M8[m]"), ["hour"])
    np.testing.assert_allclose(half_past[0, :2], [np.sin(np.pi / 24), np.cos(np.pi / 24)])


def test_each_weekday_has_a_column_of_its_own():
    days = calendar_features(HOURS, ["weekday"])
    expected = [day.weekday() for day in HOURS.astype("M8[D]").tolist()]
    assert days.argmax(axis=1).tolist() == expected
    np.testing.assert_array_equal(days.sum(axis=1), 1)


@pytest.mark.parametrize("year", [1969, 2012, 2013])
def test_the_year_is_one_cycle_of_its_own_days(year):
    days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="M8[D]")
    sine, cosine = calendar_features(days, ["day_of_year"]).T
    angle = 2 * np.pi * np.arange(len(days)) / len(days)
    np.testing.assert_allclose([sine, cosine], [np.sin(angle), np.cos(angle)], atol=1e-12)


@pytest.mark.parametrize(
    "holidays",
    [
        ["2012-12-25"],
        {datetime.date(2012, 12, 25)},
        np.array(["2012-12-25"], dtype="M8[D]"),
        {datetime.date(2012, 12, 25): "Christmas Day"},
        Christmas(),
    ],
)
def test_a_holiday_lasts_all_its_day(holidays):
    column = calendar_features(HOURS, ["hour"], holidays=holidays)[:, -1]
    expected = HOURS.astype("M8[D]") == np.datetime64("2012-12-25")
    np.testing.assert_array_equal(column, expected)


def test_no_day_is_a_holiday_where_there_are_none():
    assert not calendar_features(HOURS, ["hour"], holidays=[])[:, -1].any()


def test_a_frame_has_names_and_the_index_of_its_input():
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2012-12-24", periods=30, freq="h", tz="Europe/Berlin")
    features = calendar_features(index, ALL, holidays=pd.DatetimeIndex(["2012-12-25"]))
    assert features.index is index
    assert features.columns[0] == "hour_sin"
    assert features.columns[-1] == "holiday"
    wall = index.tz_localize(None).to_numpy()
    expected = calendar_features(wall, ALL, holidays=["2012-12-25"])
    np.testing.assert_array_equal(features.to_numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ((np.arange(3), ALL), TypeError, "'index' must hold timestamps"),
        ((HOURS, "hour"), TypeError, "'names' must be a sequence"),
        ((HOURS, []), ValueError, "'names' must be some of hour, weekday, day_of_year"),
        ((HOURS, ["hour", "hour"]), ValueError, "each once"),
        ((HOURS, ["minute"]), ValueError, r"got \['minute'\]"),
    ],
)
def test_what_cannot_be_described_is_refused(arguments, error, problem):
    with pytest.raises(error, match=problem):
        calendar_features(*arguments)


def test_holidays_that_are_no_dates_are_refused():
    with pytest.raises(ValueError, match="'holidays' must be dates"):
        calendar_features(HOURS, holidays=["Christmas"])
