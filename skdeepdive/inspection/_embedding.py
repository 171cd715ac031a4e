"""A plane through the latent space, coloured by labels."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_choice
from ._axes import LETTER_WIDTH, OKABE_ITO, check_matplotlib, every_so_many, make_axes, make_colours
from ._factors import check_factor, encode_labels, predict_labels, take_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N_GRID = 150
_MOST_TICKS = 12


class EmbeddingDisplay:
    """Windows in a plane of the latent space, coloured by labels.

    Of a factor's marginal dimensions, with rings around its RBF centres and the contours where the
    cluster posterior p(k | b) is one half; or of the conditional dimensions.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Where the windows are.
    codes : ndarray of int of shape (n_samples,)
        Position of every window's label in `classes`; -1 where unlabelled.
    classes : ndarray of shape (n_classes,)
        Labels.
    label_name : str, default="label"
        What the labels are.
    axis_names : pair of str, default=("axis 1", "axis 2")
        Labels of the axes.
    centres : ndarray of shape (n_classes, 2) or (n_classes, 1), default=None
        RBF centres; of a single dimension they are drawn as vertical lines.
    grid : pair of ndarray of shapes (n_x,) and (n_y,), default=None
        Where `posterior` was computed.
    posterior : ndarray of shape (n_classes, n_y, n_x), default=None
        p(k | b) on the grid.

    Attributes
    ----------
    points_ : matplotlib PathCollection
        The labelled windows.
    unlabelled_ : matplotlib PathCollection or None
        The others, in grey.
    centres_ : matplotlib artist or None
    contours_ : list of matplotlib ContourSet
        One for each class that reaches one half on the grid.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import EmbeddingDisplay
    >>> load = 5 + np.sin(2 * np.pi * np.arange(200) / 24)
    >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> model = model.fit(X, y, factors=origin % 24 // 8)
    >>> EmbeddingDisplay.from_estimator(model, X, origin % 24 // 8).points.shape
    (129, 2)
    """

    def __init__(
        self,
        points: np.ndarray,
        codes: np.ndarray,
        classes: Any,
        *,
        label_name: str = "label",
        axis_names: tuple[str, str] = ("axis 1", "axis 2"),
        centres: np.ndarray | None = None,
        grid: tuple[np.ndarray, np.ndarray] | None = None,
        posterior: np.ndarray | None = None,
    ):
        self.points = points
        self.codes = codes
        self.classes = classes
        self.label_name = label_name
        self.axis_names = axis_names
        self.centres = centres
        self.grid = grid
        self.posterior = posterior

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        factors: ArrayLike | None = None,
        *,
        factor: str | int = 0,
        part: str = "marginal",
        cmap: Any = None,
        ax: "Axes | None" = None,
    ) -> "EmbeddingDisplay":
        """Embed windows, and draw a plane of the factor's dimensions or of the conditional ones.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like or DataFrame of shape (n_samples, n_factors) or (n_samples,), \
                default=None
            Labels of all factors, as in `fit`, or of one, to colour the windows by; -1, None or
            NaN where unknown. A single column may be of any labels where `part` is "conditional".
            None: the predicted labels of the factor.
        factor : str or int, default=0
            Name or number of the factor.
        part : {"marginal", "conditional"}, default="marginal"
            "marginal": the first two dimensions of the factor, in which its RBF centres start on a
            circle, in the order of the labels. Where there are more the contours are left out,
            since the windows do not lie in that plane. A single one is drawn against the number
            of the window.
            "conditional": the first two principal axes of the windows' conditional dimensions.
        cmap : str or matplotlib Colormap, default=None
            Colours of the classes, in their order; "twilight" suits cyclic ones such as hours.
            None: those of Okabe and Ito up to eight classes, otherwise "viridis".
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator has no such factor or part, a label is none of the factor's classes,
            or lengths differ.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        check_choice("part", part, ("marginal", "conditional"))
        name, labels, index = _choose(estimator, X, factors, factor, part)
        known = None if index is None else estimator.factor_classes_[index]
        Z = np.asarray(estimator.transform(X), dtype=np.float64)
        codes, classes = encode_labels(labels, len(Z), known)
        priors = estimator.factor_priors_
        edges = np.cumsum([0, *(prior.centres.shape[1] for prior in priors)])
        if part == "conditional" or index is None:
            points, axis_names = _conditional_plane(Z[:, edges[-1] :])
            view: dict = {}
        else:
            b = Z[:, edges[index] : edges[index + 1]]
            points, axis_names, view = _marginal_plane(b, name, priors[index])
        display = cls(points, codes, classes, label_name=name, axis_names=axis_names, **view)
        return display.plot(ax, cmap=cmap)

    def plot(self, ax: "Axes | None" = None, *, cmap: Any = None) -> "EmbeddingDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        cmap : str or matplotlib Colormap, default=None
            Colours of the classes, in their order. None: those of Okabe and Ito up to eight
            classes, otherwise "viridis".

        Returns
        -------
        self : EmbeddingDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        ax = make_axes(ax, self._size())
        colours = make_colours(len(self.classes), cmap)
        known = self.codes >= 0
        style: dict = {"s": 8, "linewidths": 0}
        x, y = self.points.T
        self.unlabelled_ = None
        if not known.all():
            self.unlabelled_ = ax.scatter(x[~known], y[~known], color="0.8", **style)
        self.points_ = ax.scatter(
            x[known], y[known], c=colours[self.codes[known]], alpha=0.6, **style
        )
        self.contours_ = self._draw_contours(ax)
        self.centres_ = self._draw_centres(ax, colours)
        self._name_colours(ax, colours)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _size(self) -> tuple[float, float]:
        """Return the size in inches of a figure with room for a square and the names beside it."""
        longest = max(len(str(name)) for name in [*self.classes, self.label_name, "p(k | b) = 0.5"])
        return 5.4 + LETTER_WIDTH * longest, 4.8

    def _draw_contours(self, ax: "Axes") -> list:
        if self.posterior is None or self.grid is None:
            return []
        return [
            ax.contour(*self.grid, share, levels=[0.5], colors="0.5", linewidths=0.8)
            for share in self.posterior
            if share.min() < 0.5 < share.max()
        ]

    def _draw_centres(self, ax: "Axes", colours: np.ndarray) -> Any:
        if self.centres is None:
            return None
        if self.centres.shape[1] == 1:
            colour_list: Any = colours
            return ax.vlines(
                self.centres[:, 0], *ax.get_ylim(), colors=colour_list, linestyles="--"
            )
        x, y = self.centres.T
        low, high = _square(np.vstack([self.points, self.centres]))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_aspect("equal", adjustable="box")  # the components are round
        style: dict = {"facecolors": "none", "edgecolors": colours, "linewidths": 1.8}
        return ax.scatter(x, y, s=150, **style)

    def _name_colours(self, ax: "Axes", colours: np.ndarray) -> None:
        """Name few classes in a legend, many at a bar of colours."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.lines import Line2D

        names = [str(name) for name in self.classes]
        if len(names) <= len(OKABE_ITO):
            marks = [Line2D([], [], color=c, marker="o", linestyle="") for c in colours]
            if self.unlabelled_ is not None:
                marks.append(Line2D([], [], color="0.8", marker="o", linestyle=""))
                names.append("unlabelled")
            if self.centres is not None and self.centres.shape[1] == 1:
                marks.append(Line2D([], [], color="black", linestyle="--"))
                names.append("centre")
            elif self.centres is not None:
                marks.append(
                    Line2D([], [], marker="o", ms=11, mfc="none", mec="0.3", mew=1.8, ls="")
                )
                names.append("centre")
            if self.contours_:
                marks.append(Line2D([], [], color="0.5", linewidth=0.8))
                names.append("p(k | b) = 0.5")
            place: dict = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
            ax.legend(marks, names, title=self.label_name, **place)
            return
        colour_map = ListedColormap(colours)
        mappable = ScalarMappable(Normalize(-0.5, len(names) - 0.5), colour_map)
        shown = every_so_many(names, _MOST_TICKS)
        bar = ax.figure.colorbar(mappable, ax=ax, label=self.label_name)
        bar.set_ticks(shown, labels=[names[i] for i in shown])


def _choose(
    estimator: Any, X: Any, factors: Any, factor: Any, part: str
) -> tuple[str, Any, int | None]:
    """Return the name of labels, the labels, and the position of their factor."""
    if not hasattr(estimator, "factor_names_"):
        raise ValueError(
            f"'estimator' must tell factors from other dimensions, got {type(estimator).__name__}."
        )
    if part == "conditional" and np.ndim(factors) == 1:  # any labels
        return str(getattr(factors, "name", None) or "label"), factors, None
    index = check_factor(estimator, factor)
    name = estimator.factor_names_[index]
    if factors is None:
        return name, predict_labels(estimator, X, index), index
    return name, take_labels(factors, estimator, index), index


def _posterior(prior: Any, b: np.ndarray) -> np.ndarray:
    """Return p(k | b) by Bayes' rule, `(n, n_classes)`, at points `(n, n_dims)`."""
    squared = np.square(b[:, None] - prior.centres).sum(axis=2)
    log_density = -b.shape[1] * np.log(prior.scales) - squared / (2 * prior.scales**2)
    return softmax(np.log(prior.weights) + log_density)


def _marginal_plane(
    b: np.ndarray, name: str, prior: Any
) -> tuple[np.ndarray, tuple[str, str], dict]:
    """Return points, names of axes, centres, and p(k | b) where the plane is all of b."""
    centres = prior.centres
    if b.shape[1] == 1:
        return *_against_number(b, f"{name}_0"), {"centres": centres}
    axis_names = f"{name}_0", f"{name}_1"
    if b.shape[1] > 2:
        return b[:, :2], axis_names, {"centres": centres[:, :2]}
    x, y = np.linspace(*_square(np.vstack([b, centres])), _N_GRID).T
    plane = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    shares = _posterior(prior, plane).T.reshape(len(centres), _N_GRID, _N_GRID)
    view = {"centres": centres, "grid": (x, y), "posterior": shares}
    return b, axis_names, view


def _square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower left and the upper right corner of a square with room for the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, 0.58 * (high - low).max() or 1.0
    return middle - half, middle + half


def _conditional_plane(a: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    if not a.shape[1]:
        raise ValueError(
            "'part' is 'conditional', but the estimator has no conditional dimensions."
        )
    if a.shape[1] == 1:
        return _against_number(a, "conditional_0")
    if len(a) < 2:
        raise ValueError("'X' must have at least two windows for principal axes, got one.")
    axes = PCA(2).fit(a)
    first, second = (
        f"conditional, principal axis {i} ({share:.0%} of variance)"
        for i, share in enumerate(axes.explained_variance_ratio_, start=1)
    )
    return axes.transform(a), (first, second)


def _against_number(values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, str]]:
    """Return points of a single dimension and the number of the window, and their names."""
    return np.column_stack([values, np.arange(len(values))]), (name, "number of the window")
