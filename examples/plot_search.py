"""
Choose the length of the window by a search
===========================================

How many hours of the past should a forecast see? ``GridSearchCV`` compares a day, three days and a
week, with folds in time order. Its choice, a week, is made without the last two months. In these, a
week is far better than a day, too, and three days are better by a hundredth.
"""

# %%
# A search over the rows of a table
# ---------------------------------
# ``SeriesForecaster`` cuts the windows itself, so their length is a parameter like any other.
# ``TimeSeriesSplit`` divides the rows of the table: each fold is scored on the rows that follow
# those of the fit, so no future is in both.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2014-01":"2014-11", ["client_320"]]
past, later = load[:"2014-09"], load["2014-10":]

days = SeriesForecaster(
    DeepDIVEForecaster(n_hidden=64, max_epochs=2, random_state=0),
    n_timesteps=24,
    horizon=24,
    calendar=["hour", "weekday"],
    stride=5,
)
lengths = [24, 72, 168]
search = GridSearchCV(days, {"n_timesteps": lengths}, cv=TimeSeriesSplit(n_splits=3), refit=False)
search.fit(past)
print(f"chosen: {search.best_params_['n_timesteps']} hours")

# %%
# The choice, and the months after it
# -----------------------------------
# The last two months had no part in the search. Every length forecasts the same hours of them: the
# window before the first of these hours reaches back into September.
searched = search.cv_results_["mean_test_score"]
scores = []
for length, score in zip(lengths, searched, strict=True):
    model = clone(days).set_params(n_timesteps=length).fit(past)
    scores.append(model.score(load[-len(later) - length :]))
    print(f"{length:3} hours: R² {score:.3f} in the search, {scores[-1]:.3f} in the months after")

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
places = np.arange(len(lengths))
for i, (what, values) in enumerate(
    {"search, mean of the folds": searched, "the last two months": scores}.items()
):
    bars = ax.barh(places + 0.35 * i, values, height=0.35, color=("0.6", "C0")[i], label=what)
    ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set_yticks(places + 0.175, labels=[f"{length} hours" for length in lengths])
ax.set(xlabel="R²", xlim=(0, 1))
ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
