"""Check covariates that are known for the horizon."""

from typing import Any, NamedTuple

import numpy as np

from .checks import check_length, check_numeric, naming
from .devices import to_array
from .rows import check_finite

NAME = "future_covariates"


class Covariates(NamedTuple):
    """Covariates `(n_samples, horizon, n_covariates)`, and the names of the columns of a table."""

    values: np.ndarray
    columns: list[str]  # empty where there is no table, or its columns have no names


def check_covariates(values: Any, n_samples: int, horizon: int) -> Covariates:
    """Return the covariates of windows.

    Two dimensions are the steps of a single covariate, or, where the horizon is one step, several
    covariates of that step.
    """
    values = check_numeric(NAME, to_array(NAME, values))
    columns = [name for name in getattr(values, "columns", []) if isinstance(name, str)]
    with naming(NAME):
        array = np.asarray(values)
        if array.dtype.kind == "O":  # as pandas makes of nullable columns
            array = array.astype(np.float64)
    check_length(NAME, len(array), n_samples)
    shape = array.shape
    array = array.reshape(*shape, 1) if array.ndim == 2 and shape[1] == horizon else array
    array = array[:, None] if array.ndim == 2 and horizon == 1 else array
    if array.ndim != 3 or array.shape[1] != horizon or not array.shape[2]:
        raise ValueError(
            f"'{NAME}' must have shape (n_samples, {horizon}, n_covariates), or (n_samples, "
            f"{horizon}) for one covariate, got {shape}: a value for every step of the horizon."
        )
    check_finite(NAME, array)
    return Covariates(array, columns)


def check_known_covariates(
    values: Any, n_samples: int, horizon: int, n_covariates: int, columns: list[str]
) -> np.ndarray | None:
    """Return covariates that must be those of `fit`; None where there were none."""
    if values is None and not n_covariates:
        return None
    if values is None:
        raise ValueError(
            f"'{NAME}' must be given, because fit had {n_covariates} of them. Pass their values at "
            "every step of the horizon."
        )
    if not n_covariates:
        raise ValueError(
            f"'{NAME}' must be None, because fit had none. Fit the model with them to forecast "
            "with them."
        )
    found = check_covariates(values, n_samples, horizon)
    if found.values.shape[2] != n_covariates:
        raise ValueError(
            f"'{NAME}' must hold {n_covariates} covariates, as in fit, got {found.values.shape[2]}."
        )
    if columns and found.columns and columns != found.columns:
        raise ValueError(
            f"'{NAME}' must have the columns {columns}, as in fit and in that order, got "
            f"{found.columns}."
        )
    return found.values
