"""A factor of a forecaster as a scikit-learn classifier."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted


class FactorClassifier(ClassifierMixin, BaseEstimator):
    """Classify windows by one factor of a forecaster, for scikit-learn's tools for classifiers.

    Parameters
    ----------
    forecaster : DeepDIVEForecaster
        It is cloned by `fit`.
    factor : str, default="label"
        Name of the factor.

    Attributes
    ----------
    forecaster_ : DeepDIVEForecaster
        The fitted forecaster.
    classes_ : ndarray of shape (n_classes,)
        The labels.

    See Also
    --------
    DeepDIVEForecaster.as_classifier : A fitted forecaster as a classifier.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import accuracy_score
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> load = 5 + np.sin(2 * np.pi * np.arange(300) / 24)
    >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    >>> half = model.fit(X, y, {"half": origin % 24 < 12}).as_classifier("half")
    >>> half.classes_
    array([False,  True])
    >>> accuracy_score(origin % 24 < 12, half.predict(X)) > 0.9
    True
    """

    forecaster_: Any
    classes_: np.ndarray

    # As the forecaster's own, which groups reach wherever there are any.
    __metadata_request__fit: ClassVar = {"groups": True}

    def __init__(self, forecaster: Any, factor: str = "label"):
        self.forecaster = forecaster
        self.factor = factor

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        futures: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "FactorClassifier":
        """Fit a clone of the forecaster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels)
            Windows, in chronological order.
        y : array-like of shape (n_samples,)
            Labels of the factor.
        futures : array-like of shape (n_samples, horizon) or (n_samples, horizon, n_targets)
            Futures of the windows, what the forecaster's `fit` calls `y`.
        groups : array-like of shape (n_samples,), default=None
            The person or recording of every window, as in the forecaster's `fit`. scikit-learn's
            tools hand on `groups` unasked.

        Returns
        -------
        self : FactorClassifier

        Raises
        ------
        ValueError
            If `futures` are not given; or as the forecaster's `fit`.
        """
        if futures is None:
            raise ValueError(
                "'futures' must be given: the forecaster is fitted to them as well. "
                "scikit-learn's tools take them as params={'futures': futures}, with metadata "
                "routing after set_fit_request(futures=True)."
            )
        labels = {self.factor: np.asarray(y)}
        fitted = clone(self.forecaster).fit(X, futures, labels, groups=groups)
        return self._take(fitted)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the label of every window, `(n_samples,)`.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        labels : ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        proba: Any = self.forecaster_.predict_cluster_proba(X)
        names = self.forecaster_.factor_names_
        return proba if len(names) == 1 else proba[names.index(self.factor)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of the labels.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        y : array-like of shape (n_samples,)
            The true labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the windows.

        Returns
        -------
        accuracy : float

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        return super().score(X, y, sample_weight)

    def _take(self, fitted: Any) -> "FactorClassifier":
        """Classify by a fitted forecaster."""
        self.forecaster_ = fitted
        self.classes_ = fitted.factor_classes_[fitted.factor_names_.index(self.factor)]
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def classifier_of(forecaster: Any, factor: Any) -> FactorClassifier:
    """Return a factor of a fitted forecaster, its only one by default, as a fitted classifier."""
    names = forecaster.factor_names_
    if factor is None and len(names) == 1:
        factor = names[0]
    if factor not in names:
        raise ValueError(f"'factor' must be one of {names}, got {factor!r}.")
    return FactorClassifier(forecaster, factor)._take(forecaster)
