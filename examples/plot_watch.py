"""
Recognise the exercises of new people
=====================================

From two seconds of smartwatch signals, the model predicts which of seven shoulder exercises a
person is doing. For people who are not in the training data, its accuracy is far above chance (one
in seven). It is higher still when the windows of a recording are combined.
"""

# %%
# Recordings, split by person
# ---------------------------
# Each recording is cut separately, into windows of two seconds and futures of half a second.
# Windows of one person resemble each other, so three of the ten people are the test part.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.datasets import load_watch_imu
from skdeepdive.inspection import (
    DisentanglementDisplay,
    EmbeddingDisplay,
    FactorConfusionDisplay,
)

watch = load_watch_imu()
cut = [sliding_windows(series, n_timesteps=100, horizon=25, stride=50) for series in watch.data]
recording = np.repeat(np.arange(len(cut)), [len(X) for X, _, _ in cut])
X, y = (np.concatenate(arrays) for arrays in list(zip(*cut, strict=True))[:2])
exercise = np.array(watch.target_names)[watch.target[recording]]
side = np.array(watch.side_names)[watch.side[recording]]
labels = pd.DataFrame({"exercise": exercise, "side": side})

order = np.argsort(watch.subject[recording], kind="stable")  # validation windows of other people
strangers = watch.subject[recording] > 7
train = order[~strangers[order]]

model = DeepDIVEForecaster(n_hidden=64, max_epochs=2, validation_gap=0, random_state=0)
model.fit(X[train], y[train], factors=labels.iloc[train])

# %%
# Predictions for new people
# --------------------------
FactorConfusionDisplay.from_estimator(model, X[strangers], exercise[strangers])

right = (model.predict_cluster(X[strangers])[:, 0] == exercise[strangers]).mean()
print(f"{right:.0%} of {strangers.sum()} windows of three strangers right, by chance {1 / 7:.0%}")

# %%
# A recording has some dozens of windows. The sum of their log probabilities combines them.
proba = model.predict_cluster_proba(X[strangers])[0]
proba = pd.DataFrame(proba, columns=model.factor_classes_[0])
together = np.log(proba.clip(lower=1e-6)).groupby(recording[strangers]).sum().idxmax(axis=1)
truth = np.array(watch.target_names)[watch.target[together.index]]
print(f"{(together == truth).mean():.0%} of {len(together)} recordings right")

# %%
# Order in one part of the space
# ------------------------------
# The conditional dimensions hold what the labels do not say: the phase of a movement, its tempo, a
# person's style. Coloured by the exercise, there is order in the marginal dimensions and none in
# the plane of the conditional ones.
figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
for part, ax in zip(("marginal", "conditional"), axes, strict=True):
    EmbeddingDisplay.from_estimator(model, X[strangers], exercise[strangers], part=part, ax=ax)
    ax.set_title(part)

# %%
# A plane may hide what all dimensions together tell. So nearest neighbours learn from the windows
# of known people, and read the labels of the strangers from each part. They still find some of the
# labels in the conditional dimensions, where classes have the same location, scale and
# correlations, but not the same shape.
rows = np.arange(len(X))
splits = [(rows[~strangers], rows[strangers])]
DisentanglementDisplay.from_estimator(model, X, labels, cv=splits)
