"""What if, and why: counterfactuals, traversals and attributions."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.exceptions import NotFittedError

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows
from skdeepdive.datasets import load_electricity
from skdeepdive.nn.explain import shapley_values

EFFECTS = np.array([0.0, 1.0, -2.0])


def make_model(**parameters):
    small = {"n_hidden": 32, "n_conditional": 4, "n_clusters": 3, "max_epochs": 4}
    return DeepDIVEForecaster(**{**small, "batch_size": 32, "random_state": 0, **parameters})


def make_windows(n=1500, seed=0):
    """Windows whose harmonic tells their class, and futures that the class shifts."""
    rng = np.random.default_rng(seed)
    label = rng.integers(3, size=n)
    steps = np.arange(24)
    harmonic = np.array([np.cos(2 * np.pi * k * steps / 24) for k in (2, 3, 4)])
    level = rng.normal(size=(n, 1))
    X = level + harmonic[label] + 0.3 * rng.normal(size=(n, 24))
    y = level + EFFECTS[label][:, None] + 0.1 * rng.normal(size=(n, 3))
    names = np.array(["calm", "high", "low"])
    return X, y, pd.DataFrame({"state": names[label], "half": np.arange(n) % 2}), label


@cache
def fitted():
    X, y, factors, _ = make_windows()
    return make_model().fit(X, y, factors[["state"]])


@cache
def fitted_to_load():
    load = load_electricity(as_frame=True).data
    X, y, origin = sliding_windows(load.to_numpy(), 168, 24)
    factors = calendar_factors(load.index[origin], ["hour", "weekday"])
    n = int(0.8 * len(X))
    model = DeepDIVEForecaster(max_epochs=5, random_state=0)
    model.fit(X[:n:5], y[:n:5], factors[:n:5])
    return model, X[n + 192 :], y[n + 192 :], factors[n + 192 :]


def test_the_effect_of_a_class_is_recovered():
    X, _, _, label = make_windows(300, seed=1)
    model = fitted()
    for k, name in enumerate(["calm", "high", "low"]):
        change = model.counterfactual(X, {"state": name}).forecast - model.predict(X)
        expected = EFFECTS[k] - EFFECTS[label]
        assert np.abs(change.mean(axis=1) - expected).mean() < 0.25
        assert np.corrcoef(change.mean(axis=1), expected)[0, 1] > 0.97


def test_the_window_takes_the_shape_of_the_class():
    X, _, _, label = make_windows(300, seed=1)
    changed = fitted().counterfactual(X, {"state": "low"}).window
    shapes = [X[label == k].mean(axis=0) - X[label == k].mean() for k in range(3)]
    centred = changed - changed.mean(axis=1, keepdims=True)
    nearest = np.argmin([np.square(centred - shape).sum(axis=1) for shape in shapes], axis=0)
    assert (nearest == 2).mean() > 0.9


def test_what_was_the_case_anyway_changes_little():
    X, _, _, label = make_windows(300, seed=1)
    calm = X[label == 0]
    model = fitted()
    change = model.counterfactual(calm, {"state": "calm"}).forecast - model.predict(calm)
    assert np.abs(change).mean() < 0.15


def test_a_window_keeps_what_is_its_own():
    X = make_windows(20, seed=1)[0]
    model = fitted()
    changed = model.counterfactual(X, {"state": "low"}).window
    decoded = model.transform(X)
    centre = model.module_.priors[0].centres[2].numpy()
    decoded[:, : len(centre)] = centre
    expected = X - model.reconstruct(X) + model.inverse_transform(decoded)
    # The label is assumed for certain; from its centre it is read with a probability near 1.
    np.testing.assert_allclose(changed, expected, atol=0.05)


def test_forecasts_from_weekdays_come_closer_to_sundays_of_the_season():
    """A forecast from midnight is of the day after its origin: Saturday's stands for Sunday."""
    model, X, y, factors = fitted_to_load()
    midnight = factors["hour"].to_numpy() == 23
    weekday = factors["weekday"].to_numpy()
    saturdays = np.flatnonzero(midnight & (weekday == 5))
    others = np.flatnonzero(midnight & np.isin(weekday, [0, 1, 2, 3]))
    before = model.predict(X[others])
    after = model.counterfactual(X[others], {"weekday": 5}).forecast
    scale = y.std(axis=(0, 1))
    closer = []
    for i, factual, what_if in zip(others, before, after, strict=True):
        sunday = y[saturdays[np.abs(saturdays - i) <= 24 * 21]].mean(axis=0)
        away = [np.abs((forecast - sunday) / scale).mean() for forecast in (factual, what_if)]
        closer.append(away[1] < away[0])
    assert np.mean(closer) > 0.8


def test_several_factors_are_changed_at_once():
    X, y, factors, _ = make_windows(400)
    model = make_model(max_epochs=1).fit(X, y, factors)
    both = model.counterfactual(X[:9], {"half": 1, "state": "low"})
    swapped = model.counterfactual(X[:9], {"state": "low", "half": 1})
    np.testing.assert_allclose(both.forecast, swapped.forecast)
    assert not np.allclose(both.forecast, model.counterfactual(X[:9], {"half": 1}).forecast)


def test_a_traverse_through_the_present_value_changes_nothing_there():
    X = make_windows(1, seed=1)[0]
    model = fitted()
    name = "conditional_1"
    column = model.get_feature_names_out().tolist().index(name)
    present = model.transform(X)[0, column]
    found = model.traverse(X, name, [-2.0, present, 2.0])
    np.testing.assert_allclose(found.window[0, :, 1], X[0], atol=1e-9)
    np.testing.assert_allclose(found.forecast[0, :, 1], model.predict(X)[0], atol=1e-9)
    assert np.ptp(found.window, axis=-1).max() > 1e-3
    by_position = model.traverse(X, column, [-2.0])
    np.testing.assert_array_equal(by_position.window[..., 0], found.window[..., 0])


@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
def test_parts_add_up_to_the_forecast(latent):
    X, y, factors, _ = make_windows(300)
    model = make_model(latent=latent, max_epochs=2).fit(X, y, factors)
    parts = model.attribute(X[:50])
    names = [] if latent == "conditional" else ["state", "half"]
    assert list(parts.factors) == names
    total = parts.level + parts.linear + parts.window + parts.conditional
    total += sum(parts.factors.values())
    np.testing.assert_allclose(total, model.predict(X[:50]), rtol=1e-9, atol=1e-9)
    if latent == "marginal":
        assert not parts.conditional.any()


def test_parts_of_load_add_up_to_the_forecast():
    model, X, _, _ = fitted_to_load()
    parts = model.attribute(X[:30])
    total = parts.level + parts.linear + parts.window + parts.conditional
    np.testing.assert_allclose(
        total + sum(parts.factors.values()), model.predict(X[:30]), rtol=1e-5
    )
    np.testing.assert_allclose(parts.level, np.repeat(X[:30, -1:], 24, axis=1), rtol=1e-5)


def test_a_factor_gets_what_it_adds():
    """The class acts on the future with a sign that the window tells: no linear map can."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=3000)
    steps = np.arange(16)
    shape = np.array([np.cos(np.pi * steps / 4), np.cos(np.pi * steps / 2)])[label]
    slope = rng.normal(size=(3000, 1))
    X = shape + slope * (steps - steps.mean()) / 8 + 0.1 * rng.normal(size=(3000, 16))
    y = X[:, -1:] + slope * np.where(label == 1, 1.0, -1.0)[:, None]
    model = make_model(max_epochs=3).fit(X[:2500], y[:2500], label[:2500])
    parts, truth = model.attribute(X[2500:]), y[2500:] - X[2500:, -1:]
    share = parts.factors["factor0"]
    assert np.corrcoef(share[:, 0], truth[:, 0])[0, 1] > 0.8


def test_shapley_values_of_a_sum_are_its_terms():
    terms = torch.tensor([1.0, -2.0, 5.0])
    found = shapley_values(lambda members: terms[list(members)].sum(), 3)
    torch.testing.assert_close(torch.stack(found), terms)


def test_shapley_values_of_a_product_are_equal_and_add_up():
    found = shapley_values(lambda members: torch.tensor(float(len(members) == 3)), 3)
    torch.testing.assert_close(torch.stack(found), torch.full((3,), 1 / 3))


@pytest.mark.parametrize(("latent", "n_queries"), [("both", 4), ("marginal", 8)])
@pytest.mark.parametrize("names", [["state", "half"], ["state"], None])
def test_attention_is_a_distribution_over_the_factors_and_none(latent, n_queries, names):
    X, y, factors, _ = make_windows(300)
    given = None if names is None else factors[names]
    model = make_model(latent=latent, max_epochs=1).fit(X, y, given)
    weights = model.attention(X[:20])
    assert weights.shape == (20, n_queries, len(model.factor_names_) + 1)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
    assert (weights.std(axis=0) > 0).all()  # of constant queries as well: the factors differ


def attention_by_hand(model, x):
    """Weights for one window, from the parameters of the fusion and the outputs of the model."""
    fusion = model.module_.fusion
    heads, size = fusion.attention.n_heads, fusion.attention.embed_dim
    projections = fusion.attention.in_proj_weight.numpy(force=True).astype(float)
    biases = fusion.attention.in_proj_bias.numpy(force=True).astype(float)
    a = model.module_.latents_at(torch.tensor(model.transform(x))).a[0].numpy(force=True)
    queries = fusion.offset.numpy(force=True) + a[:, None] * fusion.direction.numpy(force=True)
    proba = model.predict_cluster_proba(x)
    class_tokens = [tokens.numpy(force=True) for tokens in fusion.class_tokens]
    tokens = np.stack([p[0] @ t for p, t in zip(proba, class_tokens, strict=True)])
    q = queries @ projections[:size].T + biases[:size]
    k = tokens @ projections[size : 2 * size].T + biases[size : 2 * size]
    k = np.vstack([k, np.zeros(size)])
    of_heads = [
        softmax(q[:, part] @ k[:, part].T / np.sqrt(size / heads), axis=1)
        for part in np.split(np.arange(size), heads)
    ]
    return np.mean(of_heads, axis=0)


def test_attention_is_the_softmax_of_scaled_products_averaged_over_heads():
    X, y, factors, _ = make_windows(300)
    model = make_model(max_epochs=1).fit(X, y, factors)
    expected = attention_by_hand(model, X[:1])
    assert expected.std(axis=0).max() > 1e-4
    np.testing.assert_allclose(model.attention(X[:1])[0], expected, rtol=1e-12)


def test_attention_of_a_window_does_not_depend_on_the_others(monkeypatch):
    X = make_windows(40, seed=1)[0]
    model = fitted()
    weights = model.attention(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(model.attention(X[order]), weights[order], rtol=1e-12)
    n_entries = 3 * X.shape[1]
    monkeypatch.setattr("skdeepdive._estimators.base._INFERENCE_ENTRIES", n_entries)
    np.testing.assert_allclose(model.attention(X), weights, rtol=1e-12)


def test_conditional_dimensions_alone_have_no_factors_to_attend_to():
    X, y, _, _ = make_windows(100)
    model = make_model(latent="conditional", max_epochs=1).fit(X, y)
    assert not hasattr(model, "attention")
    with pytest.raises(AttributeError, match="has no attribute 'attention'") as error:
        model.attention(X)
    assert "no factors to attend to" in str(error.value.__cause__)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_shape_and_precision_of_forecasts(ndim, dtype):
    X, y, factors, _ = make_windows(100)
    X = X.astype(dtype)
    y = {1: y[:, 0], 2: y, 3: y[:, :, None]}[ndim]
    model = make_model(max_epochs=1).fit(X, y, factors)
    what_if = model.counterfactual(X[:4], {"half": 0})
    along = model.traverse(X[:4], 0, [0.0, 1.0])
    parts = model.attribute(X[:4])
    assert what_if.forecast.shape == parts.factors["half"].shape == (4, *y.shape[1:])
    assert what_if.window.shape == (4, 24)
    assert along.forecast.shape == (4, *y.shape[1:], 2)
    assert along.window.shape == (4, 24, 2)
    attributed = (parts.level, parts.factors["state"], model.attention(X[:4]))
    for values in (*what_if.values(), *along.values(), *attributed):
        assert values.dtype == dtype


def test_discovered_clusters_can_be_asked_for():
    X, y, _, _ = make_windows(300)
    model = make_model(max_epochs=1).fit(X, y)
    assert model.counterfactual(X[:3], {"cluster": 2}).forecast.shape == (3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, X: m.counterfactual(X, {"hour": 3}), ValueError, r"among \['state'\], got 'ho"),
        (lambda m, X: m.counterfactual(X, {"state": "x"}), ValueError, "one of its labels .* got"),
        (lambda m, X: m.counterfactual(X, {}), TypeError, "'factors' must be a dict of labels"),
        (
            lambda m, X: m.counterfactual(X, {"state": np.array(["low", "low"])}),
            ValueError,
            r"'factors' must give factor 'state' one of its labels .*, got array",
        ),
        (
            lambda m, X: m.counterfactual(X, {"state": pd.NA}),
            ValueError,
            "one of its labels .* <NA>",
        ),
        (lambda m, X: m.counterfactual(X, "low"), TypeError, "'factors' must be a dict .* 'low'"),
        (lambda m, X: m.counterfactual(X[:, 1:], {"state": "low"}), ValueError, "23 features"),
        (lambda m, X: m.traverse(X, "hour_0", [1]), ValueError, "'dimension' must be one of stat"),
        (lambda m, X: m.traverse(X, 6, [1]), ValueError, "'dimension' must be below 6, got 6"),
        (lambda m, X: m.traverse(X, 0.5, [1]), TypeError, "'dimension' must be an integer"),
        (lambda m, X: m.traverse(X, 0, []), ValueError, "'values' must be finite"),
        (lambda m, X: m.traverse(X, 0, [np.inf]), ValueError, "'values' must be finite"),
        (lambda m, X: m.traverse(X, 0, "many"), TypeError, "'values' must be real numbers"),
        (lambda m, X: m.attribute(np.where(X > 1, np.inf, X)), ValueError, "'X' must be finite"),
        (lambda m, X: m.attention(np.where(X > 1, np.inf, X)), ValueError, "'X' must be finite"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(fitted(), make_windows(20)[0])


def test_conditional_dimensions_alone_have_no_factors_to_change():
    X, y, _, _ = make_windows(100)
    model = make_model(latent="conditional", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"must name factors among \[\], got 'state'"):
        model.counterfactual(X, {"state": "low"})


@pytest.mark.parametrize(
    "call",
    [
        lambda m, X: m.counterfactual(X, {"state": "low"}),
        lambda m, X: m.traverse(X, 0, [1.0]),
        lambda m, X: m.attribute(X),
        lambda m, X: m.attention(X),
    ],
)
def test_an_unfitted_model_says_so(call):
    with pytest.raises(NotFittedError):
        call(make_model(), make_windows(5)[0])
