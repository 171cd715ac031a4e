"""Which conditional dimensions attend to which factors."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._axes import check_matplotlib, make_axes, make_names, name_ticks, table_size, write_values


class AttentionDisplay:
    """Heat map of the attention weights of conditional dimensions over factors.

    It has a row for each conditional dimension, and a column for each factor and one for none. The
    middle of the colours stands for even weights, 1 / (n_factors + 1), the ends for none at all and
    for twice as much or more.

    Parameters
    ----------
    weights : ndarray of shape (n_queries, n_factors + 1)
        Those of a window, or the mean over windows.
    query_names : sequence of str of shape (n_queries,), default=None
        Names of the conditional dimensions. None: "query_0" and so on.
    factor_names : sequence of str of shape (n_factors,), default=None
        Names of the factors. None: "factor0" and so on.

    Attributes
    ----------
    im_ : matplotlib AxesImage
    text_ : list of matplotlib Text
        The weights in numbers.
    ax_ : matplotlib Axes
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
    """

    def __init__(self, weights: np.ndarray, *, query_names: Any = None, factor_names: Any = None):
        self.weights = weights
        self.query_names = query_names
        self.factor_names = factor_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, cmap: Any = "PuOr_r", ax: Any = None
    ) -> "AttentionDisplay":
        """Draw the mean over windows of what `attention` returns.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
        X : array-like of the shape given to `fit`, n_samples aside
        cmap : str or matplotlib Colormap, default="PuOr_r"
            Colours from no weight to twice the even one.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : AttentionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator has no attention, or `X` has another shape than in `fit`.
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
        display = cls(
            np.asarray(estimator.attention(X)).mean(axis=0),
            query_names=estimator.get_feature_names_out()[n_marginal:].tolist() or None,
            factor_names=estimator.factor_names_,
        )
        return display.plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: Any = "PuOr_r") -> "AttentionDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        cmap : str or matplotlib Colormap, default="PuOr_r"
            Colours from no weight to twice the even one.

        Returns
        -------
        self : AttentionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        weights = np.asarray(self.weights, dtype=float)
        n_queries, n_columns = weights.shape
        queries = make_names(self.query_names, "query_", n_queries)
        factors = [*make_names(self.factor_names, "factor", n_columns - 1), "none"]
        ax = make_axes(ax, table_size(queries, factors))
        self.ax_, self.figure_ = ax, ax.figure
        self.im_ = ax.imshow(weights, cmap=cmap, vmin=0, vmax=2 / n_columns, aspect="auto")
        size = "small" if n_queries <= 16 else "xx-small"
        self.text_ = write_values(ax, weights, self.im_, fontsize=size)
        name_ticks(ax.xaxis, factors, n_columns, fontsize="small")
        name_ticks(ax.yaxis, queries, 64)
        ylabel = "query" if self.query_names is None else "conditional dimension"
        ax.set(
            xlabel="factor", ylabel=ylabel, title=f"attention weights (even: {1 / n_columns:.2f})"
        )
        return self
