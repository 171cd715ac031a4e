"""Describe a fitted estimator in JSON, and check such a description before it is used.

The description, a document, holds all of the state but the arrays of the module and the scalings.
"""

import reprlib
from typing import Annotated, Any, Literal, TypedDict

import numpy as np

from .._data.checks import check_integer
from .._version import __version__
from ..nn.configuration import Count, Size
from .plain import FORMAT, VERSIONS, to_python
from .schema import Kind, is_number, parse

_LABEL_DTYPES = (
    *("str", "object", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"),
)

# NumPy pads all strings to the longest, so long ones would take far more memory than their file.
_LONGEST_LABEL, _LONGEST_ENTRY = 1000, 20

# A file that need not be trusted must not say where to write.
_LEFT_OUT = {"checkpoint_path"}

_CLASSES = ("DeepDIVEForecaster", "VAEForecaster", "BetaTCVAEForecaster")
_NAMES = ", ".join(_CLASSES)


def _is_short(value: Any, longest: int) -> bool:
    return type(value) is str and len(value) <= longest


_LABEL = Kind(
    f"a number, true, false or a string of at most {_LONGEST_LABEL} characters",
    lambda value: type(value) is bool or is_number(value) or _is_short(value, _LONGEST_LABEL),
)
_ENTRY = Kind(
    f"a number, null or a string of at most {_LONGEST_ENTRY} characters",
    lambda value: value is None or is_number(value) or _is_short(value, _LONGEST_ENTRY),
)
_VALUE = Kind("a single value", lambda value: not isinstance(value, list | dict))


class _Factor(TypedDict):
    name: str
    dtype: str
    classes: list[Annotated[Any, _LABEL]]


Document = TypedDict(
    "Document",
    {
        "format": Size,
        "class": str,
        "version": str,
        "parameters": dict[str, Annotated[Any, _VALUE]],
        "configuration": Any,  # what the module's class declares
        "X_ndim": Literal[2, 3],
        "y_ndim": Literal[1, 2, 3],
        "feature_names": list[str],  # empty where the columns of X had no names
        "covariate_columns": list[str],  # empty where the covariates were no table
        "factors": list[_Factor],
        "history": dict[str, list[Annotated[Any, _ENTRY]]],
        "n_iter": Count,
        "device": str,
        "output": Literal[None, "default", "pandas", "polars"],
    },
)


def to_document(state: dict[str, Any], estimator_class: type) -> dict[str, Any]:
    """Return the document of a fitted estimator's state.

    Raises
    ------
    TypeError
        If the class is not of this package, or a parameter or label cannot be in a file.
    ValueError
        If a parameter is invalid.
    """
    if estimator_class.__name__ not in _CLASSES:
        raise TypeError(
            f"Files are for {_NAMES}: a {estimator_class.__name__} cannot be saved to one. "
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
        "covariate_columns": state["_covariate_columns"],
        "factors": [_to_factor(*factor) for factor in factors],
        "history": {name: _to_entries(column) for name, column in state["history_"].items()},
        "n_iter": state["n_iter_"],
        "device": state["device_"],
        "output": state.get("_sklearn_output_config", {}).get("transform"),
    }


def _to_parameters(state: dict[str, Any], estimator_class: type) -> dict[str, Any]:
    parameters = {
        name: to_python(state[name]) for name in sorted(_parameter_names(estimator_class))
    }
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


def _to_factor(name: str, classes: np.ndarray) -> dict[str, Any]:
    labels = [to_python(label) for label in classes.tolist()]
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


def parse_document(found: Any, estimator_class: type[Any]) -> Document:
    """Return a document that was found in a file, with the configuration as a dataclass.

    `to_state` checks labels and history, and the reader of the file compares sizes with arrays.

    Raises
    ------
    ValueError
        If the document describes no estimator of the class.
    """
    if not isinstance(found, dict):
        raise ValueError("its description is no JSON object")
    _check_origin(found, estimator_class.__name__)
    document = parse(found, Document, "the description")
    declared = estimator_class._MODULE.Configuration
    document["configuration"] = parse(document["configuration"], declared, "'configuration'")
    # A parameter may be missing: one that is newer than the file has its default.
    unknown = document["parameters"].keys() - _parameter_names(estimator_class)
    if unknown:
        raise ValueError(f"'parameters' has unknown {reprlib.repr(sorted(unknown))}")
    try:
        _check_parameters(document["parameters"], estimator_class)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    _check_lengths(document)
    return document


def _check_origin(document: dict[str, Any], name: str) -> None:
    """Raise unless a document is in the current format and holds the estimator of a name."""
    if document.get("format") != FORMAT:
        raise ValueError(
            f"it is in format {reprlib.repr(document.get('format'))} of skdeepdive "
            f"{reprlib.repr(document.get('version'))}, but skdeepdive {__version__} reads format "
            f"{FORMAT}; open it with the version that saved it"
        )
    held = document.get("class")
    if held not in _CLASSES:
        raise ValueError(f"it holds a {reprlib.repr(held)}, which is none of {_NAMES}")
    if held != name:
        raise ValueError(f"it holds a {held}; open it with {held}.load")


def _check_lengths(document: Document) -> None:
    """Raise unless shapes, names, labels and history fit each other."""
    configuration = document["configuration"]
    if any(size > 1 for size in configuration.future_shape[document["y_ndim"] - 1 :]):
        raise ValueError("'y_ndim' and 'future_shape' contradict each other")
    names, n_features = document["feature_names"], _window_shape(document)[0]
    if names and (len(names) != n_features or document["X_ndim"] != 2):
        raise ValueError(f"'feature_names' must name {n_features} columns, got {len(names)} names")
    counts = [len(factor["classes"]) for factor in document["factors"]]
    if counts != getattr(configuration, "class_counts", []):
        raise ValueError("'factors' and 'class_counts' contradict each other")
    if len({len(entries) for entries in document["history"].values()}) > 1:
        raise ValueError("'history' has columns of different length")


def _window_shape(document: Document) -> tuple[int, ...]:
    n_timesteps, n_channels = document["configuration"].window_shape
    return (n_timesteps * n_channels,) if document["X_ndim"] == 2 else (n_timesteps, n_channels)


def to_state(document: Document) -> dict[str, Any]:
    """Return the state that a document describes, without the arrays.

    Raises
    ------
    ValueError
        If labels are not of their dtype, or the entries of a history differ in type.
    """
    configuration = document["configuration"]
    n_timesteps, n_channels = configuration.window_shape
    horizon, n_targets = configuration.future_shape
    window_shape = _window_shape(document)
    state = {
        **VERSIONS,
        **document["parameters"],
        "n_features_in_": window_shape[0],
        "n_timesteps_": n_timesteps,
        "n_channels_": n_channels,
        "horizon_": horizon,
        "n_targets_": n_targets,
        "n_covariates_": configuration.n_covariates,
        "_window_shape": window_shape,
        "_future_shape": (horizon, n_targets)[: document["y_ndim"] - 1],
        "_covariate_columns": document["covariate_columns"],
        "history_": {k: _from_entries(k, v) for k, v in document["history"].items()},
        "n_iter_": document["n_iter"],
        "device_": document["device"],
    }
    if hasattr(configuration, "class_counts"):
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
