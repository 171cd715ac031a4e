"""The prior p(a | b): its coordinates, and its divergence against torch's, in float64."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from skdeepdive.nn import conditional_prior
from skdeepdive.nn.conditional_prior import ConditionalPrior
from skdeepdive.nn.likelihoods import kl_to_standard

N, N_DIMS, CLASS_COUNTS = 7, 3, [2, 4, 3]


def make_prior(class_counts=CLASS_COUNTS, seed=0):
    """A prior whose moments differ from cell to cell."""
    generator = torch.Generator().manual_seed(seed)
    prior = ConditionalPrior(class_counts, N_DIMS).double()
    for buffer in (prior.mean, *prior.means):
        buffer.normal_(generator=generator)
    for roots in prior.roots:
        factor = torch.randn(roots.shape, generator=generator, dtype=torch.float64)
        roots.copy_(factor @ factor.mT + 0.5 * torch.eye(N_DIMS))
    return prior


def make_responses(class_counts=CLASS_COUNTS, *, certain=False, seed=1):
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(N, k, generator=generator, dtype=torch.float64) for k in class_counts]
    if certain:
        return [torch.eye(part.shape[1]).double()[part.argmax(1)] for part in logits]
    return [part.softmax(1) for part in logits]


def make_posterior(seed=2):
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(N, N_DIMS, generator=generator, dtype=torch.float64)
    return Normal(loc, 0.1 + torch.rand(N, N_DIMS, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("certain", [True, False])
def test_placing_undoes_standardising(certain):
    prior, responses, a = make_prior(), make_responses(certain=certain), make_posterior().loc
    standardised = prior.standardise(a, responses)
    assert (standardised - a).abs().min() > 1e-3
    torch.testing.assert_close(prior.place(standardised, responses), a)


def test_of_one_known_factor_the_prior_is_the_normal_of_the_class():
    prior, responses = make_prior([4]), make_responses([4], certain=True)
    labels = responses[0].argmax(1)
    root = prior.roots[0][labels]
    normal = MultivariateNormal(prior.mean + prior.means[0][labels], root @ root.mT)
    q = make_posterior()
    expected = kl_divergence(MultivariateNormal(q.loc, torch.diag_embed(q.scale.square())), normal)
    torch.testing.assert_close(prior.kl(q, responses), expected)
    e = prior.standardise(q.loc, responses)
    distance = -0.5 * e.square().sum(1) - root.logdet()
    log_norm = N_DIMS / 2 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(distance - log_norm, normal.log_prob(q.loc))


def test_the_divergence_is_that_in_its_coordinates():
    prior, responses, q = make_prior(), make_responses(), make_posterior()
    origin = prior.standardise(torch.zeros_like(q.loc), responses)
    columns = [
        prior.standardise(unit.expand(N, -1), responses) - origin
        for unit in torch.eye(N_DIMS).double()
    ]
    turned = torch.stack(columns, dim=2) @ torch.diag_embed(q.scale)
    loc = prior.standardise(q.loc, responses)
    standard = MultivariateNormal(torch.zeros_like(loc), torch.eye(N_DIMS).double())
    expected = kl_divergence(MultivariateNormal(loc, turned @ turned.mT), standard)
    torch.testing.assert_close(prior.kl(q, responses), expected)


def test_the_prior_is_standard_normal_until_it_is_fitted():
    prior, responses = ConditionalPrior(CLASS_COUNTS, N_DIMS).double(), make_responses()
    q = make_posterior()
    torch.testing.assert_close(prior.standardise(q.loc, responses), q.loc)
    torch.testing.assert_close(prior.kl(q, responses), kl_to_standard(q))


def test_windows_in_blocks_are_as_windows_together(monkeypatch):
    prior, responses, q = make_prior(), make_responses(), make_posterior()

    def results():
        e = prior.standardise(q.loc, responses)
        return e, prior.place(e, responses), prior.kl(q, responses)

    together = results()
    monkeypatch.setattr(conditional_prior, "BLOCK_ENTRIES", 2 * N_DIMS**2)
    torch.testing.assert_close(results(), together)


def test_pairs_of_many_classes_have_no_moments_of_their_own():
    prior = ConditionalPrior([2, 600, 3], N_DIMS)
    assert prior.pairs == [(0, 2)]
    assert prior.cell_counts == [2, 600, 3, 6]
