"""The RBF layer is the mixture prior of DESIGN.md: densities, identities and bounds in float64."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal
from torch.distributions import Normal

from skdeepdive.nn import priors
from skdeepdive.nn.priors import RBFMixture, make_centres

SHAPES = [(2, 1), (3, 2), (5, 4), (7, 3)]  # n_classes, n_dims


def make_prior(n_classes, n_dims, seed=0):
    """A mixture whose weights, centres and precisions differ from class to class."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n_classes, generator=generator, dtype=torch.float64) + 0.2
    prior = RBFMixture(weights / weights.sum(), n_dims).double()
    with torch.no_grad():
        prior.centres.copy_(torch.randn(n_classes, n_dims, generator=generator))
        prior.log_gamma.copy_(0.5 * torch.randn(n_classes, generator=generator))
    return prior


def make_posterior(n, n_dims, seed=1):
    generator = torch.Generator().manual_seed(seed)
    loc = 1.5 * torch.randn(n, n_dims, generator=generator, dtype=torch.float64)
    scale = torch.rand(n, n_dims, generator=generator, dtype=torch.float64) + 0.3
    return Normal(loc, scale)


def draws_of(q, n_draws, seed=2):
    noise = torch.randn(
        n_draws, q.loc.shape[-1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return q.loc + q.scale * noise


def mixture_kl_in_one_dimension(prior, loc, scale):
    """KL(N(loc, scale²) ‖ p) by numerical integration, densities written out with NumPy."""
    weights, gamma = prior.log_weights.exp().numpy(), prior.log_gamma.detach().exp().numpy()
    centres = prior.centres.detach().numpy()[:, 0]

    def integrand(b):
        q = np.exp(-0.5 * ((b - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        p = (weights * np.sqrt(gamma / np.pi) * np.exp(-gamma * (b - centres) ** 2)).sum()
        return q * (np.log(q) - np.log(p))

    return quad(integrand, loc - 12 * scale, loc + 12 * scale, epsabs=1e-11, limit=200)[0]


# Densities


@pytest.mark.parametrize(("n_classes", "n_dims"), SHAPES)
def test_log_joint_is_log_weight_plus_log_normal_density(n_classes, n_dims):
    prior = make_prior(n_classes, n_dims)
    b = make_posterior(20, n_dims).loc
    expected = np.stack(
        [
            prior.log_weights[k].item()
            + multivariate_normal(
                prior.centres[k].detach().numpy(), 1 / (2 * math.exp(prior.log_gamma[k].item()))
            ).logpdf(b.numpy())
            for k in range(n_classes)
        ],
        axis=1,
    )
    np.testing.assert_allclose(prior.log_joint(b).detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_differences", [1, 100])
def test_how_many_differences_are_formed_at_once_does_not_matter(n_differences, monkeypatch):
    prior, b = make_prior(5, 3), make_posterior(20, 3).loc
    whole = prior.log_joint(b)
    monkeypatch.setattr(priors, "_DIFFERENCES", n_differences)
    torch.testing.assert_close(prior.log_joint(b), whole, rtol=0, atol=0)


def test_mixture_density_integrates_to_one():
    prior = make_prior(4, 1)
    density = lambda b: prior.log_joint(torch.tensor([[b]])).logsumexp(-1).exp().item()  # noqa: E731
    with torch.no_grad():
        assert quad(density, -30, 30, limit=200)[0] == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(("n_classes", "n_dims"), SHAPES)
def test_posterior_is_the_normalised_joint(n_classes, n_dims):
    prior = make_prior(n_classes, n_dims)
    b = make_posterior(20, n_dims).loc
    posterior, joint = prior.log_joint(b).softmax(-1), prior.log_joint(b).exp()
    torch.testing.assert_close(posterior.sum(1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(posterior, joint / joint.sum(1, keepdim=True))


def test_posterior_stays_normalised_far_away_from_every_centre():
    posterior = (
        make_prior(3, 2).log_joint(torch.full((1, 2), 1e4, dtype=torch.float64)).log_softmax(-1)
    )
    assert posterior.isfinite().all()
    assert posterior.exp().sum().item() == pytest.approx(1)


def test_components_start_with_unit_deviation():
    prior = RBFMixture(torch.tensor([0.5, 0.3, 0.2]), 2)
    torch.testing.assert_close(prior.scales.detach(), torch.ones(3))


def test_weights_that_are_set_are_those_of_the_joint():
    prior, b = make_prior(3, 2), make_posterior(20, 2).loc
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    change = weights.log() - prior.log_weights
    before = prior.log_joint(b)
    prior.set_weights(weights)
    torch.testing.assert_close(prior.log_joint(b), before + change)


def test_scales_are_the_deviations_of_the_precisions():
    prior = make_prior(5, 2)
    variance = prior.scales.square()
    torch.testing.assert_close(variance * 2 * prior.log_gamma.exp(), torch.ones_like(variance))


# Divergences


@pytest.mark.parametrize(("n_classes", "n_dims"), SHAPES)
def test_kl_to_component_is_the_closed_form_between_gaussians(n_classes, n_dims):
    prior, q = make_prior(n_classes, n_dims), make_posterior(20, n_dims)
    labels = torch.arange(20) % n_classes
    variance = 1 / (2 * prior.log_gamma.exp()[labels, None])
    ratio = q.scale.square() / variance
    distance = (q.loc - prior.centres[labels]).square() / variance
    expected = 0.5 * (ratio + distance - 1 - ratio.log()).sum(1)
    torch.testing.assert_close(prior.kl_to_component(q, labels), expected)


def test_kl_to_component_is_zero_at_the_component():
    prior = make_prior(3, 2)
    labels = torch.tensor([0, 1, 2])
    q = Normal(prior.centres, prior.scales[:, None].expand(-1, 2))
    expected = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(prior.kl_to_component(q, labels), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_mixture_kl_is_component_kl_less_log_weight_less_expected_cross_entropy(n_dims, label):
    """KL(q‖p) = KL(q‖N_k) - log π_k - E_q[-log p(k|b)], for whatever label k."""
    prior, q = make_prior(3, n_dims), make_posterior(1, n_dims)
    b = draws_of(q, 200_000)
    with torch.no_grad():
        joint = prior.log_joint(b)
        kl, cross_entropy = prior.kl(q, b, joint.logsumexp(-1)), -joint.log_softmax(-1)[:, label]
        closed = prior.kl_to_component(q, torch.tensor([label])) - prior.log_weights[label]
    difference = kl + cross_entropy - closed
    standard_error = difference.std() / len(b) ** 0.5
    assert standard_error < 0.05
    assert difference.mean().abs() < 4 * standard_error


@pytest.mark.parametrize("seed", range(4))
def test_kl_is_unbiased_for_the_mixture_divergence(seed):
    prior, q = make_prior(4, 1, seed), make_posterior(1, 1, seed + 10)
    truth = mixture_kl_in_one_dimension(prior, q.loc.item(), q.scale.item())
    with torch.no_grad():
        b = draws_of(q, 200_000, seed)
        estimates = prior.kl(q, b, prior.log_joint(b).logsumexp(-1))
    standard_error = (estimates.std() / len(estimates) ** 0.5).item()
    assert standard_error < 0.02
    assert abs(estimates.mean().item() - truth) < 4 * standard_error


@pytest.mark.parametrize("seed", range(4))
def test_mixture_kl_is_between_zero_and_the_bound_of_every_label(seed):
    prior, q = make_prior(4, 1, seed), make_posterior(1, 1, seed + 10)
    kl = mixture_kl_in_one_dimension(prior, q.loc.item(), q.scale.item())
    labels = torch.arange(4)
    q = Normal(q.loc.expand(4, 1), q.scale.expand(4, 1))
    bounds = prior.kl_to_component(q, labels) - prior.log_weights[labels]
    assert kl >= 0
    assert (kl <= bounds + 1e-9).all()


def test_bound_is_tight_where_the_label_is_certain():
    prior = make_prior(3, 1)
    with torch.no_grad():
        prior.centres.copy_(torch.tensor([[-40.0], [0.0], [40.0]]))
    bound = prior.kl_to_component(
        Normal(torch.full((1, 1), 0.5).double(), torch.full((1, 1), 0.7).double()),
        torch.tensor([1]),
    )
    bound = (bound - prior.log_weights[1]).item()
    assert mixture_kl_in_one_dimension(prior, 0.5, 0.7) == pytest.approx(bound, abs=1e-8)


# Centres


def distances(centres):
    """All pairwise distances, infinite on the diagonal."""
    return torch.cdist(centres.double(), centres.double()).fill_diagonal_(math.inf)


@pytest.mark.parametrize("spacing", [3.0, 1.0])
@pytest.mark.parametrize(
    ("n_classes", "n_dims"),
    [(2, 1), (5, 1), (3, 2), (12, 2), (24, 2), (7, 4), (24, 8), (7, 6), (4, 3), (8, 7)],
)
def test_nearest_centres_are_the_spacing_apart(n_classes, n_dims, spacing):
    centres = make_centres(n_classes, n_dims, spacing)
    assert centres.shape == (n_classes, n_dims)
    nearest = distances(centres).min(dim=1).values
    torch.testing.assert_close(nearest, torch.full_like(nearest, spacing), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_classes", [2, 3, 5, 24])
def test_centres_in_one_dimension_lie_in_order_around_zero(n_classes):
    centres = make_centres(n_classes, 1)[:, 0]
    torch.testing.assert_close(centres.diff(), torch.full((n_classes - 1,), 3.0))
    assert centres.mean().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("n_classes", [3, 7, 12, 24])
def test_centres_in_two_dimensions_lie_in_order_on_a_circle(n_classes):
    centres = make_centres(n_classes, 2).double()
    radius = 1.5 / math.sin(math.pi / n_classes)
    torch.testing.assert_close(
        centres.norm(dim=1), torch.full((n_classes,), radius).double(), rtol=1e-5, atol=0
    )
    steps = (centres - centres.roll(-1, 0)).norm(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 3.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_classes", [3, 5, 7, 9, 13])
def test_centres_of_odd_numbers_of_classes_form_a_regular_simplex(n_classes):
    apart = distances(make_centres(n_classes, n_classes - 1))
    apart = apart[~torch.eye(n_classes, dtype=torch.bool)]
    torch.testing.assert_close(apart, torch.full_like(apart, 3.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_dims", range(1, 9))
@pytest.mark.parametrize("n_classes", [2, 3, 4, 6, 7, 12, 24, 31, 52])
def test_centres_are_finite_and_distinct(n_classes, n_dims):
    centres = make_centres(n_classes, n_dims)
    assert centres.isfinite().all()
    assert distances(centres).min() > 0.5


def test_a_single_class_has_a_centre():
    assert make_centres(1, 1).isfinite().all()


@pytest.mark.parametrize(("n_classes", "n_dims"), [(5, 3), (7, 3), (7, 5), (6, 3), (24, 8), (9, 1)])
def test_nearest_centres_are_three_apart_in_any_number_of_dimensions(n_classes, n_dims):
    distances = torch.pdist(make_centres(n_classes, n_dims))
    assert distances.min() == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("n_classes", [3, 4, 5, 6, 9])
def test_one_dimension_less_than_classes_gives_a_regular_simplex(n_classes):
    distances = torch.pdist(make_centres(n_classes, max(2, n_classes - 1)))
    np.testing.assert_allclose(distances, 3, atol=1e-5)


@pytest.mark.parametrize("n_dims", [1, 4, 16, 64])
def test_nearly_all_draws_of_the_prior_are_within_its_reach(n_dims):
    a = torch.randn(20_000, n_dims, generator=torch.Generator().manual_seed(0))
    moved = (priors.within_reach(a) != a).any(dim=1)
    assert moved.float().mean() < 0.005


@pytest.mark.parametrize("distance", [10.0, 1e3, 1e15])
def test_what_is_beyond_the_prior_comes_back_to_its_edge_and_keeps_its_direction(distance):
    unit = torch.nn.functional.normalize(torch.tensor([[1.0, -2.0, 0.5]]))
    edge = priors.within_reach(distance * unit)
    torch.testing.assert_close(edge, (3**0.5 + 3 / 2**0.5) * unit)


def test_the_reach_of_the_prior_has_finite_gradients_at_its_mean_and_far_beyond():
    a = torch.tensor([[0.0, 0.0], [1e12, 0.0]], requires_grad=True)
    priors.within_reach(a).sum().backward()
    assert a.grad.isfinite().all()
    torch.testing.assert_close(a.grad[0], torch.ones(2))
