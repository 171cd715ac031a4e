"""Covariates known for the horizon, through every method of the estimators."""

import pickle
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

N_TIMESTEPS, HORIZON = 24, 6
ESTIMATORS = [DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


def make_data(n_steps=700, seed=0):
    """Demand that is a V of the temperature, steeper in the second half of the day."""
    rng = np.random.default_rng(seed)
    hour = np.arange(n_steps) % 24
    slow = np.convolve(rng.standard_normal(n_steps + 47), np.ones(48) / 7, "valid")
    temperature = 3 * slow + np.sin(2 * np.pi * (hour - 9) / 24)
    demand = np.abs(temperature) * np.where(hour < 12, 1.0, 2.0)
    demand = demand + 0.05 * rng.standard_normal(n_steps)
    X, y, origin = sliding_windows(demand, N_TIMESTEPS, HORIZON)
    known = np.column_stack([temperature, hour >= 12])
    return X, y, sliding_windows(known, N_TIMESTEPS, HORIZON)[1], origin % 24


def make_model(estimator=DeepDIVEForecaster, **parameters):
    small = {"n_hidden": 16, "max_epochs": 1, "batch_size": 64, "random_state": 0}
    if estimator is DeepDIVEForecaster:
        small |= {"n_conditional": 2, "n_clusters": 3}
    return estimator(**{**small, **parameters})


@cache
def fitted(estimator=DeepDIVEForecaster, **parameters):
    X, y, known, _ = make_data()
    return make_model(estimator, **parameters).fit(X, y, future_covariates=known)


# What they are for


def test_a_response_that_bends_and_changes_with_the_hour_is_found():
    X, y, known, hour = make_data(2400)
    train, test = slice(1900), slice(1930, None)
    model = make_model().fit(X[train], y[train], hour[train], future_covariates=known[train])
    told = model.score(X[test], y[test], future_covariates=known[test])
    alone = make_model().fit(X[train], y[train], hour[train]).score(X[test], y[test])
    assert told > 0.98
    assert alone < 0.9


@every_estimator
def test_forecasts_follow_the_covariates(estimator):
    X, _, known, _ = make_data()
    model = fitted(estimator)
    forecast = model.predict(X[:20], future_covariates=known[:20])
    assert not np.isclose(forecast, model.predict(X[:20], future_covariates=known[20:40])).any()


@every_estimator
def test_the_score_is_that_of_the_forecasts(estimator):
    X, y, known, _ = make_data()
    model = fitted(estimator)
    expected = r2_score(y, model.predict(X, future_covariates=known))
    assert model.score(X, y, future_covariates=known) == pytest.approx(expected)


@every_estimator
def test_every_window_has_the_forecast_that_it_has_alone(estimator):
    X, _, known, _ = make_data()
    model = fitted(estimator)
    together = model.predict(X[:5], future_covariates=known[:5])
    alone = [model.predict(X[i : i + 1], future_covariates=known[i : i + 1]) for i in range(5)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-9)


@every_estimator
def test_neither_unit_nor_zero_of_a_covariate_matters(estimator):
    X, y, known, _ = make_data()
    scaled = 1000 + 50 * known
    model = make_model(estimator).fit(X, y, future_covariates=scaled)
    np.testing.assert_allclose(
        model.predict(X, future_covariates=scaled),
        fitted(estimator).predict(X, future_covariates=known),
        rtol=1e-3,
        atol=1e-3,
    )


# Other methods


def test_quantiles_and_samples_lie_about_the_forecast():
    X, _, known, _ = make_data()
    model, rows = fitted(), slice(10)
    forecast = model.predict(X[rows], future_covariates=known[rows])
    low, high = np.moveaxis(
        model.predict_quantiles(X[rows], [0.01, 0.99], future_covariates=known[rows]), -1, 0
    )
    assert ((low < forecast) & (forecast < high)).all()
    draws = model.sample(X[rows], 200, random_state=0, future_covariates=known[rows])
    spread = draws.std(axis=-1)
    assert (np.abs(draws.mean(axis=-1) - forecast) < spread).all()
    _, deviation = model.predict(X[rows], return_std=True, future_covariates=known[rows])
    np.testing.assert_allclose(spread, deviation, rtol=0.3)


@pytest.mark.parametrize("latent", ["both", "conditional", "marginal"])
def test_the_parts_of_a_forecast_add_up_and_covariates_are_one(latent):
    X, _, known, _ = make_data()
    model = fitted(latent=latent)
    found = model.attribute(X[:9], future_covariates=known[:9])
    parts = [found.level, found.linear, found.window, found.conditional, found.covariates]
    forecast = model.predict(X[:9], future_covariates=known[:9])
    np.testing.assert_allclose(sum(parts) + sum(found.factors.values()), forecast)
    assert np.abs(found.covariates).mean() > 0.1


def test_covariates_are_no_part_where_there_are_none():
    X, y, _, _ = make_data()
    found = make_model().fit(X, y).attribute(X[:9])
    assert found.covariates.shape == found.level.shape
    assert not found.covariates.any()


def test_a_counterfactual_is_the_forecast_with_other_covariates():
    X, _, known, _ = make_data()
    warmer = np.add(known[:9], [5.0, 0.0])
    what_if = fitted().counterfactual(X[:9], future_covariates=warmer)
    np.testing.assert_allclose(what_if.forecast, fitted().predict(X[:9], future_covariates=warmer))
    np.testing.assert_allclose(what_if.window, X[:9])


def test_a_counterfactual_changes_labels_and_covariates_together():
    X, y, known, hour = make_data()
    model = make_model().fit(X, y, factors=hour // 12, future_covariates=known)
    rows = slice(9)
    both = model.counterfactual(X[rows], {"factor0": 1}, future_covariates=known[rows])
    one = model.counterfactual(X[rows], future_covariates=known[rows])
    assert not np.allclose(both.forecast, one.forecast)
    steps = model.traverse(X[rows], 0, [-1, 1], future_covariates=known[rows])
    assert steps.forecast.shape == (9, HORIZON, 2)


def test_a_counterfactual_needs_something_to_assume():
    X, y, _, _ = make_data()
    with pytest.raises(TypeError, match="'factors' must be a dict"):
        make_model().fit(X, y).counterfactual(X[:9])


# Learning further


def test_chunks_have_covariates_each():
    X, y, known, _ = make_data(2400)
    model = make_model()
    errors = []
    for rows in np.array_split(np.arange(2000), 4):
        model.partial_fit(X[rows], y[rows], future_covariates=known[rows])
        errors.append(1 - model.score(X[2000:], y[2000:], future_covariates=known[2000:]))
    assert errors[-1] < 0.1
    with pytest.raises(ValueError, match="'future_covariates' must be given"):
        model.partial_fit(X, y)


def test_a_warm_start_goes_on_with_covariates():
    X, y, known, _ = make_data()
    model = pickle.loads(pickle.dumps(fitted())).set_params(warm_start=True)
    before = model.score(X, y, future_covariates=known)
    after = model.fit(X, y, future_covariates=known).score(X, y, future_covariates=known)
    assert after > before - 0.02
    with pytest.raises(ValueError, match="'future_covariates' must hold 2 covariates"):
        model.fit(X, y, future_covariates=known[..., :1])


# Shapes and kinds


@every_estimator
def test_two_dimensions_are_a_single_covariate(estimator):
    X, y, known, _ = make_data()
    flat = make_model(estimator).fit(X, y, future_covariates=known[..., 0])
    deep = make_model(estimator).fit(X, y, future_covariates=known[..., :1])
    assert flat.n_covariates_ == deep.n_covariates_ == 1
    np.testing.assert_array_equal(
        flat.predict(X, future_covariates=known[..., :1]),
        deep.predict(X, future_covariates=known[..., 0]),
    )


def test_several_covariates_of_a_single_step_are_a_table():
    pd = pytest.importorskip("pandas")
    X, y, known, _ = make_data()
    table = pd.DataFrame(known[:, 0], columns=["temperature", "late"])
    model = make_model().fit(X, y[:, :1], future_covariates=table)
    assert model.n_covariates_ == 2
    np.testing.assert_array_equal(
        model.predict(X, future_covariates=table), model.predict(X, future_covariates=known[:, :1])
    )
    with pytest.raises(ValueError, match="must have the columns .*'temperature', 'late'.*got"):
        model.predict(X, future_covariates=table[["late", "temperature"]])


def test_tensors_lists_and_numbers_of_other_precision_are_taken():
    torch = pytest.importorskip("torch")
    X, _, known, _ = make_data()
    known = np.ascontiguousarray(known[:9], dtype=np.float32)
    expected = fitted().predict(X[:9], future_covariates=known)
    for same in (torch.from_numpy(known), known.tolist()):
        np.testing.assert_array_equal(fitted().predict(X[:9], future_covariates=same), expected)


def test_covariates_are_not_changed():
    X, y, known, _ = make_data()
    own = np.array(known)
    make_model().fit(X, y, future_covariates=own).predict(X, future_covariates=own)
    np.testing.assert_array_equal(own, known)


def test_a_constant_covariate_adds_nothing():
    X, y, known, _ = make_data()
    constant = np.full_like(known, 7.0)
    model = make_model().fit(X, y, future_covariates=constant)
    assert np.isfinite(model.predict(X, future_covariates=constant)).all()


@pytest.mark.parametrize("n", [2, 11, 40])
@pytest.mark.filterwarnings("ignore:'validation_gap':UserWarning")
def test_few_windows_do(n):
    X, y, known, _ = make_data()
    model = make_model(validation_gap=0).fit(X[:n], y[:n], future_covariates=known[:n])
    assert np.isfinite(model.predict(X, future_covariates=known)).all()


@every_estimator
def test_saved_models_forecast_as_before(estimator, tmp_path):
    pytest.importorskip("safetensors")
    X, _, known, _ = make_data()
    model = fitted(estimator)
    model.save(tmp_path / "model")
    for copied in (estimator.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert copied.n_covariates_ == 2
        np.testing.assert_array_equal(
            copied.predict(X, future_covariates=known), model.predict(X, future_covariates=known)
        )


def test_a_clone_knows_nothing_of_covariates():
    X, y, _, _ = make_data()
    model = clone(fitted()).fit(X, y)
    assert model.n_covariates_ == 0
    assert model.predict(X).shape == y.shape


# Errors

WRONG = {
    "none": (lambda c: None, "must be given, because fit had 2"),
    "other length": (lambda c: c[1:], "must have one entry for each"),
    "other horizon": (lambda c: c[:, 1:], r"must have shape \(n_samples, 6, n_covariates\)"),
    "one too few": (lambda c: c[..., :1], "must hold 2 covariates, as in fit, got 1"),
    "NaN": (lambda c: np.where(c == c[0, 0, 0], np.nan, c), "must be finite, but it contains NaN"),
    "strings": (lambda c: c.astype(str), "must hold numbers"),
    "complex": (lambda c: c + 1j, "must hold real numbers"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize(
    "method", ["predict", "predict_quantiles", "sample", "attribute", "counterfactual"]
)
def test_what_forecasts_cannot_use_is_refused_by_name(method, case):
    X, _, known, _ = make_data()
    change, problem = WRONG[case]
    arguments = [{"cluster": 0}] if method == "counterfactual" else []
    with pytest.raises(ValueError, match=f"'future_covariates' {problem}"):
        getattr(fitted(), method)(X[:9], *arguments, future_covariates=change(np.array(known[:9])))


@every_estimator
@pytest.mark.parametrize("case", [case for case in WRONG if case not in ("none", "one too few")])
def test_what_fit_cannot_use_is_refused_by_name(estimator, case):
    X, y, known, _ = make_data()
    change, problem = WRONG[case]
    with pytest.raises(ValueError, match=f"'future_covariates' {problem}"):
        make_model(estimator).fit(X, y, future_covariates=change(np.array(known)))


@every_estimator
def test_covariates_that_fit_had_not_are_refused(estimator):
    X, y, known, _ = make_data()
    model = make_model(estimator).fit(X, y)
    with pytest.raises(ValueError, match="'future_covariates' must be None, because fit had none"):
        model.predict(X, future_covariates=known)


def test_a_covariate_far_from_the_first_is_refused():
    X, y, known, _ = make_data()
    far = np.array(known)
    far[-1, 0, 0] = 1e18
    with pytest.raises(ValueError, match="'future_covariates' must not be farther than"):
        make_model().fit(X, y, future_covariates=far)
