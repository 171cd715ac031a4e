"""Windows with gaps: DeepDIVE on them as they are, beside the same model behind imputers.

    python benchmarks/gaps.py --dataset electricity --lost singly [--data FOLDER] [--seeds 0 1 2]

Of every channel a tenth of the values is lost, singly or in stretches (6 to 48 hours; 0.2 to 2 s of
sensors), in training, validation and test windows. Forecasts are scored on all values of the true
test futures (RRSE of standardised values), labels by the accuracy for every factor. "Filled" is the
root mean squared error at the lost places of the test windows. The intervals are those between the
quantiles 0.05 and 0.95; "half" are test windows of which half of the values is lost. "Trained on
complete" has gaps in the test windows alone: what these do not show costs any method as much.

Imputers are fitted to training rows, a row for each time step and a column for each channel, as in
a table; scikit-learn's two have their defaults. Linear interpolation looks at each window by
itself, and keeps the first and last value that it has.
"""

from dataclasses import replace

import numpy as np
import torch
from benchmark_data import LOADERS, SeriesWindows
from numpy.lib.stride_tricks import sliding_window_view
from paper import accuracies, fit, make_parser, write_table
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from skdeepdive import DeepDIVEForecaster
from skdeepdive.metrics import rrse_score

PART, HALF = 0.1, 0.5
HOURS, SECONDS = (6, 48), (0.2, 2.0)
SAMPLING_RATE = 50  # of the sensors, in hertz
FIT_ROWS = 5000  # that imputers are fitted to: KNNImputer compares every row with all of them
COVERED = [0.05, 0.95]


def lose(values, part, lengths, random):
    """Return values `(n_steps, n_channels)` of which a part is NaN, singly or in stretches."""
    lost = np.zeros(values.shape, dtype=bool)
    if lengths is None:
        lost = random.random(values.shape) < part
    else:
        for channel in lost.T:
            while channel.mean() < part:
                start = random.integers(1 - lengths[0], len(channel))
                channel[max(0, start) : start + random.integers(*lengths, endpoint=True)] = True
    return np.where(lost, np.nan, values)


def with_gaps(data, part, singly, seed):
    """Return the same data set with gaps: in the series, or in every recorded window by itself."""
    random = np.random.default_rng(seed)
    if isinstance(data, SeriesWindows):
        return with_series(data, lose(data.series, part, None if singly else HOURS, random))
    lengths = None if singly else tuple(int(s * SAMPLING_RATE) for s in SECONDS)
    cases = [lose(c, part, lengths, random) for c in np.concatenate([data.X, data.y], axis=1)]
    return with_cases(data, np.stack(cases))


def with_series(data, series):
    """Cut the windows of a data set from another series."""
    length = data.X.shape[1] + data.y.shape[1]
    cases = sliding_window_view(series, length, axis=0).transpose(0, 2, 1)
    first = data.origin[0] + 1 - data.X.shape[1]
    return replace(with_cases(data, cases[first : first + len(data.X)]), series=series)


def with_cases(data, cases):
    """Return a data set with other windows and futures, one after the other in cases."""
    n_timesteps = data.X.shape[1]
    return replace(data, X=cases[:, :n_timesteps], y=cases[:, n_timesteps:])


def interpolated(data):
    """Fill the gaps of every window and future linearly; without any value, by zeros."""
    parts = []
    for values in (data.X, data.y):
        filled = np.array(values)
        steps = np.arange(filled.shape[1])
        for channel in (channel for case in filled for channel in case.T):
            known = ~np.isnan(channel)
            channel[:] = np.interp(steps, steps[known], channel[known]) if known.any() else 0.0
        parts.append(filled)
    return replace(data, X=parts[0], y=parts[1])


def by_rows(imputer, data):
    """Fill data sets row by row, by an imputer that is fitted to training rows of one of them."""
    rows = data.X[data.parts[0]][:: data.X.shape[1]].reshape(-1, data.X.shape[2])
    imputer.fit(np.random.default_rng(0).permutation(rows)[:FIT_ROWS])

    def fill(other):
        if isinstance(other, SeriesWindows):
            return with_series(other, imputer.transform(other.series))
        cases = np.concatenate([other.X, other.y], axis=1)
        return with_cases(
            other, imputer.transform(cases.reshape(-1, rows.shape[1])).reshape(cases.shape)
        )

    return fill


def scores(model, complete, gaps, imputed, half):
    """Score a model that gets the test windows `imputed` on the futures that there were.

    `gaps` says which values were lost, None: none were. `half` are the windows of which half of the
    values is lost, as the model gets them.
    """
    test = complete.parts[2]
    X, y, factors = imputed.X[test], complete.y[test], complete.factors.iloc[test]
    measured = {"forecast": rrse_score(y, model.predict(X))}
    measured |= accuracies(factors, model.predict_cluster(X))
    if gaps is None:
        return measured
    lost = np.isnan(gaps.X[test])
    filled = np.where(np.isnan(X), model.reconstruct(X), X)
    measured["filled"] = float(np.sqrt(np.square((filled - complete.X[test])[lost]).mean()))
    for name, windows in (("coverage", X), ("coverage, half", half.X[test])):
        low, high = np.moveaxis(model.predict_quantiles(windows, COVERED), -1, 0)
        measured[name] = float(((low <= y) & (y <= high)).mean())
    return measured


def make_fill(method, gaps, seed):
    """Return the function by which a method fills data sets."""
    if method == "DeepDIVE":
        return lambda data: data
    if method == "linear interpolation":
        return interpolated
    imputer = KNNImputer() if method == "KNNImputer" else IterativeImputer(random_state=seed)
    return by_rows(imputer, gaps)


def run(method, complete, gaps, half, seed, fitted):
    """Fit by one method, and score it; `fitted` fits to a data set, by a seed."""
    if method == "complete":
        return scores(fitted(complete, seed), complete, None, complete, None)
    if method == "trained on complete":
        return scores(fitted(complete, seed), complete, gaps, gaps, half)
    fill = make_fill(method, gaps, seed)
    imputed = fill(gaps)
    return scores(fitted(imputed, seed), complete, gaps, imputed, fill(half))


METHODS = [
    "complete",
    "trained on complete",
    "DeepDIVE",
    "linear interpolation",
    "KNNImputer",
    "IterativeImputer",
]


def main(arguments):
    complete = LOADERS[arguments.dataset](arguments.data)
    singly = arguments.lost == "singly"

    models = {}  # of complete windows, which two methods have in common

    def fitted(data, seed):
        if data is complete and seed in models:
            return models[seed]
        model = fit(DeepDIVEForecaster, data, seed, arguments.max_epochs)
        if data is complete:
            models[seed] = model
        return model

    def runs(method):
        found = []
        for seed in arguments.seeds:
            gaps, half = (with_gaps(complete, part, singly, seed) for part in (PART, HALF))
            found.append(run(method, complete, gaps, half, seed, fitted))
        return found

    write_table(arguments, ((name, runs(name)) for name in arguments.methods), 22)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = make_parser(__doc__.splitlines()[0], "electricity")
    parser.add_argument("--lost", choices=["singly", "in stretches"], default="singly")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    main(parser.parse_args())
