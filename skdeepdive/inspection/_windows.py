"""Take one window of many, and bring futures into a common shape."""

from typing import Any

import numpy as np

from .._data.checks import check_dimension, check_index, check_length
from ._axes import to_dates


def take_window(values: Any, sample: Any) -> Any:
    """Return one row in the kind of array or frame that it came in, without copying all."""
    sample = check_index("sample", sample, count_windows(values))
    rows = slice(sample, sample + 1)
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    return values[rows] if hasattr(values, "shape") else np.asarray(values)[rows]


def take_covariates(future_covariates: Any, sample: Any, n_samples: int) -> dict[str, Any]:
    """Return the covariates of one window by the name of their argument; nothing if there are none.

    So an estimator that takes no covariates is not given any.
    """
    if future_covariates is None:
        return {}
    check_length("future_covariates", count_windows(future_covariates), n_samples)
    return {"future_covariates": take_window(future_covariates, sample)}


def find_named(name: str, which: Any, names: Any, n: int) -> tuple[int, str | None]:
    """Return the position of one of `n` targets or channels, and its name where it has one."""
    if names is not None and (isinstance(names, str) or len(names) != n):
        raise ValueError(f"'{name}_names' must be {n} names, one a {name}, got {names!r}.")
    known = [str(found) for found in (range(n) if names is None else names)]
    number = check_dimension(name, which, known) if isinstance(which, str) else which
    number = check_index(name, number, n)
    return number, None if names is None else known[number]


def check_times(times: Any, estimator: Any) -> Any:
    """Return time stamps of a window and its future as matplotlib draws them."""
    if times is None:
        return None
    dates, n_steps = to_dates(times), estimator.n_timesteps_ + estimator.horizon_
    if len(dates) != n_steps:
        raise ValueError(
            f"'times' must be those of n_timesteps + horizon = {n_steps} steps, got {len(dates)}."
        )
    return dates


def count_windows(values: Any) -> int:
    """Return the number of rows."""
    return values.shape[0] if hasattr(values, "shape") else len(values)


def to_courses(futures: Any, estimator: Any) -> np.ndarray:
    """Return futures in the shape of `y` as (n, horizon, n_targets)."""
    futures = np.asarray(futures)
    shape = (estimator.horizon_, estimator.n_targets_)
    if futures[0].size != np.prod(shape):
        raise ValueError(
            f"'y' must have {shape[0]} steps and {shape[1]} targets, as in fit, got the shape "
            f"{futures.shape}."
        )
    return futures.reshape(-1, *shape)
