"""How well labels are read from either part of the latent space."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.labels import check_factors
from ..metrics import accuracy_above_chance
from ._axes import LETTER_WIDTH, OKABE_ITO, check_matplotlib, make_axes, make_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = ("marginal", "conditional")


class DisentanglementDisplay:
    """Accuracy above chance with which labels are read from either part of the latent space.

    The bars of the marginal dimensions should be long. Those of the conditional dimensions should
    be near zero: then what labels say is in the marginal dimensions alone.

    Parameters
    ----------
    scores : ndarray of shape (n_factors, 2)
        Accuracy above chance in the marginal and in the conditional dimensions.
    factor_names : sequence of str of shape (n_factors,), default=None
        Names of the factors. None: "factor0" and so on.

    Attributes
    ----------
    bars_ : list of matplotlib BarContainer
        Those of the marginal, then of the conditional dimensions.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skdeepdive.metrics.accuracy_above_chance : The score, and which folds it needs.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import DisentanglementDisplay
    >>> load = 5 + np.sin(2 * np.pi * np.arange(400) / 24)
    >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> third = origin % 24 // 8
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> model = model.fit(X, y, factors=third)
    >>> DisentanglementDisplay.from_estimator(model, X, third, gap=47, cv=3).scores.shape
    (1, 2)
    """

    def __init__(self, scores: np.ndarray, *, factor_names: Any = None):
        self.scores = scores
        self.factor_names = factor_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        factors: ArrayLike,
        *,
        classifier: Any = "neighbors",
        cv: Any = 5,
        groups: ArrayLike | None = None,
        gap: int = 0,
        ax: "Axes | None" = None,
    ) -> "DisentanglementDisplay":
        """Embed windows, and let a classifier read their labels from both parts.

        Parameters
        ----------
        estimator : fitted DeepDIVEForecaster
            With marginal and conditional dimensions.
        X : array-like of the shape given to `fit`, n_samples aside
            Windows, best ones that were not in `fit`.
        factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors)
            Labels; -1, None or NaN where unknown.
        classifier, cv, groups, gap
            What reads the labels, and its folds, see
            :func:`~skdeepdive.metrics.accuracy_above_chance`.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : DisentanglementDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator lacks a part, or as for the score.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        conditional = [
            name.startswith("conditional_") for name in estimator.get_feature_names_out()
        ]
        if all(conditional) or not any(conditional):
            raise ValueError(
                "'estimator' must have marginal and conditional dimensions, as with latent='both'."
            )
        Z = np.asarray(estimator.transform(X))
        options = {"classifier": classifier, "cv": cv, "groups": groups, "gap": gap}
        scores = [
            accuracy_above_chance(factors, part, **options, multioutput="raw_values")
            for part in (Z[:, np.logical_not(conditional)], Z[:, conditional])
        ]
        names = check_factors(factors, len(Z)).names
        return cls(np.column_stack(scores), factor_names=names).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "DisentanglementDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        self : DisentanglementDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        scores = np.asarray(self.scores)
        names = make_names(self.factor_names, "factor", len(scores))
        ax = make_axes(ax, (5.4 + LETTER_WIDTH * max(map(len, names)), 1.2 + 0.7 * len(names)))
        place = np.arange(len(names))
        self.bars_ = [
            ax.barh(place + shift, values, 0.36, color=colour, label=part)
            for part, shift, values, colour in zip(
                _PARTS, (-0.2, 0.2), scores.T, (OKABE_ITO[1], OKABE_ITO[2]), strict=True
            )
        ]
        for bars in self.bars_:
            ax.bar_label(bars, fmt="%.2f", padding=3)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.margins(x=0.2)
        ax.set_yticks(place, labels=names)
        ax.invert_yaxis()
        ax.set(xlabel="accuracy above chance", ylabel="factor")
        ax.legend(title="dimensions", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
