"""Many threads at once: the results of one after the other, and nothing global changed."""

import os
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

N_THREADS = 8
OUTPUTS = {
    "predict": {},
    "transform": {},
    "reconstruct": {},
    "predict_cluster_proba": {},
    "predict_quantiles": {},
    "score_samples": {},
    "sample": {"n_samples": 3, "random_state": 0},
}


@cache
def make_windows():
    rng = np.random.default_rng(0)
    series = np.sin(np.arange(300) / 4) + 0.1 * rng.standard_normal(300)
    X, y, origin = sliding_windows(series, 24, 6)
    return X, y, origin % 4


def fit(seed):
    X, y, codes = make_windows()
    estimator = (DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster)[seed % 3]
    model = estimator(n_hidden=8, max_epochs=2, random_state=seed)
    return model.fit(X, y, codes) if seed % 3 == 0 else model.fit(X, y)


def global_state():
    """What other code in the process may rely on."""
    return {
        "random": random.getstate(),
        "NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "errors": np.geterr(),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("name", OUTPUTS)
def test_eight_threads_give_the_results_of_one_bit_for_bit(name):
    model, (X, _, _) = fit(0), make_windows()
    starts = range(0, 8 * N_THREADS, 4)

    def compute(start):
        return getattr(model, name)(X[start : start + 100], **OUTPUTS[name])

    expected = [compute(start) for start in starts]
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(compute, starts))
    np.testing.assert_array_equal(found, expected)


def test_fits_at_once_give_the_models_of_fits_one_by_one_and_leave_global_state_alone():
    X, _, _ = make_windows()
    expected = [fit(seed).predict(X) for seed in range(6)]
    before = global_state()
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = [model.predict(X) for model in pool.map(fit, range(6))]
    assert global_state() == before
    np.testing.assert_array_equal(found, expected)


def test_fits_and_forecasts_at_once_do_not_disturb_each_other():
    model, (X, _, _) = fit(0), make_windows()
    expected, refitted = model.predict(X), fit(3).predict(X)
    before = global_state()
    with ThreadPoolExecutor(N_THREADS) as pool:
        fits = [pool.submit(fit, 3) for _ in range(3)]
        forecasts = [pool.submit(model.predict, X) for _ in range(20)]
        for forecast in forecasts:
            np.testing.assert_array_equal(forecast.result(), expected)
        for fitted in fits:
            np.testing.assert_array_equal(fitted.result().predict(X), refitted)
    assert global_state() == before


def test_fits_in_threads_that_fail_leave_global_state_alone():
    X, y, _ = make_windows()

    def fail(seed):
        with pytest.raises(ValueError, match="'X' must be finite"):
            DeepDIVEForecaster().fit(np.where(X > 1, np.inf, X), y)

    before = global_state()
    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(fail, range(16)))
    assert global_state() == before
