"""The windows of a fit: which of every series are for training, and which for validation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._data.checks import shortened
from .cutting import Design, Scaling, WindowSet, cut
from .layout import import_pandas
from .reading import DatedSeries, Table

# Where holes cost more than this share of the windows, there is a warning.
_MANY = 0.25


@dataclass(frozen=True)
class TrainingSet:
    """Series that are long enough to learn from, and the origins of their windows.

    Parameters
    ----------
    series : list of DatedSeries
    train, valid : list of ndarray
        Origins of the training and validation windows of every series.
    scalings : list of Scaling, or None
        Of the rows before the validation windows of every series; None: it is not scaled.
    design : Design
    is_whole : bool
        Whether there is a single series without a hole, cut row by row: a forecaster then splits
        its windows itself.
    """

    series: list[DatedSeries]
    train: list[np.ndarray]
    valid: list[np.ndarray]
    scalings: list[Scaling] | None
    design: Design
    is_whole: bool

    def windows(self) -> WindowSet:
        """Return windows as a forecaster takes them: training windows, then validation windows."""
        if self.is_whole:
            return self._cut([self.design.origins(self.series[0])])
        return self._cut(self.train).then(self.validation_windows())

    def validation_windows(self) -> WindowSet:
        """Return the validation windows, by the time of their origins."""
        return self._cut(self.valid)

    def split_parameters(self) -> dict[str, Any]:
        """Return parameters by which a forecaster splits windows as they are split here."""
        if self.is_whole:
            return {}
        n_train, n_valid = (sum(map(len, part)) for part in (self.train, self.valid))
        return {"validation_fraction": n_valid / (n_train + n_valid), "validation_gap": 0}

    def _cut(self, origins: Sequence[np.ndarray]) -> WindowSet:
        return cut(self.series, origins, self.scalings, self.design)


def make_training_set(
    table: Table, design: Design, fraction: float, gap: int | None, scale_ids: bool
) -> tuple[TrainingSet, Any]:
    """Split the windows of every series; return them, and a report on all series.

    Raises
    ------
    ValueError
        If no series has a training and a validation window.
    """
    origins = [design.usable_origins(one) for one in table.series]
    parts = [design.split(rows, fraction, gap) for rows in origins]
    report = _report(table, design, origins, parts)
    kept = [i for i, (train, valid) in enumerate(parts) if len(train) and len(valid)]
    _check_enough(table, design, report, kept)
    _warn_of_holes(table, report)
    series = [table.series[i] for i in kept]
    train, valid = (list(part) for part in zip(*(parts[i] for i in kept), strict=True))
    scalings = None
    if scale_ids and table.id_name is not None:
        scalings = [
            Scaling.of(one.values[: rows[0] + 1]) for one, rows in zip(series, valid, strict=True)
        ]
    is_whole = len(table.series) == 1 and scalings is None and not report["left_out"].any()
    is_whole = is_whole and design.stride == 1  # the gap of a forecaster counts windows, not rows
    return TrainingSet(series, train, valid, scalings, design, is_whole), report


def _report(table: Table, design: Design, origins: Sequence, parts: Sequence) -> Any:
    """Count the steps and windows of every series."""
    pandas = import_pandas()
    counts = []
    for one, rows, (train, valid) in zip(table.series, origins, parts, strict=True):
        is_missing = np.isnan(one.values).any(axis=1)
        counts.append(
            {
                "steps": len(one),
                "missing": int(is_missing.sum()),
                "windows": len(design.origins(one)),
                "left_out": len(design.origins(one)) - len(rows),
                "training": len(train),
                "validation": len(valid),
            }
        )
    ids = [one.id for one in table.series] if table.id_name is not None else None
    return pandas.DataFrame(counts, index=ids and pandas.Index(ids, name=table.id_name))


def _check_enough(table: Table, design: Design, report: Any, kept: Sequence[int]) -> None:
    """Raise where no series is long enough, and warn of those that are not."""
    n_needed = design.n_timesteps + 2 * design.horizon
    need = f"some {n_needed} rows without a hole, n_timesteps + 2 * horizon,"
    if not kept:
        _check_columns(table)
        n_steps, n_missing = int(report["steps"].sum()), int(report["missing"].sum())
        freq = table.series[0].index.freqstr
        hint = f" Most steps of the frequency {freq!r} have no row: is it the one of the rows?"
        raise ValueError(
            f"'table' must have {need} in a series for training and validation windows, got "
            f"{int(report['steps'].max())} with {n_missing} missing. Fill holes, give more rows, "
            f"or lower 'n_timesteps' or 'horizon'.{hint if 2 * n_missing > n_steps else ''}"
        )
    short = [one.id for i, one in enumerate(table.series) if i not in set(kept)]
    if short:
        listed = ", ".join(map(repr, short[:10])) + (", ..." if len(short) > 10 else "")
        warnings.warn(
            f"{len(short)} of {len(report)} series do not have {need} and have no part in the fit: "
            f"{listed}.",
            UserWarning,
            stacklevel=5,
        )


def _check_columns(table: Table) -> None:
    """Raise where a column holds nothing, so that no row is without a hole."""
    for i, name in enumerate(table.columns):
        if all(np.isnan(one.values[:, i]).all() for one in table.series):
            raise ValueError(
                f"'table' must have a value in every column, got none in {name!r}. Drop it."
            )


def _warn_of_holes(table: Table, report: Any) -> None:
    """Warn where many windows are left out."""
    share = report["left_out"].sum() / report["windows"].sum()
    if share > _MANY:
        warnings.warn(
            f"{share:.0%} of the windows touch one of {report['missing'].sum()} missing steps, the "
            f"first of them at {_first_hole(table)}, and are left out; windows_ counts them. To "
            "keep them, set gaps='keep', or fill short holes after resample.",
            UserWarning,
            stacklevel=5,
        )


def _first_hole(table: Table) -> str:
    for one in table.series:
        rows = np.flatnonzero(np.isnan(one.values).any(axis=1))
        if len(rows):
            return f"{one.index[rows[0]]}" + ("" if one.id is None else f" of {shortened(one.id)}")
    return "none"
