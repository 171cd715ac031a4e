"""What covariates of the horizon add to forecasts: inputs, effect, and correction of every step."""

from dataclasses import replace

import pytest
import torch
from test_networks import (
    CPU,
    HORIZON,
    N,
    gradients,
    make_batch,
    make_draws,
    make_generic,
    make_module,
)

from skdeepdive._data.draws import make_generator
from skdeepdive.nn import covariates as under_test
from skdeepdive.nn.covariates import CovariateEffect, about_step, count_about
from skdeepdive.nn.linear_forecast import LinearForecast

N_COVARIATES = 2


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=make_generator(seed, CPU), dtype=torch.float64)


def make_effect(n_scores=3, n_hinges=5, n_summary=3):
    n_about = count_about(N_COVARIATES)
    return CovariateEffect(
        draw(n_about, n_hinges, seed=1),
        draw(n_hinges, seed=2),
        draw(n_scores, n_summary, seed=3),
        draw(HORIZON, n_hinges + n_about + n_summary + 1, 2, seed=4),
        draw(HORIZON, 2, seed=5),
    )


def told(batch):
    return replace(batch, covariates=draw(N, HORIZON, N_COVARIATES))


def test_a_step_sees_its_own_covariates_and_those_just_before():
    covariates = torch.arange(10.0).reshape(1, 5, 2)
    assert about_step(covariates, 4).tolist() == [[8, 9, 6, 7, 4, 5, 2, 3]]


def test_before_the_first_step_its_own_covariates_stand_in():
    covariates = torch.arange(10.0).reshape(1, 5, 2)
    assert about_step(covariates, 1).tolist() == [[2, 3, 0, 1, 0, 1, 0, 1]]


def test_the_effect_is_a_regression_on_covariates_hinges_summary_and_own_level():
    effect, covariates, scores = make_effect(), draw(N, HORIZON, N_COVARIATES), draw(N, 3, seed=9)
    levels = draw(N, 2, seed=10)
    found = effect(covariates, scores, levels)
    assert found.shape == (N, HORIZON, 2)
    for window, step in [(0, 0), (3, 2), (5, 3)]:
        about = about_step(covariates, step)[window]
        hinges = [max(0.0, float(about @ w - t)) for w, t in zip(
            effect.directions.T, effect.thresholds, strict=True)]  # fmt: skip
        inputs = torch.cat([torch.tensor(hinges), about, scores[window] @ effect.summary])
        *weight, of_level = effect.weight[step]
        expected = inputs @ torch.stack(weight) + effect.intercept[step]
        expected += of_level * levels[window]
        torch.testing.assert_close(found[window, step], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["one step apart", "a hole", "backwards", "every third"])
def test_the_effect_of_windows_does_not_depend_on_which_come_along(order, monkeypatch):
    horizon, n = 7, 12
    effect = make_effect()
    effect.weight = draw(horizon, effect.weight.shape[1], 2, seed=4)
    effect.intercept = draw(horizon, 2, seed=5)
    first = {
        "one step apart": torch.arange(n),
        "a hole": torch.cat([torch.arange(5), torch.arange(8, 15)]),
        "backwards": torch.arange(n).flip(0),
        "every third": 3 * torch.arange(n),
    }[order]
    covariates = draw(60, N_COVARIATES)[first.unsqueeze(1) + torch.arange(horizon)]
    scores, levels = draw(n, 3, seed=9), draw(n, 2, seed=10)
    expected = [effect(*(part[[i]] for part in (covariates, scores, levels))) for i in range(n)]
    sizes, hinges = [], CovariateEffect.hinges

    def count(self, about):
        sizes.append(len(about))
        return hinges(self, about)

    monkeypatch.setattr(CovariateEffect, "hinges", count)
    torch.testing.assert_close(effect(covariates, scores, levels), torch.cat(expected))
    # From the fifth step on: one of a row of windows that begin one step apart.
    n_new = {"one step apart": 1, "a hole": 2}.get(order, n)
    assert sizes == [n] * 4 + [n_new] * (horizon - 4)


@pytest.mark.parametrize("source_channels", [None, torch.tensor([2, 0])])
def test_the_linear_forecast_adds_the_effect_where_covariates_are_known(source_channels):
    module, batch = make_generic(source_channels=source_channels), told(make_batch())
    plain, n_components = module.linear_forecast, 3
    n_scores = n_components * len(plain.weight)
    components = draw(plain.weight.shape[1], n_components, seed=6)
    linear = LinearForecast(
        plain.weight,
        plain.intercept,
        plain.future_shape,
        joint=plain.joint,
        source_channels=source_channels,
        components=components,
    )
    effect = make_effect(n_scores)
    whole = linear.with_effect(effect)
    _, scores = linear.without_classes(batch.x, with_scores=True)
    levels = torch.zeros(N, 2) if source_channels is None else batch.x[:, -1, source_channels]
    expected = linear(batch.x) + effect(batch.covariates, scores[:, :-1].flatten(1), levels)
    torch.testing.assert_close(whole(batch.x, (), batch.covariates), expected)
    assert torch.equal(whole(batch.x), linear(batch.x))
    assert whole.with_class_maps([None]).effect is effect


def test_the_correction_by_steps_starts_at_zero():
    module, batch = make_module(n_covariates=N_COVARIATES).double(), told(make_batch())
    assert not module.forecast_parts(batch)[1].any()


def test_covariates_that_are_not_known_leave_the_correction_by_the_window():
    module, batch = make_generic(n_covariates=N_COVARIATES), told(make_batch())
    alone = module.forecast_parts(replace(batch, covariates=None))[1]
    both = module.forecast_parts(batch)[1]
    assert not torch.isclose(alone, both).any()
    module.forecast_decoder.by_step = None
    assert torch.equal(module.forecast_parts(replace(batch, covariates=None))[1], alone)


def test_every_layer_that_reads_covariates_gets_a_gradient():
    module, batch = make_generic(n_covariates=N_COVARIATES), told(make_batch())
    found = gradients(module.loss(batch, make_draws()).objective().mean(), module)
    names = {name for name, _ in module.forecast_decoder.named_parameters() if "by_step" in name}
    assert len(names) == 6
    assert {f"forecast_decoder.{name}" for name in names} <= found.keys()


def test_covariates_say_nothing_about_the_window():
    module, batch = make_generic(n_covariates=N_COVARIATES), told(make_batch())
    terms = [module.loss(some, make_draws()) for some in (batch, replace(batch, covariates=None))]
    assert not torch.equal(terms[0].log_py, terms[1].log_py)
    for name in ("log_px", "kl_a", "kl_b", "cross_entropy"):
        assert torch.equal(getattr(terms[0], name), getattr(terms[1], name))


@pytest.mark.parametrize("n_entries", [1, 200, 2**20])
def test_blocks_of_windows_change_nothing(n_entries, monkeypatch):
    module, batch = make_generic(n_covariates=N_COVARIATES), told(make_batch())
    expected = module.forecast(batch.x, covariates=batch.covariates)
    monkeypatch.setattr(under_test, "BLOCK_ENTRIES", n_entries)
    torch.testing.assert_close(module.forecast(batch.x, covariates=batch.covariates), expected)


def test_restarting_sets_the_correction_by_steps_to_zero_too():
    module, batch = make_generic(n_covariates=N_COVARIATES), told(make_batch())
    module.forecast_decoder.restart()
    assert not module.forecast_parts(batch)[1].any()
