"""Mutual information of every latent dimension and every factor."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_integer
from ..metrics._embeddings import check_embedding, gap_of_two_largest
from ..metrics._information import normalised_information
from ._axes import check_matplotlib, make_axes, make_names, name_ticks, table_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 64


class MutualInformationDisplay:
    """Heat map of the mutual information between latent dimensions and factors.

    It is normalised by the entropy of the factor: 1 where the factor can be read off that
    dimension alone, 0 where the two are independent. The mutual information gap, in the
    title, is the largest less the second largest of a column, and their mean over factors.

    Parameters
    ----------
    mutual_information : ndarray of shape (n_latent, n_factors)
        Between 0 and 1.
    feature_names : sequence of str of shape (n_latent,), default=None
        Names of the latent dimensions. None: "latent_0" and so on.
    factor_names : sequence of str of shape (n_factors,), default=None
        Names of the factors. None: "factor0" and so on.

    Attributes
    ----------
    im_ : matplotlib AxesImage
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.metrics.mutual_information_gap : The gap alone, and how information is estimated.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.inspection import MutualInformationDisplay
    >>> labels = np.arange(1000) % 4
    >>> noise = np.random.default_rng(0).normal(size=1000)
    >>> Z = np.column_stack([labels, noise])
    >>> display = MutualInformationDisplay.from_predictions(labels, Z)
    >>> display.mutual_information.round(2)
    array([[1.],
           [0.]])
    """

    def __init__(
        self, mutual_information: np.ndarray, *, feature_names: Any = None, factor_names: Any = None
    ):
        self.mutual_information = mutual_information
        self.feature_names = feature_names
        self.factor_names = factor_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        factors: ArrayLike,
        *,
        n_bins: int = 20,
        cmap: Any = "cividis",
        ax: "Axes | None" = None,
    ) -> "MutualInformationDisplay":
        """Embed windows, and measure the information of the dimensions about factors.

        Parameters
        ----------
        estimator : fitted transformer
            Rows are named by its `get_feature_names_out`.
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
            Labels, which need not be those of `fit`; -1, None or NaN where unknown. The columns of
            a DataFrame name the factors; those of an array are named as in the estimator, where it
            has as many.
        n_bins : int, default=20
            Number of bins that a dimension is cut into; at least 2.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours from 0 to 1.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : MutualInformationDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As for :meth:`from_predictions`.
        TypeError
            If `n_bins` is not an integer.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        names = None
        if not hasattr(factors, "columns") and getattr(factors, "name", None) is None:
            known = getattr(estimator, "factor_names_", [])
            names = known if len(known) == np.size(np.asarray(factors)[:1]) else None
        return cls.from_predictions(
            factors,
            np.asarray(estimator.transform(X)),
            feature_names=estimator.get_feature_names_out(),
            factor_names=names,
            n_bins=n_bins,
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        factors: ArrayLike,
        Z: ArrayLike,
        *,
        feature_names: Any = None,
        factor_names: Any = None,
        n_bins: int = 20,
        cmap: Any = "cividis",
        ax: "Axes | None" = None,
    ) -> "MutualInformationDisplay":
        """Measure the information of the dimensions of embeddings about factors.

        Parameters
        ----------
        factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
            Labels; -1, None or NaN where unknown.
        Z : array-like of shape (n_samples, n_latent)
            Embeddings.
        feature_names : sequence of str of shape (n_latent,), default=None
            Names of the latent dimensions. None: "latent_0" and so on.
        factor_names : sequence of str of shape (n_factors,), default=None
            Names of the factors. None: the columns of `factors`, or "factor0" and so on.
        n_bins : int, default=20
            Number of bins that a dimension is cut into; at least 2.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours from 0 to 1.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : MutualInformationDisplay

        Raises
        ------
        ValueError
            If lengths differ, `Z` is not finite, a factor has a single class, no label or
            continuous values, or `n_bins` is below 2.
        TypeError
            If `n_bins` is not an integer.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_integer("n_bins", n_bins, minimum=2)
        encoded, embedding = check_embedding(factors, Z)
        shares = normalised_information(encoded, embedding, n_bins)
        names = encoded.names if factor_names is None else factor_names
        return cls(shares, feature_names=feature_names, factor_names=names).plot(ax, cmap=cmap)

    def plot(
        self, ax: "Axes | None" = None, *, cmap: Any = "cividis"
    ) -> "MutualInformationDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Colours from 0 to 1.

        Returns
        -------
        self : MutualInformationDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        shares = np.asarray(self.mutual_information)
        rows = make_names(self.feature_names, "latent_", shares.shape[0])
        columns = make_names(self.factor_names, "factor", shares.shape[1])
        ax = make_axes(ax, table_size(rows, columns))
        self.im_ = ax.imshow(shares, cmap=cmap, vmin=0, vmax=1, aspect="auto")
        ax.figure.colorbar(self.im_, ax=ax, label="mutual information / entropy")
        gaps = gap_of_two_largest(shares)
        labels = [f"{name}\n(gap {gap:.2f})" for name, gap in zip(columns, gaps, strict=True)]
        ax.set_xticks(range(len(columns)), labels=labels)
        name_ticks(ax.yaxis, rows, _MOST_TICKS)
        ax.set(
            xlabel="factor",
            ylabel="latent dimension",
            title=f"mutual information gap {gaps.mean():.2f}",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
