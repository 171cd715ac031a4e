"""The paper's table: reconstruction, forecast and mutual information gap of DeepDIVE and others.

    python benchmarks/paper.py --data FOLDER --dataset gefcom2012 [--seeds 0 1 2] [--json FILE]

DeepDIVE-(a) has the conditional dimensions alone, DeepDIVE-(b) the marginal ones. As in the paper
a factor has one dimension; --n-marginal changes that. Everything is chosen on the validation
windows; the table is of the test windows, with the mean and standard deviation over seeds. RRSE is
of values standardised per channel. In the gait data the group goes with the make of the sensor, so
what is read there as the group is partly the sensor.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from benchmark_data import LOADERS, SeriesWindows
from forecast import LSTNET_STEPS, environment

from skdeepdive import DeepDIVEForecaster
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.metrics import mutual_information_gap, rrse_score

N_BINS = 30  # more than the classes of any factor


def models(n_marginal):
    return {
        "DeepDIVE": lambda **options: DeepDIVEForecaster(n_marginal=n_marginal, **options),
        "DeepDIVE-(a)": lambda **options: DeepDIVEForecaster(latent="conditional", **options),
        "DeepDIVE-(b)": lambda **options: DeepDIVEForecaster(
            latent="marginal", n_marginal=n_marginal, **options
        ),
        "VAE": VAEForecaster,
        "β-TCVAE": BetaTCVAEForecaster,
    }


def fit(make, data, seed, max_epochs):
    """Fit on the training and validation windows; the latter are the last ones given."""
    train, validation, _ = data.parts
    model = make(
        validation_fraction=(validation.stop - validation.start) / validation.stop,
        validation_gap=validation.start - train.stop,  # the windows between the parts
        random_state=seed,
        **epochs(max_epochs),
    )
    known = slice(validation.stop)
    labels = {}
    if hasattr(model, "predict_cluster"):
        groups = None if data.subjects is None else data.subjects[known]
        labels = {"factors": data.factors.iloc[known], "groups": groups}
    return model.fit(data.X[known], data.y[known], **labels)


def epochs(max_epochs):
    """Return the parameter of an estimator; None: it has its default."""
    return {} if max_epochs is None else {"max_epochs": max_epochs}


def scores(model, data, part):
    """Score on the windows of a part."""
    X, factors = data.X[part], data.factors.iloc[part]
    gaps = mutual_information_gap(
        factors, model.transform(X), n_bins=N_BINS, multioutput="raw_values"
    )
    measured = {
        "reconstruction": rrse_score(X, model.reconstruct(X)),
        **forecast_scores(data, data.y[part], model.predict(X)),
        "mig": float(gaps.mean()),
        **{f"mig of {name}": float(gap) for name, gap in zip(factors, gaps, strict=True)},
    }
    if hasattr(model, "predict_cluster"):
        measured |= accuracies(factors, model.predict_cluster(X))
    return measured


def forecast_scores(data, y, forecast):
    """Score the whole forecast, and in the LSTNet protocol some of its steps too."""
    steps = LSTNET_STEPS if isinstance(data, SeriesWindows) else []
    return {
        "forecast": rrse_score(y, forecast),
        **{f"forecast, step {k}": rrse_score(y[:, k - 1], forecast[:, k - 1]) for k in steps},
    }


def accuracies(factors, found):
    """Share of the windows whose label was found, for every factor."""
    shares = (found.reshape(factors.shape) == factors.to_numpy()).mean(axis=0)
    return {f"accuracy of {name}": float(s) for name, s in zip(factors, shares, strict=True)}


def summary(runs):
    """Mean and standard deviation of every score over the runs."""
    deviation = {name: np.std([run[name] for run in runs], ddof=len(runs) > 1) for name in runs[0]}
    return {
        name: (float(np.mean([run[name] for run in runs])), float(deviation[name]))
        for name in runs[0]
    }


def write_table(arguments, rows, width):
    """Print and store the summary of every row, as soon as its runs are there."""
    results = {**environment(), "dataset": arguments.dataset, "seeds": arguments.seeds}
    print(f"{arguments.dataset}: mean (standard deviation)")
    for name, runs in rows:
        results[name] = summary(runs)
        cells = [f"{score} {m:.4f} ({sd:.4f})" for score, (m, sd) in results[name].items()]
        print(f"{name:<{width}}" + ", ".join(cells), flush=True)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


def make_parser(description, dataset, choices=LOADERS):
    """Return a parser of what all tables are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", help="folder of the data files; see benchmark_data.py")
    parser.add_argument("--dataset", choices=choices, default=dataset)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--json", help="where to write the results, after every row")
    return parser


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)

    def runs(make):
        fitted = (fit(make, data, seed, arguments.max_epochs) for seed in arguments.seeds)
        return [scores(model, data, data.parts[2]) for model in fitted]

    rows = ((name, runs(make)) for name, make in models(arguments.n_marginal).items())
    write_table(arguments, rows, 14)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "watch")
    parser.add_argument("--n-marginal", type=int, default=1, help="dimensions of a factor, at most")
    main(parser.parse_args())
