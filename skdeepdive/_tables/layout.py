"""Where the rows of a table have their ids and times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .._data.series import copies_call


@dataclass(frozen=True)
class Layout:
    """The columns of a long table that hold the id and the time of its rows, where there are any.

    Its methods give the calls that errors advise.
    """

    id: Any = None
    time: Any = None
    name: str = "table"

    @property
    def keys(self) -> list:
        """The columns that are no channels."""
        return [key for key in (self.id, self.time) if key is not None]

    def sort_call(self) -> str:
        """Return the call that puts rows in order."""
        if self.time is None:
            return f"{self.name}.sort_index()"
        return f"{self.name}.sort_values({self.keys!r})"

    def localize_call(self, n_levels: int) -> str:
        """Return the call that tells the two hours apart that a local clock shows twice."""
        call = "tz_localize(zone, ambiguous='infer')"
        if self.keys or n_levels > 1:
            return f"{call} on the times of each series"
        return f"{self.name}.{call}"

    def copies_call(self) -> str:
        """Return the call that drops rows of the same id, time and values as one before."""
        if self.time is not None:
            return f"{self.name}.drop_duplicates()"
        return copies_call(self.name)

    def mean_call(self, n_levels: int) -> str:
        """Return the call that leaves one row per time step."""
        if self.time is not None:
            return f"{self.name}.groupby({self.keys!r}, as_index=False).mean()"
        if self.id is not None:
            return f"{self.name}.groupby([{self.id!r}, {self.name}.index]).mean()"
        levels = "0" if n_levels == 1 else "[0, 1]"
        return f"{self.name}.groupby(level={levels}).mean()"


@contextmanager
def naming_table() -> Iterator[None]:
    """Let what a forecaster says of its windows and futures name the table they are cut from."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(("'X' ", "'y' ")):
            raise ValueError(f"'table' cannot be used: {error}") from error
        raise


def import_pandas() -> Any:
    """Return pandas, or raise ImportError with what to install."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "SeriesForecaster needs pandas, which is not installed. Install it with: "
            "pip install pandas"
        ) from error
    return pandas
