"""How far results depend on the precision of the input, on threads and on the run.

The bounds are those of the section "Numerical stability" in docs/results.md, in standard deviations
of what is compared.
"""

import numpy as np
import pytest
import torch
from conftest import Windows, make_model
from threadpoolctl import threadpool_limits

from skdeepdive._data import threads

# Of single-precision input against double; the first for one model, the second for two fits.
SAME_MODEL, TWO_FITS = 1e-5, 1e-3
THREADS = 1e-3
OUTPUTS = ["predict", "transform", "reconstruct", "predict_quantiles", "score_samples"]


def distance(found, expected):
    """Largest difference in standard deviations."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return np.abs(found - expected).max() / expected.std()


@pytest.mark.parametrize("name", OUTPUTS)
def test_single_precision_input_gives_the_results_of_double(client, client_model, name):
    _, test = client
    single = test.X.astype(np.float32)
    compute = getattr(client_model, name)
    found = compute(single)
    assert found.dtype == np.float32
    assert distance(found, compute(single.astype(np.float64))) < SAME_MODEL


def test_a_fit_to_single_precision_is_that_to_double(client):
    train, test = (Windows(*(part[:300] for part in windows)) for windows in client)
    X, y = np.pi * train.X.astype(np.float64), np.pi * train.y.astype(np.float64)
    double = make_model().fit(X, y, factors=train.factors)
    single = make_model().fit(X.astype(np.float32), y.astype(np.float32), factors=train.factors)
    X = np.pi * test.X.astype(np.float64)
    assert distance(single.predict(X), double.predict(X)) < TWO_FITS
    assert (single.predict_cluster(X) == double.predict_cluster(X)).mean() > 0.99


@pytest.mark.slow
def test_two_threads_give_the_results_of_one(client, client_model, monkeypatch):
    train, test = (Windows(*(part[:300] for part in windows)) for windows in client)
    monkeypatch.setattr(threads, "_VALUES_FOR_THREADS", 1)  # no cap on threads
    before = torch.get_num_threads()
    found = {}
    try:
        for n_threads in (1, 2):
            with threadpool_limits(n_threads):
                torch.set_num_threads(n_threads)
                model = make_model().fit(train.X, train.y, factors=train.factors)
                found[n_threads] = model.predict(test.X), client_model.predict(test.X)
    finally:
        torch.set_num_threads(before)
    assert distance(found[2][0], found[1][0]) < THREADS
    assert distance(found[2][1], found[1][1]) < 1e-12


@pytest.mark.slow
def test_a_rerun_is_the_same_to_the_last_bit(client, client_model):
    train, test = client
    again = make_model().fit(train.X, train.y, factors=train.factors)
    for name in OUTPUTS:
        found, expected = getattr(again, name)(test.X), getattr(client_model, name)(test.X)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(getattr(again, name)(test.X), expected)
