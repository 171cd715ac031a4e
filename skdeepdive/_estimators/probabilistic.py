"""Forecasts as distributions: deviations, quantiles, samples; and densities of windows."""

from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_flag, check_integer, check_quantiles
from .._data.draws import make_generator
from .._data.seeds import make_seed
from ..nn.forecast import bound_terms, draw_futures, forecast_and_scale
from ..nn.module import DeepDIVE

# The variance of the latent part of a forecast is estimated from at least as many draws.
_LEAST_DRAWS = 16

_BY_NAME = (
    " Labels and covariates are given by name: factors=labels. How many steps are forecast is "
    "decided by the futures given to fit."
)

if TYPE_CHECKING:  # what it is mixed into
    from .labelled import LabelledForecaster as _Forecaster
else:
    _Forecaster = object


class ProbabilisticMixin(_Forecaster):
    """Forecasts as distributions, of a forecaster whose module has conformal errors."""

    module_: DeepDIVE

    @overload
    def predict(
        self,
        X: ArrayLike,
        return_std: Literal[False] = ...,
        *,
        factors: ArrayLike | None = ...,
        future_covariates: ArrayLike | None = ...,
    ) -> np.ndarray: ...

    @overload
    def predict(
        self,
        X: ArrayLike,
        return_std: Literal[True],
        *,
        factors: ArrayLike | None = ...,
        future_covariates: ArrayLike | None = ...,
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(
        self,
        X: ArrayLike,
        return_std: bool = False,
        *,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Forecast the future of windows.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        return_std : bool, default=False
            Whether to return how far the futures are expected to be from the forecasts.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known of the windows, of the kinds that `fit` takes; -1, None or NaN
            where a label is unknown, and is read from the window. A DataFrame or dict may have some
            of the factors. With ``latent="conditional"`` labels are ignored.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        y : ndarray of the shape of `y` given to `fit`, n_samples aside
            In the units of `y`.
        y_std : ndarray of the same shape
            Root mean square of the errors to be expected, in the units of `y`. Only with
            `return_std`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` or `future_covariates` have another shape than in `fit`, or hold infinity; if
            covariates are NaN; if a label is none of its factor's classes.
        """
        if not check_flag("return_std", return_std, _BY_NAME):
            return super().predict(X, factors=factors, future_covariates=future_covariates)

        def forecast_and_deviation(x, labels, covariates):
            window = self.module_.features(x)
            forecast, scale = forecast_and_scale(self.module_, window, labels, covariates)
            deviation = scale * self.module_.conformal.errors.square().mean(0).sqrt()
            return torch.stack([forecast, deviation], dim=1)

        def to_units(both):
            deviation = both[:, 1] * self._y_scaling.scale
            futures = self._to_futures(both[:, 0])
            return np.stack([futures, deviation.reshape(futures.shape)], axis=1)

        both = self._infer_futures(
            X, future_covariates, forecast_and_deviation, to_units, factors=factors
        )
        return both[:, 0].copy(), both[:, 1].copy()

    def predict_quantiles(
        self,
        X: ArrayLike,
        quantiles: ArrayLike = (0.1, 0.5, 0.9),
        *,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> np.ndarray:
        """Forecast quantiles of the future of windows.

        They are conformal: quantiles of the forecast errors on the validation windows, divided by a
        scale that depends on the window (its own variation, and its classes). The coverage of an
        interval between two of them is nominal if test and validation windows are exchangeable.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        quantiles : float or array-like of shape (n_quantiles,), default=(0.1, 0.5, 0.9)
            Between 0 and 1, exclusive. For quantiles too extreme for the number of validation
            windows, the least or the greatest of their errors is taken.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        y_quantiles : ndarray of the shape of `y` given to `fit`, and (n_quantiles,)
            In the units of `y`; the last axis runs over `quantiles` in their order. It is absent
            for a single float.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a quantile is not between 0 and 1, if `X` or `future_covariates` have another shape
            than in `fit`, or hold infinity; if covariates are NaN.

        References
        ----------
        .. [1] Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018). Distribution-free predictive
           inference for regression. Journal of the American Statistical Association, 113(523).
        """
        check_is_fitted(self)
        levels = check_quantiles("quantiles", quantiles)
        errors = self.module_.conformal.errors.cpu().numpy()
        # The i-th of n ordered errors is the quantile i / (n + 1) of a further one.
        of_errors = np.quantile(errors, np.atleast_1d(levels), axis=0, method="weibull")
        of_errors = torch.from_numpy(of_errors).to(self._parameter)

        def compute(x, labels, covariates):
            window = self.module_.features(x)
            forecast, scale = forecast_and_scale(self.module_, window, labels, covariates)
            return forecast.unsqueeze(1) + scale.unsqueeze(1) * of_errors

        found = self._infer_futures(
            X, future_covariates, compute, self._to_many_futures, factors=factors
        )
        return found[..., 0] if levels.ndim == 0 else found

    def sample(
        self,
        X: ArrayLike,
        n_samples: int = 100,
        random_state: int | np.random.RandomState | None = None,
        *,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> np.ndarray:
        """Draw futures of windows.

        The latent variables are drawn from their posterior. Conformal errors are added, a whole
        future at a time, so that steps and targets of a draw depend on each other as in the data.
        The spread is that of :meth:`predict_quantiles`.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        n_samples : int, default=100
            Number of futures to draw for each window.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. None: they differ from call to call.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        y_samples : ndarray of the shape of `y` given to `fit`, and (n_samples,)
            In the units of `y`; the last axis runs over the draws.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `n_samples` is not positive, if `X` or `future_covariates` have another shape than in
            `fit`, or hold infinity; if covariates are NaN.
        TypeError
            If `n_samples` is not an integer.
        """
        check_is_fitted(self)
        check_integer("n_samples", n_samples)
        generator = make_generator(make_seed(random_state), self._parameter.device)
        n_draws = max(n_samples, _LEAST_DRAWS)

        def compute(x, labels, covariates):
            drawn = draw_futures(self.module_, x, n_draws, generator, labels, covariates)
            return drawn[:, :n_samples]

        return self._infer_futures(
            X, future_covariates, compute, self._to_many_futures, factors=factors
        )

    def score_samples(self, X: ArrayLike, factors: ArrayLike | None = None) -> np.ndarray:
        """Lower bound of the log density of windows: the lower, the more unusual.

        It is that of log p(x), and of log p(x | k) where the labels k are known: how unusual a
        window is for its classes, however rare these are.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, of windows standardised as inside the model: the reconstruction less both
            divergences of :meth:`score_terms`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.

        See Also
        --------
        score_terms : Where it comes from.
        """
        terms = self.score_terms(X, factors)
        return terms["reconstruction"] - terms["kl_a"] - terms["kl_b"]

    def score_terms(self, X: ArrayLike, factors: ArrayLike | None = None) -> dict[str, np.ndarray]:
        """Terms of the lower bound of the log density of windows, log p(x) or log p(x | k).

        Futures have no part in them. Expectations are means over draws of the latent variables
        that are the same for every window and in every call.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.

        Returns
        -------
        terms : dict of ndarray of shape (n_samples,)
            In nats: "reconstruction", the expectation of log p(x | a, b); "kl_a" and "kl_b", the
            divergences of the conditional and of the marginal dimensions from their priors. A
            factor whose label is known adds nothing to "kl_b". They
            say why a window is unusual: the latent variables cannot reproduce its course, or they
            are unlikely themselves.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.

        See Also
        --------
        score_samples : The bound itself.
        """
        terms = self._infer(
            X,
            lambda x, labels: torch.stack(bound_terms(self.module_, x, labels), dim=1),
            factors=factors,
        )
        return dict(zip(("reconstruction", "kl_a", "kl_b"), terms.T, strict=True))

    def _to_many_futures(self, values: np.ndarray) -> np.ndarray:
        """Return futures `(n, n_futures, horizon, n_targets)` in the shape and units of `y`."""
        futures = self._y_scaling.invert(values)
        return np.moveaxis(futures.reshape(*values.shape[:2], *self._future_shape), 1, -1)
