"""The baselines: the original variational autoencoder and the β-TCVAE."""

import copy
import itertools
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from skdeepdive import sliding_windows, split_windows
from skdeepdive._data.batches import Batch
from skdeepdive._data.draws import Draws, make_generator
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.datasets import load_electricity
from skdeepdive.nn.features import WindowFeatures
from skdeepdive.nn.vae import VAE, BetaTCVAE, aggregate_log_density, decompose_kl

N_TIMESTEPS, HORIZON = 48, 24
ESTIMATORS = [VAEForecaster, BetaTCVAEForecaster]
KL_PARTS = ["mutual_information", "total_correlation", "dimension_kl"]

both = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.fixture(scope="module")
def load():
    """The last 1000 hours of two clients, in training and test windows."""
    X, y, origin = sliding_windows(load_electricity().data[-1000:], N_TIMESTEPS, HORIZON)
    train, test = split_windows(origin, HORIZON, fractions=(0.8, 0.2))
    return X[train], y[train], X[test], y[test]


def make_model(estimator=VAEForecaster, **parameters):
    small = {"n_latent": 4, "n_hidden": 32, "max_epochs": 2, "random_state": 0}
    return estimator(**{**small, **parameters})


def fit(load, estimator=VAEForecaster, **parameters):
    X, y, _, _ = load
    return make_model(estimator, **parameters).fit(X, y)


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(load, request):
    """A trained model of either kind; tests must not refit it."""
    return fit(load, request.param, max_epochs=10)


# Learning


def test_forecasts_of_new_days_beat_the_mean_of_every_client(load, fitted):
    _, y, test_X, test_y = load
    error = np.square(fitted.predict(test_X) - test_y).mean(axis=(0, 1))
    assert (error < 0.95 * np.square(y.mean(axis=(0, 1)) - test_y).mean(axis=(0, 1))).all()


def test_reconstructions_of_new_windows_beat_the_mean_of_each(load, fitted):
    _, _, X, _ = load
    error = np.square(fitted.reconstruct(X) - X).mean()
    assert error < 0.8 * np.square(X - X.mean(axis=1, keepdims=True)).mean()


def test_the_objective_falls_and_its_terms_are_finite(fitted):
    history = fitted.history_
    assert all(np.isfinite(v).all() for k, v in history.items() if k != "phase")
    assert history["validation_loss"][-1] < history["validation_loss"][0] - 10
    assert len(history["epoch"]) == fitted.n_iter_ == 10


@pytest.mark.parametrize(
    ("estimator", "parts"), [(VAEForecaster, ["kl"]), (BetaTCVAEForecaster, KL_PARTS)]
)
def test_the_history_holds_the_terms_of_the_objective(load, estimator, parts):
    terms = ["log_py", "log_px", *parts]
    validation = ["validation_loss", *(f"validation_{term}" for term in terms)]
    about = ["phase", "epoch", "learning_rate"]
    assert list(fit(load, estimator).history_) == [*about, *terms, *validation]


def test_a_beta_of_one_gives_the_variational_autoencoder(load):
    _, _, X, _ = load
    model, same = fit(load), fit(load, BetaTCVAEForecaster, beta=1.0)
    np.testing.assert_allclose(same.predict(X), model.predict(X), rtol=1e-3)
    kl = sum(same.history_[part] for part in KL_PARTS)
    np.testing.assert_allclose(kl, model.history_["kl"], rtol=1e-3)


def correlation_of_the_aggregate(model, X):
    """Total correlation of the normal distribution with the moments of q(z)."""
    module, x = model.module_, torch.from_numpy(model._x_scaling.apply(X, np.float64))
    with torch.no_grad():
        q = module.infer(module.features(x))
    covariance = torch.cov(q.loc.T) + q.variance.mean(0).diag()
    return float(-0.5 * (covariance.logdet() - covariance.diag().log().sum()))


@pytest.mark.parametrize("seed", [0, 1])
def test_weighing_the_total_correlation_lowers_that_of_the_aggregate_posterior(load, seed):
    options = {"max_epochs": 10, "random_state": seed}
    plain, weighed = fit(load, **options), fit(load, BetaTCVAEForecaster, **options)
    correlations = [correlation_of_the_aggregate(model, load[0]) for model in (plain, weighed)]
    assert correlations[1] < 0.5 * correlations[0]


# Interface


@both
@pytest.mark.parametrize("shape", [(), (HORIZON,), (HORIZON, 1), (HORIZON, 2)])
def test_outputs_have_the_shapes_of_what_was_given(load, estimator, shape):
    X, y, test_X, _ = load
    y = y[(slice(None), *(slice(n) for n in shape), *(0,) * (2 - len(shape)))]
    model = make_model(estimator).fit(X, y)
    assert model.predict(test_X).shape == (len(test_X), *shape)
    assert model.transform(test_X).shape == (len(test_X), 4)
    assert model.reconstruct(test_X).shape == test_X.shape


def test_reconstruction_is_the_decoded_embedding(load, fitted):
    _, _, X, _ = load
    decoded = fitted.inverse_transform(fitted.transform(X).astype(np.float64))
    np.testing.assert_allclose(decoded, fitted.reconstruct(X), rtol=1e-4)


def test_latent_dimensions_are_numbered(fitted):
    names = [f"latent_{j}" for j in range(4)]
    assert fitted.get_feature_names_out().tolist() == names
    changed = copy.copy(fitted).set_params(n_latent=7)
    assert changed.get_feature_names_out().tolist() == names


def test_flattened_windows_give_the_same_results_as_windows_with_channels(load):
    X, y, _, _ = load
    flat = X.reshape(len(X), -1)
    forecast = make_model(n_channels=2).fit(flat, y).predict(flat)
    np.testing.assert_array_equal(forecast, make_model().fit(X, y).predict(X))


@both
def test_forecasts_come_in_the_units_of_the_futures(load, estimator):
    X, y, _, _ = load
    scaled = make_model(estimator).fit(1e6 * X + 1e8, 1e-6 * y - 3.0).predict(1e6 * X + 1e8)
    expected = 1e-6 * make_model(estimator).fit(X, y).predict(X).astype(np.float64) - 3.0
    assert np.abs(scaled - expected).max() < 0.05e-6 * y.std()


def test_the_future_is_decoded_from_the_latent_code_alone(load, fitted):
    _, _, X, _ = load
    model = copy.deepcopy(fitted)
    model.module_.encoder.head.weight.zero_()  # the same code for all windows
    forecast = model.predict(X)
    assert (forecast == forecast[:1]).all()


def test_the_scale_of_the_forecasts_is_the_error_on_the_validation_windows(load, fitted):
    X, y, _, _ = load
    n_valid = round(0.2 * len(X))
    error = fitted.predict(X[-n_valid:]).astype(np.float64) - y[-n_valid:]
    scale = fitted.module_.future_decoder.log_scale.exp().numpy() * fitted._y_scaling.scale
    np.testing.assert_allclose(scale, np.sqrt(np.square(error).mean(axis=0)), rtol=1e-2)


@both
@pytest.mark.parametrize("n_samples", [2, 3, 17])
def test_few_windows_train(load, estimator, n_samples):
    X, y, test_X, _ = load
    model = make_model(estimator, validation_fraction=0.6, validation_gap=0)
    model.fit(X[:n_samples], y[:n_samples])
    assert np.isfinite(model.predict(test_X)).all()


@both
def test_windows_of_many_channels_are_compressed_and_decoded(estimator):
    X = np.random.default_rng(0).standard_normal((20, 60, 40))
    model = make_model(estimator).fit(X, X[:, :3])
    assert model.module_.features.compressed
    assert model.reconstruct(X).shape == X.shape


@both
def test_the_same_seed_gives_the_same_model_and_another_another(load, estimator):
    _, _, X, _ = load
    forecasts = [fit(load, estimator, random_state=seed).predict(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert not np.allclose(forecasts[0], forecasts[2])


@both
def test_fitting_leaves_global_generators_alone(load, estimator):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fit(load, estimator)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_a_clone_is_unfitted_and_has_the_same_parameters(fitted):
    cloned = clone(fitted)
    assert not hasattr(cloned, "module_")
    assert cloned.get_params() == fitted.get_params()


def test_a_failed_refit_leaves_the_model_as_it_was(load, fitted):
    X, y, test_X, _ = load
    model = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, np.full_like(y, np.nan))
    np.testing.assert_array_equal(model.predict(test_X), fitted.predict(test_X))


def test_progress_shows_the_parts_of_the_divergence(load, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fit(load, BetaTCVAEForecaster, verbose=1)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(part in line for part in ("validation_loss", *KL_PARTS) for line in lines)


@pytest.mark.parametrize(
    ("beta", "error", "message"),
    [
        (0.0, ValueError, "'beta' must be a positive number, got 0.0."),
        (-1, ValueError, "'beta' must be a positive number, got -1."),
        (np.nan, ValueError, "'beta' must be a positive number, got nan."),
        ("6", TypeError, "'beta' must be a number, got '6'."),
        (None, TypeError, "'beta' must be a number, got None."),
    ],
)
def test_a_beta_that_is_no_positive_number_is_rejected(load, beta, error, message):
    with pytest.raises(error, match=message):
        fit(load, BetaTCVAEForecaster, beta=beta)


@both
@pytest.mark.parametrize(("n_latent", "error"), [(0, ValueError), (4.0, TypeError)])
def test_the_number_of_latent_dimensions_must_be_a_positive_integer(
    load, estimator, n_latent, error
):
    with pytest.raises(error, match="'n_latent' must be"):
        fit(load, estimator, n_latent=n_latent)


# Modules


def make_module(cls=VAE, **options):
    generator = make_generator(0, torch.device("cpu"))
    features = WindowFeatures(8, 2)
    return cls(features, (3, 2), n_latent=4, n_hidden=16, generator=generator, **options).double()


def make_batch(n=6):
    generator = make_generator(1, torch.device("cpu"))
    draw = {"generator": generator, "dtype": torch.float64}
    x, y = torch.randn(n, 8, 2, **draw), torch.randn(n, 3, 2, **draw)
    return Batch(x, y, torch.empty(n, 0, dtype=torch.int64)), Draws(generator)


@pytest.mark.parametrize(("cls", "options"), [(VAE, {}), (BetaTCVAE, {"beta": 6, "n_windows": 9})])
def test_every_parameter_gets_a_gradient(cls, options):
    module = make_module(cls, **options)
    module.loss(*make_batch()).objective().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    (parameters,) = module.parameter_groups().values()
    assert sorted(map(id, parameters)) == sorted(map(id, module.parameters()))


@pytest.mark.parametrize("kl_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("n_windows", [6, 1000])
def test_the_objectives_are_equal_for_a_beta_of_one(kl_weight, n_windows):
    module = make_module()
    same = make_module(BetaTCVAE, beta=1.0, n_windows=n_windows)
    expected = module.loss(*make_batch()).objective(kl_weight)
    torch.testing.assert_close(same.loss(*make_batch()).objective(kl_weight), expected)


def test_beta_weighs_the_total_correlation_of_the_objective():
    light, heavy = (make_module(BetaTCVAE, beta=beta, n_windows=9) for beta in (1.0, 6.0))
    terms = light.loss(*make_batch())
    expected = terms.objective(0.5) + 0.5 * 5.0 * terms.total_correlation
    torch.testing.assert_close(heavy.loss(*make_batch()).objective(0.5), expected)


def test_the_lower_bound_is_below_the_log_likelihood():
    """The likelihood p(x, y) by importance sampling from the prior."""
    module, (batch, draws) = make_module(), make_batch(1)
    with torch.no_grad():
        bounds = [module.loss(batch, draws).objective() for _ in range(500)]
        z = draws.normal(torch.empty(100_000, 4, dtype=torch.float64))
        log_px = module.window_decoder(z, module.features.basis).log_prob(batch.x)
        log_py = module.future_decoder(z).log_prob(batch.y)
        log_p = (log_px + log_py).logsumexp(0) - np.log(len(z))
    assert -torch.stack(bounds).mean() < log_p - 0.01


# The decomposition of the KL divergence


def make_posteriors(n=5, n_latent=3, seed=0):
    """Posteriors that overlap, and a draw from each."""
    draw = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    q = Normal(torch.randn(n, n_latent, **draw), 0.3 + torch.rand(n, n_latent, **draw))
    return q, q.loc + q.scale * torch.randn(n, n_latent, **draw)


def rows_of(q, rows):
    return Normal(q.loc[rows], q.scale[rows])


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("n_windows", [1, 5, 1000])
def test_the_parts_of_every_window_sum_to_its_divergence(n, n_windows):
    q, z = make_posteriors(n)
    expected = kl_divergence(q, Normal(torch.zeros_like(z), torch.ones_like(z))).sum(1)
    torch.testing.assert_close(sum(decompose_kl(q, z, n_windows)), expected)


def test_the_aggregate_density_of_a_batch_of_all_windows_is_exact():
    q, z = make_posteriors()
    density = q.log_prob(z.unsqueeze(1)).exp()  # of draw i under posterior j
    log_q, log_q_j = aggregate_log_density(q, z, len(z))
    torch.testing.assert_close(log_q.exp(), density.prod(2).mean(1))
    torch.testing.assert_close(log_q_j.exp(), density.mean(1))


@pytest.mark.parametrize("n_batch", [2, 3, 4])
def test_the_aggregate_density_is_unbiased_over_all_batches(n_batch):
    q, z = make_posteriors()
    exact = aggregate_log_density(q, z, len(z))
    others = itertools.combinations(range(1, len(z)), n_batch - 1)
    batches = [[0, *rest] for rest in others]  # all that the first window is in
    estimates = [aggregate_log_density(rows_of(q, b), z[b], len(z)) for b in batches]
    for estimate, expected in zip(zip(*estimates, strict=True), exact, strict=True):
        mean = torch.stack([e[0].exp() for e in estimate]).mean(0)
        torch.testing.assert_close(mean, expected[0].exp())


def test_a_batch_of_one_window_has_no_total_correlation():
    mutual_information, total_correlation, _ = decompose_kl(*make_posteriors(1), n_windows=100)
    assert total_correlation.item() == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(mutual_information.item())


def make_normal_aggregate(covariance, scale, n_windows):
    """Posteriors whose means have this covariance exactly, and a draw from each."""
    generator = torch.Generator().manual_seed(0)
    loc, noise = torch.randn(2, n_windows, 2, generator=generator, dtype=torch.float64)
    loc = loc - loc.mean(0)
    whitened = torch.linalg.solve(torch.linalg.cholesky(torch.cov(loc.T)), loc.T)
    loc = (torch.linalg.cholesky(covariance) @ whitened).T
    return Normal(loc, torch.full_like(loc, scale)), loc + scale * noise


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n_batch", [256, 1024])
def test_a_normal_aggregate_posterior_has_the_parts_of_its_closed_form(correlation, n_batch):
    """Means with covariance C and variance s² about each: q(z) is N(0, C + s² I)."""
    n_windows, s, identity = 1024, 0.5, torch.eye(2, dtype=torch.float64)
    C = torch.tensor([[1.0, 0.8 * correlation], [0.8 * correlation, 0.64]], dtype=torch.float64)
    q, z = make_normal_aggregate(C, s, n_windows)
    batches = torch.arange(n_windows).split(n_batch)
    parts = [decompose_kl(rows_of(q, b), z[b], n_windows) for b in batches]
    means = [torch.cat(part).mean() for part in zip(*parts, strict=True)]

    centre = torch.zeros(2, dtype=torch.float64)
    prior, posterior, aggregate, product = (
        MultivariateNormal(centre, covariance)
        for covariance in (
            identity,
            s**2 * identity,
            C + s**2 * identity,
            (C + s**2 * identity) * identity,
        )
    )
    expected = [
        aggregate.entropy() - posterior.entropy(),
        kl_divergence(aggregate, product),
        kl_divergence(product, prior),
    ]
    np.testing.assert_allclose(means, expected, atol=0.05)
