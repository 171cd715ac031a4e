"""Displays of windows and forecasts as a single latent dimension varies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_dimension, check_values
from ._axes import check_matplotlib, draw_course, label_time, split_time
from ._windows import (
    check_times,
    count_windows,
    find_named,
    take_covariates,
    take_window,
    to_courses,
)

if TYPE_CHECKING:
    from matplotlib.colors import Colormap, Normalize

_N_DIMENSIONS = 3  # drawn unless others are asked for
_LIGHTEST = 0.85  # of the colour map; what is lighter is lost on white


class TraversalDisplay:
    """A window and its forecast, had single latent dimensions other values.

    One row of axes for each dimension, the window on the left and the forecast on the right, with
    a line for each value, and black dashes for the window and the forecast as they are. All is in
    the units of `X` and `y`, the time in steps from the origin, the last step of the window.

    Parameters
    ----------
    windows : ndarray of shape (n_dimensions, n_values, n_timesteps)
        The window at every value of every dimension.
    forecasts : ndarray of shape (n_dimensions, n_values, horizon)
        The forecast at every value of every dimension.
    values : ndarray of shape (n_values,)
        Values of the dimensions, in units of `transform`.
    dimension_names : sequence of str of shape (n_dimensions,)
        Names of the dimensions.
    window : ndarray of shape (n_timesteps,), default=None
        The window as it is. None: it is not drawn.
    forecast : ndarray of shape (horizon,), default=None
        The forecast as it is. None: it is not drawn.
    times : array-like of shape (n_timesteps + horizon,), default=None
        Time stamps of the window and of the future, for the time axes. None: they have steps.
    channel_name, target_name : str, default=None
        Names of what is drawn of the window and of the forecast, for the titles.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        Lines of the values, row by row; in a row those of the window before those of the forecast.
    colorbar_ : matplotlib Colorbar
        Names the values.
    axes_ : ndarray of matplotlib Axes of shape (n_dimensions, 2)
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.DeepDIVEForecaster.traverse : Where windows and forecasts come from.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import TraversalDisplay
    >>> load = 5 + np.sin(2 * np.pi * np.arange(200) / 24)
    >>> X, y, _ = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0).fit(X, y)
    >>> display = TraversalDisplay.from_estimator(model, X, dimensions=["conditional_0"])
    >>> display.forecasts.shape
    (1, 5, 24)
    """

    def __init__(
        self,
        windows: np.ndarray,
        forecasts: np.ndarray,
        values: Any,
        dimension_names: Sequence[str],
        *,
        window: np.ndarray | None = None,
        forecast: np.ndarray | None = None,
        times: Any = None,
        channel_name: str | None = None,
        target_name: str | None = None,
    ):
        self.windows = windows
        self.forecasts = forecasts
        self.values = values
        self.dimension_names = dimension_names
        self.window = window
        self.forecast = forecast
        self.times = times
        self.channel_name = channel_name
        self.target_name = target_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        dimensions: Sequence[str | int] | str | int | None = None,
        values: ArrayLike = (-2, -1, 0, 1, 2),
        sample: int = 0,
        target: int | str = 0,
        channel: int | str | None = None,
        target_names: Sequence[str] | None = None,
        channel_names: Sequence[str] | None = None,
        times: ArrayLike | None = None,
        unit: str | None = None,
        future_covariates: ArrayLike | None = None,
        cmap: Any = "viridis",
        ax: Any = None,
    ) -> "TraversalDisplay":
        """Traverse latent dimensions of one of several windows, and draw what it becomes.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
        X : array-like of the shape given to `fit`, n_samples aside
            Windows; only the chosen one is traversed.
        dimensions : sequence of str or int, default=None
            Names of the dimensions as in `get_feature_names_out`, or their positions. None: the
            three conditional dimensions that vary most over `X`, the most variable first, or those
            of all dimensions where none is conditional.
        values : array-like of shape (n_values,), default=(-2, -1, 0, 1, 2)
            What each dimension is to be, in units of `transform`. A priori a conditional dimension
            has mean 0 and deviation 1; where classes lie in marginal ones is in `factor_priors_`.
        sample, target, target_names, times, unit, future_covariates
            As for :meth:`ForecastDisplay.from_estimator`.
        channel : int or str, default=None
            Which channel of the window to draw: its number, or its name among `channel_names`.
            None: that of the target's number where there are as many channels as targets,
            otherwise the first.
        channel_names : sequence of str of shape (n_channels,), default=None
            Names of the channels, for the titles. None: `target_names`, where there are as many
            channels as targets.
        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the values, without its lightest part.
        ax : array of matplotlib Axes of shape (n_dimensions, 2), default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : TraversalDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator cannot be traversed, if there is no such dimension, sample, target or
            channel, if `values` are not finite numbers in one dimension, `X` or `future_covariates`
            have another shape than in `fit`, or there is another number of names, time stamps or
            axes.
        TypeError
            If a position is no integer.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        if not hasattr(estimator, "traverse"):
            raise ValueError(f"'estimator' must have traverse, got {type(estimator).__name__}.")
        values = check_values("values", values)
        target, target_name = find_named("target", target, target_names, estimator.n_targets_)
        same = estimator.n_channels_ == estimator.n_targets_
        channel_names = target_names if channel_names is None and same else channel_names
        channel = (target if same else 0) if channel is None else channel
        channel, channel_name = find_named("channel", channel, channel_names, estimator.n_channels_)
        one = take_window(X, sample)
        known = take_covariates(future_covariates, sample, count_windows(X))
        names = estimator.get_feature_names_out().tolist()
        chosen = _choose(estimator, X, dimensions, names)
        steps = [estimator.traverse(one, position, values, **known) for position in chosen]

        def course(windows: Any) -> np.ndarray:
            windows = np.moveaxis(np.asarray(windows), -1, 0)
            return windows.reshape(len(windows), -1, estimator.n_channels_)[..., channel]

        def future(forecasts: np.ndarray) -> np.ndarray:
            return to_courses(np.moveaxis(forecasts, -1, 0), estimator)[..., target]

        display = cls(
            windows=np.stack([course(step.window) for step in steps]),
            forecasts=np.stack([future(step.forecast) for step in steps]),
            values=values,
            dimension_names=[names[position] for position in chosen],
            window=course(np.asarray(one)[..., None])[0],
            forecast=to_courses(estimator.predict(one, **known), estimator)[0, :, target],
            times=check_times(times, estimator),
            channel_name=channel_name,
            target_name=target_name,
        )
        return display.plot(ax, unit=unit, cmap=cmap)

    def plot(
        self, ax: Any = None, *, unit: str | None = None, cmap: Any = "viridis"
    ) -> "TraversalDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : array of matplotlib Axes of shape (n_dimensions, 2), default=None
            Where to draw. None: a new figure.
        unit : str, default=None
            Unit of the values of window and forecast for the labels of the axes. None: "value".
        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the values, without its lightest part.

        Returns
        -------
        self : TraversalDisplay

        Raises
        ------
        ValueError
            If there is another number of axes.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        self.axes_ = self._make_axes(ax)
        self.figure_ = self.axes_[0, 0].figure
        colours, norm = _make_scale(np.asarray(self.values, dtype=float), cmap)
        self.lines_ = []
        for row, windows, forecasts in zip(self.axes_, self.windows, self.forecasts, strict=True):
            before, after = split_time(self.times, windows.shape[1], forecasts.shape[1])
            for ax, time, courses, actual in (
                (row[0], before, windows, self.window),
                (row[1], after, forecasts, self.forecast),
            ):
                for value, course in zip(self.values, courses, strict=True):
                    colour = colours(norm(value))
                    self.lines_ += draw_course(ax, time, course, color=colour, linewidth=1.2)
                if actual is not None:
                    draw_course(ax, time, actual, color="black", linestyle="--", linewidth=1)
        self._label(unit or "value")
        self.colorbar_ = self._name_colours(colours, norm)
        return self

    def _make_axes(self, ax: Any) -> np.ndarray:
        n_rows = len(self.dimension_names)
        if ax is None:
            import matplotlib.pyplot as plt

            options: dict = {"figsize": (9, 2 * n_rows + 0.7), "width_ratios": (3, 2)}
            options |= {"sharex": "col", "sharey": "col", "squeeze": False}
            axes = plt.subplots(n_rows, 2, layout="constrained", **options)[1]
            for inner in axes[:-1].flat:  # the lowest row has the label of all
                inner.xaxis.label.set_visible(False)
            return axes
        axes = np.ravel(np.array(ax, dtype=object))
        if len(axes) != 2 * n_rows:
            raise ValueError(
                f"'ax' must have two axes for each of the dimensions {list(self.dimension_names)}, "
                f"got {len(axes)}."
            )
        return axes.reshape(n_rows, 2)

    def _label(self, unit: str) -> None:
        window = self.channel_name or "window"
        forecast = f"forecast of {self.target_name}" if self.target_name else "its forecast"
        for row, name in zip(self.axes_, self.dimension_names, strict=True):
            row[0].set_title(f"{window} at values of {name}")
            row[1].set_title(forecast)
            for ax in row:
                ax.margins(x=0.01)
                ax.set_ylabel(unit)
                label_time(ax, self.times)

    def _name_colours(self, colours: "Colormap", norm: "Normalize") -> Any:
        from matplotlib.cm import ScalarMappable

        axes = list(self.axes_.flat)
        options: dict = {"aspect": 15 * len(self.axes_), "pad": 0.02}
        bar = self.figure_.colorbar(ScalarMappable(norm, colours), ax=axes, **options)
        dashed = self.window is not None or self.forecast is not None
        bar.set_label("value of the dimension" + "\n(dashed: as it is)" * dashed)
        return bar


def _choose(estimator: Any, X: Any, dimensions: Any, names: list[str]) -> list[int]:
    """Return the positions of the dimensions to traverse."""
    if dimensions is not None:
        one = isinstance(dimensions, str) or np.ndim(dimensions) == 0
        chosen = [
            check_dimension("dimensions", d, names) for d in ([dimensions] if one else dimensions)
        ]
        if not chosen:
            raise ValueError("'dimensions' must name at least one dimension, got none.")
        return chosen
    n_marginal = sum(prior.centres.shape[1] for prior in estimator.factor_priors_)
    first = n_marginal if n_marginal < len(names) else 0
    spread = np.asarray(estimator.transform(X), dtype=np.float64)[:, first:].std(axis=0)
    return (first + np.argsort(-spread, kind="stable")[:_N_DIMENSIONS]).tolist()


def _make_scale(values: np.ndarray, cmap: Any) -> tuple["Colormap", "Normalize"]:
    """Return the colours and the scale of values."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap, Normalize

    colours = mpl.colormaps[cmap] if isinstance(cmap, str) else cmap
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return ListedColormap(colours(np.linspace(0, _LIGHTEST, 256))), Normalize(low, high)
