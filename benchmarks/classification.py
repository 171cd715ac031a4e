"""How well labels of new people are read from sensor windows, beside other classifiers.

    python benchmarks/classification.py --data FOLDER --dataset watch [--seeds 0 1 2] [--json FILE]
    python benchmarks/classification.py --dataset watch --clusters [--seeds 0 1 2] [--json FILE]

The watch and gait windows are split by person; DeepDIVE is told who is who by `groups`. The three
archive sets come with aeon, with their published split; the first four fifths of a case are the
window, the rest is its future, which only DeepDIVE uses. The other methods are fitted to training
and validation windows together, as DeepDIVE is in the end, a model for each factor:

- extra trees on six statistics of every channel (mean, deviation, extremes, quartiles)
- MiniRocket and MultiRocket-Hydra with their usual ridge classifiers (requirements-classifiers.txt)

Windows of a recording overlap: --every 3 fits all methods to every third one alone, where
MultiRocket-Hydra takes too long with all.

Accuracies and balanced accuracies are of the test windows, with the mean and standard deviation
over seeds. With --clusters nobody sees a label: as many clusters as the first factor has classes,
of DeepDIVE and of k-means on standardised windows and statistics, are compared with the labels by
their adjusted Rand index.
"""

import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from benchmark_data import LOADERS, Windows
from paper import epochs, make_parser, write_table
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import accuracy_score, adjusted_rand_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepdive import DeepDIVEForecaster

ARCHIVE = {
    "gunpoint": "load_gunpoint",
    "basic_motions": "load_basic_motions",
    "italy_power_demand": "load_italy_power_demand",
}


def archive(name):
    """Load cases of the archive, cut into windows and futures."""
    from aeon import datasets

    load = getattr(datasets, ARCHIVE[name])
    (X, labels), (X_test, labels_test) = load("train"), load("test")
    cases = np.concatenate([X, X_test]).transpose(0, 2, 1).astype(np.float32)
    cut, n_train = cases.shape[1] * 4 // 5, len(X)
    return Windows(
        name=name,
        X=cases[:, :cut],
        y=cases[:, cut:],
        factors=pd.DataFrame({"class": np.concatenate([labels, labels_test])}),
        parts=(slice(0, n_train), slice(n_train, n_train), slice(n_train, len(cases))),
        channels=[str(j) for j in range(cases.shape[2])],
        mean=np.zeros(cases.shape[2]),
        scale=np.ones(cases.shape[2]),
    )


def load(name, folder):
    return archive(name) if name in ARCHIVE else LOADERS[name](folder)


def thinned(data, every):
    """Keep every so many of the training and validation windows, and all test windows."""
    steps = every, every, 1
    rows = [np.arange(len(data.X))[p][::step] for p, step in zip(data.parts, steps, strict=True)]
    stops = np.cumsum([len(own) for own in rows]).tolist()
    rows = np.concatenate(rows)
    return replace(
        data,
        X=data.X[rows],
        y=data.y[rows],
        factors=data.factors.iloc[rows].reset_index(drop=True),
        subjects=None if data.subjects is None else data.subjects[rows],
        parts=tuple(slice(*pair) for pair in pairwise([0, *stops])),
    )


def parts(data):
    """Return the slices of training and validation windows together, and of test windows."""
    return slice(0, data.parts[1].stop), data.parts[2]


def model(data, seed, max_epochs, **parameters):
    known, n_valid = parts(data)[0].stop, data.parts[1].stop - data.parts[1].start
    options = {"validation_fraction": n_valid / known} if n_valid else {}
    return DeepDIVEForecaster(random_state=seed, **epochs(max_epochs), **options, **parameters)


@functools.cache
def fitted_to_labels(data, seed, max_epochs):
    known, _ = parts(data)
    groups = None if data.subjects is None else data.subjects[known]
    return model(data, seed, max_epochs).fit(
        data.X[known], data.y[known], data.factors.iloc[known], groups=groups
    )


def deepdive(priors):
    """Return a reader of labels with assumed frequencies of the classes.

    They matter for reading alone, so one fit serves all.
    """

    def read(data, seed, max_epochs):
        own = fitted_to_labels(data, seed, max_epochs).set_params(priors=priors)
        found = own.predict_cluster(data.X[parts(data)[1]])
        return found.reshape(len(found), -1)

    return read


def statistics(X):
    quartiles = np.quantile(X, [0.25, 0.75], axis=1)
    return np.concatenate([X.mean(1), X.std(1), X.min(1), X.max(1), *quartiles], axis=1)


def extra_trees(seed):
    return ExtraTreesClassifier(500, random_state=seed)


def mini_rocket(seed):
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed)


def multi_rocket_hydra(seed):
    from aeon.classification.convolution_based import MultiRocketHydraClassifier

    return MultiRocketHydraClassifier(random_state=seed)


def peer(make, features=lambda X: X.transpose(0, 2, 1)):
    """Return a reader of labels that fits a classifier for every factor."""

    def read(data, seed, max_epochs):
        known, test = parts(data)
        X, X_test = (features(np.asarray(data.X[part])) for part in (known, test))
        columns = [data.factors[name].to_numpy()[known] for name in data.factors]
        return np.stack([make(seed).fit(X, own).predict(X_test) for own in columns], axis=1)

    return read


READERS = {
    "DeepDIVE": deepdive("observed"),
    "DeepDIVE, uniform priors": deepdive("uniform"),
    "extra trees on statistics": peer(extra_trees, statistics),
    "MiniRocket": peer(mini_rocket),
    "MultiRocket-Hydra": peer(multi_rocket_hydra),
}


def scores(data, found):
    factors = data.factors.iloc[data.parts[2]]
    measured = {}
    for j, name in enumerate(factors):
        pair = factors[name].to_numpy(), found[:, j]
        measured[f"accuracy of {name}"] = accuracy_score(*pair)
        measured[f"balanced accuracy of {name}"] = balanced_accuracy_score(*pair)
    return measured


def deepdive_clusters(data, n_clusters, seed, max_epochs):
    known, test = parts(data)
    fitted = model(data, seed, max_epochs, n_clusters=n_clusters)
    return fitted.fit(data.X[known], data.y[known]).predict_cluster(data.X[test])


def k_means(features):
    """Return a finder of clusters of standardised features."""

    def find(data, n_clusters, seed, max_epochs):
        X, X_test = (features(np.asarray(data.X[part])) for part in parts(data))
        kmeans = KMeans(n_clusters, n_init=10, random_state=seed)
        return make_pipeline(StandardScaler(), kmeans).fit(X).predict(X_test)

    return find


CLUSTERERS = {
    "DeepDIVE": deepdive_clusters,
    "k-means on windows": k_means(lambda X: X.reshape(len(X), -1)),
    "k-means on statistics": k_means(statistics),
}


def agreement(data, find, seed, max_epochs):
    found = find(data, data.factors.iloc[:, 0].nunique(), seed, max_epochs)
    test = data.factors.iloc[parts(data)[1]]
    return {
        f"adjusted Rand index of {name}": adjusted_rand_score(test[name], found) for name in test
    }


def main(arguments):
    data = thinned(load(arguments.dataset, arguments.data), arguments.every)

    def run(name, seed):
        if arguments.clusters:
            return agreement(data, CLUSTERERS[name], seed, arguments.max_epochs)
        return scores(data, READERS[name](data, seed, arguments.max_epochs))

    names = CLUSTERERS if arguments.clusters else arguments.rows
    rows = ((name, [run(name, seed) for seed in arguments.seeds]) for name in names)
    write_table(arguments, rows, 28)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "watch", choices=[*LOADERS, *ARCHIVE])
    parser.add_argument("--rows", nargs="+", choices=READERS, default=list(READERS), metavar="ROW")
    parser.add_argument("--every", type=int, default=1, help="fit to every so many windows alone")
    parser.add_argument("--clusters", action="store_true", help="find clusters without labels")
    main(parser.parse_args())
