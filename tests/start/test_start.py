"""From arrays to a started module: basis, source channels, clusters, scaling."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from skdeepdive._data.batches import WindowData
from skdeepdive._data.rows import location_and_scale
from skdeepdive._data.scaling import Scaling
from skdeepdive._start import clusters, start
from skdeepdive._start.channels import find_source_channels
from skdeepdive._start.clusters import discover_clusters
from skdeepdive._start.start import fit_basis, with_features
from skdeepdive.nn.features import WindowFeatures
from skdeepdive.windows import sliding_windows

CPU = torch.device("cpu")


def identity(n_channels):
    return Scaling(np.zeros(n_channels), np.ones(n_channels))


def make_data(X, dtype=np.float64):
    y = np.zeros((len(X), 1, 1))
    labels = np.empty((len(X), 0), dtype=np.int64)
    return WindowData(X, y, labels, identity(X.shape[2]), identity(1), CPU, dtype)


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
    features.vectors.copy_(fit_basis(make_data(X, dtype=np.float32), features, 0))
    shape = features.standardise(torch.from_numpy(X)).shape.numpy()
    pca = PCA(3, svd_solver="full").fit(np.moveaxis(shape, 2, 1).reshape(-1, 12))
    np.testing.assert_allclose(np.abs(pca.components_ @ features.basis.numpy()), np.eye(3),
                               atol=1e-4)  # fmt: skip


def test_no_basis_of_that_size_keeps_more_of_the_shapes():
    X = make_smooth_windows()[:400] + np.float32(1) * np.arange(12, dtype=np.float32)[:, None]
    features = WindowFeatures(12, 2, max_features=3 * 2)
    features.vectors.copy_(fit_basis(make_data(X, dtype=np.float32), features, 0))
    shape = features.standardise(torch.from_numpy(X)).shape.transpose(1, 2).flatten(0, 1).double()
    basis = features.basis.double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(3).double(), rtol=1e-5, atol=1e-5)
    lost = (shape - shape @ basis @ basis.T).square().sum()
    torch.testing.assert_close(lost, torch.linalg.svdvals(shape)[3:].square().sum(),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_the_basis_is_orthonormal_and_orthogonal_to_the_constant_window_even_if_data_are_not_rich():
    time = np.arange(12)[:, None]
    X = np.stack([np.sin(time + phase) for phase in range(40)]).astype(np.float32)  # of rank two
    features = WindowFeatures(12, 1, max_features=6)
    features.vectors.copy_(fit_basis(make_data(X, dtype=np.float32), features, 0))
    basis = features.basis.double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(6).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(basis.sum(0), torch.zeros(6).double(), rtol=0, atol=1e-5)


def test_windows_that_fit_keep_their_entries():
    X = make_smooth_windows()
    features = WindowFeatures(12, 2)
    features.vectors.copy_(fit_basis(make_data(X, dtype=np.float32), features, 0))
    x = torch.from_numpy(X)
    assert torch.equal(features(x).features[:, :24], features.standardise(x).shape.flatten(1))


@pytest.mark.parametrize("max_features", [4, 40])
def test_features_that_are_kept_are_those_that_are_computed(max_features):
    data = make_data(make_smooth_windows(), dtype=np.float32)
    features = WindowFeatures(12, 2, max_features=max_features)
    features.vectors.copy_(fit_basis(data, features, 0))
    kept = with_features(data, features)
    assert kept.features.shape == (600, features.n_kept)
    rows = np.array([5, 0, 599])
    found, expected = (vars(features.of(some.batch(rows))) for some in (kept, data))
    assert found.keys() == expected.keys()
    for name, part in expected.items():
        assert part is None if found[name] is None else torch.equal(found[name], part)


def test_features_are_not_kept_where_there_is_no_room(monkeypatch):
    data = make_data(make_smooth_windows(), dtype=np.float32)
    features = WindowFeatures(12, 2)
    monkeypatch.setattr(start, "_MOST_KEPT", 600 * features.n_kept - 1)
    assert with_features(data, features).features is None


# Source channels


def make_walks(n_channels=5, n_steps=500, seed=0):
    rng = np.random.default_rng(seed)
    walks = rng.normal(size=(n_steps, n_channels)).cumsum(axis=0)
    return (walks - walks.mean(axis=0)) / walks.std(axis=0)


def source_channels_of(X, y):
    return find_source_channels(X, y, *(Scaling(*location_and_scale(v)) for v in (X, y)))[0]


@pytest.mark.parametrize("channels", [[0], [3], [4, 1], [1, 0, 3], [3, 3]])
def test_source_channels_are_those_that_the_targets_continue(channels):
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    np.testing.assert_array_equal(source_channels_of(X, y[..., channels]), [channels])


def test_channels_and_targets_of_the_same_number_correspond_in_order():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    np.testing.assert_array_equal(source_channels_of(X, y), [np.arange(5)])


def test_targets_out_of_order_are_matched_to_their_channels():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    in_order, matched = source_channels_of(X, y[..., ::-1])
    np.testing.assert_array_equal(in_order, np.arange(5))
    np.testing.assert_array_equal(matched, np.arange(5)[::-1])


def test_targets_that_continue_channels_are_scaled_like_them():
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    scalings = [Scaling(*location_and_scale(v)) for v in (X, y[..., [4, 1]])]
    _, y_scaling = find_source_channels(X, y[..., [4, 1]], *scalings)
    np.testing.assert_array_equal(y_scaling.loc, scalings[0].loc[[4, 1]])
    np.testing.assert_array_equal(y_scaling.scale, scalings[0].scale[[4, 1]])


@pytest.mark.parametrize("n_targets", [1, 5])
@pytest.mark.parametrize(("factor", "offset"), [(100.0, 0.0), (0.01, 0.0), (1.0, 50.0)])
def test_targets_of_another_scale_or_level_keep_their_own(factor, offset, n_targets):
    X, y, _ = sliding_windows(make_walks(), 8, 3)
    y = factor * y[..., :n_targets] + offset
    scalings = [Scaling(*location_and_scale(v)) for v in (X, y)]
    candidates, y_scaling = find_source_channels(X, y, *scalings)
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


def scaled_windows(X, n_fit):
    y, no_labels = np.zeros((len(X), 1, 1)), np.empty((len(X), 0), dtype=np.int64)
    return WindowData(X, y, no_labels, Scaling(*location_and_scale(X[:n_fit])), identity(1), CPU)


@pytest.mark.parametrize("entries", [2**24, 20 * 50])
def test_well_separated_groups_are_discovered(entries, monkeypatch):
    monkeypatch.setattr(clusters, "_CLUSTER_ENTRIES", entries)
    X, groups = make_groups()
    factors, _ = discover_clusters(scaled_windows(X, 180), 180, 4, seed=0)
    assert factors.names == ["cluster"]
    np.testing.assert_array_equal(factors.classes[0], np.arange(4))
    assert factors.codes.shape == (240, 1)
    assert factors.codes.dtype == np.int64
    assert adjusted_rand_score(groups, factors.codes[:, 0]) == 1


def test_validation_windows_do_not_move_the_clusters():
    X, _ = make_groups()
    moved = X.copy()
    moved[180:] += 100
    codes = [
        discover_clusters(scaled_windows(some, 180), 180, 4, seed=0)[0].codes[:180]
        for some in (X, moved)
    ]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize(("n_distinct", "expected"), [(1, 1), (3, 3), (50, 8)])
def test_there_are_no_more_clusters_than_distinct_windows(n_distinct, expected):
    X = np.random.default_rng(0).normal(size=(n_distinct, 10, 2))[np.arange(100) % n_distinct]
    factors, _ = discover_clusters(scaled_windows(X, 80), 80, 8, seed=0)
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
