"""Explain forecasts: attribution, counterfactuals, traversals of latent dimensions."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_dimension, check_values
from .._data.labels import UNLABELLED, check_labels_of_factors
from ..nn.explain import attention_weights, attribute_forecast, intervene
from ..nn.module import DeepDIVE, Latents
from .callbacks import Method

if TYPE_CHECKING:  # what it is mixed into
    from .labelled import LabelledForecaster as _Forecaster
else:
    _Forecaster = object


def _has_marginal(estimator: "ExplanationMixin") -> bool:
    if estimator.latent == "conditional":
        raise AttributeError(
            "latent='conditional' has no marginal dimensions, so there are no clusters to predict "
            "and no factors to attend to."
        )
    return True


def where_marginal(method: Method) -> Method:
    """Offer a method where there are marginal dimensions; type checkers see its signature."""
    # Of a private class, but errors quote the name.
    method.__qualname__ = f"DeepDIVEForecaster.{method.__name__}"
    return available_if(_has_marginal)(method)


class ExplanationMixin(_Forecaster):
    """Explanations of a forecaster that has factors in its latent space: why, and what if."""

    latent: str
    module_: DeepDIVE

    @property
    def factor_priors_(self) -> list[Bunch]:
        """Mixture over the marginal dimensions of every factor, in units of `transform`.

        Each is a Bunch of `weights` (n_classes,), `centres` (n_classes, n_dims) and `scales`
        (n_classes,): frequency, centre and standard deviation of the normal component of every
        class, in the order of `factor_classes_`. The list is empty without marginal dimensions.
        """
        check_is_fitted(self)
        return [
            Bunch(
                weights=prior.log_weights.exp().numpy(force=True),
                centres=prior.centres.numpy(force=True).copy(),
                scales=prior.scales.numpy(force=True),
            )
            for prior in self.module_.priors
        ]

    def counterfactual(
        self,
        X: ArrayLike,
        factors: Mapping[str, Any] | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> Bunch:
        """Tell what windows and forecasts would be, had factors or covariates been others.

        The marginal dimensions of a factor are put at the centre of the label, all others stay. The
        window changes by as much as what is decoded from the latent dimensions does, so that it
        keeps what is its own; the forecast is that of the changed window and dimensions.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        factors : dict of str to label, default=None
            The labels to assume, by the names of their factors (`factor_names_`). None: those of
            the windows, where there are covariates to assume.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            The covariates to assume for the horizon, such as a day warmer by five degrees; required
            if `fit` had them. They change the forecast and leave the window.

        Returns
        -------
        what_if : Bunch
            forecast : ndarray of the shape of `y` given to `fit`, n_samples aside
                In the units of `y`.
            window : ndarray of the shape of `X`
                In the units of `X`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there is no such factor or label, if `X` or `future_covariates` have another shape
            than in `fit`, or hold infinity; if covariates are NaN.
        TypeError
            If `factors` is no dict, or is empty; if it is None and there are no covariates.

        See Also
        --------
        traverse : Move along a single latent dimension.

        Notes
        -----
        A label stands for what goes with it in the training windows, not for what it causes. Labels
        of :func:`~skdeepdive.calendar_factors` are those of the origin, the last step of the
        window, not those of the steps that are forecast.

        Examples
        --------
        >>> import numpy as np
        >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
        >>> load = np.sin(2 * np.pi * np.arange(400) / 24)
        >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
        >>> model = DeepDIVEForecaster(max_epochs=2, random_state=0)
        >>> model = model.fit(X, y, factors=origin % 24)
        >>> model.counterfactual(X[:3], {"factor0": 12}).forecast.shape
        (3, 24)
        """
        check_is_fitted(self)
        codes = np.full(len(self.factor_names_), UNLABELLED)
        if factors is not None or future_covariates is None:
            labels = check_labels_of_factors("factors", factors, self._known_factors())
            codes[list(labels)] = list(labels.values())

        def change(latents):
            assumed = torch.from_numpy(codes).to(latents.b.device).expand(len(latents.b), -1)
            return self.module_.assume(latents, assumed)

        return self._intervene(X, future_covariates, change)

    def traverse(
        self,
        X: ArrayLike,
        dimension: str | int,
        values: ArrayLike,
        future_covariates: ArrayLike | None = None,
    ) -> Bunch:
        """Tell what windows and forecasts would be, had a latent dimension other values.

        As :meth:`counterfactual`, for a single dimension.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        dimension : str or int
            Name of the dimension as in :meth:`get_feature_names_out`, or its position.
        values : array-like of shape (n_values,)
            What it is to be, in units of :meth:`transform`; a priori a conditional dimension has
            mean 0 and deviation 1.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        what_if : Bunch
            forecast : ndarray of the shape of `y` given to `fit`, and (n_values,)
                In the units of `y`; the last axis runs over `values`.
            window : ndarray of the shape of `X`, and (n_values,)
                In the units of `X`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there is no such dimension, if `values` are not finite numbers in one dimension, if
            `X` has another shape than in `fit`, or holds infinity.
        """
        names = self.get_feature_names_out().tolist()
        position = check_dimension("dimension", dimension, names)

        def change_to(value):
            def change(latents):
                changed = self.module_.embedding_of(latents)
                changed[:, position] = value
                return self.module_.latents_at(changed)

            return change

        steps = [
            self._intervene(X, future_covariates, change_to(value))
            for value in check_values("values", values)
        ]
        return Bunch(
            forecast=np.stack([step.forecast for step in steps], axis=-1),
            window=np.stack([step.window for step in steps], axis=-1),
        )

    def attribute(
        self,
        X: ArrayLike,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> Bunch:
        """Split forecasts into what each part of the model contributes.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that are known, as in :meth:`predict`.
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        parts : Bunch
            Arrays of the shape of the forecasts, in the units of `y`, whose sum is the forecast:

            level : ndarray
                The last value of the series that a target continues; the mean of the training
                futures where none is known to correspond.
            linear : ndarray
                The linear map from the window to its future, for a window of unknown classes.
            window : ndarray
                What the networks read from the window beside the latent dimensions.
            factors : dict of str to ndarray
                What knowing the classes of each factor adds.
            conditional : ndarray
                What knowing the conditional dimensions adds; zero where there are none.
            covariates : ndarray
                What knowing the covariates of the horizon adds; zero where there are none.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.

        Notes
        -----
        What factors, conditional dimensions and covariates add is their Shapley value: the mean,
        over all orders in which they may become known, of the change in the forecast. An unknown
        factor has the frequencies of its classes, unknown conditional dimensions their mean a
        priori; without covariates the forecast is that from the window alone. All subsets of them
        are forecast, 2 to the power of their number.

        References
        ----------
        .. [1] Lundberg, Lee (2017). A unified approach to interpreting model predictions. Advances
           in Neural Information Processing Systems 30.
        """
        parts = self._infer_futures(
            X,
            future_covariates,
            lambda x, labels, covariates: attribute_forecast(self.module_, x, labels, covariates),
            self._to_parts,
            factors=factors,
        )
        level, linear, window, *shares = np.moveaxis(parts, 1, 0)
        covariates = shares.pop() if self.n_covariates_ else np.zeros_like(level)
        if self.module_.n_conditional:
            *shares, conditional = shares
        else:
            conditional = np.zeros_like(level)
        factors = dict(zip(self.factor_names_, shares, strict=True))
        return Bunch(
            level=level,
            linear=linear,
            window=window,
            factors=factors,
            conditional=conditional,
            covariates=covariates,
        )

    @where_marginal
    def attention(self, X: ArrayLike) -> np.ndarray:
        """Tell how much each conditional dimension attends to each factor.

        Cross-attention fuses the conditional dimensions with the factors for both decoders. These
        are its weights at the posterior means, averaged over its heads.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        weights : ndarray of shape (n_samples, n_queries, n_factors + 1)
            A query is a conditional dimension, in the order of :meth:`get_feature_names_out`; with
            ``latent="marginal"`` it is one of eight learned constants. The last axis has the
            factors, in the order of `factor_names_`, and then the weight of no factor. It sums to
            one.

        Raises
        ------
        NotFittedError
            Before `fit`.
        AttributeError
            With ``latent="conditional"``, where there are no factors.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.

        See Also
        --------
        attribute : What every factor contributes to a forecast, in the units of `y`.
        skdeepdive.inspection.AttentionDisplay : Heat map of the weights.

        Notes
        -----
        A weight says what the fusion reads, not what follows from it; how far attention explains a
        prediction is disputed [1]_ [2]_. Here it explains little. On the bundled data the weights
        are nearly even, ``1 / (n_factors + 1)`` each. What is left of their pattern depends mostly
        on `random_state`, though the conditional dimensions do not, and with even weights in their
        place forecasts are as good. Ask :meth:`attribute` what a factor contributes, and compare
        the weights of several seeds before reading anything into them.

        References
        ----------
        .. [1] Jain, Wallace (2019). Attention is not explanation. NAACL-HLT.
        .. [2] Wiegreffe, Pinter (2019). Attention is not not explanation. EMNLP-IJCNLP.

        Examples
        --------
        >>> import numpy as np
        >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
        >>> load = np.sin(2 * np.pi * np.arange(400) / 24)
        >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
        >>> model = DeepDIVEForecaster(max_epochs=2, n_conditional=4, random_state=0)
        >>> weights = model.fit(X, y, factors=origin % 24).attention(X[:3])
        >>> weights.shape
        (3, 4, 2)
        >>> bool(np.allclose(weights.sum(axis=2), 1))
        True
        """
        return self._infer(X, lambda x, labels: attention_weights(self.module_, x))

    def _to_parts(self, values: np.ndarray) -> np.ndarray:
        """Return parts of forecasts in the units of y; the first carries what scaling took away."""
        parts = values * self._y_scaling.scale
        parts[:, 0] += self._y_scaling.loc
        return parts.reshape(*parts.shape[:2], *self._future_shape)

    def _intervene(
        self,
        X: ArrayLike,
        future_covariates: ArrayLike | None,
        change: Callable[[Latents], Latents],
    ) -> Bunch:
        def both(x, labels, covariates):
            window, forecast = intervene(self.module_, x, change, covariates)
            return torch.cat([window.flatten(1), forecast.flatten(1)], dim=1)

        n_entries = self.n_timesteps_ * self.n_channels_

        def to_units(values):
            window = values[:, :n_entries].reshape(-1, self.n_timesteps_, self.n_channels_)
            forecast = values[:, n_entries:].reshape(-1, self.horizon_, self.n_targets_)
            found = (self._to_windows(window), self._to_futures(forecast))
            return np.concatenate([part.reshape(len(values), -1) for part in found], axis=1)

        values = self._infer_futures(X, future_covariates, both, to_units)
        return Bunch(
            forecast=values[:, n_entries:].reshape(-1, *self._future_shape),
            window=values[:, :n_entries].reshape(-1, *self._window_shape),
        )
