"""Which conditional dimensions attend to which factors, and when."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._axes import check_matplotlib, make_names, name_ticks, write_values
from ._factors import check_factor, encode_labels, predict_labels, take_labels

_MOST_ROWS, _MOST_COLUMNS = 64, 12  # named at the axes


class AttentionDisplay:
    """Heat map of the attention weights of conditional dimensions over factors.

    The weights are means over windows. Those over all windows are drawn in one axes, with a column
    for each factor and one for none. Those over the windows of every class of a factor are drawn in
    several: one axes for each factor and one for none, with a column for each class. The middle of
    the colours stands for even weights, 1 / (n_factors + 1), the ends for none at all and for twice
    as much or more.

    Parameters
    ----------
    weights : ndarray of shape (n_queries, n_factors + 1) or (n_classes, n_queries, n_factors + 1)
        Mean weights of all windows, or of those of every class; NaN where it has none.
    query_names : sequence of str of shape (n_queries,), default=None
        Names of the conditional dimensions. None: "query_0" and so on.
    factor_names : sequence of str of shape (n_factors,), default=None
        Names of the factors. None: "factor0" and so on.
    classes : sequence of shape (n_classes,), default=None
        Names of the classes. None: their numbers.
    class_name : str, default="class"
        Name of the factor that the classes are of.

    Attributes
    ----------
    ims_ : list of matplotlib AxesImage
    text_ : list of matplotlib Text
        The weights in numbers, where they are means over all windows.
    colorbar_ : matplotlib Colorbar
    axes_ : ndarray of matplotlib Axes of shape (1,) or (n_factors + 1,)
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.DeepDIVEForecaster.attention : The weights of every window, and how little they say.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import AttentionDisplay
    >>> load = 5 + np.sin(2 * np.pi * np.arange(200) / 24)
    >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> model = model.fit(X, y, factors=origin % 24)
    >>> AttentionDisplay.from_estimator(model, X).weights.shape
    (16, 2)
    >>> AttentionDisplay.from_estimator(model, X, by="factor0").weights.shape
    (24, 16, 2)
    """

    def __init__(
        self,
        weights: np.ndarray,
        *,
        query_names: Any = None,
        factor_names: Any = None,
        classes: Any = None,
        class_name: str = "class",
    ):
        self.weights = weights
        self.query_names = query_names
        self.factor_names = factor_names
        self.classes = classes
        self.class_name = class_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        factors: ArrayLike | None = None,
        *,
        by: str | int | None = None,
        cmap: Any = "PuOr_r",
        ax: Any = None,
    ) -> "AttentionDisplay":
        """Draw the mean of what `attention` returns, over all windows or class by class.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like or DataFrame of shape (n_samples, n_factors) or (n_samples,), \
                default=None
            True labels of all factors, as in `fit`, or of `by`; windows with -1, None or NaN are
            left out. Used with `by` only. None: the labels that `predict_cluster` reads.
        by : str or int, default=None
            Name or number of the factor whose classes are drawn apart. None: the mean over all
            windows is drawn.
        cmap : str or matplotlib Colormap, default="PuOr_r"
            Colours from no weight to twice the even one.
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, as for :meth:`plot`.

        Returns
        -------
        display : AttentionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator has no attention, there is no such factor, a label is none of its
            classes, lengths differ, `X` has another shape than in `fit`, or there is another number
            of axes.
        TypeError
            If `by` is neither a name nor an integer.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        if not hasattr(estimator, "attention"):
            raise ValueError(
                "'estimator' must have attention, as a DeepDIVEForecaster with factors has, got "
                f"{estimator!r}."
            )
        n_marginal = sum(prior.centres.shape[1] for prior in estimator.factor_priors_)
        names: dict = {
            "query_names": estimator.get_feature_names_out()[n_marginal:].tolist() or None,
            "factor_names": estimator.factor_names_,
        }
        if by is None:
            return cls(estimator.attention(X).mean(axis=0), **names).plot(ax, cmap=cmap)
        index = check_factor(estimator, by, "by")
        classes = estimator.factor_classes_[index]
        names |= {"classes": classes, "class_name": estimator.factor_names_[index]}
        weights = np.asarray(estimator.attention(X))
        if factors is None:
            labels = predict_labels(estimator, X, index)
        else:
            labels = take_labels(factors, estimator, index)
        codes, _ = encode_labels(labels, len(weights), classes)
        return cls(_mean_by_class(weights, codes, len(classes)), **names).plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: Any = "PuOr_r") -> "AttentionDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw: one axes, or with classes one for each factor and one for none. None: a
            new figure.
        cmap : str or matplotlib Colormap, default="PuOr_r"
            Colours from no weight to twice the even one.

        Returns
        -------
        self : AttentionDisplay

        Raises
        ------
        ValueError
            If there is another number of axes.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        from matplotlib.colors import Normalize

        weights = np.asarray(self.weights, dtype=float)
        rows = make_names(self.query_names, "query_", weights.shape[-2])
        factors = [*make_names(self.factor_names, "factor", weights.shape[-1] - 1), "none"]
        if weights.ndim == 2:
            grids, titles = weights[None], ["mean attention weights"]
            columns, xlabel = factors, "factor"
        else:
            grids, titles = (
                weights.T,
                [f"weight of {name}" for name in (*factors[:-1], "no factor")],
            )
            columns, xlabel = make_names(self.classes, "", len(weights)), self.class_name
        self.axes_ = _make_axes(ax, titles, len(rows), len(columns))
        self.figure_ = self.axes_[0].figure
        scale = Normalize(0, 2 / len(factors))  # in its middle weights are even
        self.ims_ = [
            axes.imshow(grid, cmap=cmap, norm=scale, aspect="auto")
            for axes, grid in zip(self.axes_, grids, strict=True)
        ]
        self.text_ = []
        if weights.ndim == 2:
            size = "small" if len(rows) <= 16 else "xx-small"
            self.text_ = write_values(self.axes_[0], weights, self.ims_[0], fontsize=size)
        for axes, title in zip(self.axes_, titles, strict=True):
            axes.set(xlabel=xlabel, title=title)
            name_ticks(axes.xaxis, columns, _MOST_COLUMNS, fontsize="small")
            axes.set_yticks([])
        name_ticks(self.axes_[0].yaxis, rows, _MOST_ROWS)
        self.axes_[0].set_ylabel("query" if self.query_names is None else "conditional dimension")
        self.colorbar_ = _name_colours(self.axes_, self.ims_[0])
        return self


def _mean_by_class(weights: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return mean weights `(n_classes, n_queries, n_factors + 1)`; NaN for a class of no window."""
    means = np.full((n_classes, *weights.shape[1:]), np.nan)
    for k in np.unique(codes[codes >= 0]):
        means[k] = weights[codes == k].mean(axis=0)
    return means


def _make_axes(ax: Any, titles: list[str], n_rows: int, n_columns: int) -> np.ndarray:
    """Return an axes for each title: those given, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        width = 0.9 * n_columns if len(titles) == 1 else min(max(0.25 * n_columns, 1.8), 3.2)
        size = (2.8 + width * len(titles), min(1.6 + 0.2 * n_rows, 9))
        return plt.subplots(1, len(titles), figsize=size, layout="constrained", squeeze=False)[1][0]
    axes = np.ravel(np.array(ax, dtype=object))
    if len(axes) != len(titles):
        raise ValueError(
            f"'ax' must have one axes for each of the pictures {titles}, got {len(axes)}."
        )
    return axes


def _name_colours(axes: np.ndarray, image: Any) -> Any:
    even = image.norm.vmax / 2
    options: dict = {"extend": "max", "aspect": 30, "label": "mean weight"}
    bar = axes[0].figure.colorbar(image, ax=list(axes), **options)
    bar.set_ticks([0, even, 2 * even], labels=["0", f"{even:.2f}\n(even)", f"{2 * even:.2f}"])
    return bar
