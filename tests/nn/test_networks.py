"""Shapes, gradients and random numbers of the module: who learns from what, and nothing else."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import Batch
from skdeepdive._data.draws import Draws, make_generator
from skdeepdive._data.labels import UNLABELLED
from skdeepdive._train.phases import interleaved_loss
from skdeepdive.nn import DeepDIVE, decoders, mixing
from skdeepdive.nn.features import WindowFeatures
from skdeepdive.nn.fusion import CrossAttentionFusion
from skdeepdive.nn.layers import initialise
from skdeepdive.nn.linear_forecast import LinearForecast, regression_inputs
from skdeepdive.nn.out_of_fold import OutOfFold

CPU = torch.device("cpu")
N, N_TIMESTEPS, N_CHANNELS, HORIZON = 12, 10, 3, 4
SOURCE_CHANNELS = torch.tensor([2, 0])  # two targets continue channels 2 and 0

# Classes of the factors, and number of conditional dimensions.
CONFIGURATIONS = {
    "both, one factor": ([4], 5),
    "both, three factors": ([4, 3, 2], 5),
    "conditional": ([], 5),
    "marginal, one factor": ([4], 0),
    "marginal, three factors": ([4, 3, 2], 0),
}
every_configuration = pytest.mark.parametrize("name", CONFIGURATIONS)
with_factors = pytest.mark.parametrize("name", [k for k, v in CONFIGURATIONS.items() if v[0]])


def make_module(
    name="both, three factors",
    *,
    seed=0,
    max_features=4096,
    source_channels=SOURCE_CHANNELS,
    **options,
):
    """A module with its own initial weights, in single precision."""
    class_counts, n_conditional = CONFIGURATIONS[name]
    generator = make_generator(100, CPU)
    features = WindowFeatures(N_TIMESTEPS, N_CHANNELS, max_features)
    joint = source_channels is None
    shape = (1, N_TIMESTEPS * N_CHANNELS, HORIZON * 2) if joint else (2, N_TIMESTEPS, HORIZON)
    linear = LinearForecast(
        0.1 * torch.randn(shape, generator=generator),
        torch.randn(shape[0], shape[2], generator=generator),
        (HORIZON, 2),
        joint=joint,
        source_channels=source_channels,
    )
    weights = [torch.arange(1.0, k + 1) / sum(range(k + 1)) for k in class_counts]
    return DeepDIVE(
        features,
        linear,
        weights,
        n_marginal=2,
        n_conditional=n_conditional,
        n_hidden=16,
        generator=make_generator(seed, CPU),
        **options,
    )


def make_generic(name="both, three factors", **options):
    """A module in double precision without a weight that is zero or special."""
    module = make_module(name, **options).double()
    generator = make_generator(3, CPU)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


def make_draws(seed=0):
    return Draws(make_generator(seed, CPU))


def make_batch(name="both, three factors", dtype=torch.float64, labelled=True):
    generator = make_generator(4, CPU)
    x = torch.randn(N, N_TIMESTEPS, N_CHANNELS, generator=generator).to(dtype)
    y = torch.randn(N, HORIZON, 2, generator=generator).to(dtype)
    labels = [torch.arange(N) % k for k in CONFIGURATIONS[name][0]]
    labels = torch.stack(labels, dim=1) if labels else torch.empty(N, 0, dtype=torch.int64)
    return Batch(x, y, labels if labelled else torch.full_like(labels, UNLABELLED))


def gradients(loss, module):
    """Gradients by name, of the parameters that the loss depends on."""
    parameters = dict(module.named_parameters())
    values = torch.autograd.grad(loss, parameters.values(), allow_unused=True, retain_graph=True)
    return {k: v for k, v in zip(parameters, values, strict=True) if v is not None and v.any()}


def marginal_names(module):
    groups = module.parameter_groups()
    marginal = {id(p) for group in ("marginal", "discriminant") for p in groups.get(group, [])}
    return {name for name, p in module.named_parameters() if id(p) in marginal}


# Shapes


@pytest.mark.parametrize("max_features", [4096, 3 * 4, 1])
@every_configuration
def test_everything_has_its_shape(name, max_features):
    class_counts, n_conditional = CONFIGURATIONS[name]
    module = make_module(name, max_features=max_features)
    batch = make_batch(name, torch.float32)
    x, window = batch.x, module.features(batch.x)
    n_components = {4096: N_TIMESTEPS, 12: 4, 1: 1}[max_features]
    assert module.features.n_components == n_components
    assert window.features.shape == (N, module.features.n_features)
    assert module.features.n_features == N_CHANNELS * (n_components + 2)

    latents = module.infer(window, make_draws())
    n_marginal = sum(min(2, k - 1) for k in class_counts)
    assert window.loc.shape == window.scale.shape == (N, 1, N_CHANNELS)
    assert window.coefficients.shape == (N, module.features.n_coefficients, N_CHANNELS)
    assert module.factor_dims == [min(2, k - 1) for k in class_counts]
    if class_counts:
        assert latents.b.shape == latents.qb.loc.shape == latents.qb.scale.shape == (N, n_marginal)
    if n_conditional:
        assert latents.a.shape == latents.qa.loc.shape == latents.qa.scale.shape == (N, 5)
    assert [r.shape for r in module.responses(latents.b)] == [(N, k) for k in class_counts]

    px, py = module.generate(latents, window)
    assert px.mean.shape == x.shape
    assert py.mean.shape == module.forecast(x).shape == batch.y.shape
    terms = module.loss(batch, make_draws())
    assert all(t.shape == (N,) for t in (*vars(terms).values(), terms.elbo, terms.objective()))
    embedding = torch.zeros(N, n_marginal + n_conditional)
    assert module.decode_embedding(embedding).shape == x.shape


@every_configuration
def test_absent_latent_parts_are_none_and_cost_nothing(name):
    class_counts, n_conditional = CONFIGURATIONS[name]
    module, batch = make_generic(name), make_batch(name)
    latents = module.infer(module.features(batch.x))
    terms = module.loss(batch, make_draws())
    assert (latents.qb is None) == (latents.b is None) == (not class_counts)
    assert (latents.qa is None) == (latents.a is None) == (not n_conditional)
    assert bool(terms.kl_a.any()) == bool(n_conditional)
    assert bool(terms.kl_b.any()) == bool(terms.cross_entropy.any()) == bool(class_counts)


# The terms of the bound


@pytest.mark.parametrize("max_features", [4096, 3 * 4, 1])
@every_configuration
def test_log_likelihoods_are_sums_over_elements_in_nats(name, max_features):
    module, batch = make_generic(name, max_features=max_features), make_batch(name)
    terms = module.loss(batch, make_draws(7))
    window = module.features(batch.x)
    px, py = module.generate(module.infer(window, make_draws(7)), window)
    for value, likelihood, target, decoder in (
        (terms.log_px, px, batch.x, module.window_decoder),
        (terms.log_py, py, batch.y, module.forecast_decoder),
    ):
        z = (target - likelihood.mean) / decoder.log_scale.exp()
        elements = -0.5 * z.square() - decoder.log_scale - 0.5 * np.log(2 * np.pi)
        torch.testing.assert_close(value, elements.sum((1, 2)), rtol=1e-6, atol=1e-6)


def test_objective_is_the_negative_bound_plus_the_cross_entropy():
    terms = make_generic().loss(make_batch(), make_draws())
    torch.testing.assert_close(terms.objective(), terms.cross_entropy - terms.elbo)
    torch.testing.assert_close(terms.objective(1) - terms.objective(0.25), 0.75 * terms.kl_a)


def test_kl_of_a_is_the_closed_form_against_the_standard_normal():
    module, batch = make_generic(), make_batch()
    qa = module.infer(module.features(batch.x), make_draws(7)).qa
    expected = 0.5 * (qa.loc.square() + qa.scale.square() - 1 - 2 * qa.scale.log()).sum(1)
    terms = module.loss(batch, make_draws(7))
    torch.testing.assert_close(terms.kl_a, expected)


@with_factors
def test_labelled_windows_pay_the_bound_and_their_cross_entropy(name):
    module, batch = make_generic(name), make_batch(name)
    terms = module.loss(batch, make_draws(7))
    latents = module.infer(module.features(batch.x), make_draws(7))
    bound = cross_entropy = 0
    start = 0
    for prior, label in zip(module.priors, batch.labels.T, strict=True):
        dims = slice(start, start := start + prior.n_dims)
        q = torch.distributions.Normal(latents.qb.loc[:, dims], latents.qb.scale[:, dims])
        bound = bound + prior.kl_to_component(q, label) - prior.log_weights[label]
        joint = prior.log_joint(latents.b[:, dims])
        cross_entropy = cross_entropy + torch.nn.functional.cross_entropy(
            joint, label, reduction="none"
        )
    torch.testing.assert_close(terms.kl_b, bound)
    torch.testing.assert_close(terms.cross_entropy, cross_entropy)


@with_factors
def test_unlabelled_windows_pay_the_mixture_divergence_and_no_cross_entropy(name):
    module, batch = make_generic(name), make_batch(name, labelled=False)
    terms = module.loss(batch, make_draws(7))
    latents = module.infer(module.features(batch.x), make_draws(7))
    log_qb = latents.qb.log_prob(latents.b).sum(1)
    b = latents.b.split(module.factor_dims, dim=1)
    log_pb = sum(p.log_joint(b_i).logsumexp(1) for p, b_i in zip(module.priors, b, strict=True))
    torch.testing.assert_close(terms.kl_b, log_qb - log_pb)
    assert not terms.cross_entropy.any()


def test_a_window_may_miss_one_label_and_have_another():
    module, batch = make_generic(), make_batch()
    labels, partial = batch.labels, batch.labels.clone()
    partial[::2, 1] = UNLABELLED
    latents = module.infer_marginal(module.features(batch.x), make_draws(7))
    full, none, mixed = (
        module.marginal_terms(latents, some)[1]
        for some in (labels, torch.full_like(labels, UNLABELLED), partial)
    )
    torch.testing.assert_close(mixed[1::2], full[1::2])
    assert (mixed[::2] < full[::2]).all()
    assert (mixed > none).all()


@with_factors
def test_discovered_labels_do_not_enter_the_loss(name):
    module, batch = make_generic(name, interleave=False), make_batch(name)
    unlabelled = replace(batch, labels=torch.full_like(batch.labels, UNLABELLED))
    given, without = (module.loss(some, make_draws(7)) for some in (batch, unlabelled))
    assert torch.equal(given.objective(), without.objective())
    assert not given.cross_entropy.any()


@every_configuration
def test_the_latents_are_means_without_draws_and_drawn_with_them(name):
    module, x = make_generic(name), make_batch(name).x
    window = module.features(x)
    mean, draw = module.infer(window), module.infer(window, make_draws())
    if mean.qb is not None:
        assert torch.equal(mean.b, mean.qb.loc)
        assert not torch.isclose(draw.b, draw.qb.loc).any()
    if mean.qa is not None:
        assert torch.equal(mean.a, mean.qa.loc)
        assert not torch.isclose(draw.a, draw.qa.loc).any()


def test_draws_have_the_moments_of_the_posterior():
    module, x = make_generic(), make_batch().x
    window = module.features(x[:1].expand(40_000, -1, -1))
    latents = module.infer(window, make_draws())
    z = (latents.b - latents.qb.loc) / latents.qb.scale
    torch.testing.assert_close(z.mean(0), torch.zeros_like(z[0]), atol=0.025, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones_like(z[0]), atol=0.02, rtol=0)


# Gradients


@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
@pytest.mark.parametrize("max_features", [4096, 3 * 4])
@every_configuration
def test_every_parameter_gets_a_gradient(name, max_features, source_channels, interleave):
    module = make_generic(
        name, max_features=max_features, source_channels=source_channels, interleave=interleave
    )
    loss = module.loss(make_batch(name), make_draws()).objective().mean()
    without = {k for k, _ in module.named_parameters()} - set(gradients(loss, module))
    unused = {"fusion.direction"} if name.startswith("marginal") else set()  # it is empty
    assert without <= unused


@every_configuration
def test_parameter_groups_are_a_partition(name):
    module = make_module(name)
    groups = module.parameter_groups()
    of_labels = {"marginal", "discriminant"} if CONFIGURATIONS[name][0] else set()
    assert set(groups) == {"conditional", "forecast"} | of_labels
    ids = [id(p) for group in groups.values() for p in group]
    assert sorted(ids) == sorted(id(p) for p in module.parameters())


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_cross_entropy_of_a_factor_reaches_no_other_factor(factor):
    module, batch = make_generic(), make_batch()
    labels = torch.where(torch.arange(3) == factor, batch.labels, UNLABELLED)
    latents = module.infer_marginal(module.features(batch.x), make_draws())
    cross_entropy = module.marginal_terms(latents, labels)[1].mean()
    found = gradients(cross_entropy, module)

    assert {k for k in found if k.startswith("priors.")} == {
        f"priors.{factor}.centres",
        f"priors.{factor}.log_gamma",
    }
    logits = np.repeat([0, 1, 2], [prior.n_classes for prior in module.priors]) == factor
    dims = np.repeat([0, 1, 2], module.factor_dims) == factor
    for layer, own in (("discriminant", logits), ("logits", logits), ("log_scale", dims)):
        gradient = found[f"marginal_encoder.{layer}.weight"]
        np.testing.assert_array_equal(gradient.any(dim=1).numpy(), own)
    assert not set(found) - marginal_names(module)


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_responses_of_a_factor_depend_on_its_own_dimensions_only(factor):
    module = make_generic()
    b = torch.randn(N, 5, generator=make_generator(0, CPU), dtype=torch.float64).requires_grad_()
    response = module.log_joints(b)[factor].log_softmax(1).square().sum()
    (gradient,) = torch.autograd.grad(response, b)
    own = np.repeat([0, 1, 2], module.factor_dims) == factor
    np.testing.assert_array_equal(gradient.any(dim=0).numpy(), own)


@pytest.mark.parametrize("term", ["log_py", "log_px", "kl_a"])
@pytest.mark.parametrize("name", ["both, one factor", "both, three factors"])
def test_conditional_terms_leave_the_marginal_path_alone_when_interleaving(name, term):
    module = make_generic(name, interleave=True)
    terms = module.loss(make_batch(name), make_draws())
    found = set(gradients(getattr(terms, term).mean(), module))
    assert found
    assert not found & marginal_names(module)


@pytest.mark.parametrize("term", ["log_py", "log_px"])
@with_factors
def test_reconstruction_trains_the_whole_marginal_path_without_interleaving(name, term):
    module = make_generic(name, interleave=False)
    terms = module.loss(make_batch(name), make_draws())
    assert marginal_names(module) <= set(gradients(getattr(terms, term).mean(), module))


@pytest.mark.parametrize("name", ["both, one factor", "both, three factors"])
def test_conditional_dimensions_depend_on_the_marginal_ones(name):
    module, x = make_generic(name), make_batch(name).x
    features = module.features(x).features
    b = torch.zeros(N, sum(module.factor_dims), dtype=torch.float64)
    here, there = (module.conditional_encoder(features, some).loc for some in (b, b + 1))
    assert not torch.isclose(here, there).any()


@pytest.mark.parametrize("kl_weight", [0.3, 1.0])
@with_factors
def test_one_backward_pass_equals_the_two_alternating_steps(name, kl_weight):
    module, batch = make_generic(name), make_batch(name)

    latents = module.infer_marginal(module.features(batch.x), make_draws(5))
    kl_b, cross_entropy = module.marginal_terms(latents, batch.labels)
    expected = gradients((kl_b + cross_entropy).mean(), module)
    assert set(expected) == marginal_names(module)

    frozen = marginal_names(module)
    for key, parameter in module.named_parameters():
        parameter.requires_grad_(key not in frozen)
    terms = module.loss(batch, make_draws(5))
    (kl_weight * terms.kl_a - terms.log_py - terms.log_px).mean().backward()
    expected |= {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}

    module.requires_grad_(True).zero_grad()
    interleaved_loss(module, batch, make_draws(5), kl_weight=kl_weight)[0].backward()
    fused = {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
    assert set(fused) == set(expected)
    for key, gradient in fused.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_agree_with_finite_differences(seed):
    module, batch = make_generic(interleave=False), make_batch()
    objective = lambda: module.loss(batch, make_draws(seed)).objective().mean()  # noqa: E731
    found = gradients(objective(), module)
    generator = make_generator(seed, CPU)
    directions = {
        k: torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in found.items()
    }
    slope = sum((found[k] * directions[k]).sum() for k in found)
    step = 1e-5
    with torch.no_grad():
        values = []
        for sign in (1, -2):
            for k, p in module.named_parameters():
                p.add_(sign * step * directions[k])
            values.append(objective())
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), slope, rtol=1e-5, atol=0)


# Starts


@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
@every_configuration
def test_the_forecast_starts_at_the_linear_one(name, source_channels):
    module = make_module(name, source_channels=source_channels)
    x = make_batch(name, torch.float32).x
    assert torch.equal(module.forecast(x), module.linear_forecast(x))


@with_factors
def test_the_marginal_path_starts_at_the_discriminants(name):
    module, x = make_module(name), make_batch(name, torch.float32).x
    n_logits, n_features = sum(CONFIGURATIONS[name][0]), module.features.n_features
    generator = make_generator(1, CPU)
    weight = torch.randn(n_logits, n_features, generator=generator)
    bias = torch.randn(n_logits, generator=generator)
    module.marginal_encoder.set_discriminants(weight, bias)
    logits = (module.features(x).features @ weight.T + bias).split(CONFIGURATIONS[name][0], dim=1)
    expected = torch.cat(
        [v.softmax(1) @ p.centres for v, p in zip(logits, module.priors, strict=True)], dim=1
    )
    torch.testing.assert_close(module.infer(module.features(x)).qb.loc, expected)


def test_the_scale_of_the_forecast_can_be_set():
    module, x = make_module(), make_batch(dtype=torch.float32).x
    scale = torch.linspace(0.1, 0.8, HORIZON * 2).reshape(HORIZON, 2)
    module.forecast_decoder.set_scale(scale)
    window = module.features(x)
    py = module.generate(module.infer(window), window)[1]
    torch.testing.assert_close(py.stddev, scale)


def test_calibration_shrinks_the_correction_of_every_target():
    module, batch = make_generic(), make_batch()
    _, before = module.forecast_parts(batch)
    factor = torch.tensor([0.25, 0.0], dtype=torch.float64)
    module.calibrate(factor, torch.ones(HORIZON, 2, dtype=torch.float64))
    torch.testing.assert_close(module.forecast_parts(batch)[1], before * factor)


# Random numbers


@every_configuration
def test_building_and_running_leaves_the_global_generators_alone(name):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    module, batch = make_module(name), make_batch(name, torch.float32)
    module.loss(batch, make_draws()).objective().mean().backward()
    module.forecast(batch.x)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@every_configuration
def test_the_seed_of_the_generator_decides_the_parameters(name):
    first, second, other = (make_module(name, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    differing = {key for key in first if not torch.equal(first[key], other[key])}
    assert {"fusion.offset", "window_decoder.network.0.weight"} <= differing


@every_configuration
def test_no_parameter_is_left_uninitialised(name):
    torch.use_deterministic_algorithms(True)  # new memory is filled with NaN
    try:
        module = make_module(name)
    finally:
        torch.use_deterministic_algorithms(False)
    assert [k for k, v in module.state_dict().items() if not v.isfinite().all()] == []


@every_configuration
def test_a_share_of_a_batch_has_the_terms_that_its_windows_have_in_the_whole(name):
    module, batch = make_generic(name), make_batch(name)
    whole = module.loss(batch, make_draws(), dropout=True)
    for rows in (slice(0, 5), slice(5, N)):
        own = Batch(batch.x[rows], batch.y[rows], batch.labels[rows])
        draws = Draws(make_generator(0, CPU), n_rows=N, rows=rows)
        expected = {term: values[rows] for term, values in vars(whole).items()}
        torch.testing.assert_close(vars(module.loss(own, draws, dropout=True)), expected)


def test_windows_can_have_the_same_draws():
    module, x = make_generic(), make_batch().x
    latents = module.infer(module.features(x), Draws(make_generator(0, CPU), n_rows=1))
    for z, q in ((latents.a, latents.qa), (latents.b, latents.qb)):
        noise = (z - q.loc) / q.scale
        torch.testing.assert_close(noise, noise[:1].expand_as(noise))
        assert noise.all()


# Invariances


@every_configuration
def test_permuting_windows_permutes_everything(name):
    module, x = make_generic(name), make_batch(name).x
    order = torch.randperm(N, generator=make_generator(0, CPU))
    torch.testing.assert_close(module.forecast(x[order]), module.forecast(x)[order])
    alone = torch.cat([module.forecast(x[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(alone, module.forecast(x))


@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
def test_windows_are_not_changed(source_channels):
    module = make_generic(source_channels=source_channels, n_covariates=2)
    batch = replace(make_batch(), covariates=make_batch().y)
    before = copy.deepcopy(vars(batch))
    module.loss(batch, make_draws()).objective().mean().backward()
    torch.testing.assert_close(vars(batch), before, rtol=0, atol=0)


def test_shifting_a_series_shifts_the_linear_forecast_from_its_source_channels():
    module, x = make_generic(), make_batch().x
    shift = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)
    linear = module.linear_forecast
    torch.testing.assert_close(linear(x + shift), linear(x) + shift[SOURCE_CHANNELS])


def test_the_correction_follows_level_and_scale_of_the_source_channels():
    """A window and its forecast, moved and stretched together, get a stretched correction."""
    module, x = make_generic(), make_batch().x
    decoder, window = module.forecast_decoder, module.features(x)
    fused = torch.randn(
        N, module.fusion.n_features, generator=make_generator(0, CPU), dtype=torch.float64
    )
    factor = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    moved = replace(window, loc=window.loc + 10, scale=factor * window.scale)
    forecast, level = module.forecast(x), window.loc[..., SOURCE_CHANNELS]
    moved_forecast = factor[SOURCE_CHANNELS] * (forecast - level) + level + 10
    log_scale_weight = decoder.from_target.weight.data[:, -1]
    log_scale_weight.zero_()  # how strongly a channel varies may matter; here it shall not
    torch.testing.assert_close(
        decoder.correction(fused, moved_forecast, moved, SOURCE_CHANNELS),
        factor[SOURCE_CHANNELS] * decoder.correction(fused, forecast, window, SOURCE_CHANNELS),
    )


@pytest.mark.parametrize("n_kept", [0, 5, 12])
@pytest.mark.parametrize("source_channels", [SOURCE_CHANNELS, None])
def test_the_correction_in_blocks_is_that_of_all_windows_at_once(
    source_channels, n_kept, monkeypatch
):
    module, batch = make_generic(source_channels=source_channels, interleave=False), make_batch()
    objective = lambda: module.loss(batch, make_draws()).objective().mean()  # noqa: E731
    whole, correction = gradients(objective(), module), module.forecast_parts(batch)[1]
    n_entries = module.forecast_decoder.target_offset.numel()
    monkeypatch.setattr(decoders, "BLOCK_ENTRIES", 5 * n_entries)  # 5, 5 and 2 windows
    monkeypatch.setattr(decoders, "_KEPT_ENTRIES", n_kept * n_entries)
    torch.testing.assert_close(module.forecast_parts(batch)[1], correction)
    torch.testing.assert_close(gradients(objective(), module), whole)


def test_out_of_fold_forecasts_stand_in_for_the_linear_one_of_the_module():
    module, batch = make_generic(), make_batch()
    linear = module.linear_forecast
    other = copy.deepcopy(linear)
    other.intercept.add_(10)
    folds = torch.arange(N) % 2
    window, out_of_fold = module.features(batch.x), OutOfFold([linear, other], folds)
    latents = module.infer(window, make_draws(7))
    own, others, found = (
        module.generate(latents, window, forecast)[1] for forecast in (None, other, out_of_fold)
    )
    assert not torch.isclose(own.mean, others.mean).any()
    expected = torch.where(folds[:, None, None] == 0, own.mean, others.mean)
    torch.testing.assert_close(found.mean, expected)
    terms = module.loss(batch, make_draws(7), out_of_fold=out_of_fold)
    torch.testing.assert_close(terms.log_py, found.log_prob(batch.y))
    assert terms.objective().isfinite().all()


@pytest.mark.parametrize("source_channels", [[0, 1, 2], [2, 1, 0], [1, 1], [2, 0]])
@pytest.mark.parametrize("n_block", [1, 2**20])
def test_a_map_that_targets_share_is_that_of_each_of_them(source_channels, n_block, monkeypatch):
    monkeypatch.setattr(mixing, "BLOCK_ENTRIES", n_block)
    generator, n_targets = make_generator(0, CPU), len(source_channels)
    shapes = (
        (N, N_TIMESTEPS, 3), (1, N_TIMESTEPS, HORIZON), (1, HORIZON), (N_TIMESTEPS, 3),
        (1, 4, 4, HORIZON), (N, 4),
    )  # fmt: skip
    x, weight, intercept, components, maps, response = (
        torch.randn(*shape, generator=generator).double() for shape in shapes
    )
    forecasts = []
    for n_copies in (1, n_targets):
        forecast = LinearForecast(
            weight.expand(n_copies, -1, -1),
            intercept.expand(n_copies, -1),
            (HORIZON, n_targets),
            joint=False,
            source_channels=torch.tensor(source_channels),
            components=components,
            class_maps=[maps.expand(n_copies, -1, -1, -1)],
        )
        forecasts.append(forecast(x, [response]))
    torch.testing.assert_close(*forecasts)


def test_class_maps_are_weighed_by_the_responses():
    module, x = make_generic(source_channels=None), make_batch().x
    plain, generator = module.linear_forecast, make_generator(0, CPU)
    plain.components = torch.randn(N_TIMESTEPS * N_CHANNELS, 3, generator=generator).double()
    maps = torch.randn(1, 4, 4, HORIZON * 2, generator=generator).double()
    linear = plain.with_class_maps([maps, None])
    response = torch.rand(N, 4, generator=generator).double()
    scores = plain.without_classes(x, with_scores=True)[1].squeeze(2)
    added = torch.einsum("nk,ni,kio->no", response, scores, maps[0])
    expected = plain(x) + added.unflatten(1, (HORIZON, 2))
    torch.testing.assert_close(linear(x, [response, response, response]), expected)


# Features


def make_features_and_windows(**options):
    x = torch.randn(N, N_TIMESTEPS, N_CHANNELS, generator=make_generator(0, CPU))
    return WindowFeatures(N_TIMESTEPS, N_CHANNELS, **options).double(), x.double()


def test_shape_is_invariant_to_the_location_of_a_window():
    features, x = make_features_and_windows()
    shift = torch.tensor([5.0, -100.0, 1000.0], dtype=torch.float64)
    shape, loc, scale = features.standardise(x)
    shifted_shape, shifted_loc, shifted_scale = features.standardise(x + shift)
    torch.testing.assert_close(shifted_shape, shape)
    torch.testing.assert_close(shifted_scale, scale)
    torch.testing.assert_close(shifted_loc, loc + shift)


def test_shape_is_invariant_to_the_scale_of_a_window_far_above_the_floor():
    features, x = make_features_and_windows()
    factor = torch.tensor([1e3, 1e4, 1e6], dtype=torch.float64)
    shape, _, scale = features.standardise(1e3 * x)
    scaled_shape, _, scaled_scale = features.standardise(1e3 * x * factor)
    torch.testing.assert_close(scaled_shape, shape, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(scaled_scale, scale * factor, rtol=1e-8, atol=0)


def test_noise_far_below_the_floor_has_hardly_a_shape():
    features, x = make_features_and_windows()
    shape, _, scale = features.standardise(1e-5 * x)
    assert shape.abs().max() < 0.01
    torch.testing.assert_close(scale, torch.full_like(scale, 1e-2), rtol=1e-4, atol=0)


def test_features_hold_shape_location_and_log_scale_and_lose_nothing():
    features, x = make_features_and_windows()
    window, sizes = features(x), [N_TIMESTEPS * N_CHANNELS, N_CHANNELS, N_CHANNELS]
    shape, loc, log_scale = window.features.split(sizes, dim=1)
    restored = shape.unflatten(1, x.shape[1:]) * log_scale.exp()[:, None] + loc[:, None]
    torch.testing.assert_close(restored, x)
    torch.testing.assert_close(window.scale[:, 0], log_scale.exp())


def test_forecasts_have_gradients_with_respect_to_windows():
    module, x = make_generic(), make_batch().x
    module.forecast(x.requires_grad_()).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.any()


@pytest.mark.parametrize("max_features", [2048, 2 * N_CHANNELS])
def test_features_in_blocks_are_those_of_all_windows_at_once(max_features, monkeypatch):
    features, x = make_features_and_windows(max_features=max_features)
    whole = features(x)
    monkeypatch.setattr("skdeepdive.nn.features.BLOCK_ENTRIES", 3 * N_TIMESTEPS * N_CHANNELS)
    torch.testing.assert_close(vars(features(x)), vars(whole))
    own = torch.einsum("ntc,tk->nkc", features.standardise(x).shape, features.vectors)
    torch.testing.assert_close(whole.coefficients, own[:, : features.n_coefficients])


@pytest.mark.parametrize("n_components", [1, 3])
def test_many_channels_share_a_basis(n_components):
    features, x = make_features_and_windows(max_features=n_components * N_CHANNELS)
    basis = torch.randn(10, n_components, generator=make_generator(1, CPU)).double()
    basis = torch.linalg.qr(basis).Q
    features.basis.copy_(basis)  # a view of the vectors
    values = features(x).features[:, : n_components * N_CHANNELS].unflatten(1, (-1, N_CHANNELS))
    shape = features.standardise(x)[0]
    for channel in range(N_CHANNELS):
        torch.testing.assert_close(values[..., channel], shape[..., channel] @ basis)


def test_compressed_windows_are_decoded_within_the_basis():
    module = make_generic(max_features=3 * N_CHANNELS)
    decoded = module.decode_embedding(
        torch.randn(N, 10, generator=make_generator(0, CPU), dtype=torch.float64)
    )
    basis = torch.cat([module.features.basis, torch.ones(N_TIMESTEPS, 1)], dim=1).double()
    inside = torch.einsum("st,ntc->nsc", basis @ torch.linalg.pinv(basis), decoded)
    torch.testing.assert_close(inside, decoded)
    assert not torch.allclose(decoded, torch.zeros_like(decoded))


# Histories and fusion


def test_a_target_sees_its_source_channel_less_its_last_value():
    _, x = make_features_and_windows()
    history = regression_inputs(x, SOURCE_CHANNELS, False)
    assert history.shape == (2, N, N_TIMESTEPS)
    torch.testing.assert_close(history[0], x[..., 2] - x[:, -1:, 2])
    torch.testing.assert_close(history[1], x[..., 0] - x[:, -1:, 0])


def test_joint_inputs_lose_no_information():
    _, x = make_features_and_windows()
    history = regression_inputs(x, SOURCE_CHANNELS, True)[0].unflatten(1, x.shape[1:])
    last = history[:, -1:]
    assert torch.equal(last, x[:, -1:])
    torch.testing.assert_close(history[:, :-1] + last, x[:, :-1])
    assert torch.equal(regression_inputs(x, None, True)[0], x.flatten(1))


def make_fusion(class_counts=(4, 3, 2)):
    fusion = CrossAttentionFusion(5, class_counts)
    initialise(fusion, make_generator(0, CPU))
    torch.nn.init.normal_(fusion.attention.out_proj.weight, generator=make_generator(1, CPU))
    torch.nn.init.zeros_(fusion.attention.out_proj.bias)
    generator = make_generator(2, CPU)
    a = torch.randn(N, 5, generator=generator)
    responses = [torch.randn(N, k, generator=generator).softmax(1) for k in class_counts]
    return fusion.double(), a.double(), [r.double() for r in responses]


def test_attention_weights_are_distributions_over_the_factors_and_none():
    fusion, a, responses = make_fusion()
    features, weights = fusion(a, responses, N)
    assert features.shape == (N, fusion.n_features)
    assert weights.shape == (N, 5, 4)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(N, 5, dtype=torch.float64))
    assert weights.std(dim=2).min() > 0  # they differ between factors


def test_attention_is_that_of_pytorch():
    fusion, a, responses = make_fusion()
    own = fusion.attention
    other = torch.nn.MultiheadAttention(
        own.embed_dim, own.n_heads, add_zero_attn=True, batch_first=True, dtype=torch.float64
    )
    other.load_state_dict(own.state_dict())
    queries = fusion.offset + a.unsqueeze(2) * fusion.direction
    tokens = torch.stack([r @ t for r, t in zip(responses, fusion.class_tokens, strict=True)], 1)
    for found, expected in zip(own(queries, tokens), other(queries, tokens, tokens), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_single_factor_is_attended_to_by_choice():
    fusion = CrossAttentionFusion(5, [4])
    initialise(fusion, make_generator(0, CPU))
    a = torch.randn(N, 5, generator=make_generator(1, CPU))
    response = torch.randn(N, 4, generator=make_generator(2, CPU)).softmax(1)
    features, weights = fusion(a, [response], N)
    assert weights[..., 0].std() > 0
    features.square().sum().backward()
    assert fusion.attention.in_proj_weight.grad[: fusion.attention.embed_dim].abs().max() > 0


def test_the_order_of_the_factors_does_not_matter_to_the_fusion():
    fusion, a, responses = make_fusion()
    features, weights = fusion(a, responses, N)
    order = [2, 0, 1]
    fusion.class_tokens = torch.nn.ParameterList(fusion.class_tokens[i] for i in order)
    permuted_features, permuted_weights = fusion(a, [responses[i] for i in order], N)
    torch.testing.assert_close(permuted_features, features)
    torch.testing.assert_close(permuted_weights, weights[..., [*order, 3]])


@pytest.mark.parametrize("query", [0, 4])
def test_a_conditional_dimension_changes_its_own_token_only(query):
    fusion, a, responses = make_fusion()
    other = a.clone()
    other[:, query] += 1
    here, there = (fusion(some, responses, N)[0].unflatten(1, (5, -1)) for some in (a, other))
    changed = (here != there).flatten(2).any(2).all(0)
    np.testing.assert_array_equal(changed.numpy(), np.arange(5) == query)


def test_without_factors_the_queries_are_passed_on():
    fusion = CrossAttentionFusion(5, [])
    initialise(fusion, make_generator(0, CPU))
    a = torch.randn(N, 5, generator=make_generator(1, CPU))
    features, weights = fusion(a, [], N)
    assert weights is None
    expected = fusion.offset + a[:, :, None] * fusion.direction
    torch.testing.assert_close(features, expected.flatten(1))
