"""Methods that private classes define, under the name of the class that users know."""

import inspect
from types import FunctionType


def name_inherited_methods(cls: type) -> None:
    """Give a class copies of the public methods of its private bases, named as its own.

    Python quotes the name: "DeepDIVEForecaster.predict() got an unexpected keyword argument".
    Classes of this package that users make have a constructor of their own.
    """
    private = [
        base
        for base in cls.__mro__[1:]
        if base.__module__.startswith(__package__) and "__init__" not in vars(base)
    ]
    for base in private:
        for name, method in vars(base).items():
            is_public = isinstance(method, FunctionType) and not name.startswith("_")
            if is_public and inspect.getattr_static(cls, name) is method:
                setattr(cls, name, _renamed(inspect.unwrap(method), cls))


def _renamed(method: FunctionType, cls: type) -> FunctionType:
    copied = FunctionType(
        method.__code__,
        method.__globals__,
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    for attribute in ("__doc__", "__annotations__", "__kwdefaults__"):
        setattr(copied, attribute, getattr(method, attribute))
    copied.__module__, copied.__qualname__ = cls.__module__, f"{cls.__name__}.{method.__name__}"
    return copied
