"""Check parsed JSON against declared types, and turn it into values of these types."""

import json
import math
import reprlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints, is_typeddict


class Kind(NamedTuple):
    """A set of single values, in words and as a test of membership."""

    description: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Tell whether a value is an integer or a finite float."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


_KINDS = {
    bool: Kind("true or false", lambda value: type(value) is bool),
    float: Kind("a number", lambda value: is_number(value) and abs(value) <= sys.float_info.max),
    str: Kind("a string", lambda value: type(value) is str),
    Any: Kind("a value", lambda value: True),
}


def parse(value: Any, declared: Any, where: str) -> Any:
    """Return parsed JSON as a value of a declared type.

    An object becomes a dataclass, TypedDict or dict, a list becomes a list or tuple. The type of a
    single value is a Literal, one of `_KINDS`, or Annotated with a range of integers or a `Kind`.

    Raises
    ------
    ValueError
        If the value is of another type; the message names its key, or `where` at the top.
    """
    origin, types = get_origin(declared), get_args(declared)
    if origin is list:
        _demand(isinstance(value, list), "a list", value, where)
        return [parse(part, types[0], f"a value of {where}") for part in value]
    if origin is tuple:
        fits = isinstance(value, list | tuple) and len(value) == len(types)
        _demand(fits, f"a list of {len(types)} values", value, where)
        return tuple(parse(*pair, f"a value of {where}") for pair in zip(value, types, strict=True))
    if origin is dict:
        _demand(isinstance(value, dict), "an object", value, where)
        return {key: parse(part, types[1], f"'{key}'") for key, part in value.items()}
    if is_dataclass(declared) or is_typeddict(declared):
        _demand(isinstance(value, dict), "an object", value, where)
        fields = get_type_hints(declared, include_extras=True)
        check_names(value, fields, where)
        return declared(**{key: parse(value[key], fields[key], f"'{key}'") for key in fields})
    kind = _kind(declared)
    _demand(kind.holds(value), kind.description, value, where)
    return value


def _demand(fits: bool, description: str, value: Any, where: str) -> None:
    if not fits:
        raise ValueError(f"{where} must be {description}, got {reprlib.repr(value)}")


def check_names(found: Iterable[str], expected: Iterable[str], where: str) -> None:
    """Raise ValueError unless the found names are the expected ones."""
    lacking, unknown = set(expected).difference(found), set(found).difference(expected)
    if lacking or unknown:
        names = sorted(lacking or unknown)
        listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
        raise ValueError(f"{where} {'lacks' if lacking else 'has unknown'} {listed}")


def _kind(declared: Any) -> Kind:
    if declared in _KINDS:
        return _KINDS[declared]
    if get_origin(declared) is Literal:
        typed = [(type(option), option) for option in get_args(declared)]
        names = ", ".join(json.dumps(option) for _, option in typed)
        return Kind(f"one of {names}", lambda value: (type(value), value) in typed)
    (kind,) = declared.__metadata__
    if isinstance(kind, range):
        span = f"an integer from {kind[0]} to {kind[-1]}"
        return Kind(span, lambda value: type(value) is int and value in kind)
    return kind
