"""Forecasts as distributions: calibrated, coherent, and of the shapes and units of y."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive._train import conformal
from skdeepdive.datasets import load_electricity
from skdeepdive.nn.forecast import forecast_and_scale

PERIOD = 12


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 4, "n_clusters": 3, "max_epochs": 2}
    return DeepDIVEForecaster(**{**small, "batch_size": 64, "random_state": 0, **parameters})


def make_windows(n_steps=600, seed=0):
    """A sine whose noise is larger in one half of its period, and the half as a label."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_steps)
    noise = np.where(time % PERIOD < 6, 0.05, 0.3) * rng.standard_normal(n_steps)
    X, y, origin = sliding_windows(np.sin(2 * np.pi * time / PERIOD) + noise, 2 * PERIOD, 3)
    return X, y, (origin % PERIOD) // 6


@cache
def fitted():
    X, y, half = make_windows()
    return make_model().fit(X, y, half)


@cache
def real():
    """Two clients' load: a model, test windows, their futures."""
    load = load_electricity(as_frame=True).data
    X, y, origin = sliding_windows(load.to_numpy(), 168, 24, stride=5)
    factors = calendar_factors(load.index[origin], ["hour", "weekday"])
    n, gap = int(0.8 * len(X)), 5
    model = DeepDIVEForecaster(n_hidden=64, n_conditional=8, max_epochs=2, random_state=0)
    model.fit(X[:n], y[:n], factors[:n])
    return model, X[n + gap :], y[n + gap :]


@pytest.mark.parametrize("nominal", [0.8, 0.9, 0.95])
def test_intervals_cover_unseen_real_load_as_nominal(nominal):
    model, X, y = real()
    low, high = np.moveaxis(
        model.predict_quantiles(X, [(1 - nominal) / 2, (1 + nominal) / 2]), -1, 0
    )
    assert ((low <= y) & (y <= high)).mean() == pytest.approx(nominal, abs=0.03)


def test_intervals_follow_the_noise_of_the_classes():
    X, y, half = make_windows(n_steps=2400)
    model = make_model(max_epochs=1).fit(X[:2000], y[:2000], half[:2000])
    forecast, deviation = model.predict(X[2000:], return_std=True)
    errors, half = y[2000:] - forecast, half[2000:]
    sizes = []
    for k in (0, 1):
        sizes.append(np.sqrt(np.square(errors[half == k, :2]).mean()))
        assert deviation[half == k, :2].mean() == pytest.approx(sizes[k], rel=0.2)
    assert sizes[1] > 1.7 * sizes[0]


def test_a_scale_by_window_and_class_tells_more_than_one_for_all():
    """Quantiles of raw errors, even of those on the very windows they are scored on, lose."""
    model, X, y = real()
    levels = np.array([0.05, 0.25, 0.75, 0.95])

    def pinball(quantiles):
        error = (y[..., None] - quantiles) / y.std((0, 1))[:, None]
        return np.maximum(levels * error, (levels - 1) * error).mean()

    forecast = model.predict(X)
    of_errors = np.quantile(y - forecast, levels, axis=0)
    constant = forecast[..., None] + np.moveaxis(of_errors, 0, -1)
    assert pinball(model.predict_quantiles(X, levels)) < pinball(constant)


def test_quantiles_do_not_cross():
    levels = np.linspace(0.01, 0.99, 25)
    found = fitted().predict_quantiles(make_windows(seed=1)[0], levels)
    assert (np.diff(found, axis=-1) >= 0).all()


def test_quantiles_come_in_the_order_asked_for():
    X = make_windows(seed=1)[0]
    found = fitted().predict_quantiles(X, [0.9, 0.1])
    np.testing.assert_array_equal(found[..., ::-1], fitted().predict_quantiles(X, [0.1, 0.9]))


def test_samples_have_the_quantiles_and_the_spread_of_the_forecast():
    model, X = fitted(), make_windows(seed=1)[0][:40]
    samples = model.sample(X, 2000, random_state=0)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    _, deviation = model.predict(X, return_std=True)
    expected = model.predict_quantiles(X, levels)
    found = np.moveaxis(np.quantile(samples, levels, axis=-1), 0, -1)
    assert np.abs(found - expected).mean() < 0.1 * deviation.mean()
    np.testing.assert_allclose(samples.std(-1).mean(), deviation.mean(), rtol=0.05)
    np.testing.assert_allclose(samples.mean(-1).mean(), model.predict(X).mean(), atol=0.05)


def test_steps_of_a_sample_go_together_as_those_of_the_data():
    """A random walk strays further with every step; its errors add up."""
    walk = np.cumsum(np.random.default_rng(0).standard_normal(3000))
    X, y, _ = sliding_windows(walk, 8, 6)
    model = make_model(latent="conditional", max_epochs=1).fit(X[:2500], y[:2500])
    samples = model.sample(X[2520:2540], 1000, random_state=0)
    total = samples.sum(axis=1).std(-1).mean()
    apart = np.sqrt((samples.std(-1) ** 2).sum(1)).mean()
    error = y[2520:] - model.predict(X[2520:])
    assert total > 1.8 * apart
    assert total == pytest.approx(error.sum(1).std(), rel=0.2)


def test_errors_that_spread_alike_get_a_constant_scale():
    rng = np.random.default_rng(0)
    level = rng.uniform(-3, 3, size=(800, 1))
    X = level + rng.normal(size=(800, 5)) * rng.uniform(0.1, 1, size=(800, 1))
    y = level + rng.normal(size=(800, 2))
    model = make_model(latent="conditional", max_epochs=1).fit(X, y)
    assert model.module_.conformal.exponent.tolist() == [0.0]
    _, deviation = model.predict(X, return_std=True)
    np.testing.assert_allclose(deviation, np.broadcast_to(deviation[0], deviation.shape))


def test_the_deviation_is_the_size_of_the_errors():
    model, X, y = real()
    forecast, deviation = model.predict(X, return_std=True)
    np.testing.assert_array_equal(forecast, model.predict(X))
    found = np.sqrt(np.square((y - forecast) / deviation).mean((0, 1)))
    np.testing.assert_allclose(found, 1.0, atol=0.25)


SHAPES = [(1,), (2,), (3,)]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_shape_and_precision_of_forecasts(ndim, dtype):
    X, y, _ = make_windows()
    X = X.astype(dtype)
    y = {1: y[:, 0], 2: y, 3: y[:, :, None]}[ndim]
    model = make_model(max_epochs=1).fit(X, y)
    shape = (5, *y.shape[1:])
    forecast, deviation = model.predict(X[:5], return_std=True)
    assert forecast.shape == deviation.shape == shape
    assert model.predict_quantiles(X[:5], [0.1, 0.4, 0.9, 0.95]).shape == (*shape, 4)
    assert model.predict_quantiles(X[:5], 0.4).shape == shape
    assert model.sample(X[:5], 7).shape == (*shape, 7)
    for values in (deviation, model.predict_quantiles(X[:5]), model.sample(X[:5], 2)):
        assert values.dtype == dtype


def test_outputs_are_in_the_units_of_y():
    X, y, half = make_windows()
    model = make_model(max_epochs=1).fit(X, y, half)
    large = make_model(max_epochs=1).fit(1000 * X + 7, 1000 * y + 7, half)
    for outputs in (
        lambda m, X: m.predict_quantiles(X, [0.1, 0.9]),
        lambda m, X: m.sample(X, 3, random_state=1),
    ):
        np.testing.assert_allclose(
            outputs(large, 1000 * X[:9] + 7), 1000 * outputs(model, X[:9]) + 7, rtol=1e-3, atol=1
        )
    (_, small), (_, wide) = (
        m.predict(x, return_std=True) for m, x in ((model, X), (large, 1000 * X + 7))
    )
    np.testing.assert_allclose(wide, 1000 * small, rtol=1e-2)


def test_a_seed_gives_the_same_samples_and_none_others():
    model, X = fitted(), make_windows()[0][:3]
    a, b = (model.sample(X, 4, random_state=0) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(model.sample(X, 4), model.sample(X, 4))


def test_no_global_state_is_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fitted().sample(make_windows()[0][:3], 2)
    fitted().score_samples(make_windows()[0][:3])
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_what_a_window_gets_does_not_depend_on_the_others():
    model, X = fitted(), make_windows()[0]
    for output in (model.predict_quantiles, model.score_samples):
        np.testing.assert_allclose(output(X)[10:12], output(X[10:12]), rtol=1e-9)


def test_few_validation_windows_give_their_extremes():
    X, y, half = make_windows(n_steps=60)
    model = make_model(max_epochs=1).fit(X, y, half)
    found = model.predict_quantiles(X[:4], [0.001, 0.999])
    errors = model.module_.conformal.errors.numpy()
    x = torch.from_numpy(model._x_scaling.apply(X[:4, :, None], np.float64))
    _, scale = forecast_and_scale(model.module_, model.module_.features(x))
    width = (errors.max(0) - errors.min(0)) * scale.numpy() * model._y_scaling.scale
    np.testing.assert_allclose(found[..., 1] - found[..., 0], width[..., 0])


def test_constant_series_have_no_spread():
    X, y = np.full((40, 6), 3.0), np.full((40, 2), 3.0)
    model = make_model(latent="conditional", max_epochs=1).fit(X, y)
    forecast, deviation = model.predict(X, return_std=True)
    assert np.isfinite(deviation).all()
    np.testing.assert_allclose(deviation, 0.0, atol=1e-3)
    np.testing.assert_allclose(model.predict_quantiles(X, 0.9), forecast, atol=1e-3)
    assert np.isfinite(model.sample(X, 3)).all()


def test_errors_of_small_chunks_join_those_before():
    X, y, half = make_windows(n_steps=900)
    model = make_model(validation_fraction=0.3).partial_fit(X[:400], y[:400], half[:400])
    before = model.module_.conformal
    model.partial_fit(X[400:440], y[400:440], half[400:440])
    after = model.module_.conformal
    assert len(after.errors) == conformal._ENOUGH
    np.testing.assert_array_equal(before.errors[-(_ENOUGH_LEFT):], after.errors[:_ENOUGH_LEFT])
    np.testing.assert_array_equal(before.exponent, after.exponent)


_ENOUGH_LEFT = conformal._ENOUGH - 12


def test_an_unusual_window_has_a_low_score():
    model, X, _ = real()
    odd = X.copy()
    odd[:, 40:50] += 4 * X.std((0, 1))
    assert (model.score_samples(odd) < model.score_samples(X)).mean() > 0.95


def test_terms_of_the_score_add_up():
    model, X = fitted(), make_windows(seed=1)[0]
    terms = model.score_terms(X)
    assert list(terms) == ["reconstruction", "kl_a", "kl_b"]
    np.testing.assert_allclose(
        model.score_samples(X), terms["reconstruction"] - terms["kl_a"] - terms["kl_b"]
    )
    assert (terms["kl_a"] > 0).all()


@pytest.mark.parametrize("latent", ["conditional", "marginal"])
def test_an_absent_part_has_no_divergence(latent):
    X, y, half = make_windows()
    model = make_model(latent=latent, max_epochs=1).fit(X, y, half)
    absent = {"conditional": "kl_b", "marginal": "kl_a"}[latent]
    assert not model.score_terms(X)[absent].any()
    assert np.isfinite(model.sample(X[:3], 2)).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, X: m.predict_quantiles(X, 1.0), ValueError, "'quantiles' must be .* got 1.0"),
        (lambda m, X: m.predict_quantiles(X, [0.0, 0.5]), ValueError, "'quantiles' must be"),
        (lambda m, X: m.predict_quantiles(X, []), ValueError, "'quantiles' must be"),
        (lambda m, X: m.predict_quantiles(X, [[0.5]]), ValueError, "'quantiles' must be"),
        (lambda m, X: m.predict_quantiles(X, "median"), TypeError, "'quantiles' .* got 'median'"),
        (lambda m, X: m.predict_quantiles(X, np.nan), ValueError, "'quantiles' must be"),
        (lambda m, X: m.sample(X, 0), ValueError, "'n_samples' must be a positive integer"),
        (lambda m, X: m.sample(X, 1.5), TypeError, "'n_samples' must be an integer, got 1.5"),
        (lambda m, X: m.sample(X, 2, random_state="a"), ValueError, "'random_state' must be"),
        (
            lambda m, X: m.predict(X, 24),
            TypeError,
            "'return_std' must be True or False, got 24. Labels .* factors=labels. .* futures",
        ),
        (lambda m, X: m.predict_quantiles(X[:, 1:]), ValueError, "X has 23 features"),
        (lambda m, X: m.score_samples(np.where(X > 1, np.inf, X)), ValueError, "'X' must be fin"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(fitted(), make_windows()[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda m, X: m.predict(X, return_std=True),
        lambda m, X: m.predict_quantiles(X),
        lambda m, X: m.sample(X),
        lambda m, X: m.score_samples(X),
    ],
)
def test_an_unfitted_model_says_so(call):
    with pytest.raises(NotFittedError):
        call(make_model(), make_windows()[0])
