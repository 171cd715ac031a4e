"""Labels of windows: the calendar at their origins, and the ids of their series."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from .._data.checks import naming
from ..windows import calendar_factors
from .cutting import Design
from .layout import import_pandas


def labels_of(design: Design, stamps: Any, ids: np.ndarray) -> dict[str, Any]:
    """Return the factors of windows, given the times of their origins and the ids of their series.

    They are a DataFrame, by the name of their argument; there is none where a design has none.
    """
    if not (design.calendar or design.id_as_factor):
        return {}
    labels = import_pandas().DataFrame(index=stamps)
    if design.calendar:
        with naming("calendar"):
            labels = calendar_factors(stamps, design.calendar)
    if design.id_as_factor:
        labels["id"] = ids
    return {"factors": labels}


def known_labels(forecaster: Any, design: Design, stamps: Any, ids: np.ndarray) -> dict[str, Any]:
    """Return the factors that a fitted forecaster can be told; labels new to it are unknown."""
    if "factors" not in inspect.signature(forecaster.predict).parameters:
        return {}
    options = labels_of(design, stamps, ids)
    names, classes = (getattr(forecaster, f"factor_{part}_", ()) for part in ("names", "classes"))
    for labels in options.values():
        for name, known in zip(names, classes, strict=True):
            labels[name] = labels[name].where(labels[name].isin(known.tolist()))
    return options
