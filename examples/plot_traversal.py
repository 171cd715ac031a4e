"""
Interpret a latent dimension by traversal
=========================================

Labels name the marginal dimensions. The meaning of a conditional dimension shows in a traversal:
move it, and decode windows and forecasts. Here, the dimension with the largest effect on forecasts
describes how far the ends of the week differ from its middle. Moving it changes the forecasts of
all later windows in the same direction.
"""

# %%
# A model of load that knows the hour
# -----------------------------------
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import TraversalDisplay

load = load_electricity(as_frame=True).data.loc["2014-06":"2014-11", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-11-01"], index=load.index)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[train], y[train], factors=hours.iloc[train])

# %%
# The dimension with the largest effect
# -------------------------------------
# ``traverse`` returns windows and forecasts at other values of one dimension. Applied to some of
# the training windows, it shows which conditional dimension changes the mean forecast most.
names = [name for name in model.get_feature_names_out() if name.startswith("conditional")]


def change(windows, name):
    """Change of windows and forecasts, from a value of -2 to one of 2."""
    what_if = model.traverse(windows, name, values=[-2, 2])
    return np.diff(what_if.window)[..., 0], np.diff(what_if.forecast)[..., 0]


some = X[train][::50]
effects = {name: abs(change(some, name)[1].mean()) for name in names}
strongest, second = sorted(effects, key=effects.get)[:-3:-1]
print(f"{strongest} changes the mean forecast by {effects[strongest]:.0f}")

# %%
# Its meaning
# -----------
# The display shows a window of November at other values of this dimension, and of the dimension
# with the second largest effect. The prior of a conditional dimension has mean 0 and standard
# deviation 1.
TraversalDisplay.from_estimator(model, X[test], dimensions=[strongest, second], unit="load")

# %%
# Other windows change in the same way. The sign of a dimension is arbitrary, so the test is whether
# all windows agree.
window, forecast = change(X[test], strongest)
sign = np.sign(forecast.mean())
same = (sign * forecast.mean(axis=1) > 0).mean()
days = sign * window.reshape(len(window), 7, 24).mean(axis=2)
bend = days[:, [0, -1]].mean(axis=1) - days[:, 2:5].mean(axis=1)
print(f"{same:.1%} of {len(forecast)} forecasts of November move the same way")
print(f"{(bend > 0).mean():.1%} of the windows: where forecasts go up, the ends rise most")
print("mean change of the days of the window:", days.mean(axis=0).round().astype(int))
