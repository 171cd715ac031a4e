"""Which windows are for validation: the last ones, of whole groups, or of every class."""

from typing import Any

import numpy as np

from .checks import check_length, naming

# Neighbouring windows that are compared, to find out whether they share steps, and the part of
# them that must: single values may be equal by chance, and recordings end.
_N_PAIRS, _PART = 32, 1 / 3


def share_steps(windows: np.ndarray, futures: np.ndarray) -> bool:
    """Whether windows, or their futures, begin with steps that those before them end with.

    Then they are cut from a series; otherwise they are cases of their own. Of single steps it
    cannot be told, so they count as steps of a series. A scaler in front may have changed the
    windows, but not the futures.
    """
    parts = [part for part in (windows, futures) if part.shape[1] > 1]
    return len(windows) < 2 or not parts or any(map(_overlap, parts))


def _overlap(windows: np.ndarray) -> bool:
    first = np.unique(np.linspace(0, len(windows) - 2, _N_PAIRS).astype(int))
    return bool(np.mean([_goes_on(windows[i], windows[i + 1]) for i in first]) >= _PART)


def _goes_on(window: np.ndarray, later: np.ndarray) -> bool:
    """Whether the end of a window, from its second step on, is the beginning of a later one."""
    n_timesteps = len(window)
    steps = 1 + np.flatnonzero(_equal(window[1:], later[0]).all(axis=1))
    return any(_equal(window[step:], later[: n_timesteps - step]).all() for step in steps)


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compare values; NaN equals NaN."""
    return (one == other) | ((one != one) & (other != other))


def check_groups(groups: Any, n_samples: int) -> np.ndarray | None:
    """Return the groups of windows as codes, in the order in which the groups appear.

    None where there is a single one.

    Raises
    ------
    ValueError
        If there is not one for each window, or one is missing.
    """
    with naming("groups"):
        groups = np.asarray(groups)
        if groups.ndim != 1:
            raise ValueError(f"'groups' must have shape (n_samples,), got {groups.shape}.")
        check_length("groups", len(groups), n_samples)
        if (groups != groups).any():
            raise ValueError("'groups' must be known for every window, but some are NaN.")
        _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes] if len(first) > 1 else None


def last_groups(groups: np.ndarray, fraction: float) -> np.ndarray:
    """Return whether windows belong to the last groups, which come nearest to a fraction of all."""
    sizes = np.bincount(groups)
    counts = sizes[::-1].cumsum()[:-1]  # of the last group, the last two, and so on
    n_groups = 1 + np.abs(counts - fraction * len(groups)).argmin()
    return groups >= len(sizes) - n_groups


def last_of_classes(labels: np.ndarray, n_valid: int) -> np.ndarray | None:
    """Return whether windows are among the last of their class, which are `n_valid` in all.

    None where the last windows will do: where those before them have at least half of their share
    of every class.

    Parameters
    ----------
    labels : ndarray of shape (n, n_factors)
        Codes of classes.
    n_valid : int
    """
    if not any(_lacks_a_class(own, n_valid) for own in labels.T):
        return None
    _, combination = np.unique(labels, axis=0, return_inverse=True)
    rank, combination = np.empty(len(labels)), combination.reshape(-1)
    for k in range(combination.max() + 1):
        rows = np.flatnonzero(combination == k)
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.isin(np.arange(len(labels)), np.argsort(rank, kind="stable")[-n_valid:])


def _lacks_a_class(codes: np.ndarray, n_valid: int) -> bool:
    known = codes >= 0
    counts = np.bincount(codes[known])
    trained = np.bincount(codes[:-n_valid][known[:-n_valid]], minlength=len(counts))
    return bool((trained < 0.5 * (1 - n_valid / len(codes)) * counts).any())
