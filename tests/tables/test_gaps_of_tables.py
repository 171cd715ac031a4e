"""Tables with gaps that are kept."""

import numpy as np
import pandas as pd
import pytest

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.baselines import VAEForecaster

SMALL = {"n_hidden": 8, "max_epochs": 2, "random_state": 0}
HOURS = pd.date_range("2014-03-01", periods=900, freq="h")


def make_table(part=0.05, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(len(HOURS))[:, None] - [0, 6]) / 24
    values = scale * (5 + np.sin(angle) + 0.1 * random.standard_normal(angle.shape))
    values[random.random(values.shape) < part] = np.nan
    return pd.DataFrame(values, HOURS, ["load", "wind"])


def make_forecaster(forecaster=None, **options):
    forecaster = forecaster or DeepDIVEForecaster(n_conditional=4, **SMALL)
    options = {"targets": "load", "calendar": ["hour"], "gaps": "keep"} | options
    return SeriesForecaster(forecaster, **{"n_timesteps": 48, "horizon": 12} | options)


@pytest.fixture(scope="module")
def fitted():
    return make_forecaster().fit(make_table())


def test_windows_with_gaps_are_kept(fitted):
    counts = fitted.windows_.iloc[0]
    assert counts["missing"] > 50
    assert counts["left_out"] == 0
    dropping = make_forecaster(gaps="drop").set_params(n_timesteps=6, horizon=3)
    with pytest.warns(UserWarning, match="set gaps='keep'"):
        dropping.fit(make_table())
    assert dropping.windows_.iloc[0]["left_out"] > 100


def test_a_table_that_ends_in_a_gap_is_forecast(fitted):
    table = make_table()
    table.iloc[-5:, 0] = np.nan
    found = fitted.predict(table)
    assert found.shape == (12, 1)
    assert abs(found["load"] - 5).max() < 1.5
    whole = fitted.predict(make_table(part=0.0))
    assert np.corrcoef(found["load"], whole["load"])[0, 1] > 0.95


def test_missing_rows_are_gaps(fitted):
    table = make_table(part=0.0)
    found = fitted.predict(table.drop(table.index[-20:-15]))
    np.testing.assert_allclose(found, fitted.predict(table), atol=0.2)


def test_windows_without_any_value_are_left_out():
    table = make_table()
    table.iloc[300:400] = np.nan
    model = make_forecaster().fit(table)
    # From the origin before the hole, whose future has no value, to that in its last row.
    assert model.windows_.iloc[0]["left_out"] == 101
    table.iloc[-48:] = np.nan
    with pytest.raises(ValueError, match="'table' must end with n_timesteps = 48 rows"):
        model.predict(table)


def test_a_backtest_forecasts_from_every_origin(fitted):
    table = make_table()
    result = make_forecaster().backtest(table, start="2014-04-04", every=12)
    assert np.isfinite(result.forecasts["load", "forecast"]).all()
    scores = result.scores()
    assert np.isfinite(scores.to_numpy()).all()
    assert scores["rrse"].iloc[-1] < 0.5


def test_the_score_is_of_the_values_that_are_known(fitted):
    assert fitted.score(make_table(seed=1)) > 0.9


@pytest.mark.parametrize("forecaster", [None, VAEForecaster(n_latent=4, **SMALL)])
def test_series_of_several_ids_are_calibrated_with_gaps(forecaster):
    panel = pd.concat(
        {name: make_table(seed=i, scale=10.0**i) for i, name in enumerate(["a", "b"])},
        names=["id", "time"],
    )
    calendar = None if forecaster else ["hour"]
    model = make_forecaster(forecaster, calendar=calendar).fit(panel)
    low, high = (model.predict_quantiles([0.05, 0.95])["load", level] for level in (0.05, 0.95))
    width = (high - low).groupby("id").mean()
    assert 5 < width["b"] / width["a"] < 20


def test_what_is_kept_survives_a_file(fitted, tmp_path):
    table = make_table()
    table.iloc[-3:] = np.nan
    fitted.save(tmp_path / "model")
    loaded = SeriesForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(table), fitted.predict(table))


def test_known_columns_must_be_complete():
    table = make_table()
    table["weather"] = np.arange(len(table)) % 24
    table.loc[table.index[200:203], "weather"] = np.nan
    model = make_forecaster(future_covariates=["weather"]).fit(table)
    assert model.windows_.iloc[0]["left_out"] == 12 + 2


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="'gaps' must be one of 'drop', 'keep', got 'fill'"):
        make_forecaster(gaps="fill").fit(make_table())
