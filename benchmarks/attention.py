"""What attention weights tell: how uneven they are, whether seeds agree, whether they matter.

    python benchmarks/attention.py [--dataset electricity] [--seeds 0 1 2]

The model is fitted with every seed; all numbers are of the test windows, and means over seeds and
conditional dimensions. Seeds agree on a dimension, or on its weight, as far as its values correlate
over windows; the sign of a dimension may differ. "Even weights" are put in place of the learned
ones in the fitted model, which was trained without them.
"""

import argparse
from copy import deepcopy
from itertools import combinations

import numpy as np
import torch
from benchmark_data import LOADERS
from paper import fit

from skdeepdive import DeepDIVEForecaster
from skdeepdive.metrics import rrse_score


def with_even_weights(model):
    """Copy a model, and let its queries be zero, to which all tokens are alike."""
    even = deepcopy(model)
    attention = even.module_.fusion.attention
    with torch.no_grad():
        for projection in (attention.in_proj_weight, attention.in_proj_bias):
            projection[: attention.embed_dim] = 0.0
    return even


def agreement(values):
    """Mean correlation over windows of pairs of seeds, of arrays (n_seeds, n_windows, ...)."""
    z = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    return np.array([(z[i] * z[j]).mean(axis=0) for i, j in combinations(range(len(z)), 2)])


def report_weights(weights, names):
    """Print a row for each factor and for none, of weights (n_seeds, n_windows, n_queries, n)."""
    print("| weight of | mean | 5 to 95 % | agreement of seeds | after the mean over dimensions |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, values in zip(names, np.moveaxis(weights, -1, 0), strict=True):
        low, high = np.quantile(values, [0.05, 0.95])
        each, mean = agreement(values).mean(), agreement(values.mean(axis=2)).mean()
        print(
            f"| {name} | {values.mean():.3f} | {low:.2f} to {high:.2f} | {each:.2f} | {mean:.2f} |"
        )


def report_scores(models, X, y):
    """Print RRSE with the weights that were learned, and with even ones."""
    print("| RRSE | forecast | reconstruction |")
    print("| --- | ---: | ---: |")
    for name, some in {"learned": models, "even": map(with_even_weights, models)}.items():
        errors = [(rrse_score(y, m.predict(X)), rrse_score(X, m.reconstruct(X))) for m in some]
        forecast, reconstruction = np.mean(errors, axis=0)
        print(f"| {name} weights | {forecast:.4f} | {reconstruction:.4f} |")


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)
    X, y = data.X[data.parts[2]], data.y[data.parts[2]]
    models = [fit(DeepDIVEForecaster, data, seed, arguments.max_epochs) for seed in arguments.seeds]
    report_weights(np.stack([m.attention(X) for m in models]), [*data.factors, "no factor"])
    a = np.stack([m.transform(X)[:, -m.n_conditional :] for m in models])
    print(f"\nagreement of seeds on the conditional dimensions: {abs(agreement(a)).mean():.2f}\n")
    report_scores(models, X, y)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data files; see benchmark_data.py")
    parser.add_argument("--dataset", choices=LOADERS, default="electricity")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-epochs", type=int)
    main(parser.parse_args())
