"""Sums of products over all windows of a series, without forming the windows.

Consecutive windows share all but one of their time steps, so the sum of the products of steps s + 1
and t + 1 over all windows is that of steps s and t but for the first and the last product. Only the
sums with the first step are computed as products; all others follow from them.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def series_of(windows: np.ndarray) -> np.ndarray | None:
    """Return the series `(n + n_timesteps - 1, n_channels)` whose windows these are.

    They must be views, `(n, n_timesteps, n_channels)`, of which each begins one step after the one
    before. None where they are not, or where there are too few of them for it to pay.
    """
    n, n_timesteps = windows.shape[:2]
    one_step_apart = n_timesteps == 1 or windows.strides[0] == windows.strides[1]
    if n <= n_timesteps or not one_step_apart:
        return None
    return np.concatenate([windows[:, 0], windows[-1, 1:]])


def sum_of_steps(series: np.ndarray, n: int) -> np.ndarray:
    """Sum every time step over n windows, `(..., n_timesteps)`, of series `(..., n_steps)`."""
    first = series[..., :n].sum(-1, keepdims=True)
    changes = series[..., n:] - series[..., : series.shape[-1] - n]
    return np.concatenate([first, first + changes.cumsum(-1)], axis=-1)


def sum_of_products(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """Sum the products of the time steps of two series over n windows.

    Parameters
    ----------
    left : ndarray of shape (n_groups, n_left, n + n_steps_left - 1)
    right : ndarray of shape (n_groups, n_right, n + n_steps_right - 1)
        Every group has series of its own: products are those of its own series.
    n : int

    Returns
    -------
    sums : ndarray of shape (n_groups, n_steps_left, n_left, n_steps_right, n_right)
    """
    n_groups, n_left, n_right = len(left), left.shape[1], right.shape[1]
    n_rows, n_columns = (series.shape[2] - n + 1 for series in (left, right))
    sums = np.empty((n_groups, n_rows, n_left, n_columns, n_right))
    sums[:, 0] = _with_first_step(left, right, n)
    sums[:, :, :, 0] = _with_first_step(right, left, n).transpose(0, 2, 3, 1)
    early, late = right[..., : n_columns - 1], right[..., n : n + n_columns - 1]
    for row in range(n_rows - 1):
        gone = np.einsum("gl,grt->gltr", left[..., row], early)
        come = np.einsum("gl,grt->gltr", left[..., n + row], late)
        sums[:, row + 1, :, 1:] = sums[:, row, :, :-1] + (come - gone)
    return sums


def _with_first_step(first: np.ndarray, other: np.ndarray, n: int) -> np.ndarray:
    """Sum products of the first step of one series with all of another's.

    They are `(n_groups, n_first, n_steps_other, n_other)`.
    """
    start = first[..., :n]
    if first.shape[1] == other.shape[1] == 1:  # quicker than a product of matrices for every step
        pairs = zip(start[:, 0], other[:, 0], strict=True)
        sums = np.array([np.correlate(b, a, mode="valid") for a, b in pairs])
        return sums[:, None, :, None]
    steps = sliding_window_view(other, n, axis=2)  # (n_groups, n_other, n_steps_other, n)
    products = [start @ steps[:, :, step].swapaxes(1, 2) for step in range(steps.shape[2])]
    return np.stack(products, axis=2)
