"""Write a fitted estimator to a safetensors file, and read it without running anything in it.

The header holds a JSON document about the estimator, the arrays are those of the module and of the
scalings. No array is read before its shape has been found to be what the document implies.
"""

import io
import json
import math
import os
import reprlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .document import Document, parse_document, to_document, to_state
from .plain import Networks, blank_module
from .safetensors import import_safetensors, parse_json, read_header, replace_file
from .schema import check_names

_KEY = "skdeepdive"  # the document's key in the metadata
_SCALINGS = {  # attributes, and the names of their arrays in a file
    "_x_scaling": ("x_loc", "x_scale"),
    "_y_scaling": ("y_loc", "y_scale"),
    "_covariate_scaling": ("covariate_loc", "covariate_scale"),
}
_SCALES = {scale for _, scale in _SCALINGS.values()}


def write(path: str | os.PathLike, state: dict[str, Any], estimator_class: type) -> None:
    """Write the state of a fitted estimator to a file, atomically.

    Raises
    ------
    TypeError
        If `path` is no path, the class is not of this package, or a parameter or label cannot be
        in a file.
    ValueError
        If something in the state is invalid, so that the file could not be read.
    OSError
        If the file cannot be written.
    """
    library, path = import_safetensors(), _to_path(path).resolve()  # a link stays a link
    if path.is_dir():
        raise IsADirectoryError(f"'path' must be a file, got the folder '{path}'.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"'path' must be in a folder that exists, got '{path}'.")
    document = json.dumps(to_document(state, estimator_class), allow_nan=False)
    arrays = {
        name: array
        for scaling, names in _SCALINGS.items()
        for name, array in zip(names, state[scaling], strict=True)
    }
    arrays |= {f"module.{name}": array for name, array in state["module_"]["weights"].items()}
    content = library.numpy.save(arrays, {_KEY: document})
    _check_content(content, estimator_class, library)
    replace_file(path, content)


def _check_content(content: bytes, estimator_class: type, library) -> None:
    try:
        _read(io.BytesIO(content), estimator_class, library)
    except ValueError as error:
        raise ValueError(f"The model cannot be saved to a file: {error}.") from error


def read(path: str | os.PathLike, estimator_class: type) -> dict[str, Any]:
    """Read the state of an estimator of a class from a file.

    Raises
    ------
    ValueError
        If the file is damaged or holds no estimator of this class.
    """
    library, path = import_safetensors(), _to_path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"'path' must be a file, got '{path}'.")
    with path.open("rb") as file:
        try:
            return _read(file, estimator_class, library)
        except (ValueError, library.SafetensorError) as error:
            problem = str(error).rstrip(".")
            raise ValueError(f"'{path}' is no {estimator_class.__name__}: {problem}.") from error


def _to_path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"'path' must be a string or a path, got {path!r}.")
    return Path(path)


def _read(file: BinaryIO, estimator_class: type[Any], library) -> dict[str, Any]:
    header, n_bytes = read_header(file)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise ValueError("it may be a safetensors file, but not one of skdeepdive")
    document = parse_document(parse_json(metadata[_KEY]), estimator_class)
    _check_header(header, document, estimator_class._MODULE, n_bytes)
    file.seek(0)
    arrays = library.numpy.load(file.read())
    _check_values(arrays, document["configuration"].window_shape[1])
    return _to_state(document, arrays)


def _check_header(
    header: dict[str, Any], document: Document, module_class: type[Networks], n_bytes: int
) -> None:
    """Raise unless the file holds the arrays of the module, and nothing else."""
    # Every factor has four arrays: before a module is made, the header bounds how large it gets.
    if 4 * len(document["factors"]) > len(header):
        raise ValueError("it has fewer arrays than factors")
    expected = _expected(document["configuration"], module_class)
    check_names(header, expected, "its list of arrays")
    for name, (dtype, shape) in expected.items():
        found = header[name]
        found = [found.get("dtype"), found.get("shape")] if isinstance(found, dict) else found
        if found != [dtype, shape]:
            raise ValueError(
                f"its array {name} must be {[dtype, shape]}, got {reprlib.repr(found)}"
            )
    expected_bytes = sum(8 * math.prod(shape) for _, shape in expected.values())
    if expected_bytes != n_bytes:
        raise ValueError(f"its arrays take {expected_bytes} bytes, but it holds {n_bytes}")


def _expected(configuration: Any, module_class: type[Networks]) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of every array."""
    (_, n_channels), (_, n_targets) = configuration.window_shape, configuration.future_shape
    counts = n_channels, n_targets, configuration.n_covariates
    expected = {
        name: ("F64", [count])
        for names, count in zip(_SCALINGS.values(), counts, strict=True)
        for name in names
    }
    for name, tensor in blank_module(module_class, configuration).state_dict().items():
        dtype = "F64" if tensor.is_floating_point() else "I64"
        expected[f"module.{name}"] = dtype, list(tensor.shape)
    return expected


def _check_values(arrays: dict[str, np.ndarray], n_channels: int) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"its array {name} holds NaN or infinity")
        if name in _SCALES and (array <= 0).any():
            raise ValueError(f"its array {name} must be positive")
        if array.dtype.kind == "i" and ((array < 0) | (array >= n_channels)).any():
            raise ValueError(f"its array {name} must hold numbers of channels")


def _to_state(document: Document, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    scalings = {
        scaling: tuple(arrays.pop(name) for name in names) for scaling, names in _SCALINGS.items()
    }
    weights = {name.removeprefix("module."): array for name, array in arrays.items()}
    return {
        **to_state(document),
        "module_": {"configuration": asdict(document["configuration"]), "weights": weights},
        **scalings,
    }
