"""
What if it were Sunday?
=======================

On Friday night, the model forecasts a Saturday. A counterfactual sets the weekday of the window to
Saturday, so that a Sunday follows. The counterfactual forecasts are closer to the true Sundays of
the season than the forecasts of the Saturdays are.
"""

# %%
# A model that knows the weekday
# ------------------------------
# The model is fitted to every third window of 2013 to April 2014. The label of a window is the
# weekday on which it ends.
import matplotlib.pyplot as plt
import numpy as np

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.datasets import load_electricity

FRIDAY, SATURDAY = 4, 5
load = load_electricity(as_frame=True).data.loc["2013":"2014", "client_320"]
X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
ends = load.index[origin]
weekdays = calendar_factors(ends, ["weekday"])
train, test = split_windows(origin, horizon=24, dates=["2014-05-01"], index=load.index)
some = slice(train.start, train.stop, 3)

model = DeepDIVEForecaster(n_hidden=64, max_epochs=5, validation_gap=7, random_state=0)
model.fit(X[some], y[some], factors=weekdays.iloc[some])

# %%
# Saturdays as Sundays
# --------------------
# The windows end on Fridays at 23:00. ``counterfactual`` moves the marginal dimensions of the
# weekday to the centre of Saturday. The window changes by as much as the decoded window does. The
# forecast is computed from the changed window and latent variables.
midnights = test.start + ((ends[test].hour == 23) & (ends[test].day_of_week == FRIDAY)).nonzero()[0]
fridays = midnights[midnights + 24 < test.stop]
saturdays = y[fridays]
sundays = y[fridays + 24]
forecast = model.predict(X[fridays])
what_if = model.counterfactual(X[fridays], {"weekday": SATURDAY}).forecast


def season(days, n_weeks=3):
    """Average every day with those of up to three weeks before and after it."""
    return np.stack([days[max(i - n_weeks, 0) : i + n_weeks + 1].mean(0) for i in range(len(days))])


def distance(days):
    """Mean distance from the Sunday of the season, day by day."""
    return np.abs(days - season(sundays)).mean(axis=1)


print(f"distance from the Sundays of the season, mean of {len(fridays)} weeks:")
print(f"  forecast of the Saturday {distance(forecast).mean():.0f}")
print(f"  had it been a Sunday     {distance(what_if).mean():.0f}")
print(f"closer to them in {(distance(what_if) < distance(forecast)).mean():.0%} of the weeks")

# %%
# The counterfactual covers only a part of the distance: the true Saturdays are as far from the
# Sundays as their forecasts are.
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
hour = np.arange(24)
ax.plot(hour, saturdays.mean(axis=0), color="0.6", label="true Saturdays")
ax.plot(hour, forecast.mean(axis=0), color="0.6", linestyle="--", label="forecast of Saturdays")
ax.plot(hour, sundays.mean(axis=0), color="C0", label="true Sundays")
ax.plot(hour, what_if.mean(axis=0), color="C0", linestyle="--", label="had they been Sundays")
ax.set(xlabel="hour of the day", ylabel="load, mean of all weeks")
ax.legend(frameon=False)
