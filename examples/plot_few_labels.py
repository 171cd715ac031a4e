"""
Windows without labels help to read labels
==========================================

When one window in twenty has a label, the others are not lost: a model that gets them as well,
marked as unlabelled, reads the labels of later windows better than one that gets the labelled
windows alone.
"""

# %%
# Few labels
# ----------
# Of half a year of load, windows of a week are labelled with the hour of their last value. Five
# per cent of the labels are known, at random; -1 marks the others.
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
# With and without the others
# ---------------------------
# Labels are all we want here, so the conditional dimensions are left out.
settings = {"latent": "marginal", "n_hidden": 64, "max_epochs": 2, "random_state": 0}
with_others = DeepDIVEForecaster(**settings).fit(X[train], y[train], labels)
labelled_only = DeepDIVEForecaster(**settings).fit(X[known], y[known], labels.iloc[known])

figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
for model, ax, name in (
    (labelled_only, axes[0], "labelled windows alone"),
    (with_others, axes[1], "and those without a label"),
):
    FactorConfusionDisplay.from_estimator(model, X[test], hours.iloc[test], ax=ax)
    right = (model.predict_cluster(X[test]) == hours["hour"].iloc[test]).mean()
    ax.set_title(f"{name}: {right:.0%} right")
    print(f"{name}: {right:.1%} of {test.stop - test.start} hours of November read right")

# %%
# Most of what is not right is one hour off. Windows without a label take part in the
# discriminants, by their posteriors, and thereby tell where the classes lie.
