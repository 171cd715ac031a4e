"""
Train with few labels
=====================

Only one window in twenty has a label here. A model that also gets the other windows, marked as
unlabelled, predicts the labels of later windows better than a model that gets the labelled windows
alone.
"""

# %%
# Few labels
# ----------
# The data are half a year of load. The label of a window is the hour of its last value. A random 5
# % of the labels are known; -1 marks the others.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import FactorConfusionDisplay

load = load_electricity(as_frame=True).data.loc["2014-06":"2014-11", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-11-01"], index=load.index)

rng = np.random.default_rng(0)
labels = hours.iloc[train].copy()
labels[rng.random(len(labels)) > 0.05] = -1
known = np.flatnonzero(labels["hour"] >= 0)
print(f"{len(known)} of {len(labels)} windows have a label")

# %%
# With and without unlabelled windows
# -----------------------------------
# This example only needs labels, so ``latent="marginal"`` leaves out the conditional dimensions.
settings = {"latent": "marginal", "n_hidden": 64, "max_epochs": 2, "random_state": 0}
with_others = DeepDIVEForecaster(**settings).fit(X[train], y[train], labels)
labelled_only = DeepDIVEForecaster(**settings).fit(X[known], y[known], labels.iloc[known])

figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
for model, ax, name in (
    (labelled_only, axes[0], "labelled windows alone"),
    (with_others, axes[1], "with unlabelled windows"),
):
    FactorConfusionDisplay.from_estimator(model, X[test], hours.iloc[test], ax=ax)
    right = (model.predict_cluster(X[test]) == hours["hour"].iloc[test]).mean()
    ax.set_title(f"{name}: {right:.0%} right")
    print(f"{name}: {right:.1%} of {test.stop - test.start} hours of November are right")

# %%
# Nearly all errors are one hour. The unlabelled windows take part in the discriminants with their
# posterior probabilities, and so improve the means and the covariance of the classes.
