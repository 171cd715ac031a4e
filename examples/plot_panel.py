"""
Forecast many series of different lengths
=========================================

One model learns from eight clients, whose loads differ in scale by orders of magnitude and of which
some have a shorter history. Each is standardised by itself and calibrated by its own errors. A
client that the model has not seen is forecast as well.
"""

# %%
# A long table
# ------------
# Every row has an id, a time and a load. Two clients came later, a third one too late to learn
# from.
import matplotlib.pyplot as plt

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import load_electricity
from skdeepdive.inspection import SeriesForecastDisplay

loads = load_electricity("clients_321", as_frame=True).data.iloc[:, 5:321:35]
panel = loads.melt(var_name="client", value_name="load", ignore_index=False).reset_index()
first = {"client_040": "2014-12-04", "client_075": "2014-12-07", "client_110": "2014-12-28"}
panel = panel[panel["time"] >= panel["client"].map(first).fillna("2014-11-27")]
is_new = panel["client"] == "client_005"  # kept for the end

# %%
# Fit
# ---
# One warning names the client that is too short.
forecaster = SeriesForecaster(
    DeepDIVEForecaster(max_epochs=5, random_state=0),
    n_timesteps=72,
    horizon=24,
    calendar=["hour"],
    id="client",
    time="time",
)
forecaster.fit(panel[~is_new])
print(forecaster.windows_)

# %%
# Two forecasts
# -------------
# Widths of intervals differ by client, since each is calibrated by its own errors.
figure, axes = plt.subplots(2, figsize=(8, 6), layout="constrained")
for ax, client in zip(axes, ["client_040", "client_215"], strict=True):
    SeriesForecastDisplay.from_estimator(forecaster, id=client, unit="load", axes=ax)

# %%
# A client that is new
# --------------------
# Its rows give its scale, its intervals are those of all clients.
new = SeriesForecastDisplay.from_estimator(forecaster, panel[is_new], unit="load")
