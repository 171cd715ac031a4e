"""How well labels are read from windows: DeepDIVE, and a softmax classifier on the same encoder.

    python benchmarks/labels.py --data FOLDER --dataset electricity [--seeds 0 1 2] [--json FILE]

The classifier is the marginal encoder as far as its logits, from the same closed-form start. It is
trained by the cross-entropy of the labels alone: no RBF layer, no divergence, no other task; and
for as many epochs as DeepDIVE trains labels for, unless the cross-entropy on the validation windows
stops falling. DeepDIVE follows with several numbers of dimensions; no gradient of the conditional
dimensions or of the forecast reaches its marginal path, so they are left out to save time.
Accuracies are of the test windows: mean and standard deviation over seeds. Those of the validation
windows would say nothing, because the discriminants are fitted to these as well in the end.
"""

from dataclasses import replace

import torch
from ablation import (
    WITHOUT_DISCRIMINANTS,
    fit_row,
    last_value,
    no_class_maps,
    rates,
    row,
    start,
    training,
    variant,
)
from benchmark_data import LOADERS
from paper import accuracies, make_parser, write_table
from torch.nn.functional import nll_loss

from skdeepdive._train.phases import MARGINAL_EPOCHS, deepdive_phases
from skdeepdive.nn import DeepDIVE
from skdeepdive.nn.module import Latents


class Softmax(DeepDIVE):
    """Read the labels from the logits of the marginal encoder, which stand in the place of b."""

    def infer_marginal(self, window, draws=None, labels=None):
        encoder = self.marginal_encoder
        logits = encoder.discriminant(window.with_pooled)
        logits = logits + encoder.logits(encoder.trunk(window.features))
        return Latents(
            b=logits, log_joints=self.log_joints(logits), responses=self.responses(logits)
        )

    def log_joints(self, b):
        return [z.log_softmax(1) for z in b.split(self.marginal_encoder.class_counts, dim=1)]

    def marginal_terms(self, latents, labels):
        pairs = zip(latents.log_joints, labels.T, strict=True)
        cross_entropy = sum(nll_loss(*pair, reduction="none") for pair in pairs)
        return torch.zeros_like(cross_entropy), cross_entropy


def labels_alone(module, max_epochs, patience, **options):
    """Return the first phase only, with the epochs of both in which DeepDIVE learns labels."""
    first, *_ = deepdive_phases(module, max_epochs, patience, **options)
    return [replace(first, max_epochs=MARGINAL_EPOCHS + max_epochs, patience=patience)]


def classifier(*changes):
    """Return the row of a softmax classifier."""
    return reader(variant(Softmax), training(labels_alone), *changes)


def reader(*changes, **parameters):
    """Return a row that reads labels, without what does not touch them."""
    forecast = start("linear_forecast", last_value), start("class_maps", no_class_maps)
    return row(*forecast, *changes, latent="marginal", **parameters)


READERS = {
    "linear discriminants": classifier(rates("MARGINAL", marginal=0.0, discriminant=0.0)),
    "softmax on the same encoder": classifier(),
    "DeepDIVE": reader(),
    **{f"DeepDIVE, n_marginal={n}": reader(n_marginal=n) for n in (1, 2, 8)},
    "softmax, no closed-form start": classifier(*WITHOUT_DISCRIMINANTS),
    "DeepDIVE, no closed-form start": reader(*WITHOUT_DISCRIMINANTS),
}


def read(name, data, seed, max_epochs):
    model = fit_row(*READERS[name], data, seed, max_epochs)
    test = data.parts[2]
    return accuracies(data.factors.iloc[test], model.predict_cluster(data.X[test]))


def main(arguments):
    data = LOADERS[arguments.dataset](arguments.data)

    def runs(name):
        seeds = arguments.seeds[:1] if name == "linear discriminants" else arguments.seeds
        return [read(name, data, seed, arguments.max_epochs) for seed in seeds]

    rows = ((name, runs(name)) for name in arguments.rows)
    write_table(arguments, rows, 32)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "electricity")
    parser.add_argument("--rows", nargs="+", choices=READERS, default=list(READERS), metavar="ROW")
    main(parser.parse_args())
