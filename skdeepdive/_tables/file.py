"""Write a fitted SeriesForecaster to a safetensors file, and read it without running anything.

The file of the fitted forecaster of windows is one of the arrays. The header holds a JSON document
about everything else but the arrays.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from sklearn.base import clone

from .._data.checks import check_path
from .._estimators.deepdive import DeepDIVEForecaster
from .._saving.plain import to_python
from .._saving.safetensors import import_safetensors, parse_json, read_header, replace_file
from .._saving.schema import Kind, check_names, is_number, parse
from ..baselines import BetaTCVAEForecaster, VAEForecaster
from ..nn.configuration import Count, Size
from .calibration import SeriesErrors
from .cutting import Design, Scaling
from .frames import check_bounds
from .layout import import_pandas
from .model import SeriesModel
from .reading import DatedSeries, Table

_KEY = "skdeepdive.series"
_CLASSES = {
    kind.__name__: kind for kind in (DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster)
}
_SPLIT = ("validation_fraction", "validation_gap")
_Name = Annotated[
    Any,
    Kind(
        "a string, a number, true, false or null",
        lambda value: value is None or type(value) in (str, bool) or is_number(value),
    ),
]


class _Series(TypedDict):
    """A series: its last time, the number of its last rows, and of its own errors."""

    id: _Name
    last: str
    n_steps: Size
    is_scaled: bool
    n_errors: Count


class _Document(TypedDict):
    format: Literal[1]
    forecaster: str
    split: dict[str, _Name]
    parameters: dict[str, Any]
    columns: list[_Name]
    id_name: _Name
    time_name: _Name
    freq: str
    are_periods: bool
    zone: _Name
    unit: _Name
    series: list[_Series]
    windows: dict[str, list[Count]]


def write(path: Any, estimator: Any) -> None:
    """Write a fitted SeriesForecaster to a file, atomically."""
    library, path = import_safetensors(), _to_path(path).resolve()
    kind = type(estimator.forecaster_).__name__
    if kind not in _CLASSES:
        raise TypeError(f"Files are for {', '.join(_CLASSES)}: not for a {kind}. Use joblib.")
    document = json.dumps(_to_document(estimator), allow_nan=False)
    with TemporaryDirectory() as folder:
        estimator.forecaster_.save(Path(folder) / "forecaster")
        inner = np.fromfile(Path(folder) / "forecaster", dtype=np.uint8)
    arrays = {"forecaster": inner, **_to_arrays(estimator)}
    replace_file(path, library.numpy.save(arrays, {_KEY: document}))


def read(path: Any, estimator_class: Any) -> Any:
    """Read a fitted SeriesForecaster from a file.

    Raises
    ------
    ValueError
        If the file is damaged, or holds something else.
    """
    library, path = import_safetensors(), _to_path(path)
    try:
        with path.open("rb") as file:
            metadata = read_header(file)[0].get("__metadata__")
        if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
            raise ValueError("it holds no SeriesForecaster")
        document = parse(parse_json(metadata[_KEY]), _Document, "the description")
        return _to_estimator(document, library.numpy.load_file(path), estimator_class)
    except (ValueError, TypeError, LookupError, OverflowError, library.SafetensorError) as error:
        problem = str(error).rstrip(".")
        raise ValueError(f"'{path}' is no SeriesForecaster: {problem}.") from error


def _to_path(path: Any) -> Path:
    path = check_path("path", path)
    if path is None:
        raise TypeError("'path' must be a string or a path, got None.")
    return path


def _to_document(estimator: Any) -> _Document:
    model, latest = estimator._model, estimator._latest
    index = latest[0].index
    are_periods = not hasattr(index, "tz")
    own = {} if model.errors is None else model.errors.own
    zone = None if are_periods or index.tz is None else str(index.tz)
    report = estimator.windows_
    return {
        "format": 1,
        "forecaster": type(estimator.forecaster_).__name__,
        "split": {name: to_python(getattr(estimator.forecaster, name)) for name in _SPLIT},
        "parameters": _to_parameters(estimator),
        "columns": [_to_name("column", name) for name in estimator.columns_],
        "id_name": _to_name("id", estimator._id_name),
        "time_name": _to_name("time", index.name),
        "freq": index.freqstr,
        "are_periods": are_periods,
        "zone": zone,
        "unit": None if are_periods else index.unit,
        "series": [
            {
                "id": _to_name("id", one.id),
                "last": str(one.index[-1] if zone is None else one.index[-1].tz_convert("UTC")),
                "n_steps": len(one),
                "is_scaled": model.scalings is not None and one.id in model.scalings,
                "n_errors": len(own.get(one.id, ())),
            }
            for one in latest
        ],
        "windows": {name: report[name].tolist() for name in report},
    }


def _to_parameters(estimator: Any) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    del parameters["forecaster"]
    parameters["freq"] = getattr(parameters["freq"], "freqstr", parameters["freq"])
    for name, value in parameters.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise TypeError(
                f"'{name}' must be of strings, numbers, lists and dicts to be saved to a file, got "
                f"{value!r}. Use joblib."
            ) from error
    return parameters


def _to_name(kind: str, name: Any) -> Any:
    name = to_python(name)
    if not (name is None or type(name) in (str, bool) or is_number(name)):
        raise TypeError(f"Names of {kind}s must be strings or numbers for a file, got {name!r}.")
    return name


def _to_arrays(estimator: Any) -> dict[str, np.ndarray]:
    model, latest = estimator._model, estimator._latest
    arrays = {"latest": np.concatenate([one.values for one in latest])}
    if model.scalings is not None:
        scaled = [model.scalings[one.id] for one in latest if one.id in model.scalings]
        arrays["scalings"] = np.stack([np.stack(scaling) for scaling in scaled])
    if model.errors is not None:
        own = [model.errors.own[one.id] for one in latest if one.id in model.errors.own]
        arrays["errors"] = model.errors.pooled
        arrays["own_errors"] = np.concatenate([model.errors.pooled[:0], *own])
    # safetensors writes memory as it lies there.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _to_estimator(document: Any, arrays: dict[str, np.ndarray], estimator_class: Any) -> Any:
    kind = _CLASSES.get(document["forecaster"])
    if kind is None:
        raise ValueError(f"it holds a {document['forecaster']!r}, none of {', '.join(_CLASSES)}")
    check_names(document["split"], _SPLIT, "'split'")
    with TemporaryDirectory() as folder:
        arrays.pop("forecaster").tofile(Path(folder) / "forecaster")
        forecaster = kind.load(Path(folder) / "forecaster")
    unfitted = clone(forecaster).set_params(**document["split"])
    estimator = estimator_class(unfitted, **document["parameters"])
    estimator._check_parameters()
    table = Table(_to_series(document, arrays["latest"]), document["columns"], document["id_name"])
    design = estimator._make_design(table.columns)
    bounds = check_bounds(estimator.bounds, [table.columns[i] for i in design.targets])
    scalings, errors = _to_scalings(document, arrays), _to_errors(document, arrays, design)
    model = SeriesModel(forecaster, design, scalings, errors, bounds)
    estimator._keep(model, _to_report(document), table)
    return estimator


def _to_series(document: Any, values: np.ndarray) -> list[DatedSeries]:
    """Return the last rows of every series."""
    counts = [one["n_steps"] for one in document["series"]]
    _check_shape("latest", values, (sum(counts), len(document["columns"])))
    if np.isinf(values).any():
        raise ValueError("its array latest holds infinity")
    parts = np.split(values, np.cumsum(counts)[:-1])
    return [
        DatedSeries(one["id"], _to_index(document, one), part)
        for one, part in zip(document["series"], parts, strict=True)
    ]


def _to_index(document: Any, one: _Series) -> Any:
    pandas = import_pandas()
    if document["are_periods"]:
        last, freq = pandas.Period(one["last"], document["freq"]), document["freq"]
        index = pandas.period_range(end=last, periods=one["n_steps"], freq=freq)
    else:
        last = pandas.Timestamp(one["last"])
        last = last if document["zone"] is None else last.tz_convert(document["zone"])
        index = pandas.date_range(end=last, periods=one["n_steps"], freq=document["freq"])
        index = index.as_unit(document["unit"])
    return index.rename(document["time_name"])


def _to_scalings(document: Any, arrays: dict[str, np.ndarray]) -> dict | None:
    if "scalings" not in arrays:
        return None
    ids = [one["id"] for one in document["series"] if one["is_scaled"]]
    found = arrays["scalings"]
    _check_shape("scalings", found, (len(ids), 2, len(document["columns"])))
    if not np.isfinite(found).all() or (found[:, 1] <= 0).any():
        raise ValueError("its array scalings must be finite, and scales positive")
    return {key: Scaling(*of_id) for key, of_id in zip(ids, found, strict=True)}


def _to_errors(document: Any, arrays: dict[str, np.ndarray], design: Design) -> SeriesErrors | None:
    if "errors" not in arrays:
        return None
    shape = (design.horizon, len(design.targets))
    counts = [one["n_errors"] for one in document["series"]]
    pooled, own = arrays["errors"], arrays["own_errors"]
    _check_shape("errors", pooled, (max(1, len(pooled)), *shape))
    _check_shape("own_errors", own, (sum(counts), *shape))
    if not (np.isfinite(pooled).all() and np.isfinite(own).all()):
        raise ValueError("its arrays of errors hold NaN or infinity")
    parts = zip(document["series"], np.split(own, np.cumsum(counts)[:-1]), strict=True)
    return SeriesErrors(pooled, {one["id"]: part for one, part in parts if len(part)})


def _to_report(document: Any) -> Any:
    pandas = import_pandas()
    index = None
    if document["id_name"] is not None:
        ids = [one["id"] for one in document["series"]]
        index = pandas.Index(ids, name=document["id_name"])
    return pandas.DataFrame(document["windows"], index=index)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(
            f"its array {name} must be of floats and of shape {shape}, got {array.dtype} and "
            f"{array.shape}"
        )
