"""
Forecast the next day
=====================

From a CSV of two meters to the next 24 hours, with time stamps and intervals.
"""

# %%
# Fit and forecast
# ----------------
# Windows of a week forecast a day. The hour and the weekday at which a window ends are its labels.
# Load is never below zero, so neither are forecasts and intervals.
import pandas as pd

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import electricity_csv
from skdeepdive.inspection import SeriesForecastDisplay

table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
days = SeriesForecaster(
    DeepDIVEForecaster(max_epochs=5, random_state=0),
    n_timesteps=168,
    horizon=24,
    calendar=["hour", "weekday"],
    bounds=(0, None),
).fit(table)
print(days.predict().head(3).round(1))
print(days.predict_quantiles([0.1, 0.9]).head(3).round(1))

# %%
# The last week, and the next day
# -------------------------------
SeriesForecastDisplay.from_estimator(days, unit="load")
