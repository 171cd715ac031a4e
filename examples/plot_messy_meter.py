"""
Forecast from a messy table
===========================

A CSV of a meter rarely has one row for each hour. Here the clock is put back, hours are missing,
and rows are doubled. Errors name the first bad time and the call that mends it; windows that touch
a hole are left out and counted.
"""

# %%
# What is wrong, one error after the other
# ----------------------------------------
# The file that comes with the package has a clock change and a hole. Some rows are doubled and
# moved to the end, as in many exports.
import pandas as pd

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import electricity_csv
from skdeepdive.inspection import SeriesForecastDisplay

table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)[["client_320"]]
local = table.tz_localize("Europe/Lisbon", ambiguous="infer")
messy = pd.concat([local, local.loc["2014-11-03"]])

forecaster = SeriesForecaster(
    DeepDIVEForecaster(max_epochs=5, random_state=0),
    n_timesteps=168,
    horizon=24,
    calendar=["hour", "weekday"],
)
for attempt in (table, messy, messy.sort_index()):
    try:
        forecaster.fit(attempt)
    except ValueError as error:
        print(f"{error}\n")

# %%
# Mended
# ------
# Two calls suffice. The hole of 36 hours stays: it is too long to be filled.
mended = messy.sort_index().groupby(level=0).mean()
forecaster.fit(mended)
print(forecaster.windows_.T)

# %%
# The next day
# ------------
# Ticks are at local midnights.
SeriesForecastDisplay.from_estimator(forecaster, unit="load")

# %%
# Had the missing hours been taken without a word, as if the rows before and after were neighbours,
# the windows across the hole would have joined a Wednesday morning to a Thursday night. The
# :doc:`user guide <../user_guide>` says more about irregular time stamps.
