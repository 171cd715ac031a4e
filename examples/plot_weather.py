"""
Forecast demand from a weather forecast
=======================================

The past does not tell tomorrow's weather, but a weather forecast does. Passed as
``future_covariates``, temperature and calendar of every step make forecasts of demand better, and
the model finds how demand responds to temperature at each hour. The data are synthetic, so that
the true response is known.
"""

# %%
# Demand by a known law
# ---------------------
# Demand has a daily profile. Heating adds to it below 16 degrees and cooling above, three times as
# much in the afternoon as at night. The rest is noise, most of which lasts for hours.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skdeepdive import (
    DeepDIVEForecaster,
    calendar_factors,
    calendar_features,
    sliding_windows,
    split_windows,
)
from skdeepdive.metrics import rrse_score

rng = np.random.default_rng(0)
index = pd.date_range("2023-01-01", "2024-06-30 23:00", freq="h")
hour, day = index.hour.to_numpy(), np.arange(len(index)) / 24


def remembered(noise, decay):
    """Noise that fades by `decay` from step to step."""
    return pd.Series(noise).ewm(alpha=1 - decay).mean().to_numpy()


weather = 40 * remembered(rng.standard_normal(len(index)), 0.98)
temperature = 15 - 9 * np.cos(2 * np.pi * day / 365) - 4 * np.cos(2 * np.pi * (hour - 3) / 24)
temperature = temperature + weather


def response(temperature, hour):
    """Heating and cooling, strongest at three in the afternoon."""
    return np.abs(temperature - 16) * (2 - np.cos(2 * np.pi * (hour - 3) / 24))


demand = 100 + 10 * np.sin(2 * np.pi * (hour - 8) / 24) + response(temperature, hour)
demand = demand + 10 * remembered(rng.standard_normal(len(index)), 0.8)

# %%
# Windows, and what is known of their futures
# -------------------------------------------
# ``sliding_windows`` cuts the covariates as it cuts the demand. A week of demand is known when the
# forecast of a day is made, and the temperature and the calendar of that day.
X, y, origin = sliding_windows(demand, n_timesteps=168, horizon=24)
known = calendar_features(index, ["hour", "weekday"]).assign(temperature=temperature)
_, covariates, _ = sliding_windows(known, n_timesteps=168, horizon=24)
factors = calendar_factors(index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2024-04-01"], index=index)

alone = DeepDIVEForecaster(n_hidden=64, max_epochs=3, random_state=0)
alone.fit(X[train], y[train], factors=factors.iloc[train])
told = DeepDIVEForecaster(n_hidden=64, max_epochs=3, random_state=0)
told.fit(X[train], y[train], factors=factors.iloc[train], future_covariates=covariates[train])

forecast = told.predict(X[test], future_covariates=covariates[test])
print(f"RRSE from the past alone:    {rrse_score(y[test], alone.predict(X[test])):.3f}")
print(f"RRSE told weather and hours: {rrse_score(y[test], forecast):.3f}")

# %%
# The response that was found
# ---------------------------
# ``counterfactual`` forecasts the same windows at other temperatures. The plots show the change of
# the mean forecast from that at 16 degrees, for an hour at night and one in the afternoon, beside
# the law. Both are ten hours ahead or more: at the first steps the last values of demand tell much
# of the weather already, so that less depends on what is told.
column = known.columns.get_loc("temperature")
evenings = np.flatnonzero(hour[origin[test]] == 17)
windows, futures = X[test][evenings], covariates[test][evenings]
degrees = np.arange(0, 33, 2)


def mean_forecast(degree):
    """Mean over days of the forecasts, had all their hours this temperature."""
    assumed = futures.copy()
    assumed[..., column] = degree
    return told.counterfactual(windows, future_covariates=assumed).forecast.mean(axis=0)


change = np.array([mean_forecast(degree) for degree in degrees]) - mean_forecast(16)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, clock in zip(axes, (3, 15), strict=True):
    ax.plot(degrees, response(degrees, clock), color="black", linestyle="--", label="law")
    ax.plot(degrees, change[:, (clock - 18) % 24], color="C0", label="forecasts")
    ax.set(title=f"{clock:02}:00", xlabel="temperature in °C", ylabel="change of demand")
axes[0].legend(frameon=False)

# %%
# What the weather adds to a forecast
# -----------------------------------
# ``attribute`` has a part for the covariates: the change of the forecast when they become known.
parts = told.attribute(windows, future_covariates=futures)
moved = np.abs(parts.covariates).mean(axis=1).argmax()
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
steps = np.arange(1, 25)
ax.plot(steps, y[test][evenings][moved], color="black", linestyle="--", label="true demand")
ax.plot(steps, forecast[evenings][moved], color="C0", label="forecast")
ax.plot(steps, (forecast[evenings] - parts.covariates)[moved], color="0.6", label="without weather")
ax.set(xlabel="steps from the forecast's origin", ylabel="demand")
ax.legend(frameon=False)
