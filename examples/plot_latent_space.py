"""
See the hour in the latent space
================================

Windows are weeks of electricity load, labelled with the hour at which they end. The two latent
dimensions of the hour place them around a circle, like a clock. For windows of a later month, the
angle is hardly ever more than one hour off.
"""

# %%
# Windows and their hours
# -----------------------
# Half a year of hourly load is cut into windows of a week, with the next day as their future. The
# label of a window is the hour of its last value. November is the test part.
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
# With ``n_marginal=2``, the hour has two dimensions. (The default of 16 predicts labels better. The
# display then shows the first two, without the lines.)
model = DeepDIVEForecaster(n_marginal=2, n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[train], y[train], factors=hours.iloc[train])
display = EmbeddingDisplay.from_estimator(model, X[test], hours.iloc[test], cmap="twilight")

# %%
# The rings are around the centres of the hours. Inside each line, one hour is more likely than all
# others together. The windows of November were not part of the fit, but lie near the centre of
# their hour.
#
# The angle as a clock
# --------------------
# The centres, an attribute of :attr:`factor_priors_ <skdeepdive.DeepDIVEForecaster>`, start on a
# circle. The positions of the windows are learned. The angle between a window and the centre of its
# true hour is an error in hours.
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
