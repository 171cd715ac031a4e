"""Seeds and generators from what users give as `random_state`."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state


def make_random_state(random_state: Any) -> np.random.RandomState:
    """Return the generator that `random_state` stands for; a new one for None."""
    if random_state is None:  # fresh entropy: check_random_state would return NumPy's global one
        return np.random.RandomState()
    try:
        if isinstance(random_state, bool):  # the integers 0 and 1 to check_random_state
            raise ValueError("a boolean is no seed")
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "'random_state' must be an integer from 0 to 2**32 - 1, a RandomState instance or "
            f"None, got {random_state!r}."
        ) from error


def make_seed(random_state: Any) -> int:
    """Return an integer seed that follows from `random_state`."""
    return int(make_random_state(random_state).randint(2**31 - 1))
