"""Statistics and checks of overlapping windows that look at every row of the series once."""

import numpy as np

# Room for what follows from values: larger ones are an error.
LARGEST = 1e300

# Deviations from the training windows beyond which single precision cannot hold squares.
_FARTHEST = 1e15


def distinct_rows(windows: np.ndarray) -> np.ndarray | None:
    """Return the series that overlapping windows look at, (n_rows, n_channels), without a copy.

    None where the windows are not evenly laid out over one stretch of memory.
    """
    n, n_timesteps, n_channels = windows.shape
    step, row, _ = windows.strides
    if n == 1:
        return windows[0]
    if row <= 0 or step <= 0 or step % row or step // row > n_timesteps:
        return None
    shape = ((n - 1) * (step // row) + n_timesteps, n_channels)
    return np.lib.stride_tricks.as_strided(windows, shape, windows.strides[1:], writeable=False)


def iterate_rows(windows: np.ndarray, n_entries: int = 2**20):
    """Yield the rows of windows (n, n_timesteps, n_channels) in chunks, shared ones once.

    With each chunk comes the number of windows that hold its rows.
    """
    rows = distinct_rows(windows)
    source = windows if rows is None else rows
    length = max(1, n_entries // source[0].size)
    for start in range(0, len(source), length):
        chunk = source[start : start + length]
        if rows is None:
            chunk = chunk.reshape(-1, windows.shape[2])
            yield chunk, np.ones((len(chunk), 1))
        else:
            yield chunk, _n_holders(np.arange(start, start + len(chunk)), windows)[:, None]


def _n_holders(rows: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Count the windows that hold each of the distinct rows."""
    n, n_timesteps, _ = windows.shape
    step = windows.strides[0] // windows.strides[1] if n > 1 else 1
    first = np.maximum(0, -((n_timesteps - 1 - rows) // step))
    last = np.minimum(n - 1, rows // step)
    return (last - first + 1).astype(np.float64)


def check_finite(name: str, windows: np.ndarray, *, gaps: bool = False) -> bool:
    """Raise if windows (n, n_timesteps, n_channels) hold infinity or what is close to it.

    With `gaps` they may hold NaN, and whether they do is returned. They are not copied.
    """
    if windows.dtype.kind not in "fc":
        return False
    largest = min(LARGEST, float(np.finfo(windows.dtype).max))
    found = False
    for chunk, _ in iterate_rows(windows):
        if -largest <= chunk.min() and chunk.max() <= largest:  # false where there is NaN
            continue
        observed = chunk[~np.isnan(chunk)]
        found = found or observed.size < chunk.size
        if gaps and (np.abs(observed) <= largest).all():
            continue
        kind = "NaN" if found and not gaps else "infinity (inf)"
        kind = f"values beyond {LARGEST:g}" if np.isfinite(chunk).all() else kind
        advice = (
            "Replace them by NaN, which counts as missing, or drop the windows that hold them."
            if gaps
            else "Impute the missing values or drop the windows that hold them."
        )
        raise ValueError(f"'{name}' must be finite, but it contains {kind}. {advice}")
    return found


def check_observed(name: str, windows: np.ndarray) -> None:
    """Raise if a channel of windows has no value that is not NaN."""
    missing = np.ones(windows.shape[2], dtype=bool)
    for chunk, _ in iterate_rows(windows):
        missing &= np.isnan(chunk).all(axis=0)
        if not missing.any():
            return
    raise ValueError(
        f"'{name}' must have values in every channel of the windows to train on, but channel "
        f"{missing.argmax()} has only NaN there. Drop the channel."
    )


def check_futures_observed(futures: np.ndarray) -> None:
    """Raise if a step of futures (n, horizon, n_targets) has no value that is not NaN."""
    missing = np.isnan(futures).all(axis=0)
    if missing.any():
        step, target = np.argwhere(missing)[0]
        raise ValueError(
            "'y' must have values at every step, both in the windows to train on and in those for "
            f"validation, but step {step} of target {target} has only NaN in one of them. Give "
            "more windows, or leave the target out."
        )


def check_reach(name: str, windows: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> None:
    """Raise if windows are too far from those that location and scale are taken from."""
    for chunk, _ in iterate_rows(windows):
        with np.errstate(over="ignore"):
            far = np.fmax.reduce(np.abs(chunk - loc), axis=0, initial=0.0) / scale
        if not (far <= _FARTHEST).all():
            raise ValueError(
                f"'{name}' must not be farther than {_FARTHEST:g} standard deviations from the "
                f"first training windows, got a value {far.max():g} of them away in channel "
                f"{far.argmax()}. Drop or clip it."
            )


def first_values(windows: np.ndarray) -> np.ndarray:
    """First value of every channel that is not NaN, in double precision."""
    first = np.full(windows.shape[2], np.nan)
    for chunk, _ in iterate_rows(windows):
        where = ~np.isnan(chunk)
        found = chunk[where.argmax(axis=0), np.arange(len(first))]
        first = np.where(np.isnan(first), found, first)
        if not np.isnan(first).any():
            break
    return first


def location_and_scale(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel; the deviation of a constant channel is 1."""
    loc, scale = _location_and_deviation(windows)
    return loc, np.where(scale > 0, scale, 1.0)


def never_varies(windows: np.ndarray) -> np.ndarray:
    """Tell which channels are constant, `(n_channels,)`."""
    constant: np.ndarray = _location_and_deviation(windows)[1] == 0
    return constant


def _location_and_deviation(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel.

    Deviations are taken from the first value and in units of the largest one, so that neither a
    large offset nor extreme magnitudes cost precision. NaN takes no part.
    """
    reference = first_values(windows)
    largest = np.zeros_like(reference)
    for chunk, _ in iterate_rows(windows):
        np.fmax(largest, np.fmax.reduce(np.abs(chunk - reference), axis=0), out=largest)
    unit = np.where(largest > 0, largest, 1.0)
    n, total, squares = np.zeros_like(unit), np.zeros_like(unit), np.zeros_like(unit)
    for chunk, weight in iterate_rows(windows):
        deviation = (chunk - reference) / unit
        missing = np.isnan(deviation)
        if missing.any():
            deviation[missing] = 0.0
        n += (weight * ~missing).sum(axis=0) if missing.any() else weight.sum()
        total += (weight * deviation).sum(axis=0)
        squares += (weight * np.square(deviation)).sum(axis=0)
    n = np.maximum(n, 1.0)  # NaN has the location NaN
    variance = np.maximum(squares / n - (total / n) ** 2, 0.0)
    loc = reference + unit * (total / n)
    scale = unit * np.sqrt(variance)
    # Rounding makes a constant channel seem to vary by a few units of the last place; below the
    # smallest normal numbers there is nothing but such units.
    dtype = windows.dtype if windows.dtype.kind == "f" else np.dtype(np.float64)
    smallest = np.finfo(np.result_type(dtype, np.float32)).tiny
    constant = scale <= np.maximum(8 * np.finfo(dtype).eps * np.abs(loc), smallest)
    return loc, np.where(constant, 0.0, scale)
