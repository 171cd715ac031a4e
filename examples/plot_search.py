"""
Choose an imputer with a grid search
====================================

Windows with missing values need an imputer before the forecaster. ``GridSearchCV`` over a
``Pipeline`` chooses one, with folds in time order. Its choice is made without the last two months,
and is the better one in these months as well.
"""

# %%
# Load with missing values
# ------------------------
# A random 30 % of the values are removed from the windows of eleven months. The last two months are
# the test part.
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
# Two imputers
# ------------
# ``SimpleImputer`` replaces a missing value by the mean of its column, which is the same for all
# windows. The alternative interpolates linearly between the values of the window before and after.


def interpolate(windows):
    """Interpolate the missing values of every window linearly in time."""
    return pd.DataFrame(windows).interpolate(axis=1, limit_direction="both").to_numpy()


sklearn.set_config(enable_metadata_routing=True)
gap = -(-24 // stride) - 1  # windows before others whose futures share steps with theirs
forecaster = DeepDIVEForecaster(n_hidden=64, max_epochs=2, validation_gap=gap, random_state=0)
forecaster.set_fit_request(factors=True)
pipeline = Pipeline([("fill", SimpleImputer()), ("forecast", forecaster)])
ways = {"mean of the column": SimpleImputer(), "line in time": FunctionTransformer(interpolate)}

# %%
# The search
# ----------
# Folds are not shuffled, because windows overlap. A gap of ``ceil(horizon / stride) - 1`` windows
# keeps the futures of training and test folds apart. Metadata routing passes the labels through the
# search and the pipeline.
folds = TimeSeriesSplit(n_splits=3, gap=gap)
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
