"""What each choice in DeepDIVE costs in time and gains in accuracy.

    python benchmarks/ablation.py --data FOLDER --dataset electricity [--seeds 0 1 2] [--json FILE]

Every row changes one choice and leaves the others at their defaults; ROWS and the docstrings above
it say how. Where a learning rate presumes what is changed, it changes too. Models are chosen on the
validation windows. The scores are of the test windows, then, for arguing about defaults, of the
validation windows: mean and standard deviation over seeds. "In a" is by how much the accuracy of
nearest neighbours in the conditional dimensions exceeds chance. RRSE is of values standardised per
channel. Seconds are those of the fit on one thread, and indicative only.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from benchmark_data import LOADERS
from disentanglement import above_chance, train_and_test
from paper import fit, make_parser, scores, write_table

from skdeepdive import DeepDIVEForecaster
from skdeepdive._start.discriminants import Discriminants
from skdeepdive._start.pooled import POOLED_WINDOWS
from skdeepdive._train.phases import deepdive_phases
from skdeepdive.nn import DeepDIVE
from skdeepdive.nn.linear_forecast import LinearForecast


class Concatenation(torch.nn.Module):
    """Put the conditional dimensions and all RBF responses side by side instead of fusing them.

    The decoders then see one number for each, and sixteen for each conditional dimension otherwise.
    """

    def __init__(self, n_conditional, class_counts):
        super().__init__()
        self.n_features = n_conditional + sum(class_counts)

    def initialise(self, generator):
        pass

    def forward(self, a, responses, n_windows):
        return torch.cat([a, *responses], dim=1), None


class SharedTrunk(DeepDIVE):
    """Let both encoders read one hidden layer.

    b itself is shielded as ever, but a layer that a is read from as well cannot be: it is trained
    by the labels and by the decoders. So it is a group of its own. Its rates are those of the
    marginal path while labels are trained alone, and then those of the conditional path.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.conditional_encoder.from_window = self.marginal_encoder.trunk[0]

    def parameter_groups(self):
        trunk = list(self.marginal_encoder.trunk.parameters())
        shared = set(map(id, trunk))
        groups = {
            name: [p for p in parameters if id(p) not in shared]
            for name, parameters in super().parameter_groups().items()
        }
        return {**groups, "trunk": trunk}


class Joint(DeepDIVE):
    """Lower the sum of all losses from the start, with nothing shielded and a single rate.

    All parameters are one group, called marginal because the phase of that name, which has no
    epochs then, asks for it. The forecast has no phase of its own.
    """

    def _shield(self, tensor):
        return tensor

    def parameter_groups(self):
        return {"marginal": list(self.parameters())}


class FreshDraws(DeepDIVE):
    """Train the correction on latent variables that are inferred and drawn anew in every step."""

    def forecast_at_means(self, batch, *, dropout_draws=None, **options):
        with torch.no_grad():
            latents = self.infer(self.features.of(batch), dropout_draws)
            drawn = torch.cat([latents.a, *latents.responses], dim=1)
        batch = replace(batch, means=drawn)
        return super().forecast_at_means(batch, dropout_draws=dropout_draws, **options)


def no_forecast_phase(module, *duration, **options):
    """Leave the forecast's correction as the interleaved phase has it."""
    return deepdive_phases(module, *duration, **options)[:-1]


def no_discriminants(train, valid, features, class_counts, groups, n_folds):
    """Start without knowledge of the labels: all windows have the same logits."""
    n_logits, n_features = sum(class_counts), features.n_features + features.n_pooled
    nothing = Discriminants(torch.zeros(n_logits, n_features), torch.zeros(n_logits))
    return nothing, nothing


def last_value(train, valid, candidates):
    """Start at the last value of the channel that a target continues: a map of zeros.

    Nothing is fitted, so there are no out-of-fold forecasts.
    """
    n_timesteps, horizon = train.X.shape[1], train.y.shape[1]
    zeros = torch.zeros(1, n_timesteps, horizon), torch.zeros(1, horizon)
    return LinearForecast(*zeros, train.y.shape[1:], joint=False, source_channels=candidates[0]), []


def no_class_maps(module, fold_maps, train, valid, before):
    """Leave the linear forecast as it is."""
    return module.linear_forecast, fold_maps


def in_sample(fold_maps, train, before):
    """Let the correction learn from the errors of the forecast on the windows it was fitted to."""
    return None


def not_completed(out_of_fold, *parts):
    """Leave what classes add to forecasts of training windows to every step, for fresh draws."""
    return out_of_fold


def try_all(error, penalties, first):
    """Choose the penalty of a regression among all, rather than go where the error falls."""
    return min(penalties, key=error)


def standard_prior(module, *parts):
    """Leave the prior of the conditional dimensions standard normal for every class."""


def variant(replacement):
    return patch("skdeepdive._start.start.DeepDIVE", replacement)


def training(replacement):
    return patch("skdeepdive._estimators.fit.deepdive_phases", replacement)


def start(name, replacement):
    return patch(f"skdeepdive._start.start.fit_{name}", replacement)


def rates(phase, **relative):
    return patch.dict(f"skdeepdive._train.phases.{phase}_RATES", relative)


def row(*changes, **parameters):
    """Return patches of the package, and parameters of the forecaster."""
    return changes, parameters


FULL_RATES = {"marginal": 1.0, "discriminant": 1.0}
WITHOUT_DISCRIMINANTS = (
    start("discriminants", no_discriminants),
    rates("MARGINAL", **FULL_RATES),
    rates("INTERLEAVED", **FULL_RATES),
)
NOT_COMPLETED = patch("skdeepdive.nn.out_of_fold.OutOfFold.completed_by", not_completed)
ROWS = {
    "defaults": row(),
    "concatenation": row(patch("skdeepdive.nn.module.CrossAttentionFusion", Concatenation)),
    "shared trunk": row(
        variant(SharedTrunk), rates("MARGINAL", trunk=0.3), rates("INTERLEAVED", trunk=1.0)
    ),
    "joint training": row(
        variant(Joint),
        training(no_forecast_phase),
        patch("skdeepdive._train.phases.MARGINAL_EPOCHS", 0),
        rates("INTERLEAVED", marginal=1.0),
    ),
    "no forecast phase": row(training(no_forecast_phase)),
    "forecast phase, fresh draws": row(variant(FreshDraws), NOT_COMPLETED),
    "class maps, fresh draws": row(NOT_COMPLETED),
    "eight epochs": row(max_epochs=8),
    "class maps, all responses": row(patch("skdeepdive._start.class_maps._CLEAR_DEVIATION", 0.0)),
    "all penalties": row(patch("skdeepdive._start.ridge.descend", try_all)),
    "pooled asked of more": row(
        patch(
            "skdeepdive._start.start._MOST_COMPARED",
            ((1024, 512, POOLED_WINDOWS), (4096, 1024, POOLED_WINDOWS)),
        )
    ),
    "features computed anew": row(
        patch("skdeepdive._estimators.fit.with_features", lambda data, features: data)
    ),
    "1 dimension per factor": row(n_marginal=1),
    "2 dimensions per factor": row(n_marginal=2),
    "no discriminants": row(*WITHOUT_DISCRIMINANTS),
    "no linear forecast": row(
        start("linear_forecast", last_value), start("class_maps", no_class_maps)
    ),
    "no class maps": row(start("class_maps", no_class_maps)),
    "standard normal prior": row(
        patch("skdeepdive._estimators.fit.fit_conditional_prior", standard_prior)
    ),
    "errors in sample": row(patch("skdeepdive._start.start.make_out_of_fold", in_sample)),
}


def fit_row(changes, parameters, data, seed, max_epochs):
    """Fit the forecaster of a row."""
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change)
        return fit(partial(DeepDIVEForecaster, **parameters), data, seed, max_epochs)


def measure(model, data):
    """Score on the test windows, and on those of validation."""
    _, validation, test = data.parts
    validated = scores(model, data, validation)
    names = [name for name in validated if name.startswith("accuracy")]
    tested = scores(model, data, test)
    return {
        **{name: tested[name] for name in ["reconstruction", "forecast", "mig", *names]},
        **read_in_conditional(model, data),
        **{f"validation {name}": validated[name] for name in ["forecast", *names]},
    }


def read_in_conditional(model, data):
    """Accuracy above chance of labels that neighbours among the training windows tell from a."""
    train, _, test = data.parts
    rows = np.r_[train, test]
    splits = [train_and_test(train.stop - train.start, test.stop - test.start)]
    conditional = model.transform(data.X[rows])[:, -model.n_conditional :]
    read = above_chance(data.factors.iloc[rows], conditional, cv=splits)
    return {f"{name} in a": gain for name, gain in read.items()}


def run(name, data, seed, max_epochs):
    began = time.perf_counter()
    model = fit_row(*ROWS[name], data, seed, max_epochs)
    return {"seconds": time.perf_counter() - began, **measure(model, data)}


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)
    rows = (
        (name, [run(name, data, seed, arguments.max_epochs) for seed in arguments.seeds])
        for name in arguments.rows
    )
    write_table(arguments, rows, 28)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "electricity")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    main(parser.parse_args())
