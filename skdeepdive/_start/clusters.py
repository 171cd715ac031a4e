"""Discover clusters of windows with k-means, where no labels are given."""

import numpy as np
import torch

from .._data.batches import WindowData, WindowSample, rows_per_batch
from .._data.labels import FOUND, Factors
from ..nn.pooled import FEWEST_TIMESTEPS, PooledFeatures
from .pooled import fit_pooled_features

# Clusters are looked for in this many principal components, which are computed from as many
# windows as hold this many values (64 MB in single precision).
_CLUSTER_COMPONENTS = 16
_CLUSTER_ENTRIES = 2**24

# Windows that decide whether clusters are those of pooled features: where they explain a quarter
# more of the variance.
_MOST_COMPARED = 4096
_CLEARLY_MORE = 1.25


@torch.no_grad()
def discover_clusters(
    data: WindowData, n_fit: int, n_clusters: int, seed: int
) -> tuple[Factors, PooledFeatures | None]:
    """Cluster windows by KMeans, on their leading principal components or those of pooled features.

    Parameters
    ----------
    data : WindowData
    n_fit : int
        The first so many windows are fitted to.
    n_clusters, seed : int

    Returns
    -------
    factors : Factors
        The clusters of all windows.
    pooled : PooledFeatures or None
        Those in which the clusters were found; None: they are clusters of the windows as they lie.
    """
    fit = data.part(slice(0, n_fit))
    rows = np.unique(
        np.linspace(0, n_fit - 1, min(n_fit, 1 + _CLUSTER_ENTRIES // data.window_size)).astype(int)
    )
    sample = _entries(data.take(rows))
    if (sample == sample[0]).all():
        no_clusters = np.zeros((len(data), 1), dtype=np.int64)
        return Factors([FOUND], [np.arange(1)], no_clusters), None
    n_clusters = _count_distinct(fit, n_clusters)
    pooled = _choose_pooled(fit, n_clusters, seed)
    if pooled is not None:
        sample = _entries(data.take(rows), pooled)
    pca = _fit_pca(sample, seed)
    scores = np.concatenate([pca.transform(part) for part in _parts(data, pooled)])
    kmeans = _fit_kmeans(scores[:n_fit], n_clusters, seed)
    codes = kmeans.predict(scores).astype(np.int64)
    return Factors([FOUND], [np.arange(n_clusters)], codes[:, None]), pooled


def _choose_pooled(fit: WindowData, n_clusters: int, seed: int) -> PooledFeatures | None:
    """Fit pooled features, if their clusters explain clearly more of their variance."""
    if fit.X.shape[1] < FEWEST_TIMESTEPS:
        return None
    pooled = fit_pooled_features(fit, seed)
    sample = fit.sample(min(_MOST_COMPARED, max(1, _CLUSTER_ENTRIES // fit.window_size)), seed)
    shares = [
        _explained(_entries(sample, features), min(n_clusters, len(sample)), seed)
        for features in (None, pooled)
    ]
    return pooled if shares[1] > _CLEARLY_MORE * shares[0] else None


def _explained(entries: np.ndarray, n_clusters: int, seed: int) -> float:
    """Share of the variance of the leading components that is between the clusters."""
    scores = _fit_pca(entries, seed).transform(entries)
    total = np.square(scores - scores.mean(axis=0)).sum()
    return 1 - _fit_kmeans(scores, n_clusters, seed).inertia_ / max(total, np.finfo(float).tiny)


def _fit_pca(entries: np.ndarray, seed: int):
    from sklearn.decomposition import PCA  # takes longer to import than all of this package

    n_components = min(_CLUSTER_COMPONENTS, *entries.shape)
    return PCA(n_components, svd_solver="randomized", random_state=seed).fit(entries)


def _fit_kmeans(scores: np.ndarray, n_clusters: int, seed: int):
    from sklearn.cluster import KMeans

    return KMeans(n_clusters, n_init=5, random_state=seed).fit(scores)


def _entries(data: WindowData | WindowSample, pooled: PooledFeatures | None = None) -> np.ndarray:
    """Entries of standardised windows, or their pooled features, `(n, n_entries)`."""
    return np.concatenate(list(_parts(data, pooled)))


def _parts(data: WindowData | WindowSample, pooled: PooledFeatures | None):
    for batch in data.batches(rows_per_batch(data)):
        yield (batch.x.flatten(1) if pooled is None else pooled(batch.x)).numpy(force=True)


def _count_distinct(data: WindowData, most: int) -> int:
    """Count distinct windows, up to `most`; scores of equal ones may differ in their last bits."""
    distinct: set[bytes] = set()
    for window in data.X:
        distinct.add((data.x_scaling.apply(window) + 0.0).tobytes())  # not -0.0
        if len(distinct) == most:
            break
    return len(distinct)
