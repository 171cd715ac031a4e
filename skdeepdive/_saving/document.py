"""What a saved model's file says in JSON: a table of what may stand there, and its two ways.

A document holds all of an estimator's state but the arrays of its module and of the scalings.
"""

import math
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._data.checks import check_integer
from .._version import __version__
from .plain import FORMAT, VERSIONS

_LABEL_DTYPES = (
    *("str", "object", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"),
)

# NumPy pads strings to the longest: a file must not ask for far more memory than it takes itself.
_LONGEST_LABEL, _LONGEST_ENTRY = 1000, 20


class _Kind(NamedTuple):
    """What a single value may be."""

    description: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_text(value: Any, longest: float = math.inf) -> bool:
    return isinstance(value, str) and len(value) <= longest


_TEXT = _Kind("a string", _is_text)
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
_NUMBER = _Kind("a number", lambda value: _is_number(value) and abs(value) < 1e300)
_COUNT = _Kind("an integer from 0", lambda value: type(value) is int and 0 <= value < 2**31)
_SIZE = _Kind("an integer from 1", lambda value: type(value) is int and 1 <= value < 2**31)
_VALUE = _Kind("a single value", lambda value: not isinstance(value, list | dict))
_LABEL = _Kind(
    f"a number, true, false or a string of at most {_LONGEST_LABEL} characters",
    lambda value: isinstance(value, bool) or _is_number(value) or _is_text(value, _LONGEST_LABEL),
)
_ENTRY = _Kind(
    f"a number, null or a string of at most {_LONGEST_ENTRY} characters",
    lambda value: value is None or _is_number(value) or _is_text(value, _LONGEST_ENTRY),
)
_X_NDIM = _Kind("2 or 3", lambda value: type(value) is int and value in (2, 3))
_Y_NDIM = _Kind("1, 2 or 3", lambda value: type(value) is int and value in (1, 2, 3))
_OUTPUT = _Kind(
    "null, 'default', 'pandas' or 'polars'",
    lambda value: value in (None, "default", "pandas", "polars"),
)

# A file that need not be trusted must not say where to write.
_LEFT_OUT = {"checkpoint_path"}

# A dict names all its keys, or str for any; a tuple is a list of as many values, a list one of any
# length.
_SIZES = {"window_shape": (_SIZE, _SIZE), "future_shape": (_SIZE, _SIZE), "n_hidden": _SIZE}
_CONFIGURATIONS = {
    "DeepDIVEForecaster": {
        **_SIZES,
        "class_counts": [_SIZE],
        "n_marginal": _COUNT,
        "n_conditional": _COUNT,
        "interleave": _FLAG,
        "n_errors": _COUNT,
        "linear": {
            "joint": _FLAG,
            "shared": _FLAG,
            "anchored": _FLAG,
            "n_components": _COUNT,
            "class_maps": [_FLAG],
        },
    },
    "VAEForecaster": {**_SIZES, "n_latent": _SIZE},
    "BetaTCVAEForecaster": {**_SIZES, "n_latent": _SIZE, "beta": _NUMBER, "n_windows": _SIZE},
}
_CLASSES = ", ".join(_CONFIGURATIONS)
_DOCUMENT = {
    "format": _SIZE,
    "class": _TEXT,
    "version": _TEXT,
    "parameters": {str: _VALUE},
    "X_ndim": _X_NDIM,
    "y_ndim": _Y_NDIM,
    "feature_names": [_TEXT],  # none where X had none
    "factors": [{"name": _TEXT, "dtype": _TEXT, "classes": [_LABEL]}],
    "history": {str: [_ENTRY]},
    "n_iter": _COUNT,
    "device": _TEXT,
    "output": _OUTPUT,
}


def to_document(state: dict[str, Any], estimator_class: type) -> dict[str, Any]:
    """Describe the state of a fitted estimator.

    Raises
    ------
    TypeError
        If the class is somebody else's, or something in the state has no place in the file.
    ValueError
        If a parameter is invalid.
    """
    if estimator_class.__name__ not in _CONFIGURATIONS:
        raise TypeError(
            f"Files are for {_CLASSES}: a {estimator_class.__name__} cannot be saved to one. "
            "Use joblib."
        )
    factors = zip(state.get("factor_names_", []), state.get("factor_classes_", []), strict=True)
    return {
        "format": FORMAT,
        "class": estimator_class.__name__,
        "version": __version__,
        "parameters": _to_parameters(state, estimator_class),
        "configuration": state["module_"]["configuration"],
        "X_ndim": 1 + len(state["_window_shape"]),
        "y_ndim": 1 + len(state["_future_shape"]),
        "feature_names": [*state.get("feature_names_in_", [])],
        "factors": [_to_factor(*factor) for factor in factors],
        "history": {name: _to_entries(column) for name, column in state["history_"].items()},
        "n_iter": state["n_iter_"],
        "device": state["device_"],
        "output": state.get("_sklearn_output_config", {}).get("transform"),
    }


def _to_parameters(state: dict[str, Any], estimator_class: type) -> dict[str, Any]:
    parameters = {name: _to_value(state[name]) for name in _parameter_names(estimator_class)}
    if isinstance(parameters["random_state"], np.random.RandomState):
        raise TypeError(
            "'random_state' must be an integer or None to be saved to a file, got a RandomState "
            "instance. Call set_params(random_state=None) first: what was fitted stays."
        )
    _check_parameters(parameters, estimator_class)
    return parameters


def _parameter_names(estimator_class: type) -> set[str]:
    return set(estimator_class().get_params(deep=False)) - _LEFT_OUT


def _check_parameters(parameters: dict[str, Any], estimator_class: type) -> None:
    estimator = estimator_class(**parameters)
    estimator._check_parameters()
    if estimator.random_state is not None:
        check_integer("random_state", estimator.random_state, minimum=0)
    if not isinstance(estimator.device, str):
        raise TypeError(f"'device' must be a string, got {estimator.device!r}.")


def _to_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _to_factor(name: str, classes: np.ndarray) -> dict[str, Any]:
    labels = [_to_value(label) for label in classes.tolist()]
    dtype = {"U": "str", "O": "object"}.get(classes.dtype.kind, classes.dtype.name)
    for label in labels:
        if dtype not in _LABEL_DTYPES or not _LABEL.holds(label):
            raise TypeError(
                f"Factor '{name}' must have labels that are strings or numbers to be saved to a "
                f"file, got {label!r} in an array of dtype {classes.dtype}. Use joblib."
            )
    return {"name": name, "dtype": dtype, "classes": labels}


def _to_entries(column: np.ndarray) -> list:
    return [None if entry != entry else entry for entry in column.tolist()]


def check_document(document: Any, estimator_class: type) -> None:
    """Raise ValueError unless a document describes an estimator of a class.

    Neither the sizes in it nor the labels are compared with anything yet.
    """
    name = estimator_class.__name__
    if not isinstance(document, dict):
        raise ValueError("its description is no JSON object")
    if document.get("format") != FORMAT:
        raise ValueError(
            f"it is in format {reprlib.repr(document.get('format'))} of skdeepdive "
            f"{reprlib.repr(document.get('version'))}, but skdeepdive {__version__} reads format "
            f"{FORMAT}; open it with the version that saved it"
        )
    held, known = document.get("class"), [*_CONFIGURATIONS]
    if held not in known:
        raise ValueError(f"it holds a {reprlib.repr(held)}, which is none of {_CLASSES}")
    if held != name:
        raise ValueError(f"it holds a {held}; open it with {held}.load")
    _check(document, {**_DOCUMENT, "configuration": _CONFIGURATIONS[name]}, "the description")
    # Those that came later than the file have their defaults.
    unknown = document["parameters"].keys() - _parameter_names(estimator_class)
    if unknown:
        raise ValueError(f"'parameters' has unknown {reprlib.repr(sorted(unknown))}")
    try:
        _check_parameters(document["parameters"], estimator_class)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    _check_lengths(document)


def _check(value: Any, kind: Any, where: str) -> None:
    """Raise unless a value is as the table has it."""
    if isinstance(kind, _Kind):
        if not kind.holds(value):
            raise ValueError(f"{where} must be {kind.description}, got {reprlib.repr(value)}")
    elif isinstance(kind, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, got {reprlib.repr(value)}")
        if str not in kind:
            _check_keys(value, kind, where)
        for key, part in value.items():
            _check(part, kind.get(key, kind.get(str)), f"'{key}'")
    else:
        if not isinstance(value, list) or (isinstance(kind, tuple) and len(value) != len(kind)):
            count = f"{len(kind)} values" if isinstance(kind, tuple) else "values"
            raise ValueError(f"{where} must be a list of {count}, got {reprlib.repr(value)}")
        for part in value:
            _check(part, kind[0], f"a value of {where}")


def _check_keys(found: dict[str, Any], expected, where: str) -> None:
    for problem, keys in (
        ("lacks", set(expected).difference(found)),
        ("has unknown", set(found).difference(expected)),
    ):
        if keys:
            raise ValueError(f"{where} {problem} {reprlib.repr(sorted(keys))}")


def _check_lengths(document: dict[str, Any]) -> None:
    """Raise unless the parts of a document fit each other."""
    configuration = document["configuration"]
    if any(size > 1 for size in configuration["future_shape"][document["y_ndim"] - 1 :]):
        raise ValueError("'y_ndim' and 'future_shape' contradict each other")
    names, n_features = document["feature_names"], _window_shape(document)[0]
    if names and (len(names) != n_features or document["X_ndim"] != 2):
        raise ValueError(f"'feature_names' must name {n_features} columns, got {len(names)} names")
    counts = [len(factor["classes"]) for factor in document["factors"]]
    if counts != configuration.get("class_counts", []):
        raise ValueError("'factors' and 'class_counts' contradict each other")
    if len({len(entries) for entries in document["history"].values()}) > 1:
        raise ValueError("'history' has columns of different length")


def _window_shape(document: dict[str, Any]) -> tuple[int, ...]:
    n_timesteps, n_channels = document["configuration"]["window_shape"]
    return (n_timesteps * n_channels,) if document["X_ndim"] == 2 else (n_timesteps, n_channels)


def to_state(document: dict[str, Any]) -> dict[str, Any]:
    """Return the state that a checked document describes, without the arrays.

    Raises
    ------
    ValueError
        If labels or history are of other types than they should be.
    """
    configuration = document["configuration"]
    n_timesteps, n_channels = configuration["window_shape"]
    horizon, n_targets = configuration["future_shape"]
    window_shape = _window_shape(document)
    state = {
        **VERSIONS,
        **document["parameters"],
        "n_features_in_": window_shape[0],
        "n_timesteps_": n_timesteps,
        "n_channels_": n_channels,
        "horizon_": horizon,
        "n_targets_": n_targets,
        "_window_shape": window_shape,
        "_future_shape": (horizon, n_targets)[: document["y_ndim"] - 1],
        "history_": {k: _from_entries(k, v) for k, v in document["history"].items()},
        "n_iter_": document["n_iter"],
        "device_": document["device"],
    }
    if "class_counts" in configuration:
        state["factor_names_"] = [factor["name"] for factor in document["factors"]]
        state["factor_classes_"] = [_from_factor(**factor) for factor in document["factors"]]
        state["_sums"] = None
    if document["feature_names"]:
        state["feature_names_in_"] = np.array(document["feature_names"], dtype=object)
    if document["output"] is not None:
        state["_sklearn_output_config"] = {"transform": document["output"]}
    return state


def _from_factor(name: str, dtype: str, classes: list) -> np.ndarray:
    if dtype in _LABEL_DTYPES:
        with np.errstate(all="ignore"):
            labels = _cast(np.array(classes, dtype=object), dtype)
        if labels is not None and labels.tolist() == classes:
            return labels
    raise ValueError(f"the labels of factor {reprlib.repr(name)} are not of its dtype {dtype!r}")


def _from_entries(name: str, entries: list) -> np.ndarray:
    types = {type(entry) for entry in entries}
    dtype = "str" if types == {str} else "int64" if types == {int} else "float64"
    column = _cast(np.array([np.nan if e is None else e for e in entries], dtype=object), dtype)
    if column is None or (str in types and dtype != "str"):
        raise ValueError(f"the entries of {reprlib.repr(name)} in 'history' differ in type")
    return column


def _cast(values: np.ndarray, dtype: str) -> np.ndarray | None:
    try:
        return values.astype(dtype)
    except (ValueError, OverflowError):
        return None
