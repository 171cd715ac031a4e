"""Discover clusters of windows with k-means, where no labels are given."""

import numpy as np

from .._data.labels import FOUND, Factors
from .._data.scaling import Scaling

# Clusters are looked for in this many principal components, which are computed from as many
# windows as hold this many values (64 MB in single precision).
_CLUSTER_COMPONENTS = 16
_CLUSTER_ENTRIES = 2**24


def discover_clusters(
    X: np.ndarray, n_fit: int, scaling: Scaling, n_clusters: int, seed: int
) -> Factors:
    """Cluster windows by KMeans on their leading principal components."""
    from sklearn.cluster import KMeans  # takes longer to import than all of this package
    from sklearn.decomposition import PCA

    size = X[0].size
    rows = np.unique(
        np.linspace(0, n_fit - 1, min(n_fit, 1 + _CLUSTER_ENTRIES // size)).astype(int)
    )
    sample = scaling.apply(X[rows]).reshape(len(rows), size)
    if (sample == sample[0]).all():
        return Factors([FOUND], [np.arange(1)], np.zeros((len(X), 1), dtype=np.int64))
    n_components = min(_CLUSTER_COMPONENTS, *sample.shape)
    pca = PCA(n_components, svd_solver="randomized", random_state=seed).fit(sample)
    step = max(1, _CLUSTER_ENTRIES // size)
    scores = np.concatenate(
        [
            pca.transform(scaling.apply(X[start : start + step]).reshape(-1, size))
            for start in range(0, len(X), step)
        ]
    )
    n_clusters = _count_distinct(X[:n_fit], scaling, n_clusters)
    kmeans = KMeans(n_clusters, n_init=5, random_state=seed).fit(scores[:n_fit])
    codes = kmeans.predict(scores).astype(np.int64)
    return Factors([FOUND], [np.arange(n_clusters)], codes[:, None])


def _count_distinct(X: np.ndarray, scaling: Scaling, most: int) -> int:
    """Count distinct windows, up to `most`; scores of equal ones may differ in their last bits."""
    distinct: set[bytes] = set()
    for window in X:
        distinct.add((scaling.apply(window) + 0.0).tobytes())  # not -0.0
        if len(distinct) == most:
            break
    return len(distinct)
