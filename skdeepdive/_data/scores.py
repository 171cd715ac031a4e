"""Scores and errors of forecasts."""

from typing import Any

import numpy as np
import torch


def mean_r2(true: np.ndarray, found: np.ndarray, sample_weight: Any = None) -> float:
    """Mean of R² over the columns of true values, where NaN is missing, and of what was found.

    Columns of equal values have no R² and are left out, as long as others vary: scikit-learn takes
    1 for those that were found exactly and 0 for all others, however close.

    Raises
    ------
    ValueError
        If no column has two values.
    """
    from sklearn.metrics import r2_score  # half of what importing this package would take

    varies = np.fmax.reduce(true, axis=0) > np.fmin.reduce(true, axis=0)
    if varies.any():
        true, found = true[:, varies], found[:, varies]
    known = ~np.isnan(true)
    if known.all():
        return float(r2_score(true, found, sample_weight=sample_weight))
    weight = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight)
    scores = [
        r2_score(true[rows, j], found[rows, j], sample_weight=weight[rows])
        for j, rows in enumerate(known.T)
        if rows.sum() > 1
    ]
    if not scores:
        raise ValueError("'y' must hold at least two windows with the same step known.")
    return float(np.mean(scores))


def fill_errors(errors: torch.Tensor) -> torch.Tensor:
    """Put the error of the last window that has one in the place of NaN, or of the first.

    They are `(n, horizon, n_targets)`; 0 where no window has one.
    """
    missing = errors.isnan()
    if not missing.any():
        return errors
    numbers = torch.arange(len(errors), device=errors.device)[:, None, None]
    last = torch.where(missing, -1, numbers).cummax(0).values
    first = missing.byte().argmin(0, keepdim=True)
    return errors.gather(0, torch.where(last < 0, first, last)).nan_to_num(0.0)
