"""What labels can be read from the marginal and from the conditional dimensions.

    python benchmarks/disentanglement.py --data FOLDER --dataset watch [--seeds 0 1 2] [--json FILE]

The conditional dimensions are read twice: as encoded, and relative to the prior that the labels
imply, as `transform` returns them. Accuracies are above chance. Neighbours and boosting learn from
the training windows, which are of other people or earlier. "In folds", neighbours learn from test
windows alone, of other people or at least a week away. Of series, it is one window in five. The
scores of the literature (MIG, DCI, SAP) are of the marginal dimensions together with those read;
the forests of DCI and SAP learn in folds of the test windows as well.
"""

import numpy as np
import torch
from benchmark_data import LOADERS, SeriesWindows
from paper import N_BINS, fit, make_parser, write_table

from skdeepdive import DeepDIVEForecaster
from skdeepdive.metrics import (
    accuracy_above_chance,
    dci_scores,
    mutual_information_gap,
    sap_score,
)

STRIDE = 5  # of series: windows this far apart share most of their steps
MOST_FOLDS = 5


def measure(seed, data, max_epochs):
    """Fit, and score the dimensions of every row."""
    model = fit(DeepDIVEForecaster, data, seed, max_epochs)
    train, _, test = (
        np.arange(part.start, part.stop, STRIDE if isinstance(data, SeriesWindows) else 1)
        for part in data.parts
    )
    rows = np.concatenate([train, test])
    marginal, encoded, relative = split(model, data.X[rows])
    known, tested = data.factors.iloc[rows], slice(len(train), None)
    apart = [train_and_test(len(train), len(test))]
    folds = folds_of_test(data, test)

    def score(read, embedding):
        kinds = {
            "read by neighbours": {"cv": apart},
            "read by boosting": {"cv": apart, "classifier": "boosting"},
        }
        found = {kind: above_chance(known, read, **how) for kind, how in kinds.items()}
        own = known.iloc[tested]
        found["read in folds"] = above_chance(own, read[tested], **folds)
        dci = dci_scores(own, embedding[tested], **folds)
        return {
            **{
                f"{kind} of {name}": gain for kind, of in found.items() for name, gain in of.items()
            },
            "mig": mutual_information_gap(own, embedding[tested], n_bins=N_BINS),
            **{f"dci {name}": value for name, value in dci.items()},
            "sap": sap_score(own, embedding[tested], **folds),
        }

    return {
        "marginal": score(marginal, marginal),
        "conditional, as encoded": score(encoded, np.hstack([marginal, encoded])),
        "conditional": score(relative, np.hstack([marginal, relative])),
    }


def split(model, X):
    """Return marginal dimensions, and conditional ones as encoded and relative to their prior."""
    embedding = np.asarray(model.transform(X))
    module = model.module_
    with torch.no_grad():
        z = torch.from_numpy(embedding).to(next(module.parameters()))
        encoded = module.latents_at(z).a.numpy()
    n_conditional = module.n_conditional
    return embedding[:, :-n_conditional], encoded, embedding[:, -n_conditional:]


def folds_of_test(data, test):
    """Say how to fold the test windows: by people, or by time with a gap."""
    if data.subjects is None:
        return {"cv": MOST_FOLDS, "gap": -(-data.X.shape[1] // STRIDE)}
    people = data.subjects[test]
    return {"cv": min(MOST_FOLDS, len(np.unique(people))), "groups": people}


def train_and_test(n_train, n_test):
    """Return the rows to learn from, and those after them to read."""
    return np.arange(n_train), np.arange(n_train, n_train + n_test)


def above_chance(factors, read, **how):
    """Accuracy above chance for every factor."""
    gains = accuracy_above_chance(factors, read, multioutput="raw_values", **how)
    return {name: float(gain) for name, gain in zip(factors, gains, strict=True)}


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)
    fits = [measure(seed, data, arguments.max_epochs) for seed in arguments.seeds]
    rows = ((name, [measured[name] for measured in fits]) for name in fits[0])
    write_table(arguments, rows, 25)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(make_parser(__doc__.splitlines()[0], "watch").parse_args())
