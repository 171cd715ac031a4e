"""
Intervals that hold what they promise
=====================================

Intervals of a forecast should hold as many of the true values as they say. Those of the next
day's electricity load do so to within a few per cent over seven months that the model has not seen,
from the narrow interval of 50 % to the wide one of 95 %.
"""

# %%
# A forecast with its intervals
# -----------------------------
# The model is fitted to windows of 29 months, and holds the last quarter of them out. How wrong it
# is on these says how wide intervals must be.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import ForecastDisplay

load = load_electricity(as_frame=True).data["client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24, stride=5)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-06-01"], index=load.index)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, validation_fraction=0.25, random_state=0)
model.fit(X[train], y[train], factors=hours.iloc[train])
ForecastDisplay.from_estimator(model, X[test], y[test], unit="load")

# %%
# Promised and held
# -----------------
# An interval of 80 % runs from the quantile 0.1 to the quantile 0.9. Over all hours of all windows
# from June on, how many of the true values lie inside?
levels = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
low = model.predict_quantiles(X[test], (1 - levels) / 2)
high = model.predict_quantiles(X[test], (1 + levels) / 2)
inside = (low <= y[test][..., None]) & (y[test][..., None] <= high)
held = inside.mean(axis=(0, 1))

for level, share in zip(levels, held, strict=True):
    print(f"{level:.0%} interval: holds {share:.1%} of {inside[..., 0].size} values")
print(f"greatest difference: {np.abs(held - levels).max():.1%}")

figure, ax = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
ax.plot([0.4, 1], [0.4, 1], color="0.6", linewidth=1, label="as promised")
ax.plot(levels, held, marker="o", label="from June on")
ax.set(xlabel="share of values promised", ylabel="share of values held", aspect="equal")
ax.legend(frameon=False)

# %%
# The promise is for windows that are to those held out as they are to each other. Months that
# follow are never quite that, and after a change of habits the shares would be off: the
# :doc:`user guide <../user_guide>` says more.
