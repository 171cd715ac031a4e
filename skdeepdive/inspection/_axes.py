"""Shared by the displays: the import of matplotlib, axes, and colour-blind safe colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

# M. Okabe, K. Ito, "Color Universal Design", 2008; the one for black is last.
OKABE_ITO = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
_MOST_DATES = 9  # marks on an axis: one a day of a week
_DATES_PER_INCH = 2  # that do not overlap as hours and minutes
LETTER_WIDTH = 0.09  # inches, in letters of ten points
_LEGEND_WIDTH = 5.5  # inches of axes from which a legend in one row fits
_LEGEND_HEIGHT = 26  # points that a title leaves to this legend below it
PAST, FUTURE, FORECAST = "0.45", "black", OKABE_ITO[0]


def check_matplotlib(display: str) -> None:
    """Raise ImportError, with what to install, unless there is matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{display} needs matplotlib, which is not installed. Install it with: "
            'pip install "skdeepdive[plot]"'
        ) from error


def make_axes(ax: "Axes | None", size: tuple[float, float] | None = None) -> "Axes":
    """Return `ax`, or the axes of a new figure of `size` in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def make_colours(n_classes: int, cmap: Any = None) -> np.ndarray:
    """Return RGBA colours `(n_classes, 4)`: Okabe and Ito's for few classes, else of `cmap`."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgba_array

    if cmap is None and n_classes <= len(OKABE_ITO):
        return to_rgba_array(OKABE_ITO[:n_classes])
    colours = mpl.colormaps["viridis" if cmap is None else cmap] if _is_name(cmap) else cmap
    return colours((np.arange(n_classes) + 0.5) / n_classes)


def draw_course(ax: "Axes", time: Any, values: Any, **style: Any) -> list:
    """Draw values over time: a line, or a point where there is a single step."""
    return ax.plot(time, values, marker="o" if len(values) == 1 else "", markersize=4, **style)


def every_so_many(labels: Sequence, most: int) -> list[int]:
    """Return positions, evenly spaced, of at most so many labels."""
    return list(range(0, len(labels), -(-len(labels) // most)))


def write_values(ax: "Axes", values: np.ndarray, image: Any, **style: Any) -> list:
    """Write values into their cells, in black or white, whichever has more contrast."""
    written = []
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        luminance = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114))
        style["color"] = "black" if luminance > 0.5 else "white"
        text = ax.text(column, row, f"{value:.2f}", ha="center", va="center", **style)
        written.append(text)
    return written


def table_size(rows: Sequence[str], columns: Sequence[str]) -> tuple[float, float]:
    """Return the size in inches of a figure of a table, with room for names of rows and columns."""
    row, column = (LETTER_WIDTH * max(map(len, names)) for names in (rows, columns))
    return 1.8 + row + np.clip(column, 0.9, 1.8) * len(columns), min(1.6 + 0.2 * len(rows), 9)


def make_names(names: Any, default: str, n: int) -> list[str]:
    """Return names as strings: those given, or a default and its number."""
    return [f"{default}{i}" for i in range(n)] if names is None else [str(name) for name in names]


def name_ticks(axis: "XAxis | YAxis", names: Sequence[str], most: int, **style: Any) -> None:
    """Put names at the ticks 0, 1, and so on of an axis: all of them, or evenly spaced ones."""
    shown = every_so_many(names, most)
    labels = [names[i] for i in shown]
    style = {"fontsize": "medium" if len(shown) <= 12 else "x-small", **style}
    axis.set_ticks(shown, labels=labels, **style)
    letter = LETTER_WIDTH * float(axis.get_ticklabels()[0].get_fontsize()) / 10
    if axis.axis_name == "x" and letter * max(map(len, labels)) > _width(axis.axes) / len(labels):
        axis.set_tick_params(rotation=90)


def to_dates(times: Any) -> np.ndarray:
    """Return time stamps as matplotlib draws them; a period is taken for its first moment."""
    times = times.to_timestamp() if hasattr(times, "to_timestamp") else times
    return times.to_pydatetime() if hasattr(times, "to_pydatetime") else np.asarray(times)


def mark_dates(ax: "Axes", dates: np.ndarray) -> None:
    """Put marks at round dates, those of the local clock where there is a time zone."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = getattr(dates[0], "tzinfo", None)
    most = np.clip(int(_DATES_PER_INCH * _width(ax)), 4, _MOST_DATES)
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=most)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))


def time_label(dates: np.ndarray) -> str:
    """Return the label of a time axis, which names the time zone where there is one."""
    zone = getattr(dates[0], "tzinfo", None)
    return "time" if zone is None else f"time ({zone})"


def split_time(times: Any, n_past: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where a window and its future are drawn: at dates, or at steps from the origin."""
    time = np.arange(1 - n_past, horizon + 1) if times is None else to_dates(times)
    return time[:-horizon], time[-horizon:]


def label_time(ax: "Axes", times: Any) -> None:
    """Label an axis with dates at `times`, or with steps where these are None."""
    from matplotlib.ticker import MaxNLocator

    if times is None:
        ax.set_xlabel("steps from the forecast's origin")
        steps = MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        ax.xaxis.set_major_locator(steps)
        return
    dates = to_dates(times)
    mark_dates(ax, dates)
    ax.set_xlabel(time_label(dates))


def put_legend(ax: "Axes") -> None:
    """Put a legend in one row between axes and their title; in narrow axes, inside."""
    if _width(ax) < _LEGEND_WIDTH:
        ax.legend(fontsize="small")
        return
    ax.legend(frameon=False, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    ax.set_title(ax.get_title(), pad=_LEGEND_HEIGHT)


def _width(ax: "Axes") -> float:
    """Return the width of axes in inches, before their figure is laid out."""
    return ax.get_window_extent().width / ax.figure.dpi


def _is_name(cmap: Any) -> bool:
    return cmap is None or isinstance(cmap, str)
