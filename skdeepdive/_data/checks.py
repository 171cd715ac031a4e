"""Check arguments: parameters, shapes and values; labels are checked in `labels`."""

import math
import numbers
import os
import re
import reprlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# Sizes are below, as in saved files.
_MOST = 2**31 - 1
LATENTS = ("both", "conditional", "marginal")
PRIORS = ("observed", "uniform")


@contextmanager
def naming(subject: str, demand: str = "cannot be used") -> Iterator[None]:
    """Let what other libraries raise about an argument name it, as a TypeError or ValueError.

    The subject is the argument's name, or a phrase that says which part of it is meant.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        named = rf"(Input )?{re.escape(subject)} |.*'{re.escape(subject)}'"
        if isinstance(error, kind) and re.match(named, str(error)):
            raise
        subject = repr(subject) if subject.isidentifier() else subject
        problem = str(error).rstrip(".") or type(error).__name__
        raise kind(f"{subject} {demand}: {problem}.") from error


def check_integer(name: str, value: Any, minimum: int = 1, otherwise: str = "") -> int:
    """Return `value` as an int of at least `minimum`.

    `otherwise` names what the caller accepts too, such as " or None".
    """
    number = _as_integer(name, value, otherwise)
    if number < minimum:
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise ValueError(f"'{name}' must be {kind}{otherwise}, got {value}.")
    if number > _MOST:
        raise ValueError(f"'{name}' must be at most {_MOST}{otherwise}, got {shortened(value)}.")
    return number


def _as_integer(name: str, value: Any, otherwise: str = "") -> int:
    if not is_number(value, numbers.Integral):
        raise TypeError(f"'{name}' must be an integer{otherwise}, got {value!r}.")
    return int(value)


def is_number(value: Any, kind: Any) -> bool:
    """Whether a value is a number of a kind; flags and spans of time are none."""
    return isinstance(value, kind) and not isinstance(value, bool | np.timedelta64)


def shortened(value: Any) -> str:
    """Show a value in no more than some forty characters."""
    if isinstance(value, int) and value.bit_length() > 100:
        return f"an integer of {value.bit_length()} bits"
    return reprlib.repr(value)


def listed(values: list) -> str:
    """Show a list, of more than a dozen entries the first ten and the last."""
    shown = [shortened(value) for value in values]
    return f"[{', '.join([*shown[:10], '...', shown[-1]] if len(shown) > 12 else shown)}]"


def check_index(name: str, value: Any, length: int) -> int:
    """Return `value` as a position among `length`, from the start; negative ones from the end."""
    index = _as_integer(name, value)
    if not -length <= index < length:
        raise ValueError(
            f"'{name}' must be one of {length}, counted from 0, got {shortened(value)}."
        )
    return index % length


def check_integer_or_auto(name: str, value: Any) -> int | str:
    """Return `value` if it is a positive integer or "auto"."""
    if not isinstance(value, str):
        return check_integer(name, value, otherwise=" or 'auto'")
    if value != "auto":
        raise ValueError(f"'{name}' must be a positive integer or 'auto', got {value!r}.")
    return value


def check_number(name: str, value: Any, upper: float = np.inf) -> float:
    """Return `value` as a float above 0 and below `upper`."""
    if not is_number(value, numbers.Real):
        raise TypeError(f"'{name}' must be a number, got {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not 0 < number < upper:
        bound = "a positive number" if np.isinf(upper) else f"between 0 and {upper:g}, exclusive"
        shown = shortened(value) if isinstance(value, int) else value
        raise ValueError(f"'{name}' must be {bound}, got {shown}.")
    return number


def check_dimension(name: str, value: Any, names: list[str]) -> int:
    """Return the position of a dimension that is given by its name or its position."""
    if isinstance(value, str):
        if value not in names:
            raise ValueError(f"'{name}' must be one of {', '.join(names)}, got {value!r}.")
        return names.index(value)
    position = check_integer(name, value, minimum=0)
    if position >= len(names):
        raise ValueError(f"'{name}' must be below {len(names)}, got {position}.")
    return position


def check_values(name: str, values: Any) -> np.ndarray:
    """Return one or more finite numbers as an array of one dimension."""
    array = to_floats(name, values)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"'{name}' must be finite numbers in one dimension, got {values!r}.")
    return array


def to_floats(name: str, values: Any) -> np.ndarray:
    """Return real numbers of any kind, one or an array of them, in double precision."""
    _refuse_masked(name, values)
    with naming(name, "must be real numbers"):
        array = np.asarray(values)
    if array.dtype.kind not in "iufbO":
        raise TypeError(f"'{name}' must be real numbers, got {shortened(values)}.")
    with naming(name, "must be real numbers"), np.errstate(over="ignore"):
        return array.astype(np.float64, copy=False)


def _refuse_masked(name: str, values: Any) -> None:
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"'{name}' must not be a masked array: fill or drop its masked values.")


def check_quantiles(name: str, values: Any) -> np.ndarray:
    """Return one or several numbers between 0 and 1 as an array."""
    levels = to_floats(name, values)
    if levels.ndim > 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(
            f"'{name}' must be a number between 0 and 1, exclusive, or several in one dimension, "
            f"got {values!r}."
        )
    return levels


def check_flag(name: str, value: Any, advice: str = "") -> bool:
    """Return `value` if it is True or False.

    `advice` says what else may have been meant.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"'{name}' must be True or False, got {shortened(value)}.{advice}")
    return bool(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"'{name}' must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def check_path(name: str, value: Any) -> Path | None:
    """Return the path of a file that can be written, or None."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"'{name}' must be a string, a path or None, got {value!r}.")
    path = Path(value)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"'{name}' must be a file in a folder that exists, got {value!r}.")
    return path


def check_window_shape(X: Any, n_channels: int | None) -> None:
    """Raise unless X has two or three dimensions that agree with `n_channels`."""
    shape = tuple(X.shape)
    if len(shape) not in (2, 3):
        advice = _one_window(X, "1, -1") if len(shape) == 1 else ""
        raise ValueError(
            "'X' must have shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels), "
            f"got an array of {len(shape)} dimension(s), shape {shape}.{advice}"
        )
    if len(shape) == 3 and 0 in shape[1:]:
        raise ValueError(f"'X' must have at least one step and one channel, got shape {shape}.")
    if n_channels is None:
        return
    if len(shape) == 3 and shape[2] != n_channels:
        raise ValueError(f"'n_channels' is {n_channels}, but 'X' has {shape[2]} channels.")
    if len(shape) == 2 and shape[1] % n_channels:
        raise ValueError(
            f"'n_channels' is {n_channels}, which does not divide the {shape[1]} columns of the "
            "flattened 'X'. Its columns must run over the channels of the first time step, then "
            "those of the second, and so on."
        )


def to_windows(X: np.ndarray, n_channels: int | None) -> np.ndarray:
    """Return X of two or three dimensions as (n_samples, n_timesteps, n_channels)."""
    return X if X.ndim == 3 else X.reshape(len(X), -1, n_channels or 1)


def check_fitted_shape(X: Any, window_shape: tuple[int, ...]) -> None:
    """Raise if X has another number of dimensions, or other channels, than in fit.

    The number of columns of 2-D input is left to scikit-learn, which names them.
    """
    shape = tuple(X.shape)
    if (len(shape) == 2 and len(window_shape) == 1) or shape[1:] == window_shape:
        return
    advice = ""
    if math.prod(shape) == math.prod(window_shape):
        advice = _one_window(X, ", ".join(map(str, (1, *window_shape))))
    raise ValueError(
        f"'X' must have shape {shape_text(window_shape)}, as in fit, got {shape}.{advice}"
    )


def _one_window(X: Any, shape: str) -> str:
    """Return the advice to make one window of `X`, an array or a table."""
    values = "X.to_numpy()" if hasattr(X, "to_numpy") else "X"
    return f" Reshape your data: {values}.reshape({shape}) is one window."


def shape_text(of_one: tuple[int, ...]) -> str:
    """Name the shape of an array, given that of what every window has in it."""
    return str(("n_samples", *of_one)).replace("'", "")


def check_numeric(name: str, values: Any, *, gaps: bool = False) -> Any:
    """Return an array-like with a shape, and raise if it holds something else than real numbers.

    With `gaps`, what is missing in tables is let pass.
    """
    _refuse_masked(name, values)
    array: Any = values
    if not hasattr(values, "shape"):
        with naming(name, "must be a rectangular array"):
            array = np.asarray(values)
    if array.shape == ():
        raise ValueError(f"'{name}' must be an array, got the single value {values!r}.")
    columns = hasattr(array, "columns") and hasattr(array, "dtypes")
    for dtype in array.dtypes if columns else [getattr(array, "dtype", None)]:
        _check_kind(name, array, dtype, gaps)
    return array


def _check_kind(name: str, array: Any, dtype: Any, gaps: bool) -> None:
    kind = getattr(dtype, "kind", "f")  # other libraries' dtypes have no kind
    if kind == "c":
        raise ValueError(f"'{name}' must hold real numbers. Complex data not supported.")
    if kind == "O":
        with naming(name, "must hold numbers"):
            np.asarray(array, dtype=np.float64)
    elif kind not in "iufb":
        raise ValueError(f"'{name}' must hold numbers, got values of dtype {dtype}.")
    elif not gaps and hasattr(dtype, "na_value") and np.asarray(array.isna()).any():
        raise ValueError(f"'{name}' must be finite, but it contains NaN. Impute or drop it.")


def check_futures(y: Any, n_samples: int) -> np.ndarray:
    """Return y of one to three dimensions; its length must be `n_samples`."""
    with naming("y"):
        values = np.asarray(y)
        if values.dtype.kind == "O":  # as pandas makes of nullable columns
            is_table = hasattr(y, "iloc")
            values = y.to_numpy(np.float64, na_value=np.nan) if is_table else values.astype(float)
        y = values
    if not 1 <= y.ndim <= 3 or 0 in y.shape:
        raise ValueError(
            "'y' must have shape (n_samples,), (n_samples, horizon) or (n_samples, horizon, "
            f"n_targets), with at least one step and one target, got shape {y.shape}."
        )
    check_length("y", len(y), n_samples)
    return y


def check_validation_split(
    n_samples: int, validation_fraction: float, validation_gap: int | None, default_gap: int
) -> tuple[int, int]:
    """Return the numbers of training and of validation windows: there must be one of each.

    Warns
    -----
    UserWarning
        If the default gap leaves out more windows than it leaves to train on.
    """
    if n_samples == 1:
        raise ValueError(
            "'X' must hold at least two windows, one of them for validation, got 1 sample."
        )
    n_valid = max(1, round(validation_fraction * n_samples))
    if n_valid >= n_samples:
        raise ValueError(
            f"'validation_fraction' {validation_fraction} leaves none of the {n_samples} windows "
            "to train on. Lower it, or give more windows."
        )
    gap = default_gap if validation_gap is None else int(validation_gap)
    n_train = n_samples - n_valid - gap
    about = (
        f"'validation_gap' {'(horizon - 1 by default) ' if validation_gap is None else ''}leaves "
        f"out {gap} of the {n_samples - n_valid} windows before those for validation"
    )
    advice = (
        "Futures of windows one step apart share steps; set validation_gap=0 for windows that "
        "share none, such as separate recordings, or give more windows."
    )
    if n_train < 1:
        raise ValueError(f"{about}, and none to train on. {advice}")
    if validation_gap is None and n_train < gap:
        warnings.warn(f"{about}. {advice}", UserWarning, stacklevel=2)
    return n_train, n_valid


def check_length(name: str, length: int, n_samples: int) -> None:
    """Raise unless there is one entry for each window."""
    if length != n_samples:
        raise ValueError(
            f"'{name}' must have one entry for each of the {n_samples} windows of 'X', got "
            f"{length}."
        )
