"""SeriesForecastDisplay: the last rows of a table, and their forecast with intervals, by date."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._axes import (
    FORECAST,
    FUTURE,
    PAST,
    check_matplotlib,
    draw_course,
    mark_dates,
    put_legend,
    time_label,
    to_dates,
)
from ._forecast import draw_bands, ends_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class SeriesForecastDisplay:
    """The last rows of one series, its forecast with intervals, and its true future where known.

    There is a panel for each target, and dates are on the time axis. Make it with
    :meth:`from_estimator`, or from frames.

    Parameters
    ----------
    forecast : DataFrame of shape (horizon, n_targets)
        Dated forecasts; a column for each target.
    past : DataFrame of shape (n_steps, n_columns), default=None
        Earlier rows, with the targets among their columns. None: they are not drawn.
    truth : DataFrame, default=None
        Rows with true values, of which those that are forecast are drawn. None: they are not drawn.
    intervals : ndarray of shape (n_targets, n_levels, horizon, 2), default=None
        Lower and upper ends of the intervals of every level.
    levels : sequence of float of shape (n_levels,), default=()
        Share of values that each interval is to cover, between 0 and 1.
    name : str, default=None
        Name of the series, for the titles beside those of the targets.

    Attributes
    ----------
    past_lines_, forecast_lines_, truth_lines_ : list of matplotlib Line2D
        Lines of every panel.
    bands_ : list of list of matplotlib collections
        Intervals of every panel, the widest first.
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.SeriesForecaster : What is drawn.
    ForecastDisplay : The same of windows, in steps.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdeepdive import DeepDIVEForecaster, SeriesForecaster
    >>> from skdeepdive.inspection import SeriesForecastDisplay
    >>> hours = pd.date_range("2014-03-01", periods=300, freq="h")
    >>> load = pd.Series(5 + np.sin(np.arange(300) * np.pi / 12), hours, name="load")
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> forecaster = SeriesForecaster(model, n_timesteps=48, horizon=24).fit(load)
    >>> SeriesForecastDisplay.from_estimator(forecaster, unit="MW")
    <...SeriesForecastDisplay object at ...>
    """

    def __init__(
        self,
        *,
        forecast: Any,
        past: Any = None,
        truth: Any = None,
        intervals: np.ndarray | None = None,
        levels: Sequence[float] = (),
        name: str | None = None,
    ):
        self.forecast = forecast
        self.past = past
        self.truth = truth
        self.intervals = intervals
        self.levels = levels
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        table: Any = None,
        future: Any = None,
        *,
        id: Any = None,
        truth: Any = None,
        levels: ArrayLike = (0.8, 0.95),
        unit: str | None = None,
        axes: "Axes | ArrayLike | None" = None,
    ) -> "SeriesForecastDisplay":
        """Forecast the rows after the last ones, and draw them.

        Parameters
        ----------
        estimator : fitted SeriesForecaster
        table, future : DataFrame, default=None
            As those of its `predict`.
        id : hashable, default=None
            Which of several series. None: the first.
        truth : DataFrame, default=None
            Rows with true values, indexed as forecasts are.
        levels : float or array-like of shape (n_levels,), default=(0.8, 0.95)
            Share of values that an interval is to cover, between 0 and 1. An empty sequence: there
            are no intervals.
        unit : str, default=None
            Unit of the targets for the labels of the axes. None: "value".
        axes : matplotlib Axes, or array of them of shape (n_targets,), default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : SeriesForecastDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no series of the id, or a level is not between 0 and 1.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        widths, ends = ends_of(levels)
        forecast, past = estimator.predict(table, future), estimator.last_rows(table)
        frames = [forecast, past, truth]
        if widths:
            frames.append(estimator.predict_quantiles(ends, table, future))
        name, (forecast, past, truth, *quantiles) = _of_one(frames, id)
        intervals = None
        if quantiles:
            shape = (len(forecast), len(forecast.columns), len(widths), 2)
            intervals = quantiles[0].to_numpy().reshape(shape).transpose(1, 2, 0, 3)
        display = cls(
            forecast=forecast,
            past=past,
            truth=truth,
            intervals=intervals,
            levels=tuple(widths),
            name=name,
        )
        return display.plot(axes, unit=unit)

    def plot(
        self, axes: "Axes | ArrayLike | None" = None, *, unit: str | None = None
    ) -> "SeriesForecastDisplay":
        """Draw the display.

        Parameters
        ----------
        axes : matplotlib Axes, or array of them of shape (n_targets,), default=None
            Where to draw. None: a new figure.
        unit : str, default=None
            Unit of the targets for the labels of the axes. None: "value".

        Returns
        -------
        self : SeriesForecastDisplay

        Raises
        ------
        ValueError
            If there are not as many axes as targets.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        self.axes_ = _make_panels(axes, len(self.forecast.columns))
        self.figure_ = self.axes_[0].figure
        dates = to_dates(self.forecast.index)
        self.past_lines_: list = []
        self.forecast_lines_: list = []
        self.truth_lines_: list = []
        self.bands_: list = []
        for number, (ax, target) in enumerate(zip(self.axes_, self.forecast.columns, strict=True)):
            self._plot_target(ax, number, target)
            title = str(target) if self.name is None else f"{self.name}: {target}"
            ax.set(title=title, ylabel=unit or "value")
            ax.margins(x=0.01)
            mark_dates(ax, dates)
        self.axes_[-1].set_xlabel(time_label(dates))
        put_legend(self.axes_[0])
        return self

    def _plot_target(self, ax: "Axes", number: int, target: Any) -> None:
        time = to_dates(self.forecast.index)
        if self.past is not None:
            past = to_dates(self.past.index)
            self.past_lines_ += draw_course(ax, past, self.past[target], color=PAST, label="past")
            ax.axvline(past[-1], color="0.7", linewidth=0.8, zorder=0)
        if self.truth is not None:
            true = self.truth[target].reindex(self.forecast.index)
            self.truth_lines_ += draw_course(
                ax, time, true, color=FUTURE, linestyle="--", label="true future"
            )
        values = self.forecast[target]
        self.forecast_lines_ += draw_course(ax, time, values, color=FORECAST, label="forecast")
        if self.intervals is not None:
            self.bands_.append(draw_bands(ax, time, self.intervals[number], self.levels))


def _of_one(frames: Sequence, id: Any) -> tuple[str | None, Sequence]:
    """Return the name and the rows of one of several series; None stays."""
    if frames[0].index.nlevels == 1:
        if id is not None:
            raise ValueError(f"'id' must be None for a single series, got {id!r}.")
        return None, frames
    ids = frames[0].index.unique(level=0)
    id = ids[0] if id is None else id
    if id not in ids:
        raise ValueError(f"'id' must be one of the series that are forecast, got {id!r}.")
    return str(id), [None if frame is None else frame.xs(id, level=0) for frame in frames]


def _make_panels(axes: Any, n_targets: int) -> np.ndarray:
    """Return one axes a target, of a new figure where there are none."""
    if axes is None:
        import matplotlib.pyplot as plt

        size = (8, 1 + 3 * n_targets)
        axes = plt.subplots(n_targets, figsize=size, sharex=True, layout="constrained")[1]
    axes = np.ravel(np.asarray(axes, dtype=object))
    if len(axes) != n_targets:
        raise ValueError(f"'axes' must be one for each of {n_targets} targets, got {len(axes)}.")
    return axes
