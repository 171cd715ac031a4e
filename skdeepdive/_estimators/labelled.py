"""LabelledForecaster: windows have factors, whose labels may be known at predict time."""

from typing import Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import UNUSED

from .._data.devices import to_array
from .._data.labels import Factors, check_labels_of_windows
from ..nn.module import DeepDIVE
from .base import BaseForecaster


class LabelledForecaster(BaseForecaster):
    """A forecaster that has factors in its latent space, and can be told their labels."""

    module_: DeepDIVE
    factor_names_: list[str]
    factor_classes_: list[np.ndarray]

    # Labels go to forecasts and scores where these ask for them, and never to embeddings: what
    # learns labels from an embedding must not be told them.
    __metadata_request__predict: ClassVar = {"factors": False}
    __metadata_request__score: ClassVar = {"factors": False}
    __metadata_request__transform: ClassVar = {"factors": UNUSED}

    def predict(
        self,
        X: ArrayLike,
        *,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> np.ndarray:
        """Forecast the future of windows, as :meth:`BaseForecaster.predict`, given labels."""
        return self._infer_futures(
            X,
            future_covariates,
            lambda x, labels, covariates: self.module_.forecast(x, labels, covariates),
            self._to_futures,
            factors=factors,
        )

    def transform(self, X: ArrayLike, factors: ArrayLike | None = None) -> np.ndarray:
        """Embed windows into the latent space.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`. The marginal dimensions of a factor are
            then at the centre of the label, and the conditional ones are those given that.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_latent)
            Posterior means of the latent dimensions, which :meth:`get_feature_names_out` names.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity; if a label is none of
            its factor's classes.
        """
        return self._infer(X, lambda x, labels: self.module_.embed(x, labels), factors=factors)

    @overload
    def reconstruct(
        self,
        X: ArrayLike,
        return_std: Literal[False] = ...,
        factors: ArrayLike | None = ...,
    ) -> np.ndarray: ...

    @overload
    def reconstruct(
        self, X: ArrayLike, return_std: Literal[True], factors: ArrayLike | None = ...
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def reconstruct(
        self, X: ArrayLike, return_std: bool = False, factors: ArrayLike | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Decode windows from their own embeddings, and fill their gaps.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
            NaN is missing.
        return_std : bool, default=False
            Whether to return how far values are expected to be from the result.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.

        Returns
        -------
        X_reconstructed : ndarray of the shape of `X`
            In the units of `X`. Where a value is missing, it is the mean given all that was
            observed of the window, which is closer than what is decoded from few latent dimensions:
            ``np.where(np.isnan(X), model.reconstruct(X), X)`` fills the gaps and keeps the rest.
        X_std : ndarray of the same shape
            Standard deviation in the units of `X`: of what is missing, given what was observed; of
            the likelihood elsewhere. Only with `return_std`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity; if a label is none of
            its factor's classes.
        """
        return self._reconstruct(
            X, return_std, lambda x, labels: self.module_.reconstruct(x, labels), factors
        )

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> float:
        """Coefficient of determination R² of the forecasts.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        y : array-like of the shape given to `fit`, n_samples aside
            The true futures.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the windows.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`. scikit-learn's tools hand them over after
            ``set_score_request(factors=True)``.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        score : float
            Mean of R² over the steps and targets of the future that vary in `y`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `y` has another shape than the forecasts, holds infinity, or is a single
            window, of which R² is not defined; or as for :meth:`predict`.
        """
        forecast = self.predict(X, factors=factors, future_covariates=future_covariates)
        return self._r2_score(forecast, y, sample_weight)

    def _known_factors(self) -> Factors:
        """Return names and classes of the factors, without any windows."""
        no_codes = np.empty((0, len(self.factor_names_)), dtype=np.int64)
        return Factors(self.factor_names_, self.factor_classes_, no_codes)

    def _to_codes(self, factors: Any, n_samples: int) -> np.ndarray | None:
        known = self._known_factors()
        if factors is None or not known.names:
            return None
        return check_labels_of_windows(to_array("factors", factors), n_samples, known)
