"""Labels of windows, encoded as classes and codes."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .checks import check_length, listed, naming, shortened

UNLABELLED = -1

# What NumPy makes of the marks of unlabelled entries in an array of strings.
_STRINGIFIED = {"-1", "nan", "None", "<NA>"}
_RESERVED = "conditional"

# The factor that a fit without factors finds.
FOUND = "cluster"

# NumPy's kinds of flags, numbers, strings, dates and spans of time; objects can be any of them.
_KINDS = "biufUMmO"

# What to do about a label that is no class.
_KEPT_CLASSES = (
    "A model that learns further keeps its classes: name all of them in 'classes' of its first "
    "partial_fit, or fit a new one."
)
_UNKNOWN = "Mark it with -1, None or NaN to have the label read from the window."

# Above it not every integer is among the floats.
_MOST_INTEGER = 2**53


@dataclass(frozen=True)
class Factors:
    """Labels as codes: `codes[i, j]` indexes `classes[j]`, -1 where unlabelled."""

    names: list[str]
    classes: list[np.ndarray]
    codes: np.ndarray


class _Column(NamedTuple):
    """Labels of a factor, and the order of its classes; None: they are sorted."""

    name: str
    labels: np.ndarray
    order: list | None = None


def no_factors(n_samples: int) -> Factors:
    """Return no factors at all."""
    return Factors([], [], np.empty((n_samples, 0), dtype=np.int64))


def check_factors(factors: Any, n_samples: int, classes: Any = None) -> Factors:
    """Return factors of shape (n_samples,) or (n_samples, n_factors) as codes.

    -1, None and NaN (or pandas' NA) mark unlabelled entries. `classes` names all labels of some
    factors, or of the only one; then few or none of them need be among the windows.
    """
    columns = _factor_columns(factors)
    names = [column.name for column in columns]
    return _encode_columns(
        columns, n_samples, {} if classes is None else _check_classes(classes, names)
    )


def check_labels_of_factors(name: str, values: Any, known: Factors) -> dict[int, int]:
    """Return labels by the names of their factors as codes by the factors' positions."""
    if not isinstance(values, Mapping) or not values:
        raise TypeError(
            f"'{name}' must be a dict of labels by the names of their factors, {known.names}, got "
            f"{values!r}."
        )
    unknown = [f for f in values if not (isinstance(f, str) and f in known.names)]
    if unknown:
        raise ValueError(f"'{name}' must name factors among {known.names}, got {unknown[0]!r}.")
    codes = {}
    for factor, label in values.items():
        j = known.names.index(factor)
        classes = known.classes[j].tolist()
        try:
            is_class = label in classes
        except (TypeError, ValueError):  # an array, or pandas' NA, is neither equal nor unequal
            is_class = False
        if not is_class:
            raise ValueError(
                f"'{name}' must give factor '{factor}' one of its labels {listed(classes)}, got "
                f"{shortened(label)}."
            )
        codes[j] = classes.index(label)
    return codes


def _encode_columns(
    columns: list[_Column], n_samples: int, classes: dict[str, np.ndarray]
) -> Factors:
    for column in columns:
        check_length("factors", len(column.labels), n_samples)
    encoded = [
        _encode(f"Factor '{name}' of 'factors'", labels, classes.get(name), order)
        for name, labels, order in columns
    ]
    return Factors(
        [column.name for column in columns],
        [classes for classes, _ in encoded],
        np.stack([codes for _, codes in encoded], axis=1),
    )


def check_known_factors(factors: Any, n_samples: int, known: Factors) -> Factors:
    """Return factors with the names and classes of others as codes; None has no labels."""
    if factors is None:
        codes = np.full((n_samples, len(known.names)), UNLABELLED, dtype=np.int64)
        return Factors(known.names, known.classes, codes)
    columns = _columns_as_known(factors, known)
    names = [column.name for column in columns]
    if names != known.names:
        was_found = known.names == [FOUND]
        advice = " A model begun without 'factors' takes none later." if was_found else ""
        raise ValueError(
            f"'factors' must have the columns {known.names} as before, got {names}.{advice}"
        )
    classes = dict(zip(names, known.classes, strict=True))
    return _encode_columns(columns, n_samples, classes)


def check_labels_of_windows(factors: Any, n_samples: int, known: Factors) -> np.ndarray | None:
    """Return labels of some of the known factors as codes of all, `(n_samples, n_factors)`.

    None where no label is known.
    """
    columns = _columns_as_known(factors, known)
    codes = np.full((n_samples, len(known.names)), UNLABELLED, dtype=np.int64)
    for name, labels, _ in columns:
        if name not in known.names:
            got = repr(name)
            if not _has_names(factors):
                got = "labels without names. Pass a dict or a DataFrame"
            raise ValueError(
                f"'factors' must have columns among {known.names}, as in fit, got {got}."
            )
        check_length("factors", len(labels), n_samples)
        j = known.names.index(name)
        subject = f"Factor '{name}' of 'factors'"
        codes[:, j] = _encode(subject, labels, known.classes[j], advice=_UNKNOWN)[1]
    return codes if (codes != UNLABELLED).any() else None


def check_same_classes(classes: Any, known: Factors) -> None:
    """Raise unless `classes` are, for the factors that they name, the known ones."""
    for name, labels in _check_classes(classes, known.names).items():
        before = known.classes[known.names.index(name)].tolist()
        if labels.tolist() != before:
            raise ValueError(
                f"'classes' of factor '{name}' must be {before} as before, got {labels.tolist()}."
            )


def _check_classes(classes: Any, names: list[str]) -> dict[str, np.ndarray]:
    if not isinstance(classes, Mapping):
        if len(names) > 1 or isinstance(classes, str) or not hasattr(classes, "__len__"):
            raise TypeError(
                "'classes' must be a dict of all labels of factors by the factors' names, "
                f"{names}, or the labels of a single factor, got {type(classes).__name__}."
            )
        classes = {names[0]: classes}
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(f"'classes' must name factors, of which there are {names}, got {unknown}.")
    return {name: _all_labels(name, labels) for name, labels in classes.items()}


def _all_labels(name: str, labels: Any) -> np.ndarray:
    return _encode(f"Factor '{name}' of 'classes'", _labels_of("classes", name, labels))[0]


def _factor_columns(factors: Any) -> list[_Column]:
    if isinstance(factors, Mapping) or hasattr(factors, "columns"):
        columns = [_column(name, values) for name, values in _named_columns(factors)]
    else:
        columns = _unnamed_columns(factors)
    names = [column.name for column in columns]
    if not columns:
        raise ValueError("'factors' must have at least one column, got none. Pass None instead.")
    if len(set(names)) < len(names):
        raise ValueError(f"'factors' must have distinct column names, got {names}.")
    if _RESERVED in names:
        raise ValueError(f"'factors' must not name a factor {_RESERVED!r}: other dimensions are.")
    return columns


def _has_names(factors: Any) -> bool:
    return (
        isinstance(factors, Mapping)
        or hasattr(factors, "columns")
        or getattr(factors, "name", None) is not None
    )


def _columns_as_known(factors: Any, known: Factors) -> list[_Column]:
    """Return the columns of factors; labels without a name are those of the only known factor.

    Clusters that were discovered have no labels to be taken for.
    """
    columns = _factor_columns(factors)
    is_only = len(columns) == len(known.names) == 1 and known.names != [FOUND]
    if is_only and not _has_names(factors):
        return [columns[0]._replace(name=known.names[0])]
    return columns


def _named_columns(factors: Any) -> list[tuple[Any, Any]]:
    """Return names and columns of a dict, or of a table of pandas, polars and the like."""
    if isinstance(factors, Mapping):
        return list(factors.items())
    if hasattr(factors, "iloc"):  # whose names need not be distinct
        return [(name, factors.iloc[:, j]) for j, name in enumerate(factors.columns)]
    return [(name, factors[name]) for name in factors.columns]


def _unnamed_columns(factors: Any) -> list[_Column]:
    if getattr(factors, "name", None) is not None:
        return [_column(factors.name, factors)]
    labels = _labels("factors", factors)
    if labels.ndim not in (1, 2):
        raise ValueError(
            "'factors' must be an array of shape (n_samples,) or (n_samples, n_factors), a dict or "
            f"a DataFrame, got {labels.ndim} dimension(s), shape {labels.shape}."
        )
    if labels.ndim == 1:
        return [_column("factor0", factors)]
    return [_Column(f"factor{j}", labels[:, j]) for j in range(labels.shape[1])]


def _column(name: Any, values: Any) -> _Column:
    labels = _labels_of("factors", name, values)
    dtype: Any = getattr(values, "dtype", None)
    order = list(dtype.categories) if getattr(dtype, "ordered", False) else None
    return _Column(str(name), labels, order)


def _labels_of(argument: str, factor: Any, values: Any) -> np.ndarray:
    """Labels of a single factor."""
    labels = _labels(argument, values)
    if labels.ndim != 1:
        raise ValueError(
            f"Factor '{factor}' of '{argument}' must have its labels in one dimension, got shape "
            f"{labels.shape}."
        )
    return labels


def _labels(name: str, values: Any) -> np.ndarray:
    """Labels as an array; lists and pandas columns with missing entries keep their types."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"'{name}' must not be a masked array: fill its masked values with -1.")
    with naming(name, "must hold single labels"):
        if hasattr(values, "isna"):  # pandas
            return values.to_numpy(dtype=object)
        array = np.asarray(values)
        if array.dtype.kind not in "iufb" and not isinstance(values, np.ndarray):
            array = np.asarray(values, dtype=object)
        return array.astype(object) if array.dtype.kind == "T" else array


def _encode(
    subject: str,
    column: np.ndarray,
    classes: np.ndarray | None = None,
    order: list | None = None,
    advice: str = _KEPT_CLASSES,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of a column of labels, or those given, and the column's codes."""
    unknown = np.array([_is_unlabelled(label) for label in column.tolist()], dtype=bool)
    known = column[~unknown]
    codes = np.full(len(column), UNLABELLED, dtype=np.int64)
    if classes is None:
        known = _check_known(subject, known, column[~unknown].tolist())
        if known.dtype.kind == "f" and np.abs(known).max() <= _MOST_INTEGER:
            known = known.astype(np.int64)  # as where NaN came among them, or might have
        classes, codes[~unknown] = _distinct(subject, known, order)
    else:
        codes[~unknown] = _codes(subject, known, classes, advice)
    return classes, codes


def _distinct(subject: str, known: np.ndarray, order: list | None) -> tuple[np.ndarray, np.ndarray]:
    """Return classes, of which there must be two, and the codes of labels.

    Classes are sorted, or in the order given.
    """
    with naming(subject, "must have labels that can be sorted"):
        classes, codes = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{subject} must have at least two classes, got only {shortened(known.tolist()[0])} "
            "(-1 marks unlabelled entries). Drop the factor: it tells no windows apart."
        )
    if order is not None:
        place = np.argsort([order.index(label) for label in classes.tolist()])
        classes, codes = classes[place], np.argsort(place)[codes]
    return classes, codes


def _check_known(subject: str, known: np.ndarray, labels: list) -> np.ndarray:
    """Return labels, none of them unknown, in an array of their own type."""
    if not labels:
        raise ValueError(
            f"{subject} has no labelled window. Drop the factor, or pass factors=None to discover "
            "clusters."
        )
    if known.dtype.kind == "O":
        with naming(subject, "must hold single labels"):
            known = np.array(labels)
        if len({isinstance(label, str) for label in labels}) > 1:
            raise TypeError(f"{subject} mixes strings with other labels.")
    # Sets are compared by what they hold, which does not sort them.
    is_set = known.dtype.kind == "O" and any(isinstance(label, Set) for label in labels)
    if is_set or known.ndim > 1 or known.dtype.kind not in _KINDS:
        raise TypeError(
            f"{subject} must hold labels that are strings or integers, got {shortened(labels[0])}."
        )
    _check_values(subject, known)
    return known


def _check_values(subject: str, known: np.ndarray) -> None:
    if known.dtype.kind == "U" and _STRINGIFIED.intersection(known):
        marks = sorted(map(str, _STRINGIFIED.intersection(known)))
        raise ValueError(
            f"{subject} has the string labels {marks}, which NumPy makes of what marks unlabelled "
            "entries. Mark these with None, in an array of dtype object."
        )
    if known.dtype.kind == "f" and not np.isfinite(known).all():
        raise ValueError(f"{subject} must hold finite labels, got infinity.")
    if known.dtype.kind == "f" and (known % 1 != 0).any():
        raise ValueError(
            f"{subject} must hold discrete labels, got continuous values such as "
            f"{known[known % 1 != 0][0].item()!r}. Bin it, for example with KBinsDiscretizer."
        )


def _codes(subject: str, labels: np.ndarray, classes: np.ndarray, advice: str) -> list[int]:
    code = {label: k for k, label in enumerate(classes.tolist())}
    with naming(subject, "must hold labels that are strings or integers"):
        new = [label for label in labels.tolist() if label not in code]
    if new:
        raise ValueError(
            f"{subject} has the label {shortened(new[0])}, which is not among its classes: "
            f"{listed(classes.tolist())}. {advice}"
        )
    return [code[label] for label in labels.tolist()]


def _is_unlabelled(label: Any) -> bool:
    if label is None or isinstance(label, str):
        return label is None
    try:
        return bool(label == UNLABELLED or label != label)
    except TypeError:  # pandas.NA is neither true nor false
        return True
    except ValueError:  # nor is an array, which is no label
        return False
