"""Intervals of DeepDIVE beside quantile regression: coverage, width and pinball loss.

    python benchmarks/uncertainty.py --dataset electricity [--data FOLDER] [--seeds 0 1 2]

The intervals between the quantiles 0.1 and 0.9, 0.05 and 0.95, 0.025 and 0.975 nominally cover 80,
90 and 95 % of the futures. Coverage and pinball loss (mean over these quantiles and the median) are
means over all entries of the test futures; widths and losses are in units of the channels'
deviation in the training rows. For series, quantile regression is scikit-learn's histogram gradient
boosting with the features of peers.py, one model for every quantile, fitted to 100,000 drawn values
and stopped on 20,000 of the validation part. "Constant" is the forecast of DeepDIVE with the
quantiles of its errors on the validation windows, step by step and target by target.
"""

import numpy as np
import peers
import torch
from benchmark_data import LOADERS, SeriesWindows
from paper import epochs, make_parser, write_table
from sklearn.ensemble import HistGradientBoostingRegressor

from skdeepdive import DeepDIVEForecaster

LEVELS = np.array([0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975])
INTERVALS = {"80": (2, 4), "90": (1, 5), "95": (0, 6)}


def deepdive(data, seed, max_epochs):
    """Quantiles `(n, horizon, n_targets, n_levels)` of the test futures, both ways."""
    train, validation, test = data.parts
    model = DeepDIVEForecaster(
        validation_fraction=(validation.stop - validation.start) / validation.stop,
        validation_gap=validation.start - train.stop,  # the windows between the parts
        **epochs(max_epochs),
        random_state=seed,
    )
    known = slice(validation.stop)
    told = data.known_in_advance
    model.fit(data.X[known], data.y[known], factors=data.factors.iloc[known], **told(known))
    errors = data.y[validation] - model.predict(data.X[validation], **told(validation))
    of_errors = np.moveaxis(np.quantile(errors, LEVELS, axis=0), 0, -1)
    return {
        "DeepDIVE": model.predict_quantiles(data.X[test], LEVELS, **told(test)),
        "DeepDIVE, constant": model.predict(data.X[test], **told(test))[..., None] + of_errors,
    }


def boosting(data, seed):
    """Quantiles by one gradient boosting each, sorted so that they do not cross."""
    random = np.random.default_rng(seed)
    fit, stop = (
        peers._draw(data, part, size, random)
        for part, size in zip(data.parts[:2], (100_000, 20_000), strict=True)
    )
    found = []
    for level in LEVELS:
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=level, max_iter=500, early_stopping=True,
            n_iter_no_change=20, random_state=seed,
            categorical_features=[0] if data.X.shape[2] <= 255 else None,
        ).fit(*fit, X_val=stop[0], y_val=stop[1])  # fmt: skip
        found.append(peers._boosted(data, data.parts[2], model))
    return {"HistGradientBoosting": np.sort(np.stack(found, axis=-1), axis=-1)}


def scores(y, quantiles):
    errors = y[..., None] - quantiles
    measured = {"pinball": float(np.maximum(LEVELS * errors, (LEVELS - 1) * errors).mean())}
    for name, (low, high) in INTERVALS.items():
        inside = (quantiles[..., low] <= y) & (y <= quantiles[..., high])
        measured[f"coverage of {name} %"] = float(inside.mean())
        measured[f"width of {name} %"] = float((quantiles[..., high] - quantiles[..., low]).mean())
    return measured


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)
    y = data.y[data.parts[2]]
    runs = {}
    for seed in arguments.seeds:
        found = deepdive(data, seed, arguments.max_epochs)
        if isinstance(data, SeriesWindows) and not arguments.alone:
            found |= boosting(data, seed)
        for name, quantiles in found.items():
            runs.setdefault(name, []).append(scores(y, quantiles))
    write_table(arguments, runs.items(), 22)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "electricity")
    parser.add_argument("--alone", action="store_true", help="leave quantile regression out")
    main(parser.parse_args())
