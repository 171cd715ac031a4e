"""What DESIGN.md claims of the model, in double precision against closed forms.

The identities of the mixture prior alone are in test_priors.py, gradients of a single step in
test_networks.py.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.distributions import Normal

from skdeepdive import DeepDIVEForecaster
from skdeepdive._data.batches import Batch, WindowData
from skdeepdive._data.draws import Draws, make_generator
from skdeepdive._data.labels import UNLABELLED
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import start
from skdeepdive._train.loop import Settings, _Run
from skdeepdive._train.phases import Phase, interleaved_loss, warmed_up
from skdeepdive.nn.likelihoods import DiagonalNormal
from skdeepdive.nn.module import Latents

CPU = torch.device("cpu")
N_TIMESTEPS, N_CHANNELS, HORIZON = 5, 2, 3
N_DRAWS = 100_000


def make_draws(seed=0):
    return Draws(make_generator(seed, CPU))


def make_windows(n=96, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, N_TIMESTEPS, 2)), random.normal(size=(n, HORIZON, 2))


def make_module(class_counts, *, n_marginal=2, n_conditional=2, seed=0, spread=0.3):
    """A module in double precision none of whose parameters is special."""
    X, y = make_windows()
    factors = np.stack([np.arange(len(X)) % k for k in class_counts], 1) if class_counts else None
    latent = "both" if class_counts and n_conditional else "marginal"
    model = DeepDIVEForecaster(
        latent=latent if class_counts else "conditional",
        n_marginal=n_marginal,
        n_conditional=max(n_conditional, 1),
        n_hidden=8,
        max_epochs=1,
        random_state=seed,
    ).fit(X, y, factors=factors)
    module = copy.deepcopy(model.module_).requires_grad_(True)
    generator = make_generator(seed, CPU)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator).double()
        module.forecast_decoder.shrinkage.copy_(torch.tensor([0.7, 1.2]))
        for prior in module.priors:
            weights = torch.rand(prior.n_classes, generator=generator).double() + 0.2
            prior.set_weights(weights / weights.sum())
    return module


# Proposition 1: the bound, where the decoders are linear and the evidence is known


class Codes(nn.Module):
    """In place of the fusion: the latent code [b | a] itself."""

    b = None

    def __init__(self, module):
        super().__init__()
        log_joints = module.log_joints

        def remember(b):
            self.b = b
            return log_joints(b)

        module.log_joints = remember

    def forward(self, a, responses, n_windows):
        return torch.cat([part for part in (self.b, a) if part is not None], dim=1), None


class LinearDecoder(nn.Module):
    """In place of the forecast decoder: a linear map of the latent code."""

    def __init__(self, n_fused, log_scale):
        super().__init__()
        self.network = nn.Linear(n_fused, log_scale.numel()).double()
        self.log_scale = log_scale

    def forward(self, fused, *_):
        return DiagonalNormal(self.network(fused).unflatten(1, (HORIZON, 2)), self.log_scale)


class FixedPosterior(nn.Module):
    """In place of an encoder: the same normal distribution for all windows."""

    def __init__(self, loc, scale):
        super().__init__()
        self.loc, self.scale = torch.as_tensor(loc), torch.as_tensor(scale)

    def forward(self, features, *_):
        shape = len(features), len(self.loc)
        return Normal(self.loc.expand(shape), self.scale.expand(shape))


def make_linear(module, n_fused, seed=0):
    """Give the module linear decoders: to b itself, not to the responses, where there is any."""
    for means in module.linear_window.class_means:
        means.zero_()
    module.window_decoder.network = nn.Linear(n_fused, N_TIMESTEPS * N_CHANNELS).double()
    module.forecast_decoder = LinearDecoder(n_fused, module.forecast_decoder.log_scale)
    generator = make_generator(seed, CPU)
    for decoder in (module.window_decoder, module.forecast_decoder):
        for parameter in decoder.network.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)
    return module


def make_vae(n_conditional=2, seed=0):
    """DeepDIVE-(a) whose decoders see a itself, which the fusion bounds."""
    module = make_module([], n_conditional=n_conditional, seed=seed)
    module.fusion = Codes(module)
    return make_linear(module, n_conditional, seed)


def make_mixture(n_classes, *, n_marginal, n_conditional, seed=0):
    """DeepDIVE whose decoders see b itself rather than the responses to it."""
    module = make_module([n_classes], n_marginal=n_marginal, n_conditional=n_conditional, seed=seed)
    module.fusion = Codes(module)
    return make_linear(module, sum(module.factor_dims) + n_conditional, seed)


class Evidence:
    """Closed forms of a linear-Gaussian module at one window and its future.

    The prior of the codes [b | a] has a component for every class, or is the standard normal.
    """

    def __init__(self, module, x, y):
        self.value = np.concatenate([x.flatten(), y.flatten()])
        self.n_marginal = sum(module.factor_dims)
        n_latent = self.n_marginal + module.n_conditional
        codes = torch.cat([torch.zeros(1, n_latent), torch.eye(n_latent)]).double()
        b, a = codes.split([self.n_marginal, module.n_conditional], dim=1)
        responses = module.responses(b if self.n_marginal else None)
        latents = Latents(a=a if module.n_conditional else None, b=b, responses=responses)
        fused, _ = module.fusion(latents.a, responses, len(codes))
        px, py = module.decode_window(latents, fused), module.forecast_decoder(fused)
        means = torch.cat([px.mean.flatten(1), py.mean.flatten(1)], dim=1).numpy()
        scales = torch.cat([px.stddev.flatten(), py.stddev.flatten()]).numpy()
        self.offset, self.map = means[0], (means[1:] - means[0]).T
        self.noise = np.square(scales)
        centre, self.prior_variances, self.log_weights = np.zeros((1, n_latent)), [1.0], [0.0]
        if self.n_marginal:
            (prior,) = module.priors
            self.log_weights = prior.log_weights.numpy()
            centre = np.zeros((prior.n_classes, n_latent))
            centre[:, : self.n_marginal] = prior.centres.numpy()
            self.prior_variances = prior.scales.square().numpy()
        self.centres = centre
        self.variances = np.ones_like(centre)
        self.variances[:, : self.n_marginal] = np.reshape(self.prior_variances, (-1, 1))

    def log_joint(self, k):
        """Log p(x, y, k)."""
        mean = self.offset + self.map @ self.centres[k]
        covariance = (self.map * self.variances[k]) @ self.map.T + np.diag(self.noise)
        return self.log_weights[k] + multivariate_normal(mean, covariance).logpdf(self.value)

    def log_evidence(self):
        """Log p(x, y)."""
        return logsumexp([self.log_joint(k) for k in range(len(self.centres))])

    def posterior(self, k):
        """Mean and covariance of p(b, a | x, y, k)."""
        precision = np.diag(1 / self.variances[k]) + (self.map.T / self.noise) @ self.map
        residual = self.value - self.offset - self.map @ self.centres[k]
        covariance = np.linalg.inv(precision)
        return self.centres[k] + covariance @ (self.map.T / self.noise) @ residual, covariance

    def log_posterior(self, codes, k=None):
        """Log p(b, a | x, y, k), or log p(b, a | x, y)."""
        if k is not None:
            return multivariate_normal(*self.posterior(k)).logpdf(codes)
        terms = [
            self.log_joint(k) - self.log_evidence() + self.log_posterior(codes, k)
            for k in range(len(self.centres))
        ]
        return logsumexp(terms, axis=0)


@torch.no_grad()
def draw_bound(module, x, y, label=None, seed=1):
    """L, the codes [b | a] and log q(b, a | x) for many draws at one window."""
    n = (N_DRAWS, -1, -1)
    labels = torch.full((N_DRAWS, len(module.priors)), UNLABELLED if label is None else label)
    terms = module.loss(Batch(x.expand(n), y.expand(n), labels), make_draws(seed))
    latents = module.infer(module.features(x.expand(n)), make_draws(seed))
    pairs = [(latents.b, latents.qb), (latents.a, latents.qa)]
    pairs = [(code, q) for code, q in pairs if q is not None]
    log_q = sum(q.log_prob(code).sum(1) for code, q in pairs)
    codes = torch.cat([code for code, _ in pairs], dim=1)
    return terms.elbo.numpy(), codes.numpy(), log_q.numpy()


def make_pair(seed=5):
    X, y = make_windows(1, seed)
    return torch.as_tensor(X), torch.as_tensor(y)


def assert_mean(values, expected, error):
    """The mean is as expected within four standard errors, which are below `error`."""
    standard_error = values.std() / len(values) ** 0.5
    assert standard_error < error
    assert abs(values.mean() - expected) < 4 * standard_error + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_bound_and_divergence_from_the_posterior_sum_to_the_evidence_of_a_vae(seed):
    """Log p(x, y) = L + KL(q(a | x) ‖ p(a | x, y)), with all three in closed form but L."""
    module, (x, y) = make_vae(seed=seed), make_pair(seed)
    with torch.no_grad():
        truth = Evidence(module, x, y)
        qa = module.infer(module.features(x)).qa
    mean, covariance = truth.posterior(0)
    q_mean, q_variance = qa.loc[0].numpy(), qa.scale[0].square().numpy()
    precision, shift = np.linalg.inv(covariance), q_mean - mean
    kl = 0.5 * (
        (np.diag(precision) * q_variance).sum() + shift @ precision @ shift - len(mean)
        + np.linalg.slogdet(covariance)[1] - np.log(q_variance).sum()
    )  # fmt: skip
    bound, _, _ = draw_bound(module, x, y)
    assert kl > 0.1
    assert_mean(bound, truth.log_evidence() - kl, 0.02 * kl)


@pytest.mark.parametrize("label", [None, 0, 1, 2])
@pytest.mark.parametrize("seed", range(2))
def test_bound_and_divergence_from_the_posterior_sum_to_the_evidence_of_a_mixture(seed, label):
    """Log p(x, y) = L + KL(q(a, b | x) ‖ p(a, b | x, y)); with a label k both p are joint with k.

    The divergence is estimated from the draws that L takes.
    """
    module = make_mixture(3, n_marginal=2, n_conditional=2, seed=seed)
    x, y = make_pair(seed)
    with torch.no_grad():
        truth = Evidence(module, x, y)
    bound, codes, log_q = draw_bound(module, x, y, label)
    evidence = truth.log_evidence() if label is None else truth.log_joint(label)
    divergence = log_q - truth.log_posterior(codes, label)
    assert divergence.mean() > 0.1
    assert bound.mean() < evidence
    assert_mean(bound + divergence, evidence, 0.01 * divergence.mean())


@pytest.mark.parametrize("seed", range(3))
def test_bound_of_a_vae_is_tight_at_the_posterior(seed):
    module, (x, y) = make_vae(n_conditional=1, seed=seed), make_pair(seed)
    with torch.no_grad():
        truth = Evidence(module, x, y)
    mean, covariance = truth.posterior(0)
    module.conditional_encoder = FixedPosterior(mean, np.sqrt(np.diag(covariance)))
    bound, _, _ = draw_bound(module, x, y)
    assert_mean(bound, truth.log_evidence(), 0.01)
    module.conditional_encoder = FixedPosterior(mean, 1.5 * np.sqrt(np.diag(covariance)))
    assert draw_bound(module, x, y)[0].mean() < truth.log_evidence() - 0.1


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("seed", range(2))
def test_bound_of_a_labelled_window_is_tight_at_the_posterior_given_its_label(seed, label):
    module = make_mixture(2, n_marginal=1, n_conditional=0, seed=seed)
    x, y = make_pair(seed)
    with torch.no_grad():
        truth = Evidence(module, x, y)
    mean, covariance = truth.posterior(label)
    module.marginal_encoder = FixedPosterior(mean, np.sqrt(np.diag(covariance)))
    bound, _, _ = draw_bound(module, x, y, label)
    assert_mean(bound, truth.log_joint(label), 0.01)
    unlabelled, _, _ = draw_bound(module, x, y)
    assert bound.mean() < unlabelled.mean() < truth.log_evidence() + 0.01


def test_bound_of_an_unlabelled_window_is_tight_where_its_class_is_certain():
    module = make_mixture(2, n_marginal=1, n_conditional=0)
    x, y = make_pair()
    with torch.no_grad():
        module.priors[0].centres.copy_(torch.tensor([[-30.0], [30.0]]))
        truth = Evidence(module, x, y)
    likely = int(truth.log_joint(1) > truth.log_joint(0))
    mean, covariance = truth.posterior(likely)
    module.marginal_encoder = FixedPosterior(mean, np.sqrt(np.diag(covariance)))
    bound, _, _ = draw_bound(module, x, y)
    assert_mean(bound, truth.log_evidence(), 0.01)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_label_costs_its_expected_cross_entropy(label):
    """The slack of KL <= KL(q ‖ N_k) - log π_k is E[-log p(k | b)], in the terms of the loss."""
    module, (x, y) = make_module([3]), make_pair()
    between = module.priors[0].centres.detach().mean(0)
    module.marginal_encoder = FixedPosterior(between, torch.tensor([1.2, 0.8]).double())
    n = (N_DRAWS, -1, -1)
    labels = torch.full((N_DRAWS, 1), label)
    with torch.no_grad():
        known, unknown = (
            module.loss(Batch(x.expand(n), y.expand(n), some), make_draws())
            for some in (labels, torch.full_like(labels, UNLABELLED))
        )
    assert known.cross_entropy.mean() > 0.5
    slack = known.kl_b - unknown.kl_b
    assert_mean((slack - known.cross_entropy).numpy(), 0, 0.02)


# Naive Bayes


@pytest.mark.parametrize("class_counts", [[3, 2], [4, 2, 3]])
def test_posterior_of_the_joint_labels_is_the_product_over_factors(class_counts):
    """The joint mixture has a component for every combination of labels, written out with SciPy."""
    module = make_module(class_counts)
    b = 3 * torch.randn(20, sum(module.factor_dims), generator=make_generator(0, CPU)).double()
    with torch.no_grad():
        responses = [joint.log_softmax(1) for joint in module.log_joints(b)]
        scales = [prior.scales for prior in module.priors]
    joint = []
    for labels in itertools.product(*map(range, class_counts)):
        parts = list(zip(module.priors, scales, labels, strict=True))
        mean = np.concatenate([p.centres[k].detach() for p, _, k in parts])
        deviation = np.concatenate([np.full(p.n_dims, s[k].item()) for p, s, k in parts])
        log_weight = sum(p.log_weights[k].item() for p, _, k in parts)
        density = multivariate_normal(mean, np.diag(deviation**2)).logpdf(b.numpy())
        joint.append(log_weight + density)
    posterior = np.stack(joint, 1) - logsumexp(joint, axis=0)[:, None]
    product = [
        sum(r[:, k] for r, k in zip(responses, labels, strict=True))
        for labels in itertools.product(*map(range, class_counts))
    ]
    np.testing.assert_allclose(torch.stack(product, 1), posterior, rtol=1e-10, atol=1e-10)


def test_cross_entropy_is_that_of_the_joint_labels():
    module, (x, y) = make_module([4, 2, 3]), map(torch.as_tensor, make_windows(24))
    labels = torch.stack([torch.arange(24) % k for k in (4, 2, 3)], 1)
    terms = module.loss(Batch(x, y, labels), make_draws())
    joints = module.infer(module.features(x), make_draws()).log_joints
    responses = [joint.log_softmax(1) for joint in joints]
    joint = responses[0][:, :, None, None] + responses[1][:, None, :, None]
    joint = joint + responses[2][:, None, None, :]
    torch.testing.assert_close(joint.exp().sum((1, 2, 3)), torch.ones(24).double())
    picked = joint[(torch.arange(24), *labels.T)]
    torch.testing.assert_close(terms.cross_entropy, -picked)


# Interleaving


def make_data(class_counts, n=96):
    X, y = make_windows(n)
    labels = np.stack([np.arange(n) % k for k in class_counts], 1)
    labels[::5] = UNLABELLED
    unit = Scaling(np.zeros(2), np.ones(2))
    return WindowData(X, y, labels, unit, unit, CPU, np.float64)


def make_settings(batch_size):
    return Settings(batch_size, 1e-2, 0, lambda history, finished: False)


def split_parameters(module):
    """Parameters of the marginal path, and all others."""
    groups = module.parameter_groups()
    marginal = [*groups.pop("marginal"), *groups.pop("discriminant")]
    return marginal, [parameter for group in groups.values() for parameter in group]


def interleave(module, data, batch_size, n_epochs, rates):
    """Both steps of DESIGN.md on every batch, each with its own optimiser, from the same point."""
    marginal, conditional = split_parameters(module)
    steps = [
        torch.optim.Adam(parameters, lr=rate)
        for parameters, rate in zip((marginal, conditional), rates, strict=True)
    ]
    generator, order = make_generator(0, CPU), np.random.default_rng(0)
    for epoch in range(n_epochs):
        n_batches = -(-len(data) // batch_size)
        for i, rows in enumerate(np.array_split(order.permutation(len(data)), n_batches)):
            batch = data.batch(rows)
            state, draws = generator.get_state(), Draws(generator)
            latents = module.infer_marginal(module.features(batch.x), draws)
            first = sum(module.marginal_terms(latents, batch.labels)).mean()
            gradients = [torch.autograd.grad(first, marginal)]

            generator.set_state(state)
            for parameter in marginal:
                parameter.requires_grad_(False)
            terms = module.loss(batch, draws, dropout=True)
            weight = min(1.0, (epoch + (i + 1) / n_batches) / 5)
            second = (weight * terms.kl_a - terms.log_py - terms.log_px).mean()
            gradients.append(torch.autograd.grad(second, conditional, allow_unused=True))
            for parameter in marginal:
                parameter.requires_grad_(True)

            for step, parameters, values in zip(
                steps, (marginal, conditional), gradients, strict=True
            ):
                for parameter, value in zip(parameters, values, strict=True):
                    parameter.grad = value
                step.step()


@pytest.mark.parametrize("n_conditional", [2, 0])
@pytest.mark.parametrize("class_counts", [[3], [3, 4]])
def test_the_fused_backward_pass_equals_the_interleaved_schedule_step_for_step(
    class_counts, n_conditional
):
    fused = make_module(class_counts, n_conditional=n_conditional)
    alternating, data, n_epochs = copy.deepcopy(fused), make_data(class_counts), 3
    start = copy.deepcopy(fused.state_dict())

    unevaluated = {"validation_loss": 0.0}
    phase = Phase(
        "interleaved",
        interleaved_loss,
        {"conditional": 1.0},
        n_epochs,
        None,
        lambda *_: unevaluated,
        kl_weight=warmed_up,
    )
    parts = zip(split_parameters(fused), (3e-3, 1e-2), strict=True)
    optimizer = torch.optim.Adam([{"params": part, "lr": rate} for part, rate in parts])
    run = _Run(fused, data, data, [phase], make_settings(20), lambda *_: None, None)
    run._begin(phase)
    run.optimizer = optimizer
    optimizer.gradients = list  # summed among processes, of which there is one
    step = optimizer.step
    optimizer.step = lambda factor: step()  # at a rate that stays as it is
    for run.epoch in range(n_epochs):
        run._run_epoch(run.data, run.out_of_fold)

    interleave(alternating, data, 20, n_epochs, (3e-3, 1e-2))
    after = alternating.state_dict()
    for name, value in fused.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=1e-8, atol=1e-10)
    moved = {k for k, p in fused.named_parameters() if not torch.allclose(p, start[k], atol=1e-4)}
    assert {k for k, p in fused.named_parameters() if p.numel()} - moved == set()


@pytest.mark.parametrize("n_steps", [1, 3])
def test_conditional_steps_leave_the_frozen_marginal_path_bit_for_bit(n_steps):
    module, data = make_module([3, 4]), make_data([3, 4])
    marginal = {id(parameter) for parameter in split_parameters(module)[0]}
    before = {k: p.detach().clone() for k, p in module.named_parameters()}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for step in range(n_steps):
        optimizer.zero_grad()
        terms = module.loss(data.batch(slice(None)), make_draws(step))
        (terms.kl_a - terms.log_py - terms.log_px).mean().backward()
        optimizer.step()
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in marginal), name


def make_crossed_waves(n=320, seed=0):
    """Two waves of either sign; the label, whether they agree, is no linear function of them."""
    random = np.random.default_rng(seed)
    time = np.arange(20)
    sign = random.choice([-1.0, 1.0], size=(2, n, 1))
    size = random.uniform(0.5, 1.5, size=(n, 1))
    waves = [np.sin(2 * np.pi * time / 8), np.cos(2 * np.pi * time / 16)]
    series = size * (sign[0] * waves[0] + sign[1] * waves[1])
    series += 0.1 * random.normal(size=series.shape)
    future = np.abs(series[:, 16:]) * (sign[0] * sign[1])
    return series[:, :16], future, (sign[0] == sign[1]).astype(int)[:, 0]


@pytest.mark.parametrize("seed", range(2))
def test_every_term_of_the_objective_falls_on_data_with_known_structure(seed, monkeypatch):
    """The KL of a is not among them: it starts near zero and is the price of what a tells.

    Pooled features would read the labels from the start.
    """
    monkeypatch.setattr(start, "FEWEST_TIMESTEPS", 100)
    X, y, labels = make_crossed_waves(seed=seed)
    model = DeepDIVEForecaster(
        n_hidden=32,
        n_conditional=4,
        max_epochs=10,
        learning_rate=1e-2,
        early_stopping=False,
        random_state=seed,
    ).fit(X, y, factors=labels)
    for name, sign in {"log_px": 1, "log_py": 1, "kl_b": -1, "cross_entropy": -1}.items():
        for part in ("", "validation_"):
            values = model.history_[part + name]
            values = sign * values[np.isfinite(values)]
            assert values[-1] > values[0] + 0.2, part + name
    assert (model.predict_cluster(X) == labels).mean() > 0.95


# Labels


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_weights_of_the_prior_are_the_frequencies_of_all_labels(share):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(500, 8)), random.normal(size=(500, 1))
    labels = random.choice(4, size=500, p=[0.1, 0.2, 0.3, 0.4])
    labels[400:] = 3  # validation windows count as well
    labels[random.random(500) > share] = -1
    factors = np.stack([labels, np.arange(500) % 2], 1)
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0).fit(X, y, factors=factors)
    counts = np.bincount(labels[labels >= 0])
    for prior, expected in zip(
        model.module_.priors, (counts / counts.sum(), [0.5, 0.5]), strict=True
    ):
        np.testing.assert_allclose(prior.log_weights.exp(), expected, rtol=1e-6)


def make_groups(kind, seed, n=300):
    """Windows of three groups and their futures: shapes of any amplitude, or waves of any phase."""
    random = np.random.default_rng(seed)
    time = np.arange(16)
    group = random.integers(3, size=n)
    if kind == "amplitude":
        shapes = [np.sin(2 * np.pi * time / 8), time / 4 - 2, np.where(time < 8, 1.5, -1.5)]
        series = random.uniform(0.3, 1.7, size=(n, 1)) * np.array(shapes)[group]
    else:
        period, phase = np.array([5, 8, 13])[group], random.uniform(-0.9, 0.9, size=n)
        series = np.sin(2 * np.pi * time / period[:, None] + phase[:, None])
    series += 0.3 * random.normal(size=series.shape)
    return series[:, :12], series[:, 12:], group


@pytest.mark.parametrize("kind", ["amplitude", "phase"])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_recovered_at_least_as_well_as_by_kmeans_without_any_label(seed, kind):
    X, y, group = make_groups(kind, seed)
    model = DeepDIVEForecaster(
        n_clusters=3, n_hidden=32, n_conditional=4, max_epochs=15, random_state=seed
    ).fit(X, y)
    phase = model.history_.pop("phase")
    for term, values in model.history_.items():
        present = phase == ("forecast" if "squared_error" in term else "interleaved")
        assert np.isfinite(values[present]).all()
    kmeans = KMeans(3, n_init=10, random_state=seed).fit_predict(X)
    found, baseline = (adjusted_rand_score(group, c) for c in (model.predict_cluster(X), kmeans))
    assert found >= baseline
    assert found > 0.95
