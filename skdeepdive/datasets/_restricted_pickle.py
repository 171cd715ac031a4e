"""Reading pickles of NumPy arrays and pandas tables without running what is in them.

A pickle names the classes and functions that rebuild its objects. Only the names of `_admitted`
are allowed, and none of them is taken from NumPy or pandas: each stands for a small class or
function below that holds the same data and does nothing else. So reading neither depends on the
installed pandas nor lets a forged state reach into its objects. The names are those that NumPy
1.17 to 2.4 and pandas 0.25 to 3.1 write.
"""

from __future__ import annotations

import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

_Order = Literal["C", "F"]
_SIMPLE_DTYPE = re.compile(r"[biufcSUOMm]\d*")


def read_pickle(path: Path) -> Any:
    """Read a pickle that holds NumPy and pandas data.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    data : object
        The object, in which arrays, Series and Index are ndarrays (a RangeIndex is a range) and
        a DataFrame is a dict of its columns. Tuples, lists, dicts, numbers and strings are as
        they were.

    Raises
    ------
    pickle.UnpicklingError
        If the pickle names anything other than NumPy and pandas data, or is damaged.
    """
    with path.open("rb") as file:
        try:
            return _unwrap(_RestrictedUnpickler(file).load())
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(f"{path.name!r} is refused. {error}") from error
        except Exception as error:
            raise pickle.UnpicklingError(
                f"{path.name!r} is no pickle of NumPy and pandas data, or is damaged: {error}."
            ) from error


class _RestrictedUnpickler(pickle.Unpickler):
    """Unpickler that knows the names of `_admitted` only."""

    def __init__(self, file):
        super().__init__(file)
        self._names = _admitted()

    def find_class(self, module, name):
        # The pair as a whole is looked up: a dotted name leads nowhere.
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(
                f"The pickle asks for {module}.{name}, which is not NumPy or pandas data. It may "
                "be forged, and was not read any further."
            )
        return self._names[module, name]


class _Inert:
    """A class that is named in a pickle and not needed to get at the data."""

    def __init__(self, *args):
        pass


class _Dtype:
    """What ``numpy.dtype`` makes of a simple data type."""

    def __init__(self, spec, align=False, copy=True):
        if not _SIMPLE_DTYPE.fullmatch(spec):
            raise _unsupported(spec)
        self.dtype = np.dtype(spec)

    def __setstate__(self, state):
        _, byteorder, subarray, names, fields = state[:5]
        if (subarray, names, fields) != (None, None, None):
            raise _unsupported(state)
        if self.dtype.kind in "Mm":
            unit = state[8][1][0]
            unit = unit.decode() if isinstance(unit, bytes) else unit
            if not unit.isalpha():
                raise _unsupported(unit)
            self.dtype = np.dtype(f"{self.dtype.kind}8[{unit}]")
        self.dtype = self.dtype.newbyteorder(byteorder)


class _Array:
    """What ``_reconstruct`` and ``ndarray.__setstate__`` make of an array."""

    def __init__(self, *args):
        self.values = np.empty(0)

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, content = state
        self.values = _make_array(content, dtype, shape, "F" if is_fortran else "C")

    def unwrap(self):
        if self.values.dtype != object:
            return self.values
        return _object_array([_unwrap(value) for value in self.values.flat]).reshape(
            self.values.shape
        )


class _ExtensionArray:
    """An array of pandas' own that keeps its values in one of NumPy's."""

    def __init__(self, *args):
        self.array = None

    def __setstate__(self, state):
        (self.array,) = (part for part in state if isinstance(part, _Array))

    def unwrap(self):
        return _unwrap(self.array)


class _Blocks:
    """What ``BlockManager`` holds: columns that share a dtype lie in one block."""

    def __init__(self, blocks=(), axes=()):
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state):
        # Before pandas 1.3; the key names the version that brought this form.
        state = state[3]["0.14.1"]
        self.axes = state["axes"]
        self.blocks = [(block["values"], block["mgr_locs"]) for block in state["blocks"]]

    def unwrap(self):
        labels = list(_unwrap(self.axes[0]))
        columns = {}
        for block, positions in self.blocks:
            values = np.atleast_2d(_unwrap(block))
            chosen = np.arange(len(labels))[_unwrap(positions)]
            for position, column in zip(chosen, values, strict=True):
                columns[labels[position]] = column
        return {label: columns[label] for label in labels}


class _SingleBlock(_Blocks):
    """What ``SingleBlockManager`` holds: the values of a Series."""

    def __setstate__(self, state):
        super().__setstate__(state)
        (self.blocks,) = self.blocks

    def unwrap(self):
        return _unwrap(self.blocks[0])


class _Table:
    """What a DataFrame or Series holds."""

    def __setstate__(self, state):
        self.manager = state["_mgr"] if "_mgr" in state else state["_data"]

    def unwrap(self):
        return _unwrap(self.manager)


def _unsupported(dtype: Any) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"The pickle holds an array of unsupported dtype {dtype!r}.")


def _make_array(content: Any, dtype: _Dtype, shape: tuple, order: _Order) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise _unsupported(dtype)
    if dtype.dtype == object:
        return _object_array(list(content)).reshape(shape, order=order)
    return np.ndarray(shape, dtype.dtype, buffer=content, order=order).copy(order="K")


def _object_array(values: list) -> np.ndarray:
    # Filled one by one: np.array would make a table of values that are sequences.
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array


def _array_from_buffer(content: Any, dtype: _Dtype, shape: tuple, order: _Order) -> _Array:
    array = _Array()
    array.values = _make_array(content, dtype, shape, order)
    return array


def _make_scalar(dtype: _Dtype, content: bytes) -> Any:
    return _make_array(content, dtype, (1,), "C")[0]


def _make_index(cls: Any, state: dict) -> Any:
    if "data" in state:
        return state["data"]
    return range(state["start"], state["stop"], state["step"])


def _make_block(values: Any, positions: Any, n_dims: int) -> tuple:
    return values, positions


def _make_empty_bytes() -> bytes:
    return b""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"The pickle asks for the encoding {encoding!r}.")
    return text.encode("latin1")


def _unwrap(value: Any) -> Any:
    """Replace the stand-ins inside `value` by the data they hold."""
    if hasattr(value, "unwrap"):
        return value.unwrap()
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    return value


def _admitted() -> dict[tuple[str, str], Any]:
    """Make the stand-ins by name.

    They are new for every pickle, which may set attributes of what it is given.
    """

    def new(cls):
        return type(cls.__name__, (cls,), {})

    table, single, inert = new(_Table), new(_SingleBlock), new(_Inert)
    names = {
        ("numpy", "dtype"): new(_Dtype),
        ("numpy", "ndarray"): inert,
        ("_codecs", "encode"): partial(_encode),
        ("builtins", "slice"): slice,
        ("__builtin__", "slice"): slice,
        ("__builtin__", "bytes"): partial(_make_empty_bytes),
        ("pandas.core.indexes.base", "_new_Index"): partial(_make_index),
        ("pandas._libs.internals", "_unpickle_block"): partial(_make_block),
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): new(_ExtensionArray),
        ("pandas.core.internals.managers", "BlockManager"): new(_Blocks),
        ("pandas.core.internals.managers", "SingleBlockManager"): single,
        ("pandas.core.frame", "DataFrame"): table,
        ("pandas", "DataFrame"): table,
        ("pandas.core.series", "Series"): table,
        ("pandas", "Series"): table,
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = new(_Array)
        names[f"{core}.multiarray", "scalar"] = partial(_make_scalar)
        names[f"{core}.numeric", "_frombuffer"] = partial(_array_from_buffer)
    return names | dict.fromkeys(_INERT, inert)


# Classes that are handed to the functions above, which need no telling them apart.
_INERT = (
    ("pandas", "Index"),
    ("pandas", "RangeIndex"),
    ("pandas", "StringDtype"),
    ("pandas.arrays", "DatetimeArray"),
    ("pandas.arrays", "StringArray"),
    ("pandas.core.arrays.datetimes", "DatetimeArray"),
    ("pandas.core.arrays.string_", "StringArray"),
    ("pandas.core.arrays.string_", "StringDtype"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.numeric", "Float64Index"),
    ("pandas.core.indexes.numeric", "Int64Index"),
    ("pandas.core.indexes.numeric", "UInt64Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
)
