"""Conformal errors: their scale is found, and intervals of it have the coverage of new errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from skdeepdive._data.batches import WindowData
from skdeepdive._data.scaling import Scaling
from skdeepdive._train import conformal
from skdeepdive._train.conformal import fit_conformal_errors, update_conformal_errors
from skdeepdive.nn.conformal import ConformalErrors
from skdeepdive.nn.features import Window

CPU = torch.device("cpu")
LINEAR, CORRECTION = 1.0, 2.0


class Given:
    """Features that are the windows themselves."""

    def __call__(self, x):
        return Window(x, features=x, coefficients=x, loc=x[:, :1], scale=x[:, 1:])

    def of(self, batch):
        return self(batch.x)


class ConstantForecast:
    """A module that forecasts a constant, and knows the classes of windows for sure.

    The first step of a window holds its classes, a channel each, the second the deviations.
    """

    def __init__(self, future_shape, class_counts=(), n_errors=0):
        self.class_counts, self.n_classes = class_counts, sum(class_counts)
        self.conformal = ConformalErrors(future_shape, class_counts, n_errors)
        self.linear_forecast = SimpleNamespace(source_channels=torch.arange(future_shape[1]))
        self.features = Given()

    def infer(self, window, labels=None):
        classes = window.x[:, 0].long()
        responses = [one_hot(classes[:, i], n).float() for i, n in enumerate(self.class_counts)]
        return SimpleNamespace(responses=responses)

    def forecast_given(self, latents, window, covariates):
        return torch.tensor(LINEAR), torch.tensor(CORRECTION)

    def scale(self, data):
        """Scale of the errors of windows."""
        window = self.features(data.batch(slice(None)).x)
        channels = self.linear_forecast.source_channels
        return self.conformal.scale(window, channels, self.infer(window).responses)


def make_data(errors, classes=None, deviation=1.0):
    """Windows whose futures leave such errors `(n, horizon, n_targets)`."""
    n, _, n_targets = errors.shape
    classes = np.zeros((n, 0)) if classes is None else classes
    X = np.zeros((n, 2, max(n_targets, classes.shape[1])))
    X[:, 0, : classes.shape[1]] = classes
    X[:, 1] = np.reshape(deviation, (-1, 1))
    labels = np.empty((n, 0), dtype=np.int64)
    scalings = [Scaling(np.zeros(k), np.ones(k)) for k in (X.shape[2], n_targets)]
    return WindowData(X, LINEAR + CORRECTION + errors, labels, *scalings, CPU)


@pytest.mark.parametrize("n_of_class", [2, 4, 8])
def test_intervals_of_many_small_classes_cover_new_errors(n_of_class):
    rng = np.random.default_rng(0)
    n, horizon, level = 960, 60, 0.9
    module = ConstantForecast((horizon, 1), [n // n_of_class])
    classes = rng.permutation(np.arange(n) % (n // n_of_class))[:, None]
    valid, new = (make_data(rng.normal(size=(n, horizon, 1)), classes) for _ in range(2))
    fit_conformal_errors(module, valid)
    half_width = module.conformal.errors.abs().quantile(level, dim=0) * module.scale(new)
    errors = new.batch(slice(None)).y - LINEAR - CORRECTION
    coverage = (errors.abs() <= half_width).double().mean().item()
    # Chance is in the new errors and in the quantiles alike.
    tolerance = 3 * (2 * level * (1 - level) / errors.numel()) ** 0.5
    assert coverage == pytest.approx(level, abs=tolerance)


def test_factors_of_classes_are_found_one_factor_after_the_other():
    rng = np.random.default_rng(0)
    true = [np.array([0.5, 1.0, 2.0]), np.array([1.0, 3.0])]
    n = 6000
    classes = np.stack([rng.integers(0, len(scale), n) for scale in true], axis=1)
    scale = true[0][classes[:, 0]] * true[1][classes[:, 1]]
    module = ConstantForecast((2, 1), [3, 2])
    valid = make_data(scale[:, None, None] * rng.normal(size=(n, 2, 1)), classes)
    fit_conformal_errors(module, valid)
    for log_factor, factor in zip(module.conformal.log_factors, true, strict=True):
        found = (log_factor - log_factor[:1]).exp().squeeze(2).numpy()
        expected = np.tile((factor / factor[0])[:, None], 2)
        np.testing.assert_allclose(found, expected, rtol=0.1)
    deviation = module.conformal.errors.std(0) * module.scale(valid)
    relative = deviation / torch.from_numpy(scale)[:, None, None]
    np.testing.assert_allclose(relative, 1.0, rtol=0.1)


@pytest.mark.parametrize("exponents", [(0.0, 1.0), (0.25, 0.75), (0.5, 0.0)])
def test_the_power_of_the_deviation_is_found_for_every_target(exponents):
    rng = np.random.default_rng(0)
    deviation = np.exp(rng.uniform(-1, 3, 2000))  # whose logarithm is not zero in the mean
    errors = rng.normal(size=(2000, 3, 2)) * deviation[:, None, None] ** np.array(exponents)
    module, valid = ConstantForecast((3, 2)), make_data(errors, deviation=deviation)
    fit_conformal_errors(module, valid)
    np.testing.assert_allclose(module.conformal.exponent, exponents)
    kept = module.conformal.errors.std(0)
    np.testing.assert_allclose(kept, np.ones_like(kept), rtol=0.15)


def test_kept_errors_and_scales_give_the_errors_back():
    rng = np.random.default_rng(0)
    deviation = np.exp(rng.uniform(-2, 2, 300))
    valid = make_data(deviation[:, None, None] * rng.normal(size=(300, 2, 1)), deviation=deviation)
    module = ConstantForecast((2, 1))
    fit_conformal_errors(module, valid)
    expected = valid.batch(slice(None)).y - LINEAR - CORRECTION
    torch.testing.assert_close(module.conformal.errors * module.scale(valid), expected)


def fitted_before(n=150):
    """A module with as many errors from before, and a scale that is none of its windows' own."""
    module = ConstantForecast((2, 1), [2], n)
    module.conformal.errors = torch.randn(n, 2, 1, generator=torch.Generator().manual_seed(1))
    module.conformal.exponent = torch.ones(1)
    module.conformal.log_factor_0 = torch.tensor([-1.0, 2.0])[:, None, None].expand(2, 2, 1)
    return module


def make_more(n, seed=2):
    rng = np.random.default_rng(seed)
    errors, classes = rng.normal(size=(n, 2, 1)), rng.integers(0, 2, (n, 1))
    return make_data(errors, classes, deviation=np.exp(rng.normal(size=n)))


@pytest.mark.parametrize(("n_before", "n_more"), [(150, 30), (150, 99), (20, 30), (20, 99)])
def test_few_errors_join_those_before_in_units_of_the_scale(n_before, n_more):
    module, valid = fitted_before(n_before), make_more(n_more)
    before = module.conformal.errors.clone()
    scale = module.scale(valid)
    new = (valid.batch(slice(None)).y - LINEAR - CORRECTION) / scale
    update_conformal_errors(module, valid)
    expected = torch.cat([before, new])[-conformal._ENOUGH :]
    torch.testing.assert_close(module.conformal.errors, expected)
    torch.testing.assert_close(module.scale(valid), scale)


@pytest.mark.parametrize(("n_before", "n_more"), [(150, conformal._ENOUGH), (0, 5)])
def test_enough_errors_and_the_first_ones_are_fitted_anew(n_before, n_more):
    module, anew, valid = fitted_before(n_before), fitted_before(0), make_more(n_more)
    update_conformal_errors(module, valid)
    fit_conformal_errors(anew, valid)
    assert len(module.conformal.errors) == n_more
    for name, value in anew.conformal.state_dict().items():
        torch.testing.assert_close(module.conformal.state_dict()[name], value)


@pytest.mark.parametrize("n_rows", [1, 64])
def test_the_size_of_the_batches_does_not_matter(n_rows, monkeypatch):
    valid, modules = make_more(200), [fitted_before(0) for _ in range(2)]
    fit_conformal_errors(modules[0], valid)
    monkeypatch.setattr(conformal, "rows_per_batch", lambda data, n_classes: n_rows)
    fit_conformal_errors(modules[1], valid)
    found, expected = (module.conformal.state_dict() for module in modules[::-1])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_errors_of_many_windows_are_thinned_evenly(monkeypatch):
    errors = np.arange(1.0, 401.0)[:, None, None]
    monkeypatch.setattr(conformal, "_MOST_WINDOWS", 100)
    module = ConstantForecast((1, 1))
    fit_conformal_errors(module, make_data(errors))
    np.testing.assert_allclose(module.conformal.errors, errors[::4])
