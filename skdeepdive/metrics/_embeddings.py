"""Embeddings and the labels of their samples, checked."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length

from .._data.checks import check_numeric, naming
from .._data.labels import Factors, check_factors


def check_embedding(factors: ArrayLike, Z: ArrayLike) -> tuple[Factors, np.ndarray]:
    """Return labels as codes, and the embedding `(n_samples, n_latent)` that they belong to."""
    with naming("Z"), np.errstate(invalid="ignore", over="ignore"):
        embedding: np.ndarray = check_array(check_numeric("Z", Z), dtype=np.float64, input_name="Z")
    with naming("factors"):
        check_consistent_length(factors, embedding)
    return check_factors(factors, len(embedding)), embedding


def gap_of_two_largest(values: np.ndarray) -> np.ndarray:
    """Return the largest less the second largest of every column; 0 stands in for a missing one."""
    second, first = np.sort(np.vstack([np.zeros_like(values[:1]), values]), axis=0)[-2:]
    return first - second
