"""
Let a search choose how gaps are filled
=======================================

Windows with gaps need a step before the forecaster, and how gaps are best filled is a question for
``GridSearchCV`` over a ``Pipeline``, with folds in time order. Its choice, made without the last
two months, is the better one in these months as well.
"""

# %%
# Load with gaps
# --------------
# Three values in ten are taken out of the windows of eleven months, of which the last two are for
# testing.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2014-01":"2014-11", "client_320"]
stride = 5
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24, stride=stride)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-10-01"], index=load.index)
X = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)

# %%
# Two ways to fill them
# ---------------------
# ``SimpleImputer`` puts the mean of a column, the same for all windows, into a gap. The alternative
# draws a line between the values of the window before and after the gap.


def interpolate(windows):
    """Fill the gaps of every window by straight lines in time."""
    return pd.DataFrame(windows).interpolate(axis=1, limit_direction="both").to_numpy()


sklearn.set_config(enable_metadata_routing=True)
forecaster = DeepDIVEForecaster(n_hidden=64, max_epochs=2, random_state=0)
forecaster.set_fit_request(factors=True)
pipeline = Pipeline([("fill", SimpleImputer()), ("forecast", forecaster)])
ways = {"mean of the column": SimpleImputer(), "line in time": FunctionTransformer(interpolate)}

# %%
# The search
# ----------
# Folds are not shuffled, for windows overlap, and a gap between training and validation keeps the
# futures of the one out of the other: a day, which is 24 hours over the stride in windows. Labels
# pass through the search and the pipeline by metadata routing.
folds = TimeSeriesSplit(n_splits=3, gap=-(-24 // stride))
search = GridSearchCV(pipeline, {"fill": list(ways.values())}, cv=folds)
search.fit(X[train], y[train], factors=hours.iloc[train])
chosen = list(ways)[search.best_index_]
print(f"chosen: {chosen}")

scores = {}
for (name, way), searched in zip(ways.items(), search.cv_results_["mean_test_score"], strict=True):
    model = sklearn.clone(pipeline).set_params(fill=way)
    model.fit(X[train], y[train], factors=hours.iloc[train])
    scores[name] = searched, model.score(X[test], y[test])
    print(f"R² with the {name}: {searched:.3f} in the search, {scores[name][1]:.3f} at the end")
sklearn.set_config(enable_metadata_routing=False)

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
places = np.arange(len(scores))
for i, (what, colour) in enumerate(
    (("search, mean of the folds", "0.6"), ("the last two months", "C0"))
):
    values = [both[i] for both in scores.values()]
    bars = ax.barh(places + 0.35 * i, values, height=0.35, color=colour, label=what)
    ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set_yticks(places + 0.175, labels=list(scores))
ax.set(xlabel="R²", xlim=(0, 1))
ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
