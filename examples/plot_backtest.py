"""
Backtest a forecast of the last month
=====================================

A backtest forecasts from one origin after another, as it would have been done at the time: the
model is fitted to the rows before, and no later value has a part in a forecast. The scores are a
table.
"""

# %%
# A month of midnights
# --------------------
# ``start`` is the first hour to forecast. The model is fitted anew every ten days.
import matplotlib.pyplot as plt
import pandas as pd

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import electricity_csv

table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
forecaster = SeriesForecaster(
    DeepDIVEForecaster(max_epochs=5, random_state=0),
    n_timesteps=168,
    horizon=24,
    targets="client_320",
    calendar=["hour", "weekday"],
)
backtest = forecaster.backtest(
    table, start="2014-11-10", every=24, refit=10, quantiles=[0.1, 0.5, 0.9]
)
print(backtest.scores().round(3))

# %%
# Errors by step, and by origin
# -----------------------------
by_step = backtest.scores("step")
by_origin = backtest.scores("origin")
print(by_origin["mae"].nlargest(3))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
axes[0].plot(by_step.index, by_step["mae"])
axes[0].set(xlabel="hours ahead", ylabel="mean absolute error")
axes[1].plot(by_step.index, by_step["coverage_80"])
axes[1].axhline(0.8, color="0.6", linewidth=1)
axes[1].set(xlabel="hours ahead", ylabel="coverage of 80 % intervals", ylim=(0, 1))

# %%
# The forecasts themselves
# ------------------------
# ``forecasts`` is a frame with a level for origin, time and step, so any other score is a line of
# pandas. Here are five days, each forecast at its first midnight.
days = backtest.forecasts["client_320"].droplevel(["origin", "step"])["2014-12-05":"2014-12-09"]
# sphinx_gallery_thumbnail_number = 2
figure, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
ax.fill_between(days.index, days[0.1], days[0.9], color="C0", alpha=0.3, label="80 % interval")
ax.plot(days.index, days["forecast"], label="forecast of the day, made at midnight")
ax.plot(days.index, days["true"], color="black", linestyle="--", label="true load")
ax.set(ylabel="load")
ax.legend(frameon=False)
