"""
Read the hour off a circle
==========================

Where a week of electricity load lies on the plane of the hour tells at what hour the week ended:
in a month that the model has not seen, the angle is hardly ever more than an hour off.
"""

# %%
# Windows and their hours
# -----------------------
# Half a year of hourly load is cut into windows of a week, with the next day as their future. The
# label of a window is the hour of its last value. November is for testing.
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import EmbeddingDisplay

load = load_electricity(as_frame=True).data.loc["2014-06":"2014-11", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
hours = calendar_factors(load.index[origin], ["hour"])
train, test = split_windows(origin, horizon=24, dates=["2014-11-01"], index=load.index)

# %%
# A plane for the hour
# --------------------
# With two dimensions the hour has a plane of its own. (The default of 16 reads labels better; then
# the first two of them are drawn, and the lines are left out.)
model = DeepDIVEForecaster(n_marginal=2, n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[train], y[train], factors=hours.iloc[train])
display = EmbeddingDisplay.from_estimator(model, X[test], hours.iloc[test], cmap="twilight")

# %%
# The crosses are the centres of the hours, the lines run where an hour becomes likelier than all
# others together. Nobody told the model about windows of November, and yet they lie by the centre
# of their hour.
#
# The angle as a clock
# --------------------
# The centres, which :attr:`factor_priors_ <skdeepdive.DeepDIVEForecaster>` holds, start on a
# circle; where a window comes to lie is learnt. The difference between its angle and that of the
# centre of its true hour is an error in hours.
Z = model.transform(X[test])
centres = model.factor_priors_[0].centres


def angle(points):
    """Turn points of the plane into complex numbers of length one."""
    directions = points[:, 0] + 1j * points[:, 1]
    return directions / np.abs(directions)


turned = np.angle(angle(Z[:, :2]) / angle(centres)[hours["hour"].iloc[test]])
error = 24 * np.abs(turned) / (2 * np.pi)
print(f"median error of the angle: {60 * np.median(error):.0f} minutes")
print(f"within one hour: {(error < 1).mean():.1%} of {len(error)} windows")
