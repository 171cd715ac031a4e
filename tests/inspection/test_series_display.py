"""The display of a dated forecast: lines and bands at their dates, names, and what is refused."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.inspection import SeriesForecastDisplay

pd = pytest.importorskip("pandas")
mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

HORIZON = 24


@pytest.fixture(autouse=True)
def no_figure_left_open():
    assert not plt.get_fignums()
    yield
    plt.close("all")


def make_table(zone="Europe/Lisbon"):
    hours = pd.date_range("2014-10-16", periods=400, freq="h", tz=zone, name="time")
    time = np.arange(400)
    return pd.DataFrame({"load": np.sin(time * np.pi / 12), "wind": np.cos(time / 7)}, hours)


def make_forecaster(**parameters):
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    return SeriesForecaster(model, n_timesteps=168, horizon=HORIZON, **parameters)


@pytest.fixture(scope="module")
def forecaster():
    return make_forecaster().fit(make_table()[:-HORIZON])


def test_every_target_has_a_panel_with_its_name_and_unit(forecaster):
    display = SeriesForecastDisplay.from_estimator(forecaster, unit="MW")
    assert [ax.get_title() for ax in display.axes_] == ["load", "wind"]
    assert [ax.get_ylabel() for ax in display.axes_] == ["MW", "MW"]
    assert display.axes_[1].get_xlabel() == "time (Europe/Lisbon)"
    assert plt.get_fignums() == [display.figure_.number]


def test_lines_are_at_their_dates(forecaster):
    table = make_table()
    display = SeriesForecastDisplay.from_estimator(forecaster, truth=table)
    forecast = forecaster.predict()
    for number, target in enumerate(["load", "wind"]):
        past, line, truth = (
            lines[number]
            for lines in (display.past_lines_, display.forecast_lines_, display.truth_lines_)
        )
        np.testing.assert_array_equal(line.get_ydata(), forecast[target])
        assert list(line.get_xdata()) == list(forecast.index.to_pydatetime())
        np.testing.assert_array_equal(past.get_ydata(), table[target].iloc[-192:-HORIZON])
        np.testing.assert_array_equal(truth.get_ydata(), table[target].iloc[-HORIZON:])
    bands = display.bands_[0]
    assert [band.get_label() for band in bands] == ["95 % interval", "80 % interval"]
    low = forecaster.predict_quantiles([0.1])["load"][0.1]
    ends = bands[1].get_paths()[0].vertices[:, 1]
    assert low.min() == pytest.approx(ends.min())


def test_ticks_are_at_midnight_of_the_local_clock(forecaster):
    display = SeriesForecastDisplay.from_estimator(forecaster)
    display.figure_.canvas.draw()
    ticks = mpl.dates.num2date(display.axes_[1].get_xticks(), tz=forecaster.predict().index.tz)
    assert {(tick.hour, tick.minute) for tick in ticks} == {(0, 0)}  # clocks change on the 26th
    assert len(ticks) >= 7


def test_periods_are_drawn_at_their_first_moment():
    months = pd.period_range("1980-01", periods=420, freq="M")
    forecaster = make_forecaster().fit(pd.DataFrame({"sales": np.arange(420) % 12.0}, months))
    display = SeriesForecastDisplay.from_estimator(forecaster, levels=[])
    assert display.forecast_lines_[0].get_xdata()[0] == pd.Timestamp("2015-01-01")
    assert display.bands_ == []


def test_one_of_several_series_is_drawn():
    table = pd.concat({"a": make_table(), "b": -2 * make_table()}, names=["meter"])
    forecaster = make_forecaster(targets="load").fit(table)
    first, second = (SeriesForecastDisplay.from_estimator(forecaster, id=id) for id in (None, "b"))
    assert first.forecast["load"].equals(forecaster.predict()["load"]["a"])
    assert second.forecast["load"].equals(forecaster.predict()["load"]["b"])
    assert second.axes_[0].get_title() == "b: load"
    with pytest.raises(ValueError, match="'id' must be one of the series .* got 'c'"):
        SeriesForecastDisplay.from_estimator(forecaster, id="c")


def test_given_axes_are_drawn_on(forecaster):
    axes = plt.subplots(2)[1]
    assert list(SeriesForecastDisplay.from_estimator(forecaster, axes=axes).axes_) == list(axes)
    with pytest.raises(ValueError, match="'axes' must be one for each of 2 targets, got 1"):
        SeriesForecastDisplay.from_estimator(forecaster, axes=axes[0])


def test_an_id_of_a_single_series_is_refused(forecaster):
    with pytest.raises(ValueError, match="'id' must be None for a single series"):
        SeriesForecastDisplay.from_estimator(forecaster, id="a")


def test_a_forecaster_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        SeriesForecastDisplay.from_estimator(make_forecaster())


def test_without_matplotlib_the_extra_is_named(forecaster, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'needs matplotlib.*pip install "skdeepdive\[plot'):
        SeriesForecastDisplay.from_estimator(forecaster)
