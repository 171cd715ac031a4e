"""Find a factor by name or number, and encode labels in its classes."""

from typing import Any

import numpy as np

from .._data.checks import check_index
from .._data.labels import check_factors


def check_factor(estimator: Any, factor: Any) -> int:
    """Return the position of a factor, given by its name or its number."""
    names = getattr(estimator, "factor_names_", [])
    if not names:
        raise ValueError("'estimator' has no factors. Fit it with marginal dimensions.")
    if not isinstance(factor, str):
        return check_index("factor", factor, len(names))
    if factor not in names:
        raise ValueError(f"'factor' must be one of {names}, got {factor!r}.")
    return names.index(factor)


def take_labels(factors: Any, estimator: Any, index: int) -> Any:
    """Return the labels of one factor, from those of all as in fit or from them alone."""
    names = estimator.factor_names_
    if hasattr(factors, "columns"):
        if names[index] not in list(factors.columns):
            raise ValueError(
                f"'factors' must have the column {names[index]!r}, got {list(factors.columns)}."
            )
        return factors[names[index]]
    if np.ndim(factors) == 1:
        return factors
    table = np.asarray(factors)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(
            f"'factors' must have one column for each of {names}, or be the labels of one factor, "
            f"got the shape {table.shape}."
        )
    return table[:, index]


def encode_labels(labels: Any, n_samples: int, classes: Any = None) -> tuple[np.ndarray, Any]:
    """Return codes `(n_samples,)` of labels, -1 where unlabelled, and their classes."""
    # A single cluster, of windows that are all the same, is no factor that fit would take.
    if classes is not None and len(classes) == 1 and np.all(np.asarray(labels) == classes[0]):
        return np.zeros(n_samples, dtype=np.int64), classes
    encoded = check_factors(labels, n_samples, classes)
    return encoded.codes[:, 0], encoded.classes[0]


def predict_labels(estimator: Any, X: Any, index: int) -> np.ndarray:
    """Return the predicted labels of one factor."""
    predicted = np.asarray(estimator.predict_cluster(X))
    return predicted if predicted.ndim == 1 else predicted[:, index]
