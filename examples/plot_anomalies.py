"""
Find unusual days
=================

Clocks change twice a year, and the data do not say when. The lower bound of the log density,
``score_samples``, ranks both days among the most unusual of the 365 days of a year.
"""

# %%
# Days as windows
# ---------------
# Each window is a day. The model is fitted to the windows of 2013, one every five hours, with the
# hour and the weekday as labels.
import matplotlib.pyplot as plt
import pandas as pd

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

load = load_electricity(as_frame=True).data.loc["2013":"2014", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=24, horizon=1)
ends = load.index[origin]
factors = calendar_factors(ends, ["hour", "weekday"])
train, test = split_windows(origin, horizon=1, dates=["2014-01-01"], index=load.index)
some = slice(train.start, train.stop, 5)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, random_state=0)
model.fit(X[some], y[some], factors=factors.iloc[some])

# %%
# The most unusual days of 2014
# -----------------------------
# Windows that end at 23:00 are calendar days.
days = test.start + (ends[test].hour == 23).nonzero()[0]
scores = pd.Series(model.score_samples(X[days]), index=ends[days].normalize()).sort_values()
changes = {"2014-03-30": "spring, clock set forward", "2014-10-26": "autumn, clock set back"}
for day, what in changes.items():
    rank = scores.index.get_loc(day) + 1
    print(f"{day}, {what}: number {rank} of {len(scores)} from the most unusual")

# %%
# When the clock is set forward, one hour does not exist, and its load is recorded as zero. When it
# is set back, one hour is counted twice. The data do not explain why the other days at the top are
# unusual.
figure, axes = plt.subplots(2, 2, figsize=(7, 5), sharex=True, sharey=True, layout="constrained")
year_before = load.loc["2013"]
median = year_before.groupby(year_before.index.hour).median()
for day, ax in zip(scores.index[:4], axes.flat, strict=True):
    ax.plot(median, color="0.6", label="median of 2013")
    ax.plot(load.loc[str(day.date())].to_numpy(), color="C1", label="the day")
    ax.set(title=f"{day:%a %d %b}: {scores[day]:.0f} nats", xlabel="hour", ylabel="load")
    ax.label_outer()
axes[0, 0].legend(frameon=False)

# %%
# Why a window is unusual
# -----------------------
# ``score_terms`` splits the bound into the reconstruction of the window and the divergences of the
# latent variables from their priors. The differences from the median of all days, in nats:
terms = pd.DataFrame(model.score_terms(X[days]), index=ends[days].normalize())
print((terms - terms.median()).loc[scores.index[:4]].astype(float).round(1))
