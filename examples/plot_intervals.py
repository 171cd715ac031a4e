"""
Check the coverage of intervals
===============================

An interval of 80 % should cover 80 % of the true values. For electricity load of the next day, the
coverage over seven later months is within one percentage point of its nominal value, for intervals
from 50 % to 95 %.
"""

# %%
# A forecast with its intervals
# -----------------------------
# The model is fitted to windows of 29 months. The last quarter of them are the validation windows.
# The errors on the validation windows determine the widths of the intervals.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import ForecastDisplay

load = load_electricity(as_frame=True).data["client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24, stride=5)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-06-01"], index=load.index)

model = DeepDIVEForecaster(
    n_hidden=64, max_epochs=5, validation_fraction=0.25, validation_gap=4, random_state=0
)
model.fit(X[train], y[train], factors=hours.iloc[train])

first = origin[test.start]
times = load.index[first - 167 : first + 25]  # the week of the window, and the day after it
ForecastDisplay.from_estimator(model, X[test], y[test], times=times, unit="load")

# %%
# Nominal and actual coverage
# ---------------------------
# An interval of 80 % is bounded by the quantiles 0.1 and 0.9. Its coverage is the share of true
# values inside it, over all hours of all windows from June on.
levels = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
low = model.predict_quantiles(X[test], (1 - levels) / 2)
high = model.predict_quantiles(X[test], (1 + levels) / 2)
inside = (low <= y[test][..., None]) & (y[test][..., None] <= high)
coverage = inside.mean(axis=(0, 1))

for level, share in zip(levels, coverage, strict=True):
    print(f"{level:.0%} interval: covers {share:.1%} of {inside[..., 0].size} values")
print(f"greatest difference: {np.abs(coverage - levels).max():.1%}")

# sphinx_gallery_thumbnail_number = 2
figure, ax = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
ax.plot([0.4, 1], [0.4, 1], color="0.6", linewidth=1, label="nominal")
ax.plot(levels, coverage, marker="o", label="from June on")
ax.set(xlabel="nominal coverage", ylabel="actual coverage", aspect="equal")
ax.legend(frameon=False)

# %%
# Coverage is nominal if test and calibration windows are exchangeable. Later months never quite
# are, and after a change of habits the coverage would be off. The :doc:`user guide <../user_guide>`
# says more.
