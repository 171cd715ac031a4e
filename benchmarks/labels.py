"""How well hour, weekday and month are read from windows of two clients' load, over seeds.

    python benchmarks/labels.py [--seeds 0 1 2]

Compares linear discriminants, a multilayer perceptron with a softmax head, and the marginal path
with several numbers of dimensions, with and without its closed-form start. Split 3:1:1 as in
electricity.py; accuracies on the test windows.
"""

import argparse
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neural_network import MLPClassifier

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import plot_electricity as demo

from skdeepdive import DeepDIVEForecaster, _fitting

N_EPOCHS = 12


def read_by_classifier(make, X, factors, parts, seed):
    train, _, test = parts
    level, spread = X.mean(axis=1, keepdims=True), X.std(axis=1, keepdims=True) + 0.01
    shape = (X - level) / spread
    flat = np.concatenate([shape, level, np.log(spread)], axis=1).reshape(len(X), -1)
    return [
        make(seed).fit(flat[train], labels.iloc[train]).score(flat[test], labels.iloc[test])
        for _, labels in factors.items()
    ]


def without_start(train, valid, features, class_counts):
    return torch.zeros(sum(class_counts), features.n_features), torch.zeros(sum(class_counts))


def read_by_deepdive(n_marginal, X, y, factors, parts, seed):
    train, validation, test = parts
    model = DeepDIVEForecaster(
        n_marginal=n_marginal,
        max_epochs=N_EPOCHS - 10,  # the labels alone are trained for up to ten before
        validation_fraction=(validation.stop - validation.start) / validation.stop,
        random_state=seed,
    )
    known = slice(train.start, validation.stop)
    model.fit(X[known], y[known], factors=factors.iloc[known])
    return (model.predict_cluster(X[test]) == factors.iloc[test].to_numpy()).mean(axis=0)


def softmax(seed):
    return MLPClassifier(hidden_layer_sizes=(256,), max_iter=N_EPOCHS, random_state=seed)


def main(seeds):
    X, y, factors, parts = demo.load("clients_2")
    print(f"{'accuracy on test windows':<44}" + "".join(f"{name:>18}" for name in factors))

    def report(name, read, seeds=seeds):
        runs = np.array([read(seed) for seed in seeds])
        deviation = runs.std(axis=0, ddof=len(runs) > 1)
        cells = [f"{m:.3f} ({d:.3f})" for m, d in zip(runs.mean(axis=0), deviation, strict=True)]
        print(f"{name:<44}" + "".join(f"{cell:>18}" for cell in cells), flush=True)

    def discriminants(seed):
        return LinearDiscriminantAnalysis()

    report(
        "linear discriminants",
        lambda seed: read_by_classifier(discriminants, X, factors, parts, seed),
        seeds[:1],
    )
    report(
        f"perceptron with softmax, {N_EPOCHS} epochs",
        lambda seed: read_by_classifier(softmax, X, factors, parts, seed),
    )
    for n_marginal in (1, 2, 8, 16):
        name = f"DeepDIVE, at most {n_marginal} dimensions a factor"
        report(name, lambda seed, n=n_marginal: read_by_deepdive(n, X, y, factors, parts, seed))
    with mock.patch.object(_fitting, "fit_discriminants", without_start):
        report(
            "DeepDIVE, at most 8, no closed-form start",
            lambda seed: read_by_deepdive(8, X, y, factors, parts, seed),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    main(parser.parse_args().seeds)
