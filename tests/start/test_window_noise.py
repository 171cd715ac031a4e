"""The scale of p(x | a, b) where the linear model knows its training windows by heart."""

import numpy as np
import pytest
import torch

from skdeepdive._data.batches import WindowData
from skdeepdive._data.labels import Factors
from skdeepdive._data.scaling import Scaling
from skdeepdive._start.start import Sizes, closed_form_start, fit_features

N_TIMESTEPS, N_CHANNELS = 20, 2
NOISE = np.array([0.5, 1.5])


def make_data(n, seed, n_classes):
    """Windows of noise alone; their labels mean nothing."""
    rng = np.random.default_rng(seed)
    X = NOISE * rng.normal(size=(n, N_TIMESTEPS, N_CHANNELS))
    labels = rng.integers(0, n_classes, (n, 1)) if n_classes else np.empty((n, 0), dtype=np.int64)
    scaling = Scaling(np.zeros(N_CHANNELS), np.ones(N_CHANNELS))
    return WindowData(X, X[:, -1:], labels, scaling, scaling, torch.device("cpu"))


def fit_scale(n_train, n_conditional, n_classes=0):
    train, valid = make_data(n_train, 1, n_classes), make_data(300, 2, n_classes)
    names = ["group"] if n_classes else []
    factors = Factors(names, [np.arange(n_classes)] * len(names), None)
    sizes = Sizes(2 * len(names), n_conditional, n_hidden=4, n_clusters=0)
    module = closed_form_start(
        train, valid, fit_features(train, 0), [None], factors, sizes, 0, interleave=True
    ).module
    return module, train, module.window_decoder.log_scale.exp().detach().numpy()


def left_over(module, data):
    """Standard deviation of what the linear model leaves over of windows."""
    x = data.batch(slice(None)).x
    with torch.no_grad():
        latents = module.infer(module.features(x))
        mean = module.decode_window(latents, module.fuse(latents, len(x))).mean
    return (x - mean).square().mean((0, 1)).sqrt().numpy()


@pytest.mark.parametrize(
    ("n_train", "n_conditional", "n_classes"), [(12, 11, 0), (20, 19, 0), (14, 0, 12), (14, 8, 6)]
)
def test_the_scale_is_that_of_new_windows(n_train, n_conditional, n_classes):
    module, train, scale = fit_scale(n_train, n_conditional, n_classes)
    assert (left_over(module, train) < 0.7 * NOISE).all()
    np.testing.assert_allclose(scale, NOISE, rtol=0.15)
