"""Electricity load, 168 h in and 24 h out, over several seeds, beside ridge, MLP and last week.

    python benchmarks/electricity.py [--seeds 0 1 2] [--json results.json]

Two full-length clients, split 3:1:1, and the 321-client slice, tested on 18 to 24 December.
Errors are of loads standardised per client by the training hours. All choices are made on the
validation windows.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import plot_electricity as demo

from skdeepdive.metrics import corr_score, rrse_score


def scores(y, predicted):
    return {
        "rrse": rrse_score(y, predicted),
        "corr": corr_score(y, predicted),
        "mae": float(np.abs(y - predicted).mean()),
    }


def run_seed(X, y, factors, parts, seed):
    test = parts[2]
    start = time.perf_counter()
    model = demo.deepdive(X, y, factors, parts, max_epochs="auto", seed=seed)
    seconds = time.perf_counter() - start
    accuracy = (model.predict_cluster(X[test]) == factors.iloc[test].to_numpy()).mean(axis=0)
    return {
        **scores(y[test], model.predict(X[test])),
        "rrse of the reconstruction": rrse_score(X[test], model.reconstruct(X[test])),
        **{f"accuracy of {n}": float(a) for n, a in zip(factors.columns, accuracy, strict=True)},
        "epochs": model.n_iter_,
        "seconds": seconds,
    }


def run_mlp(X, y, parts, seed):
    return scores(y[parts[2]], demo.mlp(X, y, parts, seed))


def summary(runs):
    return {
        name: (
            float(np.mean([run[name] for run in runs])),
            float(np.std([run[name] for run in runs], ddof=len(runs) > 1)),
        )
        for name in runs[0]
    }


def compare(title, X, y, factors, parts, seeds):
    test = parts[2]
    results = {
        "last week's value": summary([scores(y[test], X[test, : demo.HORIZON])]),
        "ridge": summary([scores(y[test], demo.ridge(X, y, parts))]),
        "MLPRegressor": summary([run_mlp(X, y, parts, seed) for seed in seeds]),
        "DeepDIVEForecaster": summary([run_seed(X, y, factors, parts, seed) for seed in seeds]),
    }
    print(f"\n{title}, {len(seeds)} seeds: mean (standard deviation)")
    for model, measured in results.items():
        print(model)
        for name, (mean, deviation) in measured.items():
            print(f"    {name:<28}{mean:10.4f} ({deviation:.4f})")
    return results


def main(seeds, path):
    two = demo.load("clients_2")
    results = {"two clients": compare("Two clients", *two, seeds)}
    X, y, factors, parts = demo.load("clients_321", demo.BEFORE_THE_HOLIDAYS)
    wide = (X, y, factors.drop(columns="month"), parts)
    results["321 clients"] = compare("321 clients", *wide, seeds)
    if path:
        Path(path).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", help="where to write the results")
    arguments = parser.parse_args()
    main(arguments.seeds, arguments.json)
