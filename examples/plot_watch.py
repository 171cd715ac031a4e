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
from skdeepdive.inspection import EmbeddingDisplay, FactorConfusionDisplay

watch = load_watch_imu()
cut = [sliding_windows(series, n_timesteps=100, horizon=25, stride=50) for series in watch.data]
recording = np.repeat(np.arange(len(cut)), [len(X) for X, _, _ in cut])
X, y = (np.concatenate(arrays) for arrays in list(zip(*cut, strict=True))[:2])
exercise = np.array(watch.target_names)[watch.target[recording]]

order = np.argsort(watch.subject[recording], kind="stable")  # validation windows of other people
strangers = watch.subject[recording] > 7
train = order[~strangers[order]]
labels = pd.DataFrame({"exercise": exercise[train]})

model = DeepDIVEForecaster(n_hidden=64, max_epochs=2, validation_gap=0, random_state=0)
model.fit(X[train], y[train], factors=labels)

# %%
# Predictions for new people
# --------------------------
figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
FactorConfusionDisplay.from_estimator(model, X[strangers], exercise[strangers], ax=axes[0])
EmbeddingDisplay.from_estimator(model, X[strangers], exercise[strangers], ax=axes[1])

right = (model.predict_cluster(X[strangers]) == exercise[strangers]).mean()
print(f"{right:.0%} of {strangers.sum()} windows of three strangers right, by chance {1 / 7:.0%}")

# %%
# A recording has some dozens of windows. The sum of their log probabilities combines them.
proba = pd.DataFrame(model.predict_cluster_proba(X[strangers]), columns=model.factor_classes_[0])
together = np.log(proba.clip(lower=1e-6)).groupby(recording[strangers]).sum().idxmax(axis=1)
truth = np.array(watch.target_names)[watch.target[together.index]]
print(f"{(together == truth).mean():.0%} of {len(together)} recordings right")
