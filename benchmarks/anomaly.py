"""Anomalies found by DeepDIVE's bound, by isolation forest and by principal components.

    python benchmarks/anomaly.py --dataset electricity [--seeds 0 1 2] [--json FILE]
    python benchmarks/anomaly.py --dataset watch [--seeds 0 1 2] [--json FILE]

Scores are areas under the ROC curve, 0.5 by chance. Nobody sees an anomaly before the test. In
series every test window is scored as it is and with one anomaly put in, of every kind in turn: in
one channel, drawn for the window, three hours 3 deviations higher or lower (spike), a day at its
first value (flat), a day with white noise of the channel's deviation (noise), a day half as large
again (scale), the whole window 12 hours late (shift). Among recordings of exercises one exercise at
a time is left out of training, and its test windows are to be told from those of the others. The
principal components, as many as DeepDIVE has conditional dimensions, score by the squared error of
their reconstruction; the isolation forest sees the same values of standardised windows.
"""

import numpy as np
import torch
from benchmark_data import LOADERS, SeriesWindows
from paper import epochs, make_parser, write_table
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from skdeepdive import DeepDIVEForecaster

N_COMPONENTS = 16  # as n_conditional by default
STRIDE = 5  # of the test windows of series; prime to a day


def spike(window, random):
    start = random.integers(0, len(window) - 3)
    window[start : start + 3] += random.choice([-3, 3])


def flat(window, random):
    day = _day(window, random)
    window[day] = window[day.start]


def noise(window, random):
    window[_day(window, random)] += random.normal(size=24)


def scale(window, random, *, zero):
    day = _day(window, random)
    window[day] = 1.5 * (window[day] - zero) + zero


def shift(window, random):
    window[:] = np.roll(window, 12)


def _day(window, random):
    start = random.integers(0, len(window) - 24)
    return slice(start, start + 24)


def inject(data, X, kind, random):
    """Return a copy of standardised windows with an anomaly in one channel of each."""
    changed = X.copy()
    for window in changed:
        channel = random.integers(window.shape[1])
        # A load of nothing is not zero once it is standardised.
        options = {"zero": -data.mean[channel] / data.scale[channel]} if kind is scale else {}
        kind(window[:, channel], random, **options)
    return changed


def deepdive(X, y, factors, n_train, n_valid, seed, max_epochs):
    model = DeepDIVEForecaster(
        validation_fraction=n_valid / len(X),
        validation_gap=len(X) - n_train - n_valid,  # the windows between the parts
        **epochs(max_epochs),
        random_state=seed,
    )
    return model.fit(X, y, factors=factors).score_samples


def components(X, seed):
    pca = PCA(N_COMPONENTS, random_state=seed).fit(X.reshape(len(X), -1))

    def score(X):
        flat = X.reshape(len(X), -1)
        return -np.square(flat - pca.inverse_transform(pca.transform(flat))).sum(axis=1)

    return score


def forest(X, seed):
    model = IsolationForest(random_state=seed).fit(X.reshape(len(X), -1))
    return lambda X: model.score_samples(X.reshape(len(X), -1))


def scorers(X, y, factors, n_train, n_valid, seed, max_epochs):
    """Functions that score windows, greatest where they are normal."""
    return {
        "DeepDIVE": deepdive(X, y, factors, n_train, n_valid, seed, max_epochs),
        "PCA": components(X, seed),
        "IsolationForest": forest(X, seed),
    }


def auc(normal, anomalous):
    is_normal = np.repeat([1, 0], [len(normal), len(anomalous)])
    return float(roc_auc_score(is_normal, np.concatenate([normal, anomalous])))


def injected(data, seed, max_epochs):
    """Areas of every scorer, for every kind of anomaly."""
    train, validation, test = data.parts
    known = slice(validation.stop)
    found = scorers(
        data.X[known], data.y[known], data.factors.iloc[known],
        train.stop, validation.stop - validation.start, seed, max_epochs,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    X = data.X[test][::STRIDE]
    changed = {
        kind.__name__: inject(data, X, kind, random) for kind in (spike, flat, noise, scale, shift)
    }
    return {
        name: {f"auc of {kind}": auc(score(X), score(bad)) for kind, bad in changed.items()}
        for name, score in found.items()
    }


def left_out(data, seed, max_epochs):
    """Areas of every scorer, for every exercise that it has never seen."""
    train, validation, test = data.parts
    exercise = data.factors["exercise"].to_numpy()
    areas = {}
    for kind in np.unique(exercise):
        kept = np.flatnonzero(exercise[: validation.stop] != kind)
        n_train, n_valid = int((kept < train.stop).sum()), int((kept >= validation.start).sum())
        found = scorers(
            data.X[kept], data.y[kept], data.factors.iloc[kept], n_train, n_valid, seed, max_epochs
        )
        X, new = data.X[test], exercise[test] == kind
        for name, score in found.items():
            values = score(X)
            areas.setdefault(name, {})[f"auc of {kind}"] = auc(values[~new], values[new])
    return areas


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)
    measure = injected if isinstance(data, SeriesWindows) else left_out
    runs = {}
    for seed in arguments.seeds:
        for name, areas in measure(data, seed, arguments.max_epochs).items():
            mean = {"auc": float(np.mean(list(areas.values())))}
            runs.setdefault(name, []).append(mean | areas)
    write_table(arguments, runs.items(), 16)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(make_parser(__doc__.splitlines()[0], "electricity").parse_args())
