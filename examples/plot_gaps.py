"""
Fill gaps in a series
=====================

Meters drop out, for hours or days. The forecaster learns from windows with gaps as they are, fills
them, and tells how sure it is of what it filled.
"""

# %%
# A table with gaps
# -----------------
# Two years of the hourly load of two clients. A tenth of each client's values is deleted, in
# stretches of 6 to 48 hours: in training and in test windows.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2013":"2014"]
random = np.random.default_rng(0)
lossy = load.copy()
for column in lossy:
    while lossy[column].isna().mean() < 0.1:
        start = random.integers(len(lossy))
        lossy.iloc[start : start + random.integers(6, 49), lossy.columns.get_loc(column)] = np.nan

X, y, origin = sliding_windows(lossy, n_timesteps=168, horizon=24)
true, _, _ = sliding_windows(load, n_timesteps=168, horizon=24)
factors = calendar_factors(load.index[origin], ["hour", "weekday"])
train, test = split_windows(origin, horizon=24, dates=["2014-07-01"], index=load.index)
some = slice(train.start, train.stop, 5)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[some], y[some], factors=factors.iloc[some])

# %%
# Closer than a straight line
# ---------------------------
# ``reconstruct`` returns the expectation of what is missing, given all that was observed of the
# window: the pattern of days and weeks, and the other client. The errors are relative to the
# deviation of each client.
weeks = np.arange(test.start, test.stop, 24)
missing = np.isnan(X[weeks])
filled, deviation = model.reconstruct(X[weeks], return_std=True)
lines = np.stack(
    [lossy.iloc[row - 167 : row + 1].interpolate(limit_direction="both") for row in origin[weeks]]
)
scale = load.iloc[: origin[test.start]].std().to_numpy()
for name, values in {"linear interpolation": lines, "reconstruct": filled}.items():
    errors = ((values - true[weeks]) / scale)[missing]
    print(f"{name:<21} {np.sqrt(np.mean(errors**2)):.2f}")

# %%
# The interval of a dropout
# -------------------------
# With ``return_std=True``, ``reconstruct`` also tells the standard deviation of every filled value.
# It grows with the distance from the values that were observed.
inside = np.abs(true[weeks] - filled) <= 1.64 * deviation
print(f"{inside[missing].mean():.0%} of the lost values lie within the interval of 90 %")

# The week of the second client with the longest dropout before its last day.
lost = missing[:, :, 1]
week = int((lost.sum(axis=1) * ~lost[:, -24:].any(axis=1) * ~lost[:, :24].any(axis=1)).argmax())
hours = load.index[origin[weeks[week]] - 167 : origin[weeks[week]] + 1]
middle = np.where(lost[week], filled[week, :, 1], np.nan)
spread = 1.64 * deviation[week, :, 1]

figure, ax = plt.subplots(figsize=(10, 3.5), layout="constrained")
ax.plot(hours, true[weeks[week], :, 1], color="0.7", label="lost")
ax.plot(hours, X[weeks[week], :, 1], color="C0", label="observed")
ax.plot(hours, middle, color="C1", label="filled")
ax.fill_between(hours, middle - spread, middle + spread, color="C1", alpha=0.3, lw=0)
ax.set(ylabel=f"load of {load.columns[1]}", title="A week with a dropout, and intervals of 90 %")
ax.legend(frameon=False, ncols=3)

# %%
# Forecasts from windows with gaps
# --------------------------------
# Forecasts need no complete windows. The score is R², here from windows with and without gaps, on
# the true futures.
_, future, _ = sliding_windows(load, n_timesteps=168, horizon=24)
for name, windows in {"complete windows": true, "windows with gaps": X}.items():
    print(f"{name:<18} {model.score(windows[weeks], future[weeks]):.3f}")
