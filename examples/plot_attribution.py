"""
Explain a forecast by its parts
===============================

``attribute`` splits a forecast into the contributions of the level, the linear map, the factors and
the conditional dimensions. The parts add up to the forecast. Leaving out one part shows its use:
here, the contribution of the hour makes forecasts of load better.
"""

# %%
# A forecast and its parts
# ------------------------
# The data are half a year of load. The labels of a window are the hour and the weekday of its end.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2014-06":"2014-11", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
factors = calendar_factors(load.index[origin], ["hour", "weekday"])
train, test = split_windows(origin, horizon=24, dates=["2014-11-01"], index=load.index)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[train], y[train], factors=factors.iloc[train])

found = model.attribute(X[test])
parts = {
    "level": found.level,
    "linear map": found.linear,
    "window": found.window,
    **found.factors,
    "conditional": found.conditional,
}
forecast = model.predict(X[test])
difference = np.abs(sum(parts.values()) - forecast).max()
print(
    f"greatest difference between the sum and the forecast: {difference:.2g} of {load.mean():.0f}"
)

# %%
# The level is the last value of the window. The linear map forecasts the differences from it. The
# contribution of a factor is its Shapley value: the change in the forecast when the factor becomes
# known, averaged over all orders in which factors and conditional dimensions can become known.
#
# One day
# -------
# The left plot shows the forecast from the first test window that ends at midnight, the right plot
# the parts beyond level and linear map.
day = (factors["hour"].iloc[test] == 23).argmax()
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
steps = np.arange(1, 25)
axes[0].plot(steps, (found.level + found.linear)[day], color="0.6", label="level + linear map")
axes[0].plot(steps, forecast[day], color="C0", label="forecast: the sum of all parts")
axes[0].plot(steps, y[test][day], color="black", linestyle="--", label="true load")
axes[0].set(xlabel="steps from the forecast's origin", ylabel="load")
axes[0].legend(frameon=False)
for (name, part), colour in zip(list(parts.items())[2:], ("0.7", "C0", "C1", "C2"), strict=True):
    axes[1].plot(steps, part[day], color=colour, label=name)
axes[1].set(xlabel="steps from the forecast's origin", ylabel="contribution, in units of the load")
axes[1].axhline(0, color="0.8", linewidth=0.8, zorder=0)
axes[1].legend(frameon=False)

# %%
# The use of each part
# --------------------
# The mean absolute error of the forecasts of November, without one of the parts and with all.
error = np.abs(forecast - y[test]).mean()
for name in ("hour", "weekday", "conditional", "window"):
    without = np.abs(forecast - parts[name] - y[test]).mean()
    print(f"without {name:<12}{without:6.1f}  ({without / error - 1:+.1%})")
print(f"forecast            {error:6.1f}")
