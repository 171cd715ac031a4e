"""The estimator inside other libraries, on a real load: better than seasonal naive forecasts.

Every library is optional: its tests are skipped where it is not installed. Forecasts are made for
two weeks that come after everything the models have seen. The forecast to beat repeats the same
hour of the last day or of the last week, whichever errs less on those weeks.
"""

import tempfile
from collections import namedtuple

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

pd = pytest.importorskip("pandas")

DAY, WEEK = 24, 168
HELD_OUT = pd.Timestamp("2014-11-17")  # the two weeks from here on

Windows = namedtuple("Windows", ["X", "y", "factors"])


def make_model(**parameters):
    options = {"latent": "conditional", "n_hidden": 16, "max_epochs": 1, "random_state": 0}
    return DeepDIVEForecaster(**options | parameters)


@pytest.fixture(scope="module")
def clients():
    """Thirteen weeks of two clients."""
    load = load_electricity(as_frame=True).data
    return load.loc["2014-09-01":"2014-11-30"].astype(np.float64)


@pytest.fixture(scope="module")
def series(clients):
    """The load of one client."""
    return clients["client_320"]


@pytest.fixture(scope="module")
def past(series):
    """What may be trained on."""
    return series[series.index < HELD_OUT]


@pytest.fixture(scope="module")
def windows(series):
    """A week in, a day out, in training and held-out windows."""
    X, y, origin = sliding_windows(series, WEEK, DAY)
    factors = calendar_factors(series.index[origin], ["hour", "weekday"])
    parts = split_windows(origin, DAY, dates=[HELD_OUT], index=series.index)
    return [Windows(X[part], y[part], factors.iloc[part]) for part in parts]


def forecast_stretch(series, forecast, n_hours=DAY):
    """Forecast the held-out weeks, again and again from what has been seen by then."""
    origins = pd.date_range(HELD_OUT, series.index[-1], freq=f"{n_hours}h")
    return pd.concat([forecast(series[series.index < origin]) for origin in origins])


def errors(forecast, series):
    """Mean absolute errors of a forecast of all held-out hours, and of the seasonal naive one."""
    truth = series[series.index >= HELD_OUT]
    assert list(forecast.index) == list(truth.index)
    naive = [np.abs(series.shift(season)[truth.index] - truth).mean() for season in (DAY, WEEK)]
    return np.abs(forecast.to_numpy() - truth.to_numpy()).mean(), min(naive)


def window_errors(forecast, test):
    """The same for forecasts of windows."""
    naive = [np.abs(test.X[:, WEEK - season :][:, :DAY] - test.y).mean() for season in (DAY, WEEK)]
    return np.abs(forecast - test.y).mean(), min(naive)


def share_inside(truth, lower, upper):
    return float(np.mean((lower <= truth) & (truth <= upper)))


# skforecast


def test_skforecast_fits_a_model_for_every_step_of_a_direct_forecast(series, past):
    direct = pytest.importorskip("skforecast.direct")
    n_hours = 6
    forecaster = direct.ForecasterDirect(estimator=make_model(), steps=n_hours, lags=WEEK)
    forecaster.fit(y=past)
    assert len(forecaster.estimators_) == n_hours
    error, naive = errors(
        forecast_stretch(series, lambda seen: forecaster.predict(last_window=seen), n_hours),
        series,
    )
    assert error < naive


def test_skforecast_forecasts_recursively_with_intervals(series, past):
    recursive = pytest.importorskip("skforecast.recursive")
    forecaster = recursive.ForecasterRecursive(estimator=make_model(), lags=WEEK)
    forecaster.fit(y=past, store_in_sample_residuals=True)
    forecast = forecast_stretch(
        series,
        lambda seen: forecaster.predict_interval(
            steps=DAY, last_window=seen, interval=[0.05, 0.95], n_boot=100
        ),
    )
    error, naive = errors(forecast["pred"], series)
    assert error < naive
    truth = series[forecast.index].to_numpy()
    inside = share_inside(truth, forecast["lower_bound"], forecast["upper_bound"])
    assert 0.75 < inside < 0.97


def test_skforecast_forecasts_one_series_from_several(clients, series, past):
    direct = pytest.importorskip("skforecast.direct")
    n_hours = 6
    forecaster = direct.ForecasterDirectMultiVariate(
        estimator=make_model(), level=series.name, steps=n_hours, lags=WEEK
    )
    forecaster.fit(series=clients.loc[past.index])
    forecast = forecast_stretch(
        series,
        lambda seen: forecaster.predict(last_window=clients.loc[seen.index])["pred"],
        n_hours,
    )
    error, naive = errors(forecast, series)
    assert error < naive
    assert forecaster.estimators_[1].n_features_in_ == 2 * WEEK


# sktime

# From sktime's own constructor, whatever the forecaster.
remember_data = pytest.mark.filterwarnings(
    "ignore:The default of config ``remember_data`` will change:FutureWarning"
)


@remember_data
@pytest.mark.parametrize(
    ("strategy", "n_hours"), [("multioutput", DAY), ("recursive", DAY), ("direct", 6)]
)
def test_sktime_reduces_forecasting_to_the_estimator(series, past, strategy, n_hours):
    compose = pytest.importorskip("sktime.forecasting.compose")
    forecaster = compose.make_reduction(
        make_model(), strategy=strategy, window_length=WEEK, scitype="tabular-regressor"
    )
    forecaster.fit(past, fh=range(1, n_hours + 1))

    def forecast(seen):
        return forecaster.update(seen, update_params=False).predict()

    error, naive = errors(forecast_stretch(series, forecast, n_hours), series)
    assert error < naive


@remember_data
def test_sktime_windows_have_channels_before_time(series, past):
    compose = pytest.importorskip("sktime.forecasting.compose")
    # A second channel that is known ahead: whether it is the weekend.
    weekend = pd.DataFrame({"weekend": series.index.weekday >= 5}, series.index).astype(float)
    time_before_channels = FunctionTransformer(np.swapaxes, kw_args={"axis1": 1, "axis2": 2})
    forecaster = compose.make_reduction(
        make_pipeline(time_before_channels, make_model()),
        strategy="multioutput",
        window_length=WEEK,
        scitype="time-series-regressor",
    )
    horizon = np.arange(1, DAY + 1)
    forecaster.fit(past, X=weekend.loc[past.index], fh=horizon)
    model = forecaster.estimator_[-1]
    assert (model.n_timesteps_, model.n_channels_) == (WEEK, 2)

    def forecast(seen):
        forecaster.update(seen, X=weekend.loc[seen.index], update_params=False)
        return forecaster.predict(X=weekend.iloc[len(seen) :][:DAY])

    error, naive = errors(forecast_stretch(series, forecast), series)
    assert error < naive


# darts


@pytest.fixture(scope="module")
def darts():
    return pytest.importorskip("darts")


def forecast_with_darts(model, series):
    """Day-ahead forecasts of the held-out weeks from a fitted model."""
    return model.historical_forecasts(
        series,
        start=HELD_OUT,
        forecast_horizon=DAY,
        stride=DAY,
        retrain=False,
        last_points_only=False,
        verbose=False,
    )


def test_darts_finds_that_one_model_forecasts_all_steps(darts, series, past):
    models = pytest.importorskip("darts.models")
    load = darts.TimeSeries.from_series(series)
    model = models.SKLearnModel(lags=WEEK, output_chunk_length=DAY, model=make_model())
    model.fit(load[: len(past)])
    assert not isinstance(model.model, MultiOutputRegressor)
    assert model.model.horizon_ == DAY
    forecasts = forecast_with_darts(model, load)
    error, naive = errors(pd.concat([part.to_series() for part in forecasts]), series)
    assert error < naive


def test_darts_loads_the_saved_model_once_its_class_is_declared_safe(darts, series, past, tmp_path):
    models = pytest.importorskip("darts.models")
    serialization = pytest.importorskip("darts.utils.serialization")
    load = darts.TimeSeries.from_series(series)
    model = models.SKLearnModel(lags=WEEK, output_chunk_length=DAY, model=make_model())
    model.fit(load[: len(past)])
    path = str(tmp_path / "model.pkl")
    model.save(path)
    with serialization.safe_globals([DeepDIVEForecaster]):
        loaded = models.SKLearnModel.load(path)
    expected = model.predict(DAY).values()
    np.testing.assert_array_equal(loaded.predict(DAY).values(), expected)


def by_target(y):
    return y.reshape(len(y), DAY, 2)


def flatten(y):
    return y.reshape(len(y), -1)


def test_darts_flattens_windows_and_futures_of_several_series_by_time(darts, clients, past):
    models = pytest.importorskip("darts.models")
    load = darts.TimeSeries.from_dataframe(clients)
    # n_channels tells the order of the windows; that of the futures is undone around the model.
    estimator = TransformedTargetRegressor(
        make_model(n_channels=2), transformer=FunctionTransformer(by_target, flatten)
    )
    model = models.SKLearnModel(lags=WEEK, output_chunk_length=DAY, model=estimator)
    model.fit(load[: len(past)])
    fitted = model.model.regressor_
    assert (fitted.n_timesteps_, fitted.n_channels_) == (WEEK, 2)
    assert (fitted.horizon_, fitted.n_targets_) == (DAY, 2)
    first_features = model.lagged_feature_names[:2]
    assert [name.partition("_target")[0] for name in first_features] == list(clients)
    forecasts = forecast_with_darts(model, load)
    forecast = pd.concat([part.to_dataframe() for part in forecasts])
    pairs = [errors(forecast[client], clients[client]) for client in clients]
    assert np.mean([error / naive for error, naive in pairs]) < 1


# mlforecast


# utilsforecast inserts one lag after the other into a data frame.
@pytest.mark.filterwarnings(
    "ignore:DataFrame is highly fragmented:pandas.errors.PerformanceWarning"
)
@pytest.mark.parametrize("as_numpy", [False, True], ids=["frames", "arrays"])
def test_mlforecast_gives_lags_as_features_to_a_clone(series, past, as_numpy):
    mlforecast = pytest.importorskip("mlforecast")
    model = make_model()
    forecaster = mlforecast.MLForecast(
        models={"deepdive": model}, freq="h", lags=range(1, WEEK + 1)
    )

    def table(load):
        return pd.DataFrame({"unique_id": load.name, "ds": load.index, "y": load.to_numpy()})

    forecaster.fit(table(past), as_numpy=as_numpy)
    assert not hasattr(model, "module_")
    assert forecaster.models_["deepdive"].n_timesteps_ == WEEK

    def forecast(seen):
        new = seen[seen.index > forecaster.ts.last_dates[0]]
        if len(new):
            forecaster.update(table(new))
        return forecaster.predict(DAY).set_index("ds")["deepdive"]

    error, naive = errors(forecast_stretch(series, forecast), series)
    assert error < naive


# MAPIE


@pytest.mark.parametrize("n_channels", [1, 2])
def test_mapie_puts_intervals_around_forecasts_of_one_step(clients, series, n_channels):
    regression = pytest.importorskip("mapie.regression")
    ahead = 12
    channels = clients[["client_320", "client_000"][:n_channels]]
    X, y, origin = sliding_windows(channels, WEEK, 1, gap=ahead - 1, targets=["client_320"])
    X, y = X.reshape(len(X), -1), y[:, 0, 0]
    dates = [HELD_OUT - pd.Timedelta(weeks=3), HELD_OUT]
    train, calibration, test = split_windows(origin, ahead, dates=dates, index=series.index)
    model = make_model(n_channels=n_channels)
    conformal = regression.SplitConformalRegressor(model, confidence_level=0.9, prefit=False)
    conformal.fit(X[train], y[train]).conformalize(X[calibration], y[calibration])
    forecast, interval = conformal.predict_interval(X[test])
    lower, upper = interval[:, :, 0].T
    naive = [np.abs((series - series.shift(season)).to_numpy()) for season in (DAY, WEEK)]
    error = np.abs(forecast - y[test]).mean()
    assert error < min(naive_error[origin[test] + ahead].mean() for naive_error in naive)
    assert 0.85 < share_inside(y[test], lower, upper) < 0.99
    # The same intervals around the seasonal naive forecasts are wider.
    half_widths = [np.quantile(error[origin[calibration] + ahead], 0.9) for error in naive]
    assert np.mean(upper - lower) < 2 * min(half_widths)


# Optuna


# OptunaSearchCV says of itself that it is experimental, and calls a deprecated module of Optuna's.
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module has been deprecated:FutureWarning")
def test_optuna_finds_the_same_best_in_threads(windows):
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    train, test = windows
    grid = {"validation_fraction": [0.1, 0.2, 0.3, 0.4]}

    def search(n_jobs):
        return integration.OptunaSearchCV(
            make_model(latent="conditional"),
            {
                name: optuna.distributions.CategoricalDistribution(values)
                for name, values in grid.items()
            },
            cv=TimeSeriesSplit(2, gap=DAY),
            n_trials=4,
            n_jobs=n_jobs,
            error_score="raise",
            study=optuna.create_study(
                direction="maximize", sampler=optuna.samplers.GridSampler(grid, seed=0)
            ),
        ).fit(train.X, train.y)

    one, two = search(n_jobs=1), search(n_jobs=2)
    scores = [
        {trial.params["validation_fraction"]: trial.value for trial in each.trials_}
        for each in (one, two)
    ]
    assert len(set(scores[0].values())) == 4
    assert scores[0] == scores[1]
    assert one.best_score_ == two.best_score_
    error, naive = window_errors(two.predict(test.X), test)
    assert error < naive


# dask and ray, as joblib's backends


def search_grid(train, **backend):
    """Search a grid with routed factors, on the last five weeks of the training windows."""
    train = Windows(*(part[-5 * WEEK :] for part in train))
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_model(latent="both").set_fit_request(factors=True),
            {"validation_fraction": [0.1, 0.3]},
            cv=TimeSeriesSplit(2, gap=DAY),
            error_score="raise",
        )
        with joblib.parallel_config(**backend):
            return clone(search).set_params(n_jobs=2).fit(train.X, train.y, factors=train.factors)


@pytest.fixture(scope="module")
def searched(windows):
    """A grid searched without any of them."""
    train, test = windows
    search = search_grid(train, backend="sequential")
    error, naive = window_errors(search.predict(test.X), test)
    assert error < naive
    return search


def assert_same_search(search, expected, test):
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expected.cv_results_["mean_test_score"], rtol=1e-9)
    assert scores[0] != scores[1]
    assert search.best_estimator_.factor_names_ == ["hour", "weekday"]
    error, naive = window_errors(search.predict(test.X), test)
    assert error < naive


@pytest.fixture(scope="module")
def distributed():
    return pytest.importorskip("dask.distributed")


def test_dask_searches_a_grid_with_routed_factors(
    distributed, windows, searched, tmp_path, monkeypatch
):
    settings = pytest.importorskip("dask").config.config
    monkeypatch.setitem(settings, "temporary-directory", str(tmp_path))
    train, test = windows
    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster),
    ):
        search = search_grid(train, backend="dask")
    assert_same_search(search, searched, test)


@pytest.fixture(scope="module")
def ray():
    return pytest.importorskip("ray")


@pytest.fixture
def ray_cluster(ray, monkeypatch):
    """Ray on two cores, with its files in a short-lived folder whose path fits its sockets."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a token would be written into the home folder
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        yield
        ray.shutdown()


def test_ray_searches_a_grid_with_routed_factors(ray, windows, searched, ray_cluster):
    from ray.util.joblib import register_ray

    train, test = windows
    register_ray()
    search = search_grid(train, backend="ray")
    assert_same_search(search, searched, test)
