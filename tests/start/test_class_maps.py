"""The maps that classes add to the linear forecast."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData
from skdeepdive._data.labels import Factors
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import class_maps, ridge, start
from skdeepdive._start.start import Sizes, closed_form_start, fit_features
from skdeepdive.nn import mixing

N_TIMESTEPS, HORIZON = 6, 2


def make_data(n=600, gain=1.0, n_targets=1, seed=0):
    """Windows that show their class, and futures that depend on it, by its own linear map."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    X = rng.normal(size=(n, N_TIMESTEPS, n_targets))
    X[:, :3] += 6 * (labels[:, None, None] == np.arange(3)[:, None])
    weight = gain * rng.normal(size=(3, N_TIMESTEPS, HORIZON))
    y = np.einsum("ntc,nth->nhc", X, weight[labels]) + 0.3 * rng.normal(
        size=(n, HORIZON, n_targets)
    )
    scalings = [Scaling(v.mean((0, 1)), v.std((0, 1))) for v in (X, y)]
    data = WindowData(X, y, labels[:, None], *scalings, torch.device("cpu"))
    return data.part(slice(0, n - n // 4)), data.part(slice(n - n // 4, None))


def make_start(train, valid, candidates=(None,), n_classes=3):
    factors = Factors(["group"], [np.arange(n_classes)], None)
    sizes = Sizes(2, 4, n_hidden=8, n_clusters=3)
    return closed_form_start(
        train,
        valid,
        fit_features(train, 0),
        list(candidates),
        factors,
        sizes,
        0,
        interleave=True,
    )


def error(module, data, *, with_maps=True):
    batch = data.batch(slice(None))
    x, y = batch.x, batch.y
    with torch.no_grad():
        responses = module.responses(module.infer_marginal(module.features(x)).b)
        start = module.linear_forecast
        return (start(x, responses if with_maps else ()) - y).square().mean().item()


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("continues_channels", [False, True])
def test_forecasts_that_depend_on_the_class_are_found(continues_channels, n_targets):
    train, valid = make_data(n_targets=n_targets)
    module = make_start(
        train, valid, [torch.arange(n_targets) if continues_channels else None]
    ).module
    assert error(module, valid) < 0.3 * error(module, valid, with_maps=False)


@pytest.mark.parametrize("left_out", [None, 0, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_maps_equal_weighted_ridge_regression_of_each_class(shared, left_out, monkeypatch):
    monkeypatch.setattr(class_maps, "PENALTIES", (1e-9,))
    if shared:
        monkeypatch.setattr(ridge, "MAX_JOINT_ENTRIES", 0)
    train, valid = make_data(n_targets=3 if shared else 1)
    start = make_start(train, valid, [torch.arange(3) if shared else None])
    module, maps = start.module, start.out_of_fold.maps
    assert module.linear_forecast.joint is not shared
    assert len(module.linear_forecast.weight) == 1
    batch = train.batch(slice(None))
    x, y = batch.x, batch.y
    responses = module.responses(module.infer_marginal(module.features(x)).b)[0].double().numpy()
    folds = np.repeat(np.arange(len(maps)), len(train) // len(maps))
    before = torch.stack([linear(x) for linear in maps])[folds, np.arange(len(x))]
    # A row for every window and target.
    residual = (y - before).movedim(2, 1).flatten(0, 1).double().numpy()
    scores = module.linear_forecast.without_classes(x, with_scores=True)[1]
    scores = scores.mT.flatten(0, 1).double().numpy()
    used = np.repeat(folds != left_out, y.shape[2])
    found = module.linear_forecast if left_out is None else maps[left_out]
    for k in range(3):
        root = np.sqrt(np.repeat(responses[:, [k]], y.shape[2], axis=0))[used]
        expected = np.linalg.lstsq(root * scores[used], root * residual[used], rcond=None)[0]
        np.testing.assert_allclose(found.class_maps[0][0, k], expected, atol=1e-3)


@pytest.mark.parametrize("n_regressions", [1, 3])
@pytest.mark.parametrize(("gathered", "clear"), [(2**22, 1e-2), (1, 1e-2), (2**22, 0.0)])
def test_products_weigh_windows_by_responses(gathered, clear, n_regressions, monkeypatch):
    """Those near the mean of their nearest class count as that: 40 of 200 windows are not."""
    monkeypatch.setattr(class_maps, "_GATHERED", gathered)
    monkeypatch.setattr(class_maps, "_CLEAR_DEVIATION", clear)
    rng = np.random.default_rng(0)
    n, n_classes, n_inputs, n_outputs, n_targets = 200, 4, 5, 2, 3
    typical = torch.from_numpy(0.1 + 0.6 * np.eye(n_classes))
    nearest = torch.from_numpy(rng.integers(n_classes, size=n))
    weight = typical[nearest] + 1e-5 * torch.from_numpy(rng.normal(size=(n, n_classes)))
    weight[::5] = torch.from_numpy(rng.dirichlet(np.ones(n_classes), size=40))
    inputs = torch.from_numpy(rng.normal(size=(n_targets, n, n_inputs)))
    residuals = torch.from_numpy(rng.normal(size=(n_targets, n, n_outputs)))
    forecast = SimpleNamespace(
        intercept=torch.zeros(n_regressions, n_outputs), components=torch.zeros(9, n_inputs - 1)
    )
    encoded = SimpleNamespace(
        b=weight,
        weights=lambda module: ([part] for part in weight.split(60)),
        parts=lambda module, forecast: (
            ([weight[rows]], inputs[:, rows], residuals[:, rows])
            for rows in torch.arange(n).split(60)
        ),
    )
    own = slice(1, n_classes)
    found = class_maps._moments(None, forecast, 0, own, encoded)
    mean = class_maps._mean_responses(None, 0, own, encoded)
    rounded = mean[weight[:, own].argmax(1)]
    exact = (weight[:, own] - rounded).abs() > clear
    weights = torch.where(exact, weight[:, own], rounded)
    assert 20 < (~exact).sum() < exact.numel() if clear else exact.all()
    for values, sums in zip((inputs, residuals), found, strict=True):
        expected = torch.einsum("nk,tni,tno->tkio", weights, inputs, values)
        if n_regressions == 1:
            expected = expected.sum(0, keepdim=True)
        torch.testing.assert_close(sums, expected)


@pytest.mark.parametrize("module", [class_maps, start])
def test_maps_are_the_same_where_nothing_is_kept(module, monkeypatch):
    train, valid = make_data()
    expected = make_start(train, valid)
    monkeypatch.setattr(module, "_MOST_KEPT", 0)
    found = make_start(train, valid)
    for one, other in zip(found.out_of_fold.maps, expected.out_of_fold.maps, strict=True):
        for maps, kept in zip(one.class_maps, other.class_maps, strict=True):
            torch.testing.assert_close(maps, kept)


def test_a_sample_of_the_validation_windows_finds_the_same_maps(monkeypatch):
    train, valid = make_data()
    expected = make_start(train, valid).module.linear_forecast.class_maps[0]
    monkeypatch.setattr(class_maps, "_MOST_EVALUATED", len(valid) - 10)
    found = make_start(train, valid).module.linear_forecast.class_maps[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_classes_that_do_not_matter_hardly_change_validation_error(seed):
    rng = np.random.default_rng(seed)
    train, valid = make_data(seed=seed)
    for data in (train, valid):
        data.y[:] = data.X.mean(axis=1, keepdims=True) + 0.3 * rng.normal(size=data.y.shape)
    module = make_start(train, valid).module
    assert error(module, valid) <= error(module, valid, with_maps=False)
    assert error(module, valid) > 0.97 * error(module, valid, with_maps=False)


def test_a_gain_that_is_not_sure_is_left_alone(monkeypatch):
    monkeypatch.setattr(class_maps, "_SIGNIFICANT_GAIN", 1e6)
    start = make_start(*make_data())
    forecasts = [start.module.linear_forecast, *start.out_of_fold.maps]
    assert not any(linear.has_class_maps for linear in forecasts)


def test_classes_may_take_turns(monkeypatch):
    train, valid = make_data()
    together = make_start(train, valid).module
    monkeypatch.setattr(class_maps, "_PRODUCTS", 1)
    module = make_start(train, valid).module
    assert error(module, valid) < 0.3 * error(module, valid, with_maps=False)
    assert error(module, valid) < 1.2 * error(together, valid)


def test_classes_whose_turn_brings_no_sure_gain_add_nothing(monkeypatch):
    monkeypatch.setattr(class_maps, "_PRODUCTS", 1)
    best_penalty = class_maps._best_penalty

    def best_but_for_one(module, linear, i, classes, *others):
        some = classes.start != 1
        return best_penalty(module, linear, i, classes, *others) if some else None

    monkeypatch.setattr(class_maps, "_best_penalty", best_but_for_one)
    start = make_start(*make_data())
    for linear in (start.module.linear_forecast, *start.out_of_fold.maps):
        assert linear.class_maps[0].flatten(2).any(2)[0].tolist() == [True, False, True]


def test_classes_with_hardly_a_window_each_get_no_maps():
    train, valid = make_data()
    most = len(train) // 2
    found, nothing = (make_start(train, valid, n_classes=n).module for n in (most, most + 1))
    assert found.linear_forecast.class_maps[0].shape[1] == most
    assert nothing.linear_forecast.class_maps == [None]


@pytest.mark.parametrize("n_entries", [1, 10_000])
def test_how_many_classes_are_gated_at_once_does_not_matter(n_entries, monkeypatch):
    train, valid = make_data(n_targets=3)
    whole = make_start(train, valid).module.linear_forecast.class_maps[0]
    monkeypatch.setattr(mixing, "_GATED_ENTRIES", n_entries)
    parts = make_start(train, valid).module.linear_forecast.class_maps[0]
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_rows", [1, 50])
def test_the_size_of_the_batches_does_not_matter(n_rows, monkeypatch):
    train, valid = make_data(240)
    whole = make_start(train, valid).module.linear_forecast.class_maps[0]
    monkeypatch.setattr(class_maps, "rows_per_batch", lambda data, n_classes: n_rows)
    parts = make_start(train, valid).module.linear_forecast.class_maps[0]
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-4)
