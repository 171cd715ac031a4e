"""The closed form of p(a | b): what classifiers read of a before and after."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._train.conditional_prior import fit_conditional_prior
from skdeepdive.metrics import accuracy_above_chance
from skdeepdive.nn.conditional_prior import ConditionalPrior
from skdeepdive.nn.likelihoods import kl_to_standard

N_DIMS, SCALE = 3, 0.1


class Windows:
    """Posterior locations and labels in place of windows, in batches."""

    device, window_size = torch.device("cpu"), 1

    def __init__(self, loc, labels):
        self.loc, self.labels = loc, labels

    def __len__(self):
        return len(self.loc)

    def take(self, rows):
        return Windows(self.loc[rows], self.labels[rows])

    def batches(self, batch_size):
        yield from zip(self.loc.split(100), self.labels.split(100), strict=True)


class Module:
    """A trained module that knows the labels of its windows."""

    def __init__(self, class_counts):
        self.class_counts, self.n_classes = class_counts, sum(class_counts)
        self.conditional_prior = ConditionalPrior(class_counts, N_DIMS)
        self.features = SimpleNamespace(of=lambda batch: batch)

    def infer(self, batch):
        loc, labels = batch
        qa = Normal(loc, torch.full_like(loc, SCALE))
        return SimpleNamespace(qa=qa, responses=self.responses(labels))

    def responses(self, labels):
        return [
            torch.eye(k)[own].to(torch.float32)
            for k, own in zip(self.class_counts, labels.T, strict=True)
        ]


def make_clouds(n=8000, seed=0):
    """Clouds whose location and covariance depend on both of two factors, and act together."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.randint(k, (n,), generator=generator) for k in (2, 3)], dim=1)
    moments = torch.Generator().manual_seed(7)
    loc = torch.randn(2, 3, N_DIMS, generator=moments)
    factor = torch.randn(2, 3, N_DIMS, N_DIMS, generator=moments)
    root = torch.matrix_exp(0.2 * (factor + factor.mT))
    cell = labels[:, 0], labels[:, 1]
    noise = torch.randn(n, N_DIMS, 1, generator=generator)
    return Windows(loc[cell] + (root[cell] @ noise).squeeze(2), labels)


def standardised(module, windows):
    return module.conditional_prior.standardise(windows.loc, module.responses(windows.labels))


def test_every_cell_of_two_factors_becomes_standard_normal():
    module, windows = Module([2, 3]), make_clouds()
    fit_conditional_prior(module, windows)
    e, labels = standardised(module, windows), windows.labels
    for cell in np.ndindex(2, 3):
        own = e[(labels == torch.tensor(cell)).all(1)]
        torch.testing.assert_close(own.mean(0), torch.zeros(N_DIMS), atol=0.1, rtol=0)
        torch.testing.assert_close(own.T.cov(), torch.eye(N_DIMS), atol=0.3, rtol=0)


@pytest.mark.parametrize("classifier", ["neighbors", "boosting"])
def test_labels_of_new_windows_are_read_before_and_not_after(classifier):
    module, new = Module([2, 3]), make_clouds(1500, seed=1)
    fit_conditional_prior(module, make_clouds())
    options = {"classifier": classifier, "multioutput": "raw_values"}
    labels = new.labels.numpy()
    assert (accuracy_above_chance(labels, new.loc.numpy(), **options) > 0.15).all()
    assert (
        accuracy_above_chance(labels, standardised(module, new).numpy(), **options) < 0.05
    ).all()


def test_the_divergence_becomes_less():
    module, windows = Module([2, 3]), make_clouds()
    fit_conditional_prior(module, windows)
    latents = module.infer((windows.loc, windows.labels))
    after = module.conditional_prior.kl(latents.qa, latents.responses)
    assert after.mean() < kl_to_standard(latents.qa).mean() - 0.5


def test_a_fit_to_two_parts_is_that_to_both_together():
    whole, parts = Module([2, 3]), Module([2, 3])
    windows = make_clouds(2000)
    fit_conditional_prior(whole, windows)
    fit_conditional_prior(parts, windows.take(slice(0, 1200)), windows.take(slice(1200, None)))
    for name, found in parts.conditional_prior.state_dict().items():
        torch.testing.assert_close(found, whole.conditional_prior.state_dict()[name])


def test_few_windows_hardly_move_the_prior():
    module = Module([2, 3])
    fit_conditional_prior(module, make_clouds().take(slice(0, 1)))
    for roots in module.conditional_prior.roots:
        identity = torch.eye(N_DIMS).expand_as(roots)
        torch.testing.assert_close(roots, identity, atol=0.2, rtol=0)


def test_a_cell_without_windows_has_the_moments_of_its_classes():
    windows = make_clouds()
    cell = (windows.labels == torch.tensor([0, 2])).all(1)
    module = Module([2, 3])
    fit_conditional_prior(module, windows.take(~cell))
    prior = module.conditional_prior
    assert (prior.means[2][2] == 0).all()
    torch.testing.assert_close(prior.roots[2][2], torch.eye(N_DIMS), atol=0.15, rtol=0)


def make_windows(n_steps=600):
    """Load whose amplitude and noise depend on the hour."""
    random = np.random.default_rng(0)
    time = np.arange(n_steps)
    series = np.sin(2 * np.pi * time / 12) + (0.1 + 0.4 * (time % 12 < 6)) * random.normal(
        size=n_steps
    )
    X, y, origin = sliding_windows(series, n_timesteps=24, horizon=6)
    return X, y, origin % 12


def make_model(**parameters):
    return DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0, **parameters)


def test_windows_and_forecasts_are_those_of_the_module_without_the_prior():
    X, y, hour = make_windows()
    model = make_model().fit(X, y, factors=hour)
    found = model.reconstruct(X), model.predict(X)
    Z = model.transform(X)
    standard = ConditionalPrior([12], model.n_conditional).to(torch.float64)
    model.module_.conditional_prior.load_state_dict(standard.state_dict())
    for values, expected in zip((model.reconstruct(X), model.predict(X)), found, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.transform(X)[:, :11], Z[:, :11])
    assert np.abs(model.transform(X) - Z).max() > 0.1


@pytest.mark.parametrize(
    ("parameters", "labelled"),
    [({}, False), ({"latent": "conditional"}, False), ({"latent": "marginal"}, True)],
)
def test_without_labels_or_conditional_dimensions_there_is_no_such_prior(parameters, labelled):
    X, y, hour = make_windows(200)
    model = make_model(**parameters).fit(X, y, factors=hour if labelled else None)
    assert model.module_.conditional_prior is None
