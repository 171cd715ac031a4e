"""The closed-form starts against scikit-learn and NumPy, in float64 where truth is compared."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import adjusted_rand_score

from skdeepdive import _closed_form, _fitting
from skdeepdive._closed_form import (
    PENALTIES,
    fit_basis,
    fit_discriminants,
    fit_linear_forecast,
    forecast_noise,
)
from skdeepdive._fitting import discover_clusters, find_anchors, n_straddling
from skdeepdive._torch_utils import Scaling, WindowData
from skdeepdive._validation import location_and_scale
from skdeepdive.nn._layers import WindowFeatures
from skdeepdive.windows import sliding_windows

CPU = torch.device("cpu")
N_TIMESTEPS, N_CHANNELS, HORIZON = 6, 3, 2


def identity(n_channels):
    return Scaling(np.zeros(n_channels), np.ones(n_channels))


def make_data(X, y=None, labels=None, dtype=np.float64):
    y = np.zeros((len(X), 1, 1)) if y is None else y
    x_scaling, y_scaling = identity(X.shape[2]), identity(y.shape[2])
    return WindowData(X, y, labels, x_scaling, y_scaling, CPU, dtype)


def make_series_data(n_steps=400, seed=0, noise=0.3, dtype=np.float64):
    """Windows of coupled autoregressions, and as futures those of channels 2 and 0."""
    rng = np.random.default_rng(seed)
    series = np.zeros((n_steps, N_CHANNELS))
    series[:2] = rng.normal(size=(2, N_CHANNELS))
    mixing = np.array([[0.5, 0.4, 0.0], [0.0, 0.6, 0.3], [-0.3, 0.0, 0.7]])
    for t in range(2, n_steps):
        series[t] = series[t - 1] @ mixing + noise * rng.normal(size=N_CHANNELS)
    X, y, _ = sliding_windows(series, N_TIMESTEPS, HORIZON)
    return make_data(X, y[..., [2, 0]], dtype=dtype)


ANCHORS = torch.tensor([2, 0])


def sklearn_ridge(inputs, outputs, penalty):
    """Ridge with the penalty relative to the mean variance of the inputs."""
    alpha = penalty * len(inputs) * inputs.var(axis=0).mean()
    return Ridge(alpha, solver="cholesky").fit(inputs, outputs)


def ridge_forecasts(train, penalty, design, anchors):
    """Forecast function of one candidate, by scikit-learn."""
    X, y = train.X, train.y
    if anchors is None:
        model = sklearn_ridge(X.reshape(len(X), -1), y.reshape(len(y), -1), penalty)
        return lambda X: model.predict(X.reshape(len(X), -1)).reshape(-1, *y.shape[1:])
    last = lambda X: X[:, -1:, anchors.numpy()]  # noqa: E731
    target = y - last(X)
    if design == "joint":

        def history(X):
            return np.concatenate([X[:, :-1] - X[:, -1:], X[:, -1:]], axis=1).reshape(len(X), -1)

        model = sklearn_ridge(history(X), target.reshape(len(y), -1), penalty)
        return lambda X: model.predict(history(X)).reshape(-1, *y.shape[1:]) + last(X)

    own = lambda X: X[:, :, anchors.numpy()] - last(X)  # noqa: E731
    if design == "shared":
        stack = lambda values: np.concatenate(np.moveaxis(values, 2, 0))  # noqa: E731
        models = [sklearn_ridge(stack(own(X)), stack(target), penalty)] * y.shape[2]
    else:
        models = [sklearn_ridge(own(X)[..., j], target[..., j], penalty) for j in range(y.shape[2])]
    return lambda X: (
        np.stack([m.predict(own(X)[..., j]) for j, m in enumerate(models)], axis=2) + last(X)
    )


def candidates(train, anchors):
    designs = ["joint"] if anchors is None else ["joint", "own", "shared"]
    return {
        (design, penalty): ridge_forecasts(train, penalty, design, anchors)
        for design in designs
        for penalty in PENALTIES
    }


# Ridge regression


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize(
    ("kind", "anchors"),
    [("joint", ANCHORS), ("joint", None), ("own", ANCHORS), ("shared", ANCHORS)],
)
def test_ridge_equals_that_of_scikit_learn(kind, anchors, penalty):
    data = make_series_data()
    design = _closed_form._Design(kind == "joint", anchors)
    moments = design.moments(data)
    if kind == "shared":
        moments = moments.pooled()
    forecast = design.forecast(*moments.ridge(penalty), (HORIZON, 2))
    found = forecast(torch.from_numpy(np.ascontiguousarray(data.X)).float()).numpy()
    expected = ridge_forecasts(data, penalty, kind, anchors)(data.X)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def make_moments(x, y):
    moments = _closed_form.Moments.zero(len(x), x.shape[2], y.shape[2], x)
    moments.add(x, y)
    return moments


def make_regressions(n_regressions, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(5, 2, size=(n_regressions, 50, 4)))
    return x, torch.from_numpy(rng.normal(3, 1, size=(n_regressions, 50, 2)))


@pytest.mark.parametrize("n_regressions", [1, 3])
def test_ridge_from_moments_is_exact_in_double_precision(n_regressions):
    x, y = make_regressions(n_regressions)
    weight, intercept = make_moments(x, y).ridge(0.1)
    for i in range(n_regressions):
        model = sklearn_ridge(x[i].numpy(), y[i].numpy(), 0.1)
        np.testing.assert_allclose(weight[i].mT, model.coef_, rtol=1e-9)
        np.testing.assert_allclose(intercept[i], model.intercept_, rtol=1e-9)


def test_solving_leaves_the_moments_as_they_were():
    moments = make_moments(*make_regressions(2))
    before = [m.clone() for m in (moments.x, moments.y, moments.xx, moments.xy, moments.yy)]
    moments.ridge(0.1)
    after = [moments.x, moments.y, moments.xx, moments.xy, moments.yy]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("n_regressions", [1, 3])
def test_squared_error_from_moments_is_that_of_the_windows(n_regressions):
    weight, intercept = make_moments(*make_regressions(n_regressions)).ridge(0.1)
    x, y = make_regressions(n_regressions, seed=1)
    error = (y - x @ weight - intercept[:, None]).square().sum().item()
    assert make_moments(x, y).squared_error(weight, intercept) == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize("anchors", [ANCHORS, None])
@pytest.mark.parametrize(("n_train", "noise"), [(30, 0.3), (60, 3.0), (300, 0.3)])
def test_no_candidate_beats_the_chosen_forecast_on_validation(n_train, noise, anchors):
    data = make_series_data(noise=noise, dtype=np.float32)
    train, valid = data.part(slice(0, n_train)), data.part(slice(320, None))
    chosen = fit_linear_forecast(train, valid, [anchors])
    error = np.square(chosen(valid.batch(slice(None))[0]).numpy() - valid.y).sum()
    errors = {
        key: np.square(forecast(valid.X) - valid.y).sum()
        for key, forecast in candidates(train, anchors).items()
    }
    assert error == pytest.approx(min(errors.values()), rel=1e-4)
    assert max(errors.values()) > 1.01 * error


def test_noiseless_linear_futures_are_forecast_exactly():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4, 2))
    weight = rng.normal(size=(8, 3))
    data = make_data(X, (X.reshape(200, -1) @ weight)[..., None] + 7)
    train, valid = data.part(slice(0, 150)), data.part(slice(150, None))
    forecast = fit_linear_forecast(train, valid, [None])
    found = forecast(torch.from_numpy(valid.X).float())
    np.testing.assert_allclose(found, valid.y, atol=1e-4)


def test_a_map_shared_by_all_targets_is_used_where_it_forecasts_best():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(220, 8, 20))
    y = (0.7 * X[:, -1:] + 0.3 * X[:, :1]) + 0.5 * rng.normal(size=(220, 1, 20))
    data = make_data(X, y)
    forecast = fit_linear_forecast(data.part(slice(0, 20)), data.part(slice(20, None)),
                                   [torch.arange(20)])  # fmt: skip
    assert forecast.weight.shape == (1, 8, 1)
    assert forecast.weight[0, 0, 0].item() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("candidates", [[ANCHORS], [ANCHORS, None]])
def test_windows_beyond_the_joint_limit_are_forecast_without_the_joint_map(candidates, monkeypatch):
    monkeypatch.setattr(_closed_form, "MAX_JOINT_ENTRIES", N_TIMESTEPS * N_CHANNELS - 1)
    data = make_series_data()
    assert fit_linear_forecast(data, data, candidates).weight.ndim == 3


@pytest.mark.parametrize("limit", [1, 4096])
def test_the_validation_windows_choose_between_candidate_channels(limit, monkeypatch):
    monkeypatch.setattr(_closed_form, "MAX_JOINT_ENTRIES", limit)
    X, y, _ = sliding_windows(make_walks(n_channels=20), 8, 3)
    data = make_data(X, y[..., ::-1])
    train, valid = data.part(slice(0, 30)), data.part(slice(300, None))
    order = torch.arange(20)
    for candidates in ([order, order.flip(0)], [order.flip(0), order]):
        forecast = fit_linear_forecast(train, valid, candidates)
        np.testing.assert_array_equal(forecast.anchors, order.flip(0))


@pytest.mark.parametrize("anchors", [ANCHORS, None])
def test_constant_channels_do_not_harm_the_regression(anchors):
    data = make_series_data()
    X = np.array(data.X)
    X[..., 2] = 0.0
    data = make_data(X, data.y, dtype=np.float32)
    forecast = fit_linear_forecast(data, data, [anchors])
    assert all(buffer.isfinite().all() for buffer in forecast.buffers())
    assert forecast_noise(forecast, data).isfinite().all()


@pytest.mark.parametrize("anchors", [ANCHORS, None])
def test_noise_is_the_root_mean_squared_error_of_every_step_and_target(anchors):
    data = make_series_data()
    data = make_data(data.X.astype(np.float32), data.y.astype(np.float32), dtype=np.float32)
    forecast = fit_linear_forecast(data, data, [anchors])
    x, y, _ = data.batch(slice(None))
    expected = np.sqrt(np.square((forecast(x) - y).numpy().astype(float)).mean(axis=0))
    np.testing.assert_allclose(forecast_noise(forecast, data), expected, rtol=1e-5)


# Batches


def everything(data):
    """All that is summed over batches, for one data set."""
    features = WindowFeatures(N_TIMESTEPS, N_CHANNELS, max_features=2 * N_CHANNELS)
    single = make_data(data.X.astype(np.float32), data.y, data.labels, np.float32)
    fit_basis(single, features)
    forecast = fit_linear_forecast(single, single, [ANCHORS])
    discriminants = fit_discriminants(data, data, Flat(N_TIMESTEPS * N_CHANNELS), [4, 2])
    moments = _closed_form._Design(True, None).moments(data)
    return [
        features.basis @ features.basis.T,
        forecast.weight,
        forecast.intercept,
        forecast_noise(forecast, single),
        *discriminants,
        moments.xx,
        moments.xy,
    ]


@pytest.mark.parametrize("n_rows", [1, 7, 64])
def test_the_size_of_the_batches_does_not_matter(n_rows, monkeypatch):
    data = make_series_data(150)
    labels = np.stack([np.arange(len(data)) % 4, np.arange(len(data)) % 2], axis=1)
    data = make_data(data.X, data.y, labels)
    whole = everything(data)
    monkeypatch.setattr(_closed_form, "_rows_per_batch", lambda data: n_rows)
    for found, expected in zip(everything(data), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_entries", "expected"), [(1, 1), (18, 1), (36, 2), (60, 3)])
def test_a_batch_holds_a_bounded_number_of_values(n_entries, expected):
    assert _closed_form._rows_per_batch(make_series_data(), n_entries) == expected


# Discriminants


class Flat:
    """Features that are the entries of the window, so that nothing is standardised."""

    def __init__(self, n_features=4):
        self.n_features = n_features

    def __call__(self, x):
        return x.flatten(1), None


flat = Flat()


def make_classes(n=600, n_classes=3, seed=0):
    """Correlated Gaussian clouds (n, 2, 2) with unequal frequencies, not around zero."""
    rng = np.random.default_rng(seed)
    frequencies = np.arange(1.0, n_classes + 1)
    labels = rng.choice(n_classes, n, p=frequencies / frequencies.sum())
    mixing = np.eye(4) + 0.3 * rng.normal(size=(4, 4))
    X = rng.normal(size=(n, 4)) @ mixing + 1.5 * rng.normal(size=(n_classes, 4))[labels] + 2
    return X.reshape(n, 2, 2), labels


def log_posterior(X, weight, bias):
    logits = torch.from_numpy(X.reshape(len(X), -1)) @ weight.double().T + bias.double()
    return logits.log_softmax(1).numpy()


@pytest.fixture
def unregularised(monkeypatch):
    monkeypatch.setattr(_closed_form, "PENALTIES", (1e-12,))
    monkeypatch.setattr(_closed_form, "TEMPERATURES", (1.0,))


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.usefixtures("unregularised")
def test_fisher_posterior_is_that_of_scikit_learn(n_classes):
    X, labels = make_classes(n_classes=n_classes)
    data = make_data(X, labels=labels[:, None])
    found = log_posterior(X, *fit_discriminants(data, data, flat, [n_classes]))
    model = LinearDiscriminantAnalysis(solver="lsqr").fit(X.reshape(len(X), -1), labels)
    np.testing.assert_allclose(found, model.predict_log_proba(X.reshape(len(X), -1)), atol=1e-4)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_penalty_shrinks_the_within_class_covariance(penalty, monkeypatch):
    monkeypatch.setattr(_closed_form, "PENALTIES", (penalty,))
    monkeypatch.setattr(_closed_form, "TEMPERATURES", (1.0,))
    X, labels = make_classes()
    data = make_data(X, labels=labels[:, None])
    found = log_posterior(X, *fit_discriminants(data, data, flat, [3]))
    f = X.reshape(len(X), -1)
    means = np.stack([f[labels == k].mean(axis=0) for k in range(3)])
    within = (f - means[labels]).T @ (f - means[labels]) / len(f)
    within += penalty * f.var(axis=0).mean() * np.eye(4)
    distance = [np.einsum("ni,ij,nj->n", f - m, np.linalg.inv(within), f - m) for m in means]
    logits = np.log(np.bincount(labels) / len(f)) - 0.5 * np.stack(distance, axis=1)
    expected = torch.from_numpy(logits).log_softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.usefixtures("unregularised")
def test_factors_are_fitted_side_by_side():
    X, labels = make_classes()
    other = np.arange(len(X)) % 2
    both = make_data(X, labels=np.stack([labels, other], axis=1))
    weight, bias = fit_discriminants(both, both, flat, [3, 2])
    assert weight.shape == (5, 4)
    assert bias.shape == (5,)
    for part, column, n_classes in ((slice(0, 3), labels, 3), (slice(3, 5), other, 2)):
        data = make_data(X, labels=column[:, None])
        alone = fit_discriminants(data, data, flat, [n_classes])
        torch.testing.assert_close(weight[part], alone[0])
        torch.testing.assert_close(bias[part], alone[1])


def test_the_chosen_discriminant_has_the_least_validation_cross_entropy(monkeypatch):
    X, labels = make_classes(n=160, n_classes=4)
    data = make_data(X, labels=labels[:, None])
    train, valid = data.part(slice(0, 40)), data.part(slice(40, None))

    def loss():
        posterior = log_posterior(valid.X, *fit_discriminants(train, valid, flat, [4]))
        return -posterior[np.arange(len(posterior)), valid.labels[:, 0]].mean()

    chosen, alone = loss(), []
    for penalty in PENALTIES:
        for temperature in _closed_form.TEMPERATURES:
            with monkeypatch.context() as patch:
                patch.setattr(_closed_form, "PENALTIES", (penalty,))
                patch.setattr(_closed_form, "TEMPERATURES", (temperature,))
                alone.append(loss())
    assert chosen == pytest.approx(min(alone), rel=1e-6)
    assert max(alone) > 1.01 * chosen


@pytest.mark.parametrize("part", ["train", "valid", "both"])
@pytest.mark.parametrize("n_unlabelled", [10, 600, 6000])
def test_windows_without_a_label_do_not_enter_the_discriminants(n_unlabelled, part):
    """Not even if they come from elsewhere, as do those between the exercises of a session."""
    X, labels = make_classes()
    rng = np.random.default_rng(1)
    elsewhere = 2 + 0.3 * rng.normal(size=(n_unlabelled, 2, 2))
    order = rng.permutation(len(X) + n_unlabelled)
    codes = np.concatenate([labels, np.full(n_unlabelled, -1)])[order]
    alone = make_data(X, labels=labels[:, None])
    mixed = make_data(np.concatenate([X, elsewhere])[order], labels=codes[:, None])
    train, valid = (mixed if part in (name, "both") else alone for name in ("train", "valid"))
    found = log_posterior(X, *fit_discriminants(train, valid, flat, [3]))
    expected = log_posterior(X, *fit_discriminants(alone, alone, flat, [3]))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_factors_may_be_labelled_on_different_windows():
    X, labels = make_classes()
    other = np.arange(len(X)) % 2
    half, third = labels.copy(), other.copy()
    half[::2], third[100:200] = -1, -1
    both = make_data(X, labels=np.stack([half, third, labels], axis=1))
    weight, bias = fit_discriminants(both, both, flat, [3, 2, 3])
    parts = zip((slice(0, 3), slice(3, 5), slice(5, 8)), (half, third, labels), strict=True)
    for part, column in parts:
        known = column >= 0
        data = make_data(X[known], labels=column[known, None])
        alone = fit_discriminants(data, data, flat, [part.stop - part.start])
        torch.testing.assert_close(weight[part], alone[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bias[part], alone[1], rtol=1e-4, atol=1e-5)


def test_classes_absent_from_training_are_finite_and_never_predicted():
    X, labels = make_classes(n_classes=3)
    data = make_data(X, labels=labels[:, None])
    weight, bias = fit_discriminants(data, data, flat, [5])
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    posterior = np.exp(log_posterior(X, weight, bias))
    assert (posterior[:, 3:] < 1e-3).all()
    assert (posterior.argmax(axis=1) == labels).mean() > 0.6


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_part_without_any_label_gives_finite_discriminants(part):
    X, labels = make_classes()
    full, none = (make_data(X, labels=some[:, None]) for some in (labels, np.full_like(labels, -1)))
    pair = (none, full) if part == "train" else (full, none)
    weight, bias = fit_discriminants(*pair, flat, [3])
    assert weight.isfinite().all()
    assert bias.isfinite().all()


# The basis


def make_smooth_windows(n=300, n_timesteps=12, n_channels=2):
    """Random mixtures of four waves and some noise; every window comes with its negative."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.outer(np.arange(1, 5), np.arange(n_timesteps)) + np.arange(4)[:, None])
    coefficients = rng.normal(size=(n, n_channels, 4)) * [4, 3, 2, 1]
    X = np.einsum("nck,kt->ntc", coefficients, waves)
    X += 0.05 * rng.normal(size=X.shape)
    return np.concatenate([X, -X]).astype(np.float32)


def test_the_basis_holds_the_principal_components_of_the_shapes():
    X = make_smooth_windows()
    features = WindowFeatures(12, 2, max_features=3 * 2)
    fit_basis(make_data(X, dtype=np.float32), features)
    shape = features.standardise(torch.from_numpy(X))[0].numpy()
    pca = PCA(3, svd_solver="full").fit(np.moveaxis(shape, 2, 1).reshape(-1, 12))
    np.testing.assert_allclose(np.abs(pca.components_ @ features.basis.numpy()), np.eye(3),
                               atol=1e-4)  # fmt: skip


def test_no_basis_of_that_size_keeps_more_of_the_shapes():
    X = make_smooth_windows()[:400] + np.float32(1) * np.arange(12, dtype=np.float32)[:, None]
    features = WindowFeatures(12, 2, max_features=3 * 2)
    fit_basis(make_data(X, dtype=np.float32), features)
    shape = features.standardise(torch.from_numpy(X))[0].transpose(1, 2).flatten(0, 1).double()
    basis = features.basis.double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(3).double(), rtol=1e-5, atol=1e-5)
    lost = (shape - shape @ basis @ basis.T).square().sum()
    torch.testing.assert_close(lost, torch.linalg.svdvals(shape)[3:].square().sum(),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_the_basis_is_orthonormal_and_orthogonal_to_the_constant_window_even_if_data_are_not_rich():
    time = np.arange(12)[:, None]
    X = np.stack([np.sin(time + phase) for phase in range(40)]).astype(np.float32)  # of rank two
    features = WindowFeatures(12, 1, max_features=6)
    fit_basis(make_data(X, dtype=np.float32), features)
    basis = features.basis.double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(6).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(basis.sum(0), torch.zeros(6).double(), rtol=0, atol=1e-5)


def test_windows_that_fit_keep_their_entries():
    X = make_smooth_windows()
    features = WindowFeatures(12, 2)
    fit_basis(make_data(X, dtype=np.float32), features)
    x = torch.from_numpy(X)
    assert torch.equal(features(x)[0][:, :24], features.standardise(x)[0].flatten(1))


# Anchors


def make_walks(n_channels=5, n_steps=500, seed=0):
    rng = np.random.default_rng(seed)
    walks = rng.normal(size=(n_steps, n_channels)).cumsum(axis=0)
    return (walks - walks.mean(axis=0)) / walks.std(axis=0)


def anchors_of(X, y):
    return find_anchors(X, y, *(Scaling(*location_and_scale(v)) for v in (X, y)))[0]


@pytest.mark.parametrize("channels", [[0], [3], [4, 1], [1, 0, 3], [3, 3]])
def test_anchors_are_the_channels_that_the_targets_continue(channels):
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    np.testing.assert_array_equal(anchors_of(X, y[..., channels]), [channels])


def test_channels_and_targets_of_the_same_number_correspond_in_order():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    np.testing.assert_array_equal(anchors_of(X, y), [np.arange(5)])


def test_targets_out_of_order_are_matched_to_their_channels():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    in_order, matched = anchors_of(X, y[..., ::-1])
    np.testing.assert_array_equal(in_order, np.arange(5))
    np.testing.assert_array_equal(matched, np.arange(5)[::-1])


def test_targets_that_continue_channels_are_scaled_like_them():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    scalings = [Scaling(*location_and_scale(v)) for v in (X, y[..., [4, 1]])]
    _, y_scaling = find_anchors(X, y[..., [4, 1]], *scalings)
    np.testing.assert_array_equal(y_scaling.loc, scalings[0].loc[[4, 1]])
    np.testing.assert_array_equal(y_scaling.scale, scalings[0].scale[[4, 1]])


@pytest.mark.parametrize("n_targets", [1, 5])
@pytest.mark.parametrize(("factor", "offset"), [(100.0, 0.0), (0.01, 0.0), (1.0, 50.0)])
def test_targets_of_another_scale_or_level_keep_their_own(factor, offset, n_targets):
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    y = factor * y[..., :n_targets] + offset
    scalings = [Scaling(*location_and_scale(v)) for v in (X, y)]
    candidates, y_scaling = find_anchors(X, y, *scalings)
    np.testing.assert_array_equal(candidates[0], np.arange(n_targets))
    assert candidates[-1] is None
    np.testing.assert_array_equal(y_scaling.loc, scalings[1].loc)
    np.testing.assert_array_equal(y_scaling.scale, scalings[1].scale)


# Clusters


def make_groups(n=240, n_groups=4):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, n_groups, n)
    centres = 5 * rng.normal(size=(n_groups, 10, 2))
    return centres[groups] + 0.3 * rng.normal(size=(n, 10, 2)), groups


@pytest.mark.parametrize("entries", [2**24, 20 * 50])
def test_well_separated_groups_are_discovered(entries, monkeypatch):
    monkeypatch.setattr(_fitting, "_CLUSTER_ENTRIES", entries)
    X, groups = make_groups()
    factors = discover_clusters(X, 180, Scaling(*location_and_scale(X[:180])), 4, seed=0)
    assert factors.names == ["cluster"]
    np.testing.assert_array_equal(factors.classes[0], np.arange(4))
    assert factors.codes.shape == (240, 1)
    assert factors.codes.dtype == np.int64
    assert adjusted_rand_score(groups, factors.codes[:, 0]) == 1


def test_windows_held_out_do_not_move_the_clusters():
    X, _ = make_groups()
    moved = X.copy()
    moved[180:] += 100
    scaling = Scaling(*location_and_scale(X[:180]))
    codes = [discover_clusters(some, 180, scaling, 4, seed=0).codes[:180] for some in (X, moved)]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize(("n_distinct", "expected"), [(1, 1), (3, 3), (50, 8)])
def test_there_are_no_more_clusters_than_distinct_windows(n_distinct, expected):
    X = np.random.default_rng(0).normal(size=(n_distinct, 10, 2))[np.arange(100) % n_distinct]
    factors = discover_clusters(X, 80, identity(2), 8, seed=0)
    assert len(factors.classes[0]) == expected
    assert set(factors.codes[:, 0]) == set(range(expected))


# Location and scale


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9, 1e12])
def test_large_offsets_cost_no_precision(offset):
    values = offset + np.tile([-1.0, 1.0], 50).reshape(10, 10, 1)
    loc, scale = location_and_scale(values)
    np.testing.assert_array_equal(loc, [offset])
    np.testing.assert_allclose(scale, [1.0], rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-200, 1e-20, 1e20, 1e200])
def test_extreme_magnitudes_neither_overflow_nor_vanish(factor):
    values = np.random.default_rng(0).normal(2, 3, size=(20, 5, 2))
    loc, scale = location_and_scale(values * factor)
    np.testing.assert_allclose(loc / factor, values.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(scale / factor, values.std(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, bool])
def test_location_and_scale_are_mean_and_deviation_of_any_type(dtype):
    values = np.random.default_rng(0).integers(0, 2, size=(20, 5, 2)).astype(dtype)
    loc, scale = location_and_scale(values)
    np.testing.assert_allclose(loc, values.astype(float).mean(axis=(0, 1)))
    np.testing.assert_allclose(scale, values.astype(float).std(axis=(0, 1)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("constant", [0.0, 0.1, -3.7, 1e9, 1e-30])
def test_constant_channels_have_scale_one(constant, dtype):
    values = np.random.default_rng(0).normal(size=(20, 5, 2)).astype(dtype)
    values[..., 1] = constant
    loc, scale = location_and_scale(values)
    assert scale[1] == 1
    assert loc[1] == dtype(constant)
    assert scale[0] != 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("constant", [0.1, -3.7, 1e9])
def test_rounding_does_not_make_a_constant_channel_vary(constant, dtype):
    values = np.full((20, 5, 1), constant, dtype=dtype)
    values[::2] = np.nextafter(dtype(constant), dtype(np.inf))
    assert location_and_scale(values)[1] == 1


@pytest.mark.parametrize("stride", [1, 3, 8, 11])
@pytest.mark.parametrize("n_windows", [1, 2, 40])
@pytest.mark.parametrize("channels", [slice(None), slice(None, None, 2), slice(1, 2)])
def test_overlapping_windows_have_the_location_and_scale_of_their_copy(channels, n_windows, stride):
    series = np.random.default_rng(0).normal(size=(600, 4)).cumsum(axis=0)
    X, _, _ = sliding_windows(series, 8, 1, stride=stride)
    X = X[:n_windows, :, channels]
    loc, scale = location_and_scale(X)
    np.testing.assert_allclose(loc, X.mean(axis=(0, 1)))
    np.testing.assert_allclose(scale, X.std(axis=(0, 1)))


@pytest.mark.parametrize("layout", ["copy", "gaps", "reversed", "fortran", "channels first"])
def test_other_layouts_weigh_every_entry_once(layout):
    base = np.random.default_rng(0).normal(size=(30, 8, 3)).cumsum(axis=0)
    X = {
        "copy": base,
        "gaps": base[::3],
        "reversed": base[::-1],
        "fortran": np.asfortranarray(base),
        "channels first": np.ascontiguousarray(np.moveaxis(base, 2, 1)).transpose(0, 2, 1),
    }[layout]
    loc, scale = location_and_scale(X)
    np.testing.assert_allclose(loc, X.mean(axis=(0, 1)))
    np.testing.assert_allclose(scale, X.std(axis=(0, 1)))


# Validation


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize(("horizon", "stride"), [(1, 1), (5, 1), (5, 2), (6, 3), (4, 7)])
def test_no_future_of_a_training_window_reaches_into_the_validation_futures(
    horizon, stride, copied
):
    X, _, origin = sliding_windows(make_walks(2), 8, horizon, stride=stride)
    X = X.copy() if copied else X
    first_valid = 40
    left_out = n_straddling(X, first_valid, horizon)
    last_fit = origin[first_valid - 1 - left_out]
    assert last_fit + horizon < origin[first_valid] + 1
    assert last_fit + stride + horizon >= origin[first_valid] + 1  # and no more than needed


def test_windows_of_different_recordings_are_all_kept():
    X = np.random.default_rng(0).normal(size=(60, 8, 2))
    assert n_straddling(X, 40, 5) == 0


def test_half_of_few_windows_is_kept():
    X, _, _ = sliding_windows(make_walks(2), 8, 50)
    assert n_straddling(X, 10, 50) == 5
