"""
Look into the latent space and at the intervals
===============================================

A model of one client's electricity load that knows the hour: where windows lie in the dimensions
of the hour, what a conditional dimension means, and how wide the intervals of the forecasts are.
"""

# %%
# Data
# ----
# Half a year of hourly load is cut into windows of a week, with the next day as their future. The
# last month is for testing.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2014-06-01":"2014-11-30", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
factors = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-11-01"], index=load.index)

model = DeepDIVEForecaster(random_state=0)
model.fit(X[train], y[train], factors=factors.iloc[train])

# %%
# The dimensions of the hour
# --------------------------
# Every hour has a centre, and the first two dimensions of the centres are a circle. A test window
# lies near the centre of the hour that the model reads from it, or between two hours where it is
# not sure.
Z = model.set_output(transform="pandas").transform(X[test])
hour = factors["hour"].iloc[test]

figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
points = ax.scatter(Z["hour_0"], Z["hour_1"], c=hour, s=6, cmap=plt.get_cmap("twilight", 24))
figure.colorbar(points, label="hour")
ax.set(xlabel="hour_0", ylabel="hour_1", aspect="equal")

# %%
# What a conditional dimension means
# ----------------------------------
# Take a window, move its most variable conditional dimension, and decode. The hour stays as it is.
conditional = Z.filter(like="conditional")
name = conditional.std().idxmax()
moved = Z.to_numpy()[:1].repeat(5, axis=0)
moved[:, Z.columns.get_loc(name)] = np.linspace(-2, 2, 5)

figure, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
for window, colour in zip(
    model.inverse_transform(moved), plt.get_cmap("viridis")(np.linspace(0, 0.9, 5)), strict=True
):
    ax.plot(window, color=colour)
ax.set(xlabel="hours of the window", ylabel="load", title=f"{name} from -2 (dark) to 2 (light)")

# %%
# Intervals
# ---------
# Day-ahead forecasts made once a day, with intervals of 80%.
days = np.arange(test.start, test.stop, 24)[:7]
forecast = model.predict(X[days])
low, high = np.moveaxis(model.predict_quantiles(X[days], [0.1, 0.9]), -1, 0)

figure, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
hours = np.arange(len(days) * 24)
ax.fill_between(hours, low.ravel(), high.ravel(), alpha=0.3, color="C1", label="80% interval")
ax.plot(hours, forecast.ravel(), color="C1", label="forecast")
ax.plot(hours, y[days].ravel(), color="0.3", label="true load")
ax.set(xlabel="hours of the first test week", ylabel="load")
ax.legend(ncols=3, loc="upper center", frameon=False)

# %%
# Do they hold what they promise? Over all test windows:
low, high = np.moveaxis(model.predict_quantiles(X[test], [0.1, 0.9]), -1, 0)
inside = (y[test] >= low) & (y[test] <= high)
print(f"{inside.mean():.0%} of the true values lie inside")
