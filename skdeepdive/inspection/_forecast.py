"""ForecastDisplay: a window, its forecast with intervals, and its true future."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_futures, check_index, check_quantiles
from ._axes import FORECAST, FUTURE, PAST, check_matplotlib, make_axes
from ._windows import count_windows, take_covariates, take_window, to_courses

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
    ):
        self.forecast = forecast
        self.past = past
        self.future = future
        self.intervals = intervals
        self.levels = levels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample: int = 0,
        target: int = 0,
        channel: int | None = None,
        levels: ArrayLike = (0.8, 0.95),
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
        target : int, default=0
            Which of the targets.
        channel : int, default=None
            The channel of the window to draw before the forecast. None: that of the target's
            number where there are as many channels as targets; otherwise none is drawn.
        levels : float or array-like of shape (n_levels,), default=(0.8, 0.95)
            Share of futures that an interval is to cover, between 0 and 1. An empty sequence:
            there are no intervals.
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
        target = check_index("target", target, estimator.n_targets_)
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
        widths = np.ravel(check_quantiles("levels", levels) if np.size(levels) else [])
        intervals = None
        if len(widths) and hasattr(estimator, "predict_quantiles"):
            ends = [end for width in widths for end in ((1 - width) / 2, (1 + width) / 2)]
            bounds = np.moveaxis(estimator.predict_quantiles(window, ends, **known), -1, 0)
            bounds = to_courses(bounds, estimator)[..., target]
            intervals = bounds.reshape(len(widths), 2, -1).swapaxes(1, 2)
        display = cls(
            forecast=to_courses(estimator.predict(window, **known), estimator)[0, :, target],
            past=past,
            future=future,
            intervals=intervals,
            levels=() if intervals is None else tuple(widths.tolist()),
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
        steps = np.arange(1, len(self.forecast) + 1)
        self.past_line_ = self.future_line_ = None
        if self.past is not None:
            time = np.arange(1 - len(self.past), 1)
            (self.past_line_,) = ax.plot(time, self.past, color=PAST, label="past")
        if self.future is not None:
            (self.future_line_,) = ax.plot(
                steps, self.future, color=FUTURE, linestyle="--", label="true future"
            )
        (self.forecast_line_,) = ax.plot(steps, self.forecast, color=FORECAST, label="forecast")
        self.bands_ = self._draw_bands(ax, steps)
        ax.axvline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.set(xlabel="steps from the forecast's origin", ylabel=unit or "value")
        ax.margins(x=0.01)
        ax.legend(frameon=False, ncols=5, loc="lower left", bbox_to_anchor=(0, 1))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_bands(self, ax: "Axes", steps: np.ndarray) -> list:
        """Shade the intervals over each other, the widest first and lightest."""
        from matplotlib.colors import to_rgb

        colour = np.array(to_rgb(FORECAST))
        strengths = np.linspace(0.2, 0.4, len(self.levels))
        bands = []
        for level, strength in zip(np.argsort(self.levels)[::-1], strengths, strict=True):
            low, high = np.transpose(self.intervals[level])  # type: ignore[index]
            shade = tuple(1 - strength * (1 - colour))
            name = f"{100 * self.levels[level]:g} % interval"
            band = ax.fill_between(steps, low, high, color=shade, linewidth=0, zorder=1, label=name)
            bands.append(band)
        return bands
