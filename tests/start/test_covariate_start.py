"""The effect of covariates in closed form: laws that it finds, and what it leaves alone."""

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import covariates as under_test
from skdeepdive._start.covariates import fit_covariate_effect
from skdeepdive._start.ridge import fit_linear_forecast
from skdeepdive._start.start import make_out_of_fold
from skdeepdive._start.sums import Moments
from skdeepdive.nn.covariates import about_step
from skdeepdive.windows import sliding_windows

N_TIMESTEPS, HORIZON, NOISE = 8, 3, 0.1
SOURCE_CHANNELS = torch.tensor([0])


def make_data(law, n=1200, seed=0, n_targets=1):
    """Windows, and futures that are linear in them, plus a law of two covariates, plus noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, N_TIMESTEPS, n_targets))
    known = rng.normal(size=(n, HORIZON, 2))
    weight = np.random.default_rng(1).normal(size=(N_TIMESTEPS, HORIZON)) / 3
    y = np.einsum("ntc,th->nhc", X, weight) + law(known)[..., None]
    y = y + NOISE * rng.normal(size=y.shape)
    unit = Scaling(np.zeros(n_targets), np.ones(n_targets))
    data = WindowData(
        X,
        y,
        np.empty((n, 0), dtype=np.int64),
        unit,
        unit,
        torch.device("cpu"),
        covariates=known,
        covariate_scaling=Scaling(np.zeros(2), np.ones(2)),
    )
    return data.part(slice(0, n * 3 // 4)), data.part(slice(n * 3 // 4, None))


def fit(train, valid, seed=0):
    linear, fold_maps = fit_linear_forecast(train, valid, [SOURCE_CHANNELS, None])
    return fit_covariate_effect(linear, fold_maps, train, valid, seed)


def error(linear, data):
    batch = data.batch(slice(None))
    return (linear(batch.x, (), batch.covariates) - batch.y).square().mean().sqrt().item()


LAWS = {
    "linear": lambda c: c @ [1.0, -2.0],
    "V": lambda c: 2 * np.abs(c[..., 0]),
    "V by another covariate": lambda c: np.abs(c[..., 0]) * np.where(c[..., 1] > 0, 2.0, 0.5),
    "product": lambda c: c[..., 0] * c[..., 1],
    "delayed": lambda c: np.abs(np.concatenate([c[:, :1], c[:, :-1]], axis=1)[..., 0]),
}


@pytest.mark.parametrize(("law", "most"), [*zip(LAWS, (1.2, 2.0, 3.5, 2.5, 2.5), strict=True)])
def test_laws_are_found_nearly_to_their_noise(law, most):
    train, valid = make_data(LAWS[law], n=4000)
    linear, _ = fit(train, valid)
    assert error(linear, make_data(LAWS[law], n=500, seed=7)[0]) < most * NOISE


def test_of_covariates_that_say_nothing_there_is_hardly_an_effect():
    train, valid = make_data(lambda c: 0 * c[..., 0])
    linear, _ = fit(train, valid)
    assert error(linear, valid) <= error(linear.with_effect(None), valid)
    assert error(linear, make_data(lambda c: 0 * c[..., 0], seed=7)[0]) < 1.1 * NOISE


def test_out_of_fold_forecasts_have_the_effect_of_their_fold():
    train, valid = make_data(LAWS["V"], n=600)
    linear, fold_maps = fit(train, valid)
    weights = [forecast.effect.weight for forecast in [linear, *fold_maps]]
    assert len(weights) == 7
    assert all(not torch.equal(one, weights[0]) for one in weights[1:])
    batch = train.batch(slice(None))
    found = make_out_of_fold(fold_maps, train)(batch.x, (), batch.covariates)
    first = slice(0, len(train) // 6)
    expected = fold_maps[0](batch.x, (), batch.covariates)
    torch.testing.assert_close(found[first], expected[first])
    assert not torch.isclose(found, linear(batch.x, (), batch.covariates)).all()


def test_the_seed_decides_the_hinges():
    train, valid = make_data(LAWS["V"], n=300)
    one, same, other = (fit(train, valid, seed)[0].effect for seed in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.directions, other.directions)


def test_a_hinge_looks_at_few_covariates_and_every_other_at_its_own_step_first():
    train, valid = make_data(LAWS["V"], n=600)
    directions = fit(train, valid)[0].effect.directions
    assert ((directions != 0).sum(0) <= under_test._MOST_COVARIATES).all()
    torch.testing.assert_close(directions.square().sum(0), torch.ones(directions.shape[1]))
    own, before = directions[:2, ::2] != 0, directions[2:, ::2] != 0
    assert own.all(0)[before.any(0)].all()


@pytest.mark.parametrize("n_targets", [1, 40])
def test_a_window_of_many_scores_is_summed_up(n_targets, monkeypatch):
    monkeypatch.setattr(under_test, "_MOST_SUMMARY", 4)
    train, valid = make_data(LAWS["V"], n=300, n_targets=n_targets)
    channels = torch.arange(n_targets)
    linear, fold_maps = fit_linear_forecast(train, valid, [channels])
    effect = fit_covariate_effect(linear, fold_maps, train, valid, 0)[0].effect
    assert effect.summary.shape[1] == 4
    assert effect.weight.shape[2] == n_targets


def test_a_sample_of_the_windows_is_enough(monkeypatch):
    train, valid = make_data(LAWS["V"], n=4000)
    monkeypatch.setattr(under_test, "_KEPT", 1)
    monkeypatch.setattr(under_test, "_CHUNK", 900)
    linear, _ = fit(train, valid)
    assert linear.effect.directions.shape[1] == 900 // 4
    assert error(linear, valid) < 4 * NOISE


def test_without_folds_the_errors_are_those_of_the_forecast_itself():
    train, valid = make_data(LAWS["V"], n=1200)
    linear, _ = fit_linear_forecast(train, valid, [SOURCE_CHANNELS])
    found, changed = fit_covariate_effect(linear, [], train, valid, 0)
    assert changed == []
    assert error(found, valid) < 0.5 * error(found.with_effect(None), valid)


def make_coupled(n=1500, seed=0, *, absolute, horizon=HORIZON):
    """Two series that respond to a covariate, beside white noise or beside random walks."""
    rng = np.random.default_rng(seed)
    known = np.convolve(rng.normal(size=n + 12), np.ones(12) / 4, "valid")[:n, None]
    own = rng.normal(size=(n, 2)) * 0.2
    series = known * [1.0, 0.5] + (own if absolute else own.cumsum(axis=0))
    X, y, _ = sliding_windows(series, N_TIMESTEPS, horizon)
    _, covariates, _ = sliding_windows(known, N_TIMESTEPS, horizon)
    scaling = Scaling(series.mean(0), series.std(0))
    data = WindowData(
        X,
        y,
        np.empty((len(X), 0), dtype=np.int64),
        scaling,
        scaling,
        torch.device("cpu"),
        covariates=covariates,
        covariate_scaling=Scaling(known.mean(0), known.std(0)),
    )
    return data.part(slice(0, 1200)), data.part(slice(1200, None))


def fit_coupled(absolute):
    train, valid = make_coupled(absolute=absolute)
    linear, fold_maps = fit_linear_forecast(train, valid, [torch.arange(2)])
    return fit_covariate_effect(linear, fold_maps, train, valid, 0)[0], valid


@pytest.mark.parametrize("absolute", [True, False])
def test_levels_are_inputs_only_where_forecasts_clearly_gain(absolute):
    linear, _ = fit_coupled(absolute)
    assert linear.effect.weight[:, -1].any() == absolute


@pytest.mark.parametrize("absolute", [True, False])
def test_what_covariates_add_does_not_depend_on_the_levels_of_other_channels(absolute):
    linear, valid = fit_coupled(absolute)
    batch = valid.batch(slice(None))

    def added(x):
        return linear(x, (), batch.covariates) - linear(x)

    risen = batch.x + torch.tensor([0.0, 5.0])
    before, after = added(batch.x), added(risen)
    torch.testing.assert_close(after[..., 0], before[..., 0], rtol=0, atol=1e-4)
    assert before.std() > 0.05


@pytest.mark.parametrize("penalty", [1e-3, 0.1])
def test_a_regression_with_own_levels_is_that_on_all_inputs_of_its_target(penalty):
    rng = np.random.default_rng(0)
    inputs, levels = rng.normal(size=(200, 6)), rng.normal(size=(200, 2))
    levels += inputs[:, :2] + 3
    errors = inputs @ rng.normal(size=(6, 2)) + 0.5 * levels + 0.1 * rng.normal(size=(200, 2)) - 1
    sums = under_test._StepMoments(
        Moments.of([(torch.tensor(inputs)[None], torch.tensor(np.hstack([errors, levels]))[None])]),
        *(torch.tensor(v.sum(0)) for v in (errors * levels, errors**2, levels**2)),
    )
    weight, intercept = sums.ridge(penalty, sums.shared(penalty))
    for j in range(2):
        both = np.column_stack([inputs, levels[:, j]])
        centred, target = both - both.mean(0), errors[:, j] - errors[:, j].mean()
        covariance = centred.T @ centred / 200
        ridge = np.append(np.full(6, penalty * inputs.var(0).mean()), penalty * levels[:, j].var())
        expected = np.linalg.solve(covariance + np.diag(ridge), centred.T @ target / 200)
        np.testing.assert_allclose(weight[:, j], expected, rtol=1e-8)
        residual = errors[:, j] - both @ weight[:, j].numpy() - intercept[j].numpy()
        np.testing.assert_allclose(residual.mean(), 0.0, atol=1e-10)
    found = errors - inputs @ weight[:-1].numpy() - levels * weight[-1].numpy() - intercept.numpy()
    np.testing.assert_allclose(sums.squared_error(weight, intercept), (found**2).sum(), rtol=1e-8)


def test_without_levels_a_regression_gives_them_no_weight():
    rng = np.random.default_rng(0)
    inputs, errors = torch.tensor(rng.normal(size=(2, 1, 50, 3)))
    sums = under_test._StepMoments(
        Moments.of([(inputs, torch.cat([errors, errors], dim=2))]),
        *(errors[0].square().sum(0),) * 3,
    ).without_levels()
    weight, intercept = sums.ridge(0.1, sums.shared(0.1))
    expected = Moments.of([(inputs, errors)]).ridge(0.1)
    torch.testing.assert_close(weight[:-1], expected[0][0])
    torch.testing.assert_close(intercept, expected[1][0])
    assert not weight[-1].any()


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, 7), [*range(40), *range(41, 90)]])
@pytest.mark.parametrize("absolute", [True, False])
def test_the_sums_of_a_step_are_those_of_its_inputs(rows, absolute):
    """Most of them follow from the step before, where windows are one step apart."""
    train, valid = make_coupled(absolute=absolute, horizon=7)  # from the fifth step on
    linear, _ = fit_linear_forecast(train, valid, [torch.arange(2)])
    known = under_test._Known.of(linear, train, np.arange(len(train))[rows])
    of_course = torch.ones(known.scores.shape[1])
    inputs = under_test._draw_inputs([known], of_course, len(known.levels), seed=0)
    summary = known.scores @ inputs.effect.summary
    for step, found in enumerate(known.moments(inputs)):
        about = about_step(known.covariates, step)
        values = inputs.effect.hinges(about) @ inputs.components
        outputs = torch.cat([known.errors[:, step], known.levels], dim=1)
        both = torch.cat([values, about, summary], dim=1)
        expected = Moments.of([(both.double()[None], outputs.double()[None])])
        for name in ("x", "y", "xx", "xy"):
            own = getattr(expected, name)
            limit = 1e-5 * own.abs().max().item()
            torch.testing.assert_close(getattr(found.moments, name), own, rtol=0, atol=limit)
        assert found.moments.n == len(values)


def test_components_hold_nearly_all_of_what_hinges_vary():
    train, valid = make_coupled(absolute=True)
    linear, _ = fit_linear_forecast(train, valid, [torch.arange(2)])
    known = under_test._Known.of(linear, train, np.arange(len(train)))
    of_course = torch.ones(known.scores.shape[1])
    inputs = under_test._draw_inputs([known], of_course, len(train), seed=0)
    hinges = inputs.effect.hinges(about_step(known.covariates, 2))
    hinges -= hinges.mean(0)
    left = hinges - hinges @ inputs.components @ inputs.components.T
    assert inputs.components.shape[1] < hinges.shape[1] / 4
    assert left.square().sum() < 2 * under_test._LEFT * hinges.square().sum()
