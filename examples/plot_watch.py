"""
Classify sensor windows of new people
=====================================

From two seconds of smartwatch signals, the model predicts which of seven shoulder exercises a
person is doing. For people who are not in the training data, its accuracy is far above chance (one
in seven). It is higher still when the windows of a recording are combined. A classifier made for
this alone stands beside it.
"""

# %%
# Recordings, split by person
# ---------------------------
# Each recording is cut separately, into windows of two seconds and futures of half a second.
# Windows of one person resemble each other, so three of the ten people are the test part. The last
# windows are for validation: sorted by person, they are of other people. ``groups`` keeps people
# apart in cross-validation too.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

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
person = watch.subject[recording]
side = np.array(watch.side_names)[watch.side[recording]]
labels = pd.DataFrame({"exercise": exercise, "side": side})

strangers = person > 7
order = np.argsort(person, kind="stable")
train = order[~strangers[order]]

model = DeepDIVEForecaster(n_hidden=64, max_epochs=2, random_state=0)
model.fit(X[train], y[train], factors=labels.iloc[train], groups=person[train])

# %%
# Predictions for new people
# --------------------------
# Shares that round to zero are left blank.
FactorConfusionDisplay.from_estimator(model, X[strangers], exercise[strangers])

right = (model.predict_cluster(X[strangers])[:, 0] == exercise[strangers]).mean()
print(f"{right:.0%} of {strangers.sum()} windows of three strangers right, by chance {1 / 7:.0%}")

# %%
# A recording has some dozens of windows. The sum of their log probabilities combines them.


def read_recordings(proba, classes):
    """Return the share of recordings whose exercise is right."""
    logs = pd.DataFrame(np.log(proba.clip(min=1e-6)), columns=classes)
    together = logs.groupby(recording[strangers]).sum().idxmax(axis=1)
    return (together == np.array(watch.target_names)[watch.target[together.index]]).mean()


proba = model.predict_cluster_proba(X[strangers])[0]
print(f"{read_recordings(proba, model.factor_classes_[0]):.0%} of the recordings right")

# %%
# A classifier beside it
# ----------------------
# Extra trees on six statistics of every channel are fitted to the windows of the same seven people.
# They are a strong peer, but read labels alone: the model above forecasts, reconstructs and embeds
# the windows as well. The page of results has MiniRocket and others beside it, with another split.


def statistics(X):
    """Return mean, deviation, extremes and quartiles of every channel."""
    quartiles = np.quantile(X, [0.25, 0.75], axis=1)
    return np.concatenate([X.mean(1), X.std(1), X.min(1), X.max(1), *quartiles], axis=1)


trees = ExtraTreesClassifier(300, random_state=0).fit(statistics(X[train]), exercise[train])
proba = trees.predict_proba(statistics(X[strangers]))
right = (trees.classes_[proba.argmax(axis=1)] == exercise[strangers]).mean()
print(f"{right:.0%} of the windows, {read_recordings(proba, trees.classes_):.0%} of the recordings")
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
