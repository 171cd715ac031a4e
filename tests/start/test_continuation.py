"""A linear forecast that further windows adapt, against scikit-learn in float64."""

import copy
from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from skdeepdive._data.batches import WindowData
from skdeepdive._data.draws import make_generator
from skdeepdive._data.labels import Factors
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import continuation
from skdeepdive._start.continuation import (
    ErrorMoments,
    WindowSums,
    adapt_linear_forecast,
    continued_start,
)
from skdeepdive._start.discriminants import class_sums, refit_discriminants
from skdeepdive._start.start import Sizes, closed_form_start, fit_features
from skdeepdive.nn.linear_forecast import LinearForecast

CPU = torch.device("cpu")
N_TIMESTEPS, N_CHANNELS, HORIZON, N_CLASSES = 5, 3, 2, 3
CHANNELS = np.array([2, 0])
KINDS = ["joint", "joint with channels", "own", "shared"]

all_kinds = pytest.mark.parametrize("kind", KINDS)
with_and_without_class_maps = pytest.mark.parametrize("class_maps", [True, False])


def make_data(n, seed=0, labelled=True, noise=1.0):
    """Windows that show their class, and futures that depend on them linearly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, n)
    X = rng.normal(size=(n, N_TIMESTEPS, N_CHANNELS)) + labels[:, None, None]
    weight = np.random.default_rng(99).normal(size=(N_TIMESTEPS, HORIZON, N_CHANNELS))
    y = np.einsum("ntc,thc->nhc", X, weight)[..., CHANNELS]
    y = y + noise * rng.normal(size=y.shape)
    labels = np.where(rng.random(n) < 0.3, -1, labels)[:, None] if labelled else np.empty((n, 0))
    scalings = [Scaling(np.zeros(k), np.ones(k)) for k in (N_CHANNELS, len(CHANNELS))]
    return WindowData(X, y, labels.astype(np.int64), *scalings, CPU)


def make_forecast(kind, class_maps):
    """A forecast that has nothing to do with the futures."""
    joint, n_targets = kind.startswith("joint"), len(CHANNELS)
    n_regressions = {"own": n_targets}.get(kind, 1)
    n_inputs = N_TIMESTEPS * (N_CHANNELS if joint else 1)
    n_outputs = HORIZON * (n_targets if joint else 1)
    generator = make_generator(5, CPU)
    weight, intercept, components, maps = (
        0.3 * torch.randn(*shape, generator=generator)
        for shape in [
            (n_regressions, n_inputs, n_outputs),
            (n_regressions, n_outputs),
            (n_inputs, 2),
            (n_regressions, N_CLASSES, 3, n_outputs),
        ]
    )
    return LinearForecast(
        weight,
        intercept,
        (HORIZON, n_targets),
        joint=joint,
        source_channels=None if kind == "joint" else torch.from_numpy(CHANNELS),
        components=components,
        class_maps=[maps] if class_maps else [],
    )


def make_module(kind="joint", class_maps=True, labelled=True):
    """A module that reads classes off the windows, with such a forecast."""
    data = make_data(200, seed=50, labelled=labelled)
    names = ["group"] if labelled else []
    factors = Factors(names, [np.arange(N_CLASSES)] * len(names), None)
    sizes = Sizes(2 if labelled else 0, 2, n_hidden=4, n_clusters=0)
    module = closed_form_start(
        data, data, fit_features(data, 0), [None], factors, sizes, 0, interleave=True
    ).module
    module.linear_forecast = make_forecast(kind, class_maps and labelled)
    return module


def errors_of(module, data):
    """Errors of the forecast, in float64."""
    batch = data.batch(slice(None))
    with torch.no_grad():
        responses = module.infer_marginal(module.features(batch.x)).responses
        return (batch.y - module.linear_forecast(batch.x, responses)).double().numpy()


def arrange(kind, X, error):
    """Inputs and outputs of every regression, arranged in the test's own way."""
    X = X.astype(np.float32).astype(np.float64)
    if kind == "joint":
        return [(X.reshape(len(X), -1), error.reshape(len(X), -1))]
    last = X[:, -1:]
    if kind == "joint with channels":
        inputs = np.concatenate([X[:, :-1] - last, last], axis=1)
        return [(inputs.reshape(len(X), -1), error.reshape(len(X), -1))]
    pairs = [((X - last)[:, :, c], error[:, :, j]) for j, c in enumerate(CHANNELS)]
    if kind == "shared":
        return [tuple(np.concatenate(part) for part in zip(*pairs, strict=True))]
    return pairs


def ridge(inputs, outputs, penalty):
    alpha = penalty * len(inputs) * inputs.var(axis=0).mean()
    return Ridge(alpha, solver="cholesky").fit(inputs, outputs)


def concatenate(*parts):
    X, y, labels = (np.concatenate([getattr(p, f) for p in parts]) for f in ("X", "y", "labels"))
    return WindowData(X, y, labels, parts[0].x_scaling, parts[0].y_scaling, CPU)


def assert_equal_sums(found, expected):
    assert type(found) is type(expected)
    for name in (field.name for field in fields(expected)):
        part, true = getattr(found, name), getattr(expected, name)
        if isinstance(true, torch.Tensor):
            torch.testing.assert_close(part, true, rtol=1e-6, atol=1e-4)
        elif true is None or isinstance(true, int | float):
            assert part == true
        else:
            assert_equal_sums(part, true)


@pytest.mark.parametrize("left_out", [None, 0, 2, 5])
@with_and_without_class_maps
@all_kinds
def test_maps_add_the_ridge_regression_of_the_errors_without_their_fold(
    kind, class_maps, left_out, monkeypatch
):
    penalty = 0.05
    monkeypatch.setattr(continuation, "_PENALTIES", (penalty,))
    module = make_module(kind, class_maps)
    past, train, valid = make_data(70, seed=1), make_data(63, seed=2), make_data(40, seed=3)
    sums = ErrorMoments.of(module, past, valid).with_more(module, train, valid)
    adapted, fold_maps = adapt_linear_forecast(module, train, sums)
    assert len(fold_maps) == 6
    bounds = np.linspace(0, len(train), 7).astype(int)
    fold = np.searchsorted(bounds, np.arange(len(train)), side="right") - 1
    used = np.flatnonzero(np.concatenate([np.full(len(past), True), fold != left_out]))
    windows = concatenate(past, train)
    found = adapted if left_out is None else fold_maps[left_out]
    before = make_forecast(kind, class_maps)
    pairs = arrange(kind, windows.X[used], errors_of(module, windows)[used])
    for i, pair in enumerate(pairs):
        model = ridge(*pair, penalty)
        weight, intercept = found.weight - before.weight, found.intercept - before.intercept
        np.testing.assert_allclose(weight[i], model.coef_.T, atol=2e-6)
        np.testing.assert_allclose(intercept[i], model.intercept_, atol=2e-6)


@all_kinds
def test_the_penalty_has_the_least_error_on_the_validation_windows(kind):
    module = make_module(kind)
    train, valid = make_data(24, seed=1, noise=6.0), make_data(2000, seed=2, noise=0.0)
    adapted, _ = adapt_linear_forecast(module, train, ErrorMoments.of(module, train, valid))
    pairs, others = (arrange(kind, d.X, errors_of(module, d)) for d in (train, valid))
    fits, errors = {}, {}
    for penalty in continuation._PENALTIES:
        fits[penalty] = [ridge(*pair, penalty) for pair in pairs]
        errors[penalty] = sum(
            np.square(model.predict(inputs) - outputs).sum()
            for model, (inputs, outputs) in zip(fits[penalty], others, strict=True)
        )
    best = min(errors, key=errors.get)
    assert best > min(errors)  # the one with the least error on the training windows
    change = adapted.weight - make_forecast(kind, True).weight
    for i, model in enumerate(fits[best]):
        np.testing.assert_allclose(change[i], model.coef_.T, atol=1e-5)


@with_and_without_class_maps
@all_kinds
def test_nothing_changes_where_validation_windows_do_not_gain(kind, class_maps):
    module = make_module(kind, class_maps)
    train, valid = make_data(100, seed=1), make_data(100, seed=2)
    valid.y[:] -= 2 * errors_of(module, valid)  # what the training windows teach is wrong for them
    errors = ErrorMoments.of(module, train, valid)
    adapted, fold_maps = adapt_linear_forecast(module, train, errors)
    assert fold_maps == []
    for name, before in make_forecast(kind, class_maps).state_dict().items():
        assert torch.equal(adapted.state_dict()[name], before)


def test_adapting_leaves_sums_and_module_as_they_were():
    module, train, valid = make_module("own"), make_data(100, seed=1), make_data(100, seed=2)
    errors = ErrorMoments.of(module, train, valid)
    expected = copy.deepcopy(errors), copy.deepcopy(module.linear_forecast.state_dict())
    adapted, _ = adapt_linear_forecast(module, train, errors)
    assert not torch.equal(adapted.weight, errors.weight)
    assert_equal_sums(errors, expected[0])
    for name, before in expected[1].items():
        assert torch.equal(module.linear_forecast.state_dict()[name], before)


@pytest.mark.parametrize("labelled", [True, False])
@with_and_without_class_maps
@all_kinds
def test_sums_of_chunks_are_those_of_all_their_windows(kind, class_maps, labelled):
    module = make_module(kind, class_maps, labelled)
    trains, valids = (
        [make_data(n, seed, labelled) for n, seed in zip(sizes, seeds, strict=True)]
        for sizes, seeds in [((30, 41, 7), (1, 2, 3)), ((12, 1, 20), (4, 5, 6))]
    )
    whole = WindowSums.of(module, concatenate(*trains), concatenate(*valids))
    sums = WindowSums.of(module, trains[0], valids[0])
    for train, valid in zip(trains[1:], valids[1:], strict=True):
        module.linear_forecast.intercept += 1.0  # sums go on with the forecast they began with
        sums = sums.with_more(module, train, valid)
    assert (whole.labels is not None) == labelled
    assert_equal_sums(sums, whole)


def test_discriminants_and_frequencies_are_those_of_all_chunks():
    module, valid = make_module(), make_data(60, seed=9)
    chunks = [make_data(50, seed) for seed in (1, 2)]
    labels = np.concatenate([chunk.labels for chunk in chunks])
    past = WindowSums.of(module, chunks[0], valid)
    start, sums = continued_start(module, chunks[1], valid, past)
    counts = np.bincount(labels[labels >= 0], minlength=N_CLASSES)
    np.testing.assert_array_equal(sums.labels.counts, counts)
    prior, encoder = start.module.priors[0], start.module.marginal_encoder
    np.testing.assert_allclose(prior.log_weights.exp(), counts / counts.sum(), rtol=1e-5)
    together = class_sums(concatenate(*chunks), module.features, [N_CLASSES])
    weight, bias = refit_discriminants(together, valid, module.features, [N_CLASSES])
    torch.testing.assert_close(encoder.discriminant.weight.data, weight)
    torch.testing.assert_close(encoder.discriminant.bias.data, bias)


def test_windows_whose_past_is_unknown_leave_discriminants_as_they_are():
    module, valid = make_module(), make_data(60, seed=9)
    before = copy.deepcopy(module.marginal_encoder.state_dict())
    _, sums = continued_start(module, make_data(50, seed=1), valid, None)
    assert sums.labels is None
    for name, value in before.items():
        assert torch.equal(module.marginal_encoder.state_dict()[name], value)
