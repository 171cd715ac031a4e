"""SeriesForecaster: windows of tables, dated forecasts, holes, bounds, covariates."""

import pickle

import numpy as np
import pytest
from fakes import KnownForecaster, LastValueForecaster, ToldForecaster
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

from skdeepdive import (
    DeepDIVEForecaster,
    SeriesForecaster,
    calendar_factors,
    calendar_features,
    sliding_windows,
)
from skdeepdive.baselines import VAEForecaster

pd = pytest.importorskip("pandas")

N_TIMESTEPS, HORIZON = 24, 6


def make_table(n_rows=400, zone=None, seed=0):
    """Hours of a daily period with noise, and another channel."""
    hours = pd.date_range("2014-10-15", periods=n_rows, freq="h", tz=zone, name="time")
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(n_rows, 2))
    time = np.arange(n_rows)
    columns = {"load": 5 + np.sin(time * np.pi / 12), "wind": np.cos(time * np.pi / 12)}
    return pd.DataFrame(columns, hours) + noise


def make_model(**parameters):
    return DeepDIVEForecaster(**{"n_hidden": 8, "max_epochs": 1, "random_state": 0, **parameters})


def make_forecaster(forecaster=None, **parameters):
    sizes = {"n_timesteps": N_TIMESTEPS, "horizon": HORIZON}
    return SeriesForecaster(LastValueForecaster() if forecaster is None else forecaster,
                            **{**sizes, **parameters})  # fmt: skip


# What the forecaster is given


def test_windows_of_a_whole_table_are_views_as_sliding_windows_cuts_them():
    table = make_table()
    fitted = make_forecaster(targets="load").fit(table).forecaster_
    X, y, _ = sliding_windows(table, N_TIMESTEPS, HORIZON, targets=["load"])
    np.testing.assert_array_equal(fitted.X_, X)
    np.testing.assert_array_equal(fitted.y_, y)
    assert np.shares_memory(fitted.X_, fitted.y_)
    assert fitted.get_params() == LastValueForecaster().get_params()


def test_forecasts_equal_those_of_a_fit_by_hand_bit_by_bit():
    table = make_table()
    X, y, origin = sliding_windows(table, N_TIMESTEPS, HORIZON)
    factors = calendar_factors(table.index[origin], ["hour"])
    by_hand = make_model().fit(X, y, factors)
    forecaster = make_forecaster(make_model(), calendar=["hour"]).fit(table)
    last = table.to_numpy()[None, -N_TIMESTEPS:]
    known = {"factors": calendar_factors(table.index[-1:], ["hour"])}
    np.testing.assert_array_equal(forecaster.predict(), by_hand.predict(last, **known)[0])
    levels = [0.1, 0.9]
    np.testing.assert_array_equal(
        forecaster.predict_quantiles(levels),
        by_hand.predict_quantiles(last, levels, **known)[0].reshape(HORIZON, -1),
    )
    random = np.random.RandomState(5)
    np.testing.assert_array_equal(
        forecaster.sample(3, random_state=5),
        by_hand.sample(last, 3, random_state=random, **known)[0].reshape(HORIZON, -1),
    )
    assert forecaster.score(table) == pytest.approx(by_hand.score(X, y, factors=factors))


def test_forecasts_are_told_the_calendar_of_the_last_row_where_it_is_a_known_class():
    table = make_table()
    forecaster = make_forecaster(ToldForecaster(), calendar=["hour", "month"]).fit(table)
    forecaster.predict()
    told = forecaster.forecaster_.told_
    last = table.index[-1]
    assert told.to_numpy().tolist() == [[last.hour, last.month]]
    later = table.set_axis(table.index + pd.Timedelta(days=60))  # of a month that fit had not
    forecaster.predict(later)
    told = forecaster.forecaster_.told_
    assert told["hour"].tolist() == [last.hour]
    assert told["month"].isna().all()


@pytest.mark.parametrize("stride", [1, 5])
def test_no_window_touches_a_hole_and_those_left_out_are_counted(stride):
    table = make_table()
    table.iloc[150, 1] = np.nan
    forecaster = make_forecaster(targets=["load"], stride=stride)
    with pytest.warns(
        UserWarning, match=r"% of the windows touch one of 5 missing steps.* 2014-10-"
    ):
        forecaster.fit(table.drop(table.index[[100, 200, 201, 300]]))
    fitted, report = forecaster.forecaster_, forecaster.windows_.iloc[0]
    assert np.isfinite(fitted.X_).all()
    assert np.isfinite(fitted.y_).all()
    origins = np.arange(N_TIMESTEPS - 1, 400 - HORIZON, stride)
    in_window = [(o - N_TIMESTEPS < r <= o) for o in origins for r in (150, 100, 200, 201, 300)]
    in_future = [(o < r <= o + HORIZON) for o in origins for r in (1000, 100, 200, 201, 300)]
    touched = (np.array(in_window) | in_future).reshape(-1, 5).any(axis=1)
    assert report[["steps", "missing", "windows", "left_out"]].tolist() == [
        *(400, 5, len(origins), touched.sum()),
    ]
    assert report[["training", "validation"]].sum() == len(fitted.X_) <= len(origins)


def test_few_windows_left_out_need_no_warning():
    table = make_table(2000)
    forecaster = make_forecaster().fit(table.drop(table.index[1000]))
    assert forecaster.windows_.loc[0, "left_out"] == N_TIMESTEPS + HORIZON


def test_validation_windows_are_the_last_and_share_no_future_with_training_windows():
    table = make_table()
    table["load"] = np.arange(400.0)  # rows, to be read off the windows
    forecaster = make_forecaster(targets=["load"])
    forecaster.fit(table.drop(table.index[200]))
    fitted, report = forecaster.forecaster_, forecaster.windows_.iloc[0]
    assert fitted.validation_gap == 0
    n_valid = round(fitted.validation_fraction * len(fitted.X_))
    assert n_valid == report["validation"] == round(0.2 * (report["windows"] - report["left_out"]))
    train, valid = fitted.y_[:-n_valid], fitted.y_[-n_valid:]
    assert train.max() < valid.min()
    assert train.max() == valid.min() - 1


def test_windows_some_rows_apart_leave_out_as_many_as_share_a_future():
    table = make_table(600)
    table["load"] = np.arange(600.0)
    fitted = make_forecaster(targets=["load"], stride=4).fit(table).forecaster_
    n_train = len(fitted.X_) - round(fitted.validation_fraction * len(fitted.X_))
    last, first = fitted.y_[n_train - 1, :, 0], fitted.y_[n_train, :, 0]
    assert last.max() < first.min() <= last.max() + 4
    assert (np.diff(fitted.y_[:n_train, 0, 0]) == 4).all()


def test_a_gap_that_the_forecaster_has_is_kept():
    table = make_table()
    forecaster = make_forecaster(LastValueForecaster(validation_gap=50), targets=["load"])
    table["load"] = np.arange(400.0)
    forecaster.fit(table.drop(table.index[200]))
    fitted = forecaster.forecaster_
    n_train = forecaster.windows_.loc[0, "training"]
    assert fitted.y_[n_train, 0, 0] - fitted.y_[n_train - 1, 0, 0] == 51


def test_factors_are_of_the_local_time_of_the_origin():
    table = make_table(zone="Europe/Lisbon")
    fitted = make_forecaster(calendar=["hour", "weekday"]).fit(table).forecaster_
    origins = table.index[N_TIMESTEPS - 1 : -HORIZON]
    assert fitted.factors_["hour"].tolist() == origins.hour.tolist()
    assert fitted.factors_["weekday"].tolist() == origins.day_of_week.tolist()


# What it returns


@pytest.mark.parametrize("zone", [None, "Europe/Lisbon"])
def test_forecasts_are_dated_and_named(zone):
    table = make_table(zone=zone)
    forecaster = make_forecaster(make_model(), targets=["wind", "load"]).fit(table)
    index = pd.date_range(table.index[-1], periods=7, freq="h", name="time")[1:]
    forecast = forecaster.predict()
    pd.testing.assert_index_equal(forecast.index, index)
    assert forecast.columns.tolist() == ["wind", "load"]
    quantiles = forecaster.predict_quantiles([0.2, 0.5])
    assert quantiles.index.equals(index)
    assert quantiles.columns.tolist() == [(n, q) for n in ("wind", "load") for q in (0.2, 0.5)]
    assert quantiles.columns.names == ["target", "quantile"]
    draws = forecaster.sample(2, random_state=0)
    assert draws.columns.tolist() == [(n, k) for n in ("wind", "load") for k in (0, 1)]
    assert draws.columns.names == ["target", "draw"]


@pytest.mark.parametrize("freq", ["MS", "B", "D"])
def test_the_rows_to_come_are_at_the_steps_of_the_frequency(freq):
    index = pd.date_range("2012-01-02", periods=90, freq=freq)
    table = pd.Series(np.arange(90.0), index, name="sales")
    forecast = make_forecaster().fit(table).predict()
    assert forecast.index.equals(pd.date_range(index[-1], periods=7, freq=freq)[1:])
    assert (forecast["sales"] == 89).all()


def test_periods_come_back_as_periods():
    index = pd.period_range("2012-01", periods=90, freq="M", name="month")
    forecast = make_forecaster().fit(pd.DataFrame({"sales": np.arange(90.0)}, index)).predict()
    assert forecast.index.equals(pd.period_range("2019-07", periods=6, freq="M"))
    assert forecast.index.name == "month"


def test_newer_rows_are_forecast_by_the_fitted_forecaster():
    table = make_table()
    forecaster = make_forecaster().fit(table[:300])
    assert forecaster.predict().index[0] == table.index[300]
    forecast = forecaster.predict(table[320:])
    assert forecast.index[0] == table.index[-1] + pd.Timedelta("1h")
    np.testing.assert_array_equal(forecast, np.tile(table.iloc[-1], (6, 1)))


def test_rows_in_another_time_zone_are_read_by_the_clock_of_fit():
    table = make_table(zone="Europe/Lisbon")
    forecaster = make_forecaster(ToldForecaster(), calendar=["hour"]).fit(table)
    expected = forecaster.predict(table)
    hours = forecaster.forecaster_.told_
    found = forecaster.predict(table.tz_convert("UTC"))
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(forecaster.forecaster_.told_, hours)
    assert forecaster.score(table.tz_convert("UTC")) == forecaster.score(table)


KINDS = {
    "naive": make_table(),
    "local": make_table(zone="Europe/Lisbon"),
    "periods": make_table().to_period("h"),
}


@pytest.mark.parametrize(
    ("fitted", "found", "mend"),
    [
        ("local", "naive", lambda table: table.tz_localize("Europe/Lisbon", ambiguous="infer")),
        ("naive", "local", lambda table: table.tz_convert("Europe/Lisbon").tz_localize(None)),
        ("naive", "periods", lambda table: table.to_timestamp()),
        ("periods", "naive", lambda table: table.to_period("h")),
    ],
)
def test_times_of_another_kind_than_in_fit_are_refused_with_what_mends_them(fitted, found, mend):
    forecaster = make_forecaster(KnownForecaster(), future_covariates="wind").fit(KINDS[fitted])
    table = KINDS[found][-100:]
    call = {"local": "tz_localize", "naive": "(tz_convert|to_timestamp)", "periods": "to_period"}
    with pytest.raises(ValueError, match=f"'table' must be dated .*{call[fitted]}"):
        forecaster.predict(table, future=KINDS[fitted])
    with pytest.raises(ValueError, match=f"'future' must be dated .*{call[fitted]}"):
        forecaster.predict(future=table)
    assert np.isfinite(forecaster.score(mend(table)))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (slice(-10, None), "n_timesteps = 24 rows without a hole, got 10 rows"),
        ([*range(380), *range(385, 400)], "got none at 2014-10-30 20:00:00. Give more rows"),
    ],
)
def test_rows_that_make_no_window_are_refused(rows, match):
    table = make_table()
    forecaster = make_forecaster().fit(table)
    with pytest.raises(ValueError, match=match):
        forecaster.predict(table.iloc[rows])


def test_a_number_of_rows_is_no_table():
    forecaster = make_forecaster().fit(make_table())
    with pytest.raises(TypeError, match="be None, got 48. How many rows .* is the 'horizon'"):
        forecaster.predict(48)


def test_a_frequency_finer_than_the_rows_is_named():
    with pytest.raises(ValueError, match="1597 with 1197 missing.* Most steps .*'15min' have no"):
        make_forecaster(freq="15min").fit(make_table())


def test_the_input_is_not_changed():
    table = make_table().drop(make_table().index[[200]])
    before = table.copy()
    forecaster = make_forecaster(bounds=(-10, None))
    forecaster.fit(table)
    forecaster.predict(table)
    pd.testing.assert_frame_equal(table, before)


def test_what_becomes_of_the_table_later_changes_nothing():
    values = np.array(make_table())
    table = pd.DataFrame(values, make_table().index, copy=False)
    forecaster = make_forecaster().fit(table)
    before = forecaster.predict()
    values[:] = 0
    pd.testing.assert_frame_equal(forecaster.predict(), before)


# Quantiles of forecasters that have none


def test_quantiles_of_a_baseline_are_conformal():
    table = make_table(1500)
    forecaster = make_forecaster(VAEForecaster(n_hidden=8, max_epochs=1, random_state=0))
    forecaster.fit(table[:1200])
    backtest = forecaster.backtest(table, table.index[1200], every=6, quantiles=[0.1, 0.9])
    assert backtest.scores()["coverage_80"].between(0.7, 0.9).all()
    draws = forecaster.sample(2000, random_state=0)
    quantiles = forecaster.predict_quantiles([0.1, 0.9])
    spread = draws["load"].quantile([0.1, 0.9], axis=1).T
    assert np.abs(spread - quantiles["load"].to_numpy()).max(axis=None) < 0.1


# Bounds


def make_counts(n_rows=1500, seed=0):
    """Counts of which 85 % are zero."""
    hours = pd.date_range("2014-01-01", periods=n_rows, freq="h")
    counts = np.random.default_rng(seed).poisson(0.163, size=n_rows).astype(float)
    return pd.DataFrame({"sales": counts, "stock": 5 - counts}, hours)


def test_bounds_hold_for_forecasts_quantiles_and_samples():
    table = make_counts()
    free = make_forecaster(make_model(), targets=["sales", "stock"]).fit(table)
    bounded = clone(free).set_params(bounds={"sales": (0, None), "stock": (None, 5)}).fit(table)
    methods = [
        lambda f: f.predict(),
        lambda f: f.predict_quantiles([0.05, 0.5, 0.95]),
        lambda f: f.sample(50, random_state=0),
    ]
    for method in methods:
        raw, found = method(free), method(bounded)
        expected = raw.copy()
        expected["sales"] = np.maximum(raw["sales"], 0)
        expected["stock"] = np.minimum(raw["stock"], 5)
        pd.testing.assert_frame_equal(found, expected)  # what lies within is as it was
    assert (free.predict_quantiles([0.05])["sales"] < 0).to_numpy().any()


def test_bounds_keep_the_coverage():
    table = make_counts()
    scores = [
        make_forecaster(make_model(), bounds=bounds)
        .backtest(table[["sales"]], table.index[1200], every=6, quantiles=[0.1, 0.9])
        .scores()
        for bounds in (None, (0, None))
    ]
    assert scores[1]["coverage_80"].item() == scores[0]["coverage_80"].item()
    assert scores[1]["pinball"].item() < scores[0]["pinball"].item()


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        (0, TypeError, "pair of the least and the greatest value.* got 0"),
        ((0, "a"), TypeError, "pair of the least"),
        ((1, 0), ValueError, "least value below the greatest"),
        ({"rain": (0, 1)}, ValueError, "must name targets, .* got 'rain'"),
        (
            (0, 6),
            ValueError,
            r"got 31 value\(s\) of 'load' outside \[0, 6\], the first 6.\d* at 2014-10-16 .* make "
            r"them NaN by table\['load'\].where\(table\['load'\].between\(0, 6\)\), .* widen the",
        ),
        ((6, None), ValueError, r"outside \[6, inf\], .* table\['load'\].where\(.* >= 6\)"),
        ((None, 4), ValueError, r"outside \[-inf, 4\], .* table\['load'\].where\(.* <= 4\)"),
    ],
)
def test_bounds_that_cannot_be_are_refused(bounds, error, match):
    with pytest.raises(error, match=match):
        make_forecaster(bounds=bounds, targets=["load"]).fit(make_table())


def test_the_call_that_bounds_advise_makes_nan_of_spikes():
    table = make_table()
    table.iloc[[50, 300], 0] = -9999
    with pytest.raises(ValueError, match=r"got 2 value.* -9999 at 2014-10-17 02:00:00"):
        make_forecaster(bounds=(0, None), targets=["load"]).fit(table)
    table["load"] = table["load"].where(table["load"] >= 0)
    forecaster = make_forecaster(bounds=(0, None), targets=["load"]).fit(table)
    assert forecaster.windows_["missing"].item() == 2


def test_values_outside_bounds_are_counted_over_all_series():
    panel = pd.concat({"a": make_table(), "b": make_table() - 9, "c": make_table() - 9})
    with pytest.raises(ValueError, match=r"got 800 value\(s\) of 'load' .* at 2014-10-15 00:00:00"):
        make_forecaster(bounds={"load": (1, None)}).fit(panel)


# Covariates that are known in advance


def make_known():
    return make_forecaster(KnownForecaster(), targets=["load"], future_covariates=["wind"])


def test_covariates_of_the_steps_to_come_reach_the_forecaster():
    table = make_table()
    forecaster = make_known().fit(table[:-HORIZON])
    fitted = forecaster.forecaster_
    X, y, _ = sliding_windows(table[:-HORIZON], N_TIMESTEPS, HORIZON)
    np.testing.assert_array_equal(fitted.X_, X)
    np.testing.assert_array_equal(fitted.y_, y[..., :1])
    np.testing.assert_array_equal(fitted.known_, y[..., 1:])
    future = table.iloc[-HORIZON - 3 :][["wind"]]  # earlier rows may be there
    np.testing.assert_array_equal(
        forecaster.predict(future=future)["load"], table["wind"].iloc[-HORIZON:]
    )
    np.testing.assert_array_equal(
        forecaster.predict(table[:-HORIZON], future=table), forecaster.predict(future=future)
    )


def test_windows_whose_future_lacks_a_covariate_are_left_out():
    table = make_table()
    table.iloc[300, 1] = np.nan
    forecaster = make_known().fit(table)
    assert np.isfinite(forecaster.forecaster_.known_).all()
    assert forecaster.windows_.loc[0, "left_out"] == N_TIMESTEPS + HORIZON


@pytest.mark.parametrize(
    ("future", "match"),
    [
        (lambda t: None, r"hold \['wind'\] from 2014-10-31 10:00:00 to .* 15:00:00, got None"),
        (lambda t: t[["load"]], "'future' must have the columns .* none named 'wind'"),
        (lambda t: t[["wind"]].iloc[:-2], "no 'wind' at 2014-10-31 14:00:00 .2 of 6 steps"),
        (lambda t: t[["wind"]].drop(t.index[-6]), "no 'wind' at 2014-10-31 10:00:00 .1"),
    ],
)
def test_missing_covariates_are_named_with_their_hours(future, match):
    table = make_table()
    forecaster = make_known().fit(table[:-HORIZON])
    with pytest.raises(ValueError, match=match):
        forecaster.predict(future=future(table))


def test_every_step_to_come_is_described_by_the_calendar():
    table = make_table(zone="Europe/Lisbon")
    forecaster = make_forecaster(
        KnownForecaster(), future_covariates=["wind"], step_calendar=["weekday"]
    )
    fitted = forecaster.fit(table[:-HORIZON]).forecaster_
    features = calendar_features(table.index, ["weekday"]).to_numpy()
    _, known, _ = sliding_windows(
        np.column_stack([table["wind"], features])[:-HORIZON], N_TIMESTEPS, HORIZON
    )
    np.testing.assert_array_equal(fitted.known_, known)
    options = forecaster._model._inputs(*forecaster._inputs(None, table))[1]
    np.testing.assert_array_equal(options["future_covariates"][0, :, 1:], features[-HORIZON:])


def test_the_calendar_of_steps_alone_needs_no_future():
    table = make_table()
    forecaster = make_forecaster(make_model(), step_calendar=["hour"]).fit(table)
    assert forecaster.predict().shape == (HORIZON, 2)
    assert forecaster.predict_quantiles([0.1]).shape == (HORIZON, 2)
    backtest = forecaster.backtest(table, "2014-10-29", every=24)
    assert np.isfinite(backtest.forecasts.to_numpy()).all()


def test_a_future_that_no_one_asked_for_is_refused():
    forecaster = make_forecaster().fit(make_table())
    with pytest.raises(ValueError, match="'future' must be None"):
        forecaster.predict(future=make_table())


# Parameters


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"n_timesteps": 0}, ValueError, "'n_timesteps' must"),
        ({"horizon": 1.5}, TypeError, "'horizon' must be an integer"),
        ({"stride": 0}, ValueError, "'stride' must"),
        ({"targets": "rain"}, ValueError, r"'targets' must name columns.* got \['rain'\]"),
        ({"targets": []}, ValueError, "'targets' must name columns"),
        ({"forecaster": Ridge()}, TypeError, "validation windows, such as DeepDIVEForecaster"),
        ({"calendar": ["century"]}, ValueError, "'calendar' cannot be used: 'names' must be among"),
        ({"calendar": "hour"}, TypeError, "'calendar' must be a sequence of names"),
        ({"id": ["id"]}, TypeError, r"'id' must be the name of a column, or None, got \['id'\]"),
        ({"time": {}}, TypeError, "'time' must be the name of a column"),
        ({"targets": pd.NA}, TypeError, "'targets' must name columns of the table"),
        ({"freq": ()}, ValueError, "'freq' must be a frequency of pandas"),
        (
            {"forecaster": KnownForecaster(), "step_calendar": ["century"]},
            ValueError,
            "'step_calendar' cannot be used",
        ),
        (
            {"forecaster": KnownForecaster(), "step_calendar": 1},
            TypeError,
            "'step_calendar' must be a sequence of names",
        ),
        (
            {"forecaster": KnownForecaster(), "future_covariates": 0},
            ValueError,
            r"'future_covariates' must name columns.* got \[0\]",
        ),
        ({"scale_ids": 1}, TypeError, "'scale_ids' must be True or False"),
        (
            {"step_calendar": ["hour"]},
            TypeError,
            "'step_calendar' needs a forecaster whose fit takes 'future_covariates'",
        ),
        (
            {"future_covariates": "wind"},
            TypeError,
            "whose fit takes 'future_covariates', which that of LastValueForecaster does not",
        ),
        (
            {"forecaster": VAEForecaster(), "calendar": ["hour"]},
            TypeError,
            "'calendar' needs a forecaster whose fit takes 'factors', which that of VAEForecaster",
        ),
        (
            {"forecaster": KnownForecaster(), "future_covariates": ["load", "wind"]},
            ValueError,
            "'targets' must name columns",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, error, match):
    with pytest.raises(error, match=match):
        make_forecaster(**parameters).fit(make_table())


def test_a_column_without_any_value_is_named():
    with pytest.raises(ValueError, match="a value in every column, got none in 'wind'. Drop it"):
        make_forecaster().fit(make_table().assign(wind=np.nan))


def test_too_few_rows_are_refused_with_what_is_needed():
    with pytest.raises(ValueError, match=r"some 36 rows .*2 \* horizon.* got 30 with 0 missing"):
        make_forecaster().fit(make_table(30))
    make_forecaster().fit(make_table(36))


@pytest.mark.parametrize("method", ["predict", "predict_quantiles", "sample"])
def test_nothing_is_forecast_before_fit(method):
    with pytest.raises(NotFittedError):
        getattr(make_forecaster(), method)()


def test_other_columns_than_in_fit_are_refused():
    forecaster = make_forecaster().fit(make_table())
    with pytest.raises(
        ValueError, match=r"must have the columns \['load', 'wind'\], got none named"
    ):
        forecaster.predict(make_table()[["load"]])


# As scikit-learn's estimators


def test_it_is_cloned_shown_pickled_and_refitted_as_any_estimator():
    forecaster = make_forecaster(make_model(), calendar=["hour"]).fit(make_table())
    copied = clone(forecaster).set_params(forecaster__n_hidden=4)
    assert copied.forecaster.n_hidden == 4
    assert forecaster.forecaster.n_hidden == 8
    assert "SeriesForecaster(calendar=['hour']" in repr(forecaster)
    loaded = pickle.loads(pickle.dumps(forecaster))
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    pd.testing.assert_frame_equal(loaded.windows_, forecaster.windows_)
    assert not hasattr(forecaster.forecaster, "module_")


def test_a_fit_that_fails_leaves_the_last_one():
    forecaster = make_forecaster().fit(make_table())
    before = forecaster.predict()
    with pytest.raises(ValueError, match="order of time"):
        forecaster.fit(make_table()[::-1])
    pd.testing.assert_frame_equal(forecaster.predict(), before)


def test_a_search_over_the_rows_of_a_table_works():
    search = GridSearchCV(
        make_forecaster(make_model()),
        {"forecaster__n_conditional": [2, 4], "n_timesteps": [12, 24]},
        cv=TimeSeriesSplit(n_splits=2),
        error_score="raise",
    ).fit(make_table())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict().shape == (HORIZON, 2)


def test_a_search_takes_a_callable_that_scores_a_table():
    def score(forecaster, table):
        return -(forecaster.predict(table[:-HORIZON]) - table[-HORIZON:]).abs().mean().mean()

    cv, table = TimeSeriesSplit(n_splits=2), make_table()
    scores = cross_val_score(make_forecaster(), table, scoring=score, cv=cv)
    expected = []
    for _, test in cv.split(table):
        last, true = table.iloc[test[-HORIZON - 1]], table.iloc[test[-HORIZON:]]
        expected.append(-(true - last).abs().mean().mean())
    np.testing.assert_allclose(scores, expected)


def test_scores_need_two_windows():
    forecaster = make_forecaster().fit(make_table())
    with pytest.raises(ValueError, match="at least two windows .* = 30 rows"):
        forecaster.score(make_table(30))


def test_what_windows_are_refused_for_names_the_table():
    table = make_table()
    far = table.copy()
    far.iloc[-1] = 1e200
    forecaster = make_forecaster(VAEForecaster(n_hidden=4, max_epochs=1, random_state=0))
    with pytest.raises(ValueError, match="'table' cannot be used: '[Xy]' must not be farther"):
        forecaster.fit(far)
    forecaster.fit(table)
    with pytest.raises(ValueError, match="'table' is too far from the forecasts for R²"):
        forecaster.score(far)


def test_draws_without_a_seed_differ_and_leave_numpy_alone():
    forecaster = make_forecaster().fit(make_table())
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = forecaster.sample(4), forecaster.sample(4)
    assert not first.equals(second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert forecaster.sample(4, random_state=0).equals(forecaster.sample(4, random_state=0))


@pytest.mark.parametrize("seed", ["a", -1, [[0.1]], True, 0.5])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="'random_state' must be an integer"):
        make_forecaster().fit(make_table()).sample(4, random_state=seed)
