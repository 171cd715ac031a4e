"""
Train on data in chunks
=======================

``partial_fit`` trains a model on data that arrive in chunks or that exceed the memory. This model
learns from five half-years, one at a time, and its forecasts of the sixth improve. They close about
half of the gap to a model that is fitted to all five at once.
"""

# %%
# A stream of half-years
# ----------------------
# The windows cover three years of load, one every five hours. The last half-year is the test part
# after every chunk.
import matplotlib.pyplot as plt

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.metrics import rrse_score

load = load_electricity(as_frame=True).data["client_320"]


def cut(part):
    """Return windows of a part, their futures, and hours and weekdays of their ends."""
    X, y, origin = sliding_windows(part, n_timesteps=168, horizon=24, stride=5)
    return X, y, calendar_factors(part.index[origin], ["hour", "weekday"])


half_years = [part for _, part in load.groupby([load.index.year, load.index.quarter > 2])]
*chunks, last = half_years
X_test, y_test, _ = cut(last)

# %%
# Chunk after chunk
# -----------------
# The first call fixes the scaling and the form of the linear forecast. Later calls add the new
# chunk to the sums that determine the linear forecast and the discriminants of the labels. They
# train the networks on the new chunk alone, for one epoch in each phase.
gap = 4  # windows five steps apart whose futures of 24 steps reach into those of validation
stream = DeepDIVEForecaster(n_hidden=64, validation_gap=gap, random_state=0)
errors = []
for chunk in chunks:
    stream.partial_fit(*cut(chunk))
    errors.append(rrse_score(y_test, stream.predict(X_test)))

at_once = DeepDIVEForecaster(n_hidden=64, max_epochs=5, validation_gap=gap, random_state=0).fit(
    *cut(load[: last.index[0]])
)
error_at_once = rrse_score(y_test, at_once.predict(X_test))
for n, error in enumerate(errors, start=1):
    print(f"RRSE after {n} half-years: {error:.3f}")
print(f"RRSE of all at once:     {error_at_once:.3f}")

# %%
# The root relative squared error is 0 for a perfect forecast and 1 for the mean of the true values.
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(range(1, len(errors) + 1), errors, marker="o", label="half-year by half-year")
ax.axhline(error_at_once, color="0.5", linestyle="--", label="all at once, several passes")
ax.set(xlabel="half-years learnt from", ylabel="RRSE of the last half-year")
ax.set_xticks(range(1, len(errors) + 1))
ax.legend(frameon=False)
