"""True labels of a factor against those read from the windows."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from ._axes import (
    LETTER_WIDTH,
    check_matplotlib,
    make_axes,
    make_names,
    name_ticks,
    write_values,
)
from ._factors import check_factor, encode_labels, predict_labels, take_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 32
_MOST_NUMBERS = 10  # classes up to which the shares are written into the cells
_LEAST_SHARE = 0.005  # what rounds to 0.00 is not written


class FactorConfusionDisplay:
    """Confusion matrix of a factor: true labels against those that windows are assigned.

    Every row is drawn as shares of the windows with that true label. Unlabelled windows are left
    out.

    Parameters
    ----------
    confusion_matrix : ndarray of shape (n_classes, n_classes)
        Number of windows by true label (rows) and predicted label (columns).
    display_labels : ndarray of shape (n_classes,), default=None
        Names of the classes. None: their numbers.
    factor_name : str, default="label"
        Name of the factor, for the labels of the axes.

    Attributes
    ----------
    im_ : matplotlib AxesImage
    text_ : list of matplotlib Text
        Shares of half a percent and more, up to ten classes.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skdeepdive.inspection import FactorConfusionDisplay
    >>> true, predicted = ["rest", "walk", "walk", None], ["rest", "walk", "rest", "rest"]
    >>> display = FactorConfusionDisplay.from_predictions(true, predicted, factor_name="gait")
    >>> display.confusion_matrix
    array([[1, 0],
           [1, 1]])
    """

    def __init__(
        self,
        confusion_matrix: np.ndarray,
        *,
        display_labels: Any = None,
        factor_name: str = "label",
    ):
        self.confusion_matrix = confusion_matrix
        self.display_labels = display_labels
        self.factor_name = factor_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        factors: ArrayLike,
        *,
        factor: str | int = 0,
        cmap: Any = "cividis",
        ax: "Axes | None" = None,
    ) -> "FactorConfusionDisplay":
        """Read a factor from windows with `predict_cluster`, and compare with the truth.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like or DataFrame of shape (n_samples, n_factors) or (n_samples,)
            True labels of all factors, as in `fit`, or of the chosen one; -1, None or NaN where
            unknown.
        factor : str or int, default=0
            Name or number of the factor.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours of the shares from 0 to 1.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : FactorConfusionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no such factor, a label is none of its classes, or lengths differ.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        index = check_factor(estimator, factor)
        labels = take_labels(factors, estimator, index)
        return cls.from_predictions(
            labels,
            predict_labels(estimator, X, index),
            classes=estimator.factor_classes_[index],
            factor_name=estimator.factor_names_[index],
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        factor_name: str = "label",
        cmap: Any = "cividis",
        ax: "Axes | None" = None,
    ) -> "FactorConfusionDisplay":
        """Compare true with predicted labels of one factor.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_samples,)
            Labels. Samples where either is -1, None or NaN are left out.
        classes : array-like of shape (n_classes,), default=None
            All labels there may be. None: those that occur.
        factor_name : str, default="label"
            Name of the factor, for the labels of the axes.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours of the shares from 0 to 1.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : FactorConfusionDisplay

        Raises
        ------
        ValueError
            If lengths differ, a label is none of `classes`, or there are no labels or fewer than
            two classes.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_consistent_length(y_true, y_pred)
        both = np.concatenate([np.asarray(y_true, dtype=object), np.asarray(y_pred, dtype=object)])
        codes, names = encode_labels(both, len(both), classes)
        true, predicted = np.split(codes, 2)
        known = (true >= 0) & (predicted >= 0)
        if not known.any():
            raise ValueError("'y_true' must have labelled samples, got none.")
        counts = np.zeros((len(names), len(names)), dtype=int)
        np.add.at(counts, (true[known], predicted[known]), 1)
        return cls(counts, display_labels=names, factor_name=factor_name).plot(ax, cmap=cmap)

    def plot(self, ax: "Axes | None" = None, *, cmap: Any = "cividis") -> "FactorConfusionDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours of the shares from 0 to 1.

        Returns
        -------
        self : FactorConfusionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        counts = np.asarray(self.confusion_matrix)
        names = make_names(self.display_labels, "", len(counts))
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
        side = LETTER_WIDTH * max(map(len, names)) + (5.2 if len(names) > _MOST_NUMBERS else 4.5)
        ax = make_axes(ax, (side + 1, side))
        self.im_ = ax.imshow(shares, cmap=cmap, vmin=0, vmax=1)
        ax.figure.colorbar(self.im_, ax=ax, label="share of the windows of a true label")
        written = np.where(shares < _LEAST_SHARE, np.nan, shares)
        self.text_ = write_values(ax, written, self.im_) if len(counts) <= _MOST_NUMBERS else []
        for axis in (ax.xaxis, ax.yaxis):
            name_ticks(axis, names, _MOST_TICKS)
        ax.set(
            xlabel=f"predicted {self.factor_name}",
            ylabel=f"true {self.factor_name}",
            title=f"{self.factor_name}: {np.trace(counts) / counts.sum():.0%} of "
            f"{counts.sum()} windows right",
        )
        ax.title.set_wrap(True)
        self.ax_, self.figure_ = ax, ax.figure
        return self
