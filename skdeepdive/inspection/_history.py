"""How training went: the terms of its objective, epoch by epoch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._axes import OKABE_ITO, check_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NATS = "nats per window"
_TERMS = {
    "loss": ("loss", _NATS),
    "log_py": ("forecast, log p(y | x)", _NATS),
    "log_px": ("reconstruction, log p(x | a, b)", _NATS),
    "kl": ("divergence from the prior", _NATS),
    "kl_a": ("divergence of the conditional part", _NATS),
    "kl_b": ("divergence of the marginal part", _NATS),
    "cross_entropy": ("cross-entropy of the labels", _NATS),
    "squared_error": ("squared error of the forecast", "standardised units"),
    "mutual_information": ("index-code mutual information", _NATS),
    "total_correlation": ("total correlation", _NATS),
    "dimension_kl": ("divergence by dimension", _NATS),
}
_VALIDATION = "validation_"
_N_COLUMNS = 3


class TrainingHistoryDisplay:
    """Terms of the objective by epoch, on training and validation windows, one axes for each.

    Epochs are counted through all phases of the training, whose backgrounds differ. Lines break
    where one phase gives way to the next, for it may weigh other terms. The loss is that of the
    interleaved phase; those of the others are single terms or have fewer, which are drawn as well.

    Parameters
    ----------
    history : dict of ndarray of shape (n_epochs,)
        As the `history_` of a fitted estimator: "phase", "epoch", and the terms, those of
        validation windows with `validation_` before their names.

    Attributes
    ----------
    lines_ : dict of list of matplotlib Line2D
        Lines of every term: training, validation, or what there is of them.
    axes_ : ndarray of matplotlib Axes of shape (n_terms,)
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive.inspection import TrainingHistoryDisplay
    >>> history = {
    ...     "phase": np.repeat(["marginal", "interleaved"], 3),
    ...     "epoch": np.tile([1, 2, 3], 2),
    ...     "cross_entropy": 1 / np.arange(1, 7),
    ...     "validation_cross_entropy": 2 / np.arange(1, 7),
    ... }
    >>> TrainingHistoryDisplay(history).plot()
    <...TrainingHistoryDisplay object at ...>
    """

    def __init__(self, history: dict[str, np.ndarray]):
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, terms: Sequence[str] | None = None, ax: Any = None
    ) -> "TrainingHistoryDisplay":
        """Draw the `history_` of an estimator.

        Parameters
        ----------
        estimator : fitted forecaster
        terms : sequence of str, default=None
            Which terms to draw, as for :meth:`plot`.
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, as for :meth:`plot`.

        Returns
        -------
        display : TrainingHistoryDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As for :meth:`plot`.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        check_is_fitted(estimator)
        return cls(estimator.history_).plot(ax, terms=terms)

    def plot(
        self, ax: Any = None, *, terms: Sequence[str] | None = None
    ) -> "TrainingHistoryDisplay":
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw: one axes for each term. None: a new figure.
        terms : sequence of str, default=None
            Which terms to draw, without `validation_`, such as ``["loss", "cross_entropy"]``.
            None: all that the history has.

        Returns
        -------
        self : TrainingHistoryDisplay

        Raises
        ------
        ValueError
            If the history has no such term, or there is another number of axes than of terms.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        terms = self._check_terms(terms)
        self.axes_ = _make_grid(len(terms)) if ax is None else np.ravel(np.array(ax, dtype=object))
        if len(self.axes_) != len(terms):
            raise ValueError(
                f"'ax' must have one axes for each of the {len(terms)} terms {terms}, got "
                f"{len(self.axes_)}. Choose fewer with 'terms'."
            )
        self.lines_ = {
            term: self._draw(term, axes) for term, axes in zip(terms, self.axes_, strict=True)
        }
        self.figure_ = self.axes_[0].figure
        self._add_legend(None if ax is None else self.axes_[0])
        return self

    def _add_legend(self, ax: "Axes | None") -> None:
        """Name lines and phases once: above a figure of our own, or in a given axes."""
        from matplotlib.patches import Patch

        lines = {line.get_label(): line for lines in self.lines_.values() for line in lines}
        phases = {
            f"{name} phase": Patch(facecolor=shade, edgecolor="0.6", linewidth=0.8)
            for name, shade in self._shades().items()
        }
        named = {**dict(sorted(lines.items())), **phases}
        if ax is None:
            options = {"loc": "outside upper center", "ncols": len(named)}
            self.figure_.legend(named.values(), named.keys(), frameon=False, **options)
        else:
            ax.legend(named.values(), named.keys())

    def _shades(self) -> dict[str, str]:
        """Background of every phase."""
        names = dict.fromkeys(np.asarray(self.history["phase"]).tolist())
        return {name: f"{1 - 0.08 * i:.2f}" for i, name in enumerate(names)}

    def _check_terms(self, terms: Sequence[str] | None) -> list[str]:
        names = [name.removeprefix(_VALIDATION) for name in self.history]
        about = ("phase", "epoch", "learning_rate")
        known = [name for name in dict.fromkeys(names) if name not in about]
        if terms is None:
            return sorted(known, key=lambda name: name != "loss")
        terms = [terms] if isinstance(terms, str) else list(terms)
        unknown = [term for term in terms if term not in known]
        if unknown or not terms:
            raise ValueError(f"'terms' must be some of {known}, got {unknown or terms}.")
        return terms

    def _draw(self, term: str, ax: "Axes") -> list:
        from matplotlib.ticker import MaxNLocator

        phases = np.asarray(self.history["phase"])
        starts = np.flatnonzero(phases[1:] != phases[:-1]) + 1
        epochs = np.arange(1.0, len(phases) + 1)
        lines = []
        for name, label, colour, style in (
            (term, "training", OKABE_ITO[0], "-"),
            (_VALIDATION + term, "validation", OKABE_ITO[1], "--"),
        ):
            if name in self.history:
                values = np.asarray(self.history[name], dtype=float)
                if term == "loss":  # other phases sum up other terms, on another scale
                    values = np.where(phases == "interleaved", values, np.nan)
                lines += ax.plot(
                    np.insert(epochs, starts, np.nan), np.insert(values, starts, np.nan),
                    color=colour, linestyle=style, marker=".", label=label,
                )  # fmt: skip
        shades, edges = self._shades(), [0, *starts, len(phases)]
        for start, stop in pairwise(edges):
            ax.axvspan(start + 0.5, stop + 0.5, color=shades[phases[start]], linewidth=0, zorder=0)
        title, unit = _TERMS.get(term, (term, "value"))
        ax.set(xlabel="epoch", ylabel=unit)
        ax.set_title(title, fontsize="medium")
        ax.set_xlim(0.5, len(phases) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return lines


def _make_grid(n_terms: int) -> np.ndarray:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt

    n_columns = min(n_terms, _N_COLUMNS)
    n_rows = -(-n_terms // n_columns)
    size = (max(8.4, 3.4 * n_columns), 2.6 * n_rows + 0.4)  # the legend has this width
    _, grid = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
    for spare in grid.ravel()[n_terms:]:
        spare.remove()
    return grid.ravel()[:n_terms]
