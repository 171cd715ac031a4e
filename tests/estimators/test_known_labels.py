"""Labels that are known at predict time, through every method that takes them."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from skdeepdive import DeepDIVEForecaster
from skdeepdive._data.draws import Draws, make_generator
from skdeepdive.baselines import VAEForecaster

N, N_TRAIN, N_TIMESTEPS, HORIZON = 900, 700, 16, 3
EFFECTS = {"calm": 0.0, "high": 1.0, "low": -2.0}
SHAPES = {"calm": 0.0, "high": 1.0, "low": 2.0}


def make_data(seed=0):
    """Windows that show their state; a plan that shows in the future alone, and changes it."""
    rng = np.random.default_rng(seed)
    state, plan = rng.choice(list(SHAPES), N), rng.choice(list(EFFECTS), N)
    level = rng.standard_normal(N)
    wave = np.sin(np.pi * np.arange(N_TIMESTEPS) / 4)
    X = level[:, None] + np.vectorize(SHAPES.get)(state)[:, None] * wave
    X = X + 0.2 * rng.standard_normal(X.shape)
    y = level[:, None] + np.vectorize(EFFECTS.get)(plan)[:, None] * np.ones(HORIZON)
    y = y + 0.1 * rng.standard_normal(y.shape)
    return X, y, pd.DataFrame({"state": state, "plan": plan})


def make_model(**parameters):
    small = {"n_hidden": 16, "n_conditional": 2, "max_epochs": 2, "batch_size": 64}
    return DeepDIVEForecaster(**{**small, "random_state": 0, **parameters})


@cache
def fitted(**parameters):
    X, y, factors = make_data()
    model = make_model(**parameters)
    return model.fit(X[:N_TRAIN], y[:N_TRAIN], factors.iloc[:N_TRAIN])


def rest():
    X, y, factors = make_data()
    return X[N_TRAIN:], y[N_TRAIN:], factors.iloc[N_TRAIN:].reset_index(drop=True)


METHODS = {
    "predict": lambda m, X, **known: m.predict(X, **known),
    "deviations": lambda m, X, **known: m.predict(X, return_std=True, **known)[1],
    "predict_quantiles": lambda m, X, **known: m.predict_quantiles(X, **known),
    "sample": lambda m, X, **known: m.sample(X, 5, random_state=0, **known),
    "transform": lambda m, X, **known: m.transform(X, **known),
    "reconstruct": lambda m, X, **known: m.reconstruct(X, **known),
    "score_samples": lambda m, X, **known: m.score_samples(X, **known),
    "attribute": lambda m, X, **known: m.attribute(X, **known).factors["plan"],
}
every_method = pytest.mark.parametrize("method", METHODS)

HIDDEN = {
    "-1": lambda n: {"state": np.full(n, -1), "plan": np.full(n, -1)},
    "None": lambda n: {"state": [None] * n, "plan": [None] * n},
    "NaN": lambda n: pd.DataFrame({"state": np.full(n, np.nan), "plan": np.full(n, np.nan)}),
    "a factor alone": lambda n: {"plan": [None] * n},
}


# What they are for


def test_a_label_that_only_the_future_shows_is_used_where_it_is_known():
    X, y, factors = rest()
    alone, told = fitted().score(X, y), fitted().score(X, y, factors=factors)
    assert alone < 0.6
    assert told > 0.98


@pytest.mark.parametrize("name", ["state", "plan"])
def test_a_factor_may_be_known_alone(name):
    X, y, factors = rest()
    score = fitted().score(X, y, factors=factors[[name]])
    assert score > 0.98 if name == "plan" else score > fitted().score(X, y) - 0.01


def test_true_labels_forecast_as_well_where_the_window_shows_them():
    X, y, factors = rest()
    y = y - np.vectorize(EFFECTS.get)(factors["plan"])[:, None]
    X_train, y_train, of_train = (part[:N_TRAIN] for part in make_data())
    y_train = y_train - np.vectorize(EFFECTS.get)(of_train["plan"])[:, None]
    model = make_model().fit(X_train, y_train, of_train[["state"]])
    assert model.score(X, y, factors=factors[["state"]]) > model.score(X, y) - 0.01


def test_wrong_labels_forecast_worse():
    X, y, factors = rest()
    wrong = pd.DataFrame({"plan": factors["plan"].map({"calm": "low", "low": "high"})})
    assert fitted().score(X, y, factors=wrong) < fitted().score(X, y)


# What is unknown is read from the window


@pytest.mark.parametrize("mark", HIDDEN)
@every_method
def test_hidden_labels_change_nothing_at_all(method, mark):
    X, _, _ = rest()
    found = METHODS[method](fitted(), X[:20], factors=HIDDEN[mark](20))
    np.testing.assert_array_equal(found, METHODS[method](fitted(), X[:20]))


@every_method
def test_every_known_label_changes_its_own_window_alone(method):
    X, _, _ = rest()
    some = {"state": ["low"] + [None] * 19, "plan": ["low"] + [None] * 19}
    found, alone = (
        METHODS[method](fitted(), X[:20], factors=f) for f in (some, {"plan": [None] * 20})
    )
    np.testing.assert_array_equal(found[1:], alone[1:])
    assert not np.allclose(found[0], alone[0], rtol=1e-4)


@pytest.mark.parametrize("latent", ["both", "marginal"])
def test_known_responses_are_one_and_marginal_dimensions_at_the_centre(latent):
    X, _, factors = rest()
    model = fitted(latent=latent)
    classes = zip(factors, model.factor_classes_, strict=True)
    codes = [np.searchsorted(labels, factors[name]) for name, labels in classes]
    module, x = model.module_, model._to_tensor(X[..., None])
    latents = module.infer(module.features(x), labels=torch.from_numpy(np.stack(codes, axis=1)))
    for code, response in zip(codes, latents.responses, strict=True):
        np.testing.assert_array_equal(response, np.eye(3)[code])
    priors = zip(model.factor_priors_, codes, strict=True)
    centres = np.hstack([prior.centres[code] for prior, code in priors])
    embedding = model.transform(X, factors)
    np.testing.assert_allclose(embedding[:, : centres.shape[1]], centres)
    np.testing.assert_array_equal(embedding, module.embedding_of(latents).numpy())


def test_known_marginal_dimensions_are_drawn_from_the_component_of_the_label():
    model = fitted()
    module = model.module_
    X, _, _ = rest()
    x = model._to_tensor(X[:1, :, None]).expand(4000, -1, -1)
    labels = torch.tensor([[2, -1]]).expand(4000, -1)
    draws = Draws(make_generator(0, torch.device("cpu")))
    b = module.infer(module.features(x), draws, labels).b[:, :2].numpy()
    prior = model.factor_priors_[0]
    np.testing.assert_allclose(b.mean(axis=0), prior.centres[2], atol=0.1 * prior.scales[2])
    np.testing.assert_allclose(b.std(axis=0), prior.scales[2], rtol=0.1)


# Other methods


def test_the_parts_of_a_forecast_given_labels_add_up():
    X, _, factors = rest()
    found = fitted().attribute(X, factors)
    parts = [found.level, found.linear, found.window, found.conditional]
    np.testing.assert_allclose(
        sum(parts) + sum(found.factors.values()), fitted().predict(X, factors=factors)
    )
    effect = found.factors["plan"].mean(axis=1)
    assert np.corrcoef(effect, np.vectorize(EFFECTS.get)(factors["plan"]))[0, 1] > 0.98


def test_quantiles_and_samples_lie_about_the_forecast_given_labels():
    X, _, factors = rest()
    forecast = fitted().predict(X, factors=factors)
    low, high = np.moveaxis(fitted().predict_quantiles(X, [0.01, 0.99], factors=factors), -1, 0)
    assert ((low < forecast) & (forecast < high)).all()
    draws = fitted().sample(X, 200, random_state=0, factors=factors)
    assert (np.abs(draws.mean(axis=-1) - forecast) < draws.std(axis=-1)).all()


def test_a_counterfactual_has_the_forecast_of_the_label_that_it_assumes():
    X, _, _ = rest()
    planned = fitted().counterfactual(X, {"plan": "low"}).forecast
    expected = fitted().predict(X, factors={"plan": ["low"] * len(X)})
    # The conditional dimensions stay where they are in their prior, which depends on the label.
    np.testing.assert_allclose(planned, expected, atol=0.35)


def test_a_window_is_unusual_for_a_label_that_it_does_not_show():
    X, _, factors = rest()
    own = fitted().score_samples(X, factors[["state"]])
    other = factors[["state"]].replace({"calm": "low", "low": "calm"})
    swapped = fitted().score_samples(X, other)
    differs = (other != factors[["state"]]).to_numpy()[:, 0]
    assert (own[differs] > swapped[differs] + 10).all()


def test_how_rare_a_label_is_does_not_matter_given_the_label():
    X, y, factors = make_data()
    model = make_model().fit(X, y, factors[["state"]])
    before = model.score_samples(X[:9], factors[["state"]][:9])
    terms = model.score_terms(X[:9], factors[["state"]][:9])
    assert not terms["kl_b"].any()
    model.module_.priors[0].set_weights(torch.tensor([0.98, 0.01, 0.01]))
    np.testing.assert_array_equal(model.score_samples(X[:9], factors[["state"]][:9]), before)


# Kinds of labels


@pytest.mark.parametrize(
    "kind",
    [
        lambda f: f.to_dict("list"),
        lambda f: f[["plan", "state"]],
        lambda f: f.astype("category"),
        lambda f: {name: f[name].to_numpy() for name in f},
    ],
    ids=["dict", "other order", "categories", "arrays"],
)
def test_labels_come_in_the_kinds_that_fit_takes(kind):
    X, _, factors = rest()
    expected = fitted().predict(X, factors=factors)
    np.testing.assert_array_equal(fitted().predict(X, factors=kind(factors)), expected)


def test_labels_without_names_go_by_their_order():
    X, y, factors = make_data()
    codes = factors.apply(lambda column: pd.factorize(column, sort=True)[0]).to_numpy()
    model = make_model().fit(X, y, codes)
    tensor = torch.tensor(codes)
    np.testing.assert_array_equal(model.predict(X, factors=codes), model.predict(X, factors=tensor))
    assert model.score(X, y, factors=codes) > 0.98


def test_polars_tables_are_taken():
    pl = pytest.importorskip("polars")
    X, _, factors = rest()
    found = fitted().predict(X, factors=pl.DataFrame(factors.to_dict("list")))
    np.testing.assert_array_equal(found, fitted().predict(X, factors=factors))


def test_without_marginal_dimensions_labels_are_ignored_as_in_fit():
    X, _, factors = rest()
    model = fitted(latent="conditional")
    np.testing.assert_array_equal(model.predict(X, factors=factors), model.predict(X))


def test_a_discovered_cluster_may_be_assumed():
    X, y, _ = make_data()
    model = make_model(n_clusters=3).fit(X, y)
    forecast = model.predict(X[:9], factors={"cluster": [0] * 9})
    np.testing.assert_allclose(
        model.transform(X[:9], {"cluster": [0] * 9})[:, :2],
        np.tile(model.factor_priors_[0].centres[0], (9, 1)),
    )
    assert np.isfinite(forecast).all()


def test_baselines_have_no_labels_to_be_told():
    X, y, factors = make_data()
    model = VAEForecaster(n_hidden=8, n_latent=2, max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="unexpected keyword argument 'factors'"):
        model.predict(X, factors=factors)


# Keeping, learning further


def test_saved_models_are_told_labels_as_before(tmp_path):
    pytest.importorskip("safetensors")
    X, _, factors = rest()
    expected = fitted().predict(X, factors=factors)
    fitted().save(tmp_path / "model")
    loaded = DeepDIVEForecaster.load(tmp_path / "model")
    for copied in (loaded, pickle.loads(pickle.dumps(fitted()))):
        np.testing.assert_array_equal(copied.predict(X, factors=factors), expected)


def test_chunks_keep_what_labels_tell():
    X, y, factors = make_data()
    model = make_model()
    for rows in np.split(np.arange(N_TRAIN), 2):
        model.partial_fit(X[rows], y[rows], factors.iloc[rows])
    X, y, factors = rest()
    assert model.score(X, y, factors=factors) > 0.95


# Errors

WRONG = {
    "another label": (
        {"state": ["calm", "other"]},
        r"Factor 'state' of 'factors' has the label 'other'.*\['calm', 'high', 'low'\].*Mark it",
    ),
    "another factor": ({"mood": ["calm", "low"]}, r"columns among \['state', 'plan'\].*'mood'"),
    "no names": (np.array([["calm", "low"]] * 2), r"columns among \['state', 'plan'\]"),
    "other length": ({"state": ["calm"] * 3}, "'factors' must have one entry for each"),
    "no columns": ({}, "'factors' must have at least one column"),
}


@pytest.mark.parametrize("case", WRONG)
@every_method
def test_labels_that_fit_did_not_have_are_refused_by_name(method, case):
    factors, problem = WRONG[case]
    with pytest.raises(ValueError, match=problem):
        METHODS[method](fitted(), rest()[0][:2], factors=factors)


def test_labels_are_not_changed():
    X, _, factors = rest()
    own = factors.copy()
    fitted().predict(X, factors=own)
    pd.testing.assert_frame_equal(own, factors)
