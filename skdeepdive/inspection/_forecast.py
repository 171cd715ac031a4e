"""ForecastDisplay: a window, its forecast with intervals, and its true future."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_futures, check_index, check_quantiles
from ._axes import (
    FORECAST,
    FUTURE,
    PAST,
    check_matplotlib,
    draw_course,
    label_time,
    make_axes,
    put_legend,
    split_time,
)
from ._windows import (
    check_times,
    count_windows,
    find_named,
    take_covariates,
    take_window,
    to_courses,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ForecastDisplay:
    """One window, its forecast with intervals, and the true future where it is known.

    Make it with :meth:`from_estimator`, or from arrays. Everything is in the units of `X` and
    `y`, the time in steps from the origin, the last step of the window.

    Parameters
    ----------
    forecast : ndarray of shape (horizon,)
        Forecast of steps 1 to horizon.
    past : ndarray of shape (n_timesteps,), default=None
        The window, whose last step is step 0. None: it is not drawn.
    future : ndarray of shape (horizon,), default=None
        The true future. None: it is not drawn.
    intervals : ndarray of shape (n_levels, horizon, 2), default=None
        Lower and upper ends of the intervals of every level.
    levels : sequence of float of shape (n_levels,), default=()
        Share of futures that each interval is to cover, between 0 and 1.
    times : array-like of shape (n_timesteps + horizon,), default=None
        Time stamps of the window and of the future, for the time axis. None: it has steps.
    name : str, default=None
        Name of the target, for the title. None: there is no title.

    Attributes
    ----------
    past_line_, forecast_line_, future_line_ : matplotlib Line2D or None
        Lines of the window, of the forecast and of the true future.
    bands_ : list of matplotlib collections
        Intervals, the widest first.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.DeepDIVEForecaster.predict_quantiles : Where intervals come from.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import ForecastDisplay
    >>> load = 5 + np.sin(2 * np.pi * np.arange(200) / 24)
    >>> X, y, _ = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0).fit(X, y)
    >>> ForecastDisplay.from_estimator(model, X, y, sample=-1, unit="MW")
    <...ForecastDisplay object at ...>
    """

    def __init__(
        self,
        *,
        forecast: np.ndarray,
        past: np.ndarray | None = None,
        future: np.ndarray | None = None,
        intervals: np.ndarray | None = None,
        levels: Any = (),
        times: Any = None,
        name: str | None = None,
    ):
        self.forecast = forecast
        self.past = past
        self.future = future
        self.intervals = intervals
        self.levels = levels
        self.times = times
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample: int = 0,
        target: int | str = 0,
        channel: int | None = None,
        levels: ArrayLike = (0.8, 0.95),
        target_names: Sequence[str] | None = None,
        times: ArrayLike | None = None,
        unit: str | None = None,
        future_covariates: ArrayLike | None = None,
        ax: "Axes | None" = None,
    ) -> "ForecastDisplay":
        """Forecast one of several windows, and draw it.

        Parameters
        ----------
        estimator : fitted forecaster
            Intervals need its `predict_quantiles`; one without it, such as a baseline, has none.
        X : array-like of the shape given to `fit`, n_samples aside
            Windows; only the chosen one is forecast.
        y : array-like of the shape given to `fit`, n_samples aside, default=None
            True futures of the windows, where known.
        sample : int, default=0
            Which of the windows; a negative number counts from the end.
        target : int or str, default=0
            Which of the targets: its number, or its name among `target_names`.
        channel : int, default=None
            The channel of the window to draw before the forecast. None: that of the target's
            number where there are as many channels as targets; otherwise none is drawn.
        levels : float or array-like of shape (n_levels,), default=(0.8, 0.95)
            Share of futures that an interval is to cover, between 0 and 1. An empty sequence:
            there are no intervals.
        target_names : sequence of str of shape (n_targets,), default=None
            Names of the targets, for the title. None: there is no title.
        times : array-like of shape (n_timesteps + horizon,), default=None
            Time stamps of the steps of the window and of its future, such as
            ``index[o + 1 - n_timesteps : o + 1 + horizon]`` for the origin o. None: the axis has
            steps.
        unit : str, default=None
            Unit of `y` for the label of the axis. None: "value".
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizons of the windows; required if `fit` had it.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : ForecastDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no such sample, target or channel, a level is not between 0 and 1, or
            `X`, `y` or `future_covariates` have another shape than in `fit`.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        n_samples = count_windows(X)
        sample = check_index("sample", sample, n_samples)
        target, name = find_named("target", target, target_names, estimator.n_targets_)
        if channel is None and estimator.n_channels_ == estimator.n_targets_:
            channel = target
        window = take_window(X, sample)
        known = take_covariates(future_covariates, sample, n_samples)
        past = None
        if channel is not None:
            channel = check_index("channel", channel, estimator.n_channels_)
            past = np.asarray(window).reshape(-1, estimator.n_channels_)[:, channel]
        future = None
        if y is not None:
            future = check_futures(y, n_samples)[sample : sample + 1]
            future = to_courses(future, estimator)[0, :, target]
        widths, ends = ends_of(levels)
        intervals = None
        if widths and hasattr(estimator, "predict_quantiles"):
            bounds = np.moveaxis(estimator.predict_quantiles(window, ends, **known), -1, 0)
            bounds = to_courses(bounds, estimator)[..., target]
            intervals = bounds.reshape(len(widths), 2, -1).swapaxes(1, 2)
        display = cls(
            forecast=to_courses(estimator.predict(window, **known), estimator)[0, :, target],
            past=past,
            future=future,
            intervals=intervals,
            levels=() if intervals is None else tuple(widths),
            times=check_times(times, estimator),
            name=name,
        )
        return display.plot(ax, unit=unit)

    def plot(self, ax: "Axes | None" = None, *, unit: str | None = None) -> "ForecastDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        unit : str, default=None
            Unit of the values for the label of the axis. None: "value".

        Returns
        -------
        self : ForecastDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        ax = make_axes(ax, (8, 4))
        n_past = 1 if self.past is None else len(self.past)
        before, after = split_time(self.times, n_past, len(self.forecast))
        self.past_line_ = self.future_line_ = None
        if self.past is not None:
            (self.past_line_,) = draw_course(ax, before, self.past, color=PAST, label="past")
        if self.future is not None:
            (self.future_line_,) = draw_course(
                ax, after, self.future, color=FUTURE, linestyle="--", label="true future"
            )
        (self.forecast_line_,) = draw_course(
            ax, after, self.forecast, color=FORECAST, label="forecast"
        )
        self.bands_ = []
        if self.intervals is not None:
            self.bands_ = draw_bands(ax, after, self.intervals, self.levels)
        ax.axvline(before[-1], color="0.7", linewidth=0.8, zorder=0)
        ax.set(ylabel=unit or "value", title=self.name)
        label_time(ax, self.times)
        ax.margins(x=0.01)
        put_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def draw_bands(ax: "Axes", time: Any, intervals: np.ndarray, levels: Any) -> list:
    """Shade intervals (n_levels, horizon, 2) over each other, the widest first and lightest."""
    from matplotlib.colors import to_rgb

    colour = np.array(to_rgb(FORECAST))
    strengths = np.linspace(0.2, 0.4, len(levels))
    bands = []
    for level, strength in zip(np.argsort(levels)[::-1], strengths, strict=True):
        low, high = np.transpose(intervals[level])
        shade = tuple(1 - strength * (1 - colour))
        name = f"{100 * levels[level]:g} % interval"
        edge = 6 if len(time) == 1 else 0  # no area is between two points
        style: dict = {"color": shade, "linewidth": edge, "zorder": 1}
        band = ax.fill_between(time, low, high, label=name, **style)
        bands.append(band)
    return bands


def ends_of(levels: ArrayLike) -> tuple[list[float], list[float]]:
    """Return levels of intervals as a list, and the quantiles at both ends of each, in turn."""
    widths = np.ravel(check_quantiles("levels", levels) if np.size(levels) else [])
    return widths.tolist(), [end for w in widths for end in ((1 - w) / 2, (1 + w) / 2)]
