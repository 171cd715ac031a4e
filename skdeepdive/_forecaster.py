"""The estimator: arrays in, arrays out."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from ._fitting import Sizes, fit_module
from ._progress import progress
from ._torch_utils import WindowData, for_inference, resolve_device, to_array, to_numpy_dtype
from ._training import Settings
from ._validation import (
    LATENTS,
    check_batch_size,
    check_choice,
    check_factors,
    check_finite,
    check_fitted_shape,
    check_flag,
    check_futures,
    check_integer,
    check_number,
    check_numeric,
    check_validation_split,
    check_window_shape,
    to_windows,
)

# Finiteness is checked apart, in chunks: windows are views that must not be copied.
_X_CHECKS = {"dtype": "numeric", "allow_nd": True, "ensure_all_finite": False}
_Y_CHECKS = {
    **_X_CHECKS,
    "ensure_2d": False,
    "ensure_min_samples": 0,
    "ensure_min_features": 0,
}

# Values of the windows in one batch of inference (16 MB in single precision).
_INFERENCE_ENTRIES = 2**22


def _has_marginal(estimator: "DeepDIVEForecaster") -> bool:
    if estimator.latent == "conditional":
        raise AttributeError(
            "latent='conditional' has no marginal dimensions, so there are no clusters to predict."
        )
    return True


class DeepDIVEForecaster(MultiOutputMixin, RegressorMixin, TransformerMixin, BaseEstimator):
    """Forecast time-series windows with a variational autoencoder that one can look inside.

    A window is encoded into *marginal* dimensions, one group for each factor (a label known for
    the training windows, such as hour, weekday or gait type), and *conditional* dimensions, all
    the rest. An RBF layer reads every factor from its own marginal dimensions alone.
    Cross-attention fuses both parts, and two decoders turn them into the window and its future.

    Training starts in closed form. The forecast is a ridge regression from the window plus, where
    they help, a map for every class, weighed by how likely the class is; the marginal dimensions
    start at Fisher's linear discriminants of the labels, which unlabelled windows refine. Labels,
    reconstruction and a latent correction of the forecast are then trained interleaved: every
    mini-batch takes a step for labels and for the rest, on parameters of their own, so that
    neither objective disturbs the other. (Discovered clusters are an exception: the reconstruction
    shapes them.) In the end the correction starts anew from the finished latent dimensions, and
    the validation windows say how much of it is kept. Data are standardised inside, and forecasts
    come in the units of `y`.

    Parameters
    ----------
    n_channels : int or None, default=None
        Number of channels of a flattened 2-D `X`, whose columns run over the channels of the first
        time step, then those of the second, and so on. None: 2-D input has one channel.
    latent : {"both", "conditional", "marginal"}, default="both"
        The latent parts. "conditional" is a variational autoencoder with a forecast branch, which
        ignores factors; "marginal" keeps the factors' dimensions alone.
    n_clusters : int, default=8
        Number of clusters to discover where no factors are given; fewer where there are fewer
        distinct windows.
    n_marginal : int, default=8
        Most marginal dimensions of a factor; it never has more than its number of classes less
        one, which already place all classes at equal distances.
    n_conditional : int, default=16
        Number of conditional dimensions.
    n_hidden : int, default=256
        Width of the hidden layers.
    max_epochs : int, default=20
        Most passes over the training windows. Up to ten on the labels alone come before them and
        up to ten on the forecast alone after them; both end after three without improvement.
    batch_size : int or "auto", default="auto"
        Windows in a gradient step. "auto" takes a 32nd of the training windows, but between 16 and
        256, so that a few windows train for enough steps.
    learning_rate : float, default=1e-3
        Step size of Adam for the conditional path; that of the marginal path follows from it.
    early_stopping : bool, default=True
        Stop when the loss on the validation windows (the negative lower bound plus the
        cross-entropies) has not improved for `n_iter_no_change` epochs, and keep the weights of
        its best epoch. False: run `max_epochs` epochs and keep
        the last weights; the validation windows then choose the penalties of the closed-form
        start and the shrinkage of the correction only.
    validation_fraction : float, default=0.2
        Part of the windows, the last in their order, that is held out for validation. Windows
        overlap, so a random part would leak; those whose futures reach into the held-out ones are
        not trained on.
    n_iter_no_change : int, default=5
        Patience of early stopping, in epochs.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the batches and the draws of the latent
        variables. An integer gives the same result every time on the same machine. No global
        generator is used.
    device : str, default="auto"
        A torch device such as "cpu" or "cuda:0"; "auto" takes CUDA where there is one.
    verbose : int, default=0
        1 shows progress on standard error: a bar where tqdm is installed, otherwise one line an
        epoch.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained networks.
    factor_names_ : list of str
        Names of the factors: the columns of `factors`, "factor0" and so on, or "cluster".
    factor_classes_ : list of ndarray
        Labels of every factor, sorted.
    history_ : dict of ndarray
        One entry for each epoch: its phase ("marginal", "interleaved", then "forecast"), its
        number, the mean terms of the objective in nats per window on training and validation
        windows, and the validation loss, which early stopping follows. NaN where a phase has no
        such term.
    n_iter_ : int
        Number of interleaved epochs run.
    n_timesteps_, n_channels_, horizon_, n_targets_ : int
        Shapes of windows and futures.
    n_features_in_ : int
        Size of the second axis of `X`.
    feature_names_in_ : ndarray of str
        Column names of `X`, where it was a DataFrame with string columns.

    See Also
    --------
    skdeepdive.sliding_windows : Cut a series into windows and futures.
    skdeepdive.calendar_factors : Labels from timestamps.

    Notes
    -----
    Training runs in single precision, everything after it in double, so that the result for a
    window does not depend on which others come along. Results are float32 for float32 input,
    otherwise float64. Clusters are started by KMeans on the windows' principal components.

    References
    ----------
    .. [1] Wong, Cheu, Chiam, Srinivasan, "Disentangled Interleaving Variational Encoding",
       arXiv:2501.08710.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> time = np.arange(400)
    >>> load = 5 + np.sin(2 * np.pi * time / 24)
    >>> X, y, origin = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = DeepDIVEForecaster(max_epochs=2, random_state=0)
    >>> model.fit(X, y, factors=origin % 24).predict(X[-1:]).shape
    (1, 24)
    >>> int(model.predict_cluster(X[-1:])[0]), int(origin[-1] % 24)
    (15, 15)
    """

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        latent: str = "both",
        n_clusters: int = 8,
        n_marginal: int = 8,
        n_conditional: int = 16,
        n_hidden: int = 256,
        max_epochs: int = 20,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 5,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ):
        self.n_channels = n_channels
        self.latent = latent
        self.n_clusters = n_clusters
        self.n_marginal = n_marginal
        self.n_conditional = n_conditional
        self.n_hidden = n_hidden
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, factors: ArrayLike | None = None):
        """Train on windows and their futures.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels)
            Windows, in chronological order. Read-only views such as those of
            :func:`~skdeepdive.sliding_windows` are never copied as a whole.
        y : array-like of shape (n_samples,), (n_samples, horizon) or \
                (n_samples, horizon, n_targets)
            The future of every window.
        factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels of every window: strings or integers; -1, None or NaN where unknown. The columns
            of a DataFrame name the factors. None: clusters are discovered.

        Returns
        -------
        self : DeepDIVEForecaster

        Raises
        ------
        ValueError
            If a value or shape is not as described: NaN or infinity, arrays of different length,
            fewer than two windows or none left for validation, a factor with a single class or
            no labelled window. An estimator that was fitted before stays as it was.
        TypeError
            If a parameter has the wrong type.
        FloatingPointError
            If training diverges.
        """
        fitted = copy.copy(self)
        fitted._fit(X, y, factors)
        vars(self).clear()
        vars(self).update(vars(fitted))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Forecast the future of windows.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        y : ndarray of the shape of `y` given to `fit`, n_samples aside
            In the units of `y`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds NaN or infinity.
        """
        return self._infer(X, lambda x: self.module_.forecast(x), self._to_futures)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Embed windows into the latent space.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        Z : ndarray of shape (n_samples, n_latent)
            Posterior means: the marginal dimensions of every factor, then the conditional ones.
            :meth:`get_feature_names_out` names them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds NaN or infinity.
        """
        return self._infer(X, self._embed)

    @available_if(_has_marginal)
    def predict_cluster(self, X: ArrayLike) -> np.ndarray:
        """Assign windows to the cluster of the greatest RBF response, for every factor.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_factors)
            In the labels given to `fit`: one column for each factor, in the order of
            `factor_names_`; a single factor gives a single dimension.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds NaN or infinity.
        """
        proba = self._cluster_proba(X)
        columns = [
            classes[p.argmax(axis=1)]
            for classes, p in zip(self.factor_classes_, proba, strict=True)
        ]
        if len(columns) == 1:
            return columns[0]
        if len({column.dtype.kind for column in columns}) > 1:
            columns = [column.astype(object) for column in columns]
        return np.stack(columns, axis=1)

    @available_if(_has_marginal)
    def predict_cluster_proba(self, X: ArrayLike) -> np.ndarray | list[np.ndarray]:
        """Cluster posterior p(k | b), the normalised RBF responses, for every factor.

        It is taken at the posterior mean of b, so it leaves out how uncertain b itself is.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), or a list of them
            Columns in the order of `factor_classes_`. A list, with one array for each factor, where
            there are several factors.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds NaN or infinity.
        """
        proba = self._cluster_proba(X)
        return proba[0] if len(proba) == 1 else proba

    def inverse_transform(self, Z: ArrayLike) -> np.ndarray:
        """Decode windows from embeddings.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_latent)
            Embeddings as :meth:`transform` returns them.

        Returns
        -------
        X : ndarray of the shape given to `fit`, n_samples aside
            In the units of `X`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `Z` has another number of columns than there are latent dimensions.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
        n_latent = len(self.get_feature_names_out())
        if Z.shape[1] != n_latent:
            raise ValueError(
                f"'Z' must have {n_latent} columns, one a latent dimension, got {Z.shape[1]}."
            )
        with torch.inference_mode():
            like = self._parameter
            embedding = torch.tensor(Z, dtype=like.dtype, device=like.device)
            decoded = self.module_.decode_embedding(embedding).cpu().numpy()
        return _match_precision(self._to_windows(decoded), Z)

    def reconstruct(self, X: ArrayLike) -> np.ndarray:
        """Decode windows from their own embeddings.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        X_reconstructed : ndarray of the shape of `X`
            In the units of `X`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds NaN or infinity.
        """
        return self._infer(
            X, lambda x: self.module_.decode_embedding(self._embed(x)), self._to_windows
        )

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination R² of the forecasts.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        y : array-like of the shape given to `fit`, n_samples aside
            The true futures.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the windows.

        Returns
        -------
        score : float
            Mean of R² over all steps and targets of the future.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `y` has another shape than the forecasts, or as for :meth:`predict`.
        """
        forecast = self.predict(X)
        y = check_futures(check_numeric("y", to_array(y)), len(forecast))
        if y.shape != forecast.shape:
            raise ValueError(
                f"'y' must have shape {forecast.shape}, as the forecasts, got {y.shape}."
            )
        flat = (len(y), -1)
        return r2_score(y.reshape(flat), forecast.reshape(flat), sample_weight=sample_weight)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """Name the latent dimensions.

        Parameters
        ----------
        input_features : ignored
            Present for consistency with scikit-learn.

        Returns
        -------
        names : ndarray of str
            Such as "hour_0" for the first marginal dimension of factor "hour", and
            "conditional_0".
        """
        check_is_fitted(self)
        names = [
            f"{name}_{j}"
            for name, n_dims in zip(self.factor_names_, self.module_.factor_dims, strict=True)
            for j in range(n_dims)
        ]
        names += [f"conditional_{j}" for j in range(self.module_.n_conditional)]
        return np.asarray(names, dtype=object)

    def _fit(self, X, y, factors) -> None:
        sizes, device = self._check_parameters()
        X = check_numeric("X", to_array(X))
        y = y if y is None else check_numeric("y", to_array(y))
        if len(X.shape) != 2:
            check_window_shape(X, self.n_channels)
        X, y = validate_data(
            self, X, y, validate_separately=({**_X_CHECKS, "ensure_min_samples": 2}, _Y_CHECKS)
        )
        check_window_shape(X, self.n_channels)
        y = check_futures(y, len(X))
        windows = to_windows(X, self.n_channels)
        futures = y.reshape(*y.shape, *(1,) * (3 - y.ndim))
        check_finite("X", windows)
        check_finite("y", futures)
        n_valid = check_validation_split(len(X), self.validation_fraction)
        if factors is not None:
            factors = check_factors(factors, len(X))
        with progress(self.verbose, self.max_epochs) as report:
            settings = Settings(
                max_epochs=self.max_epochs,
                batch_size=self._batch_size(len(X) - n_valid),
                learning_rate=self.learning_rate,
                patience=self.n_iter_no_change if self.early_stopping else None,
                seed=_seed(self.random_state),
                report=report,
            )
            trained = fit_module(windows, futures, factors, n_valid, sizes, settings, device)
        self._window_shape, self._future_shape = X.shape[1:], y.shape[1:]
        self._keep(trained)

    def _keep(self, trained) -> None:
        self.module_ = for_inference(trained.module)
        self._x_scaling, self._y_scaling = trained.x_scaling, trained.y_scaling
        self.factor_names_ = trained.factors.names
        self.factor_classes_ = trained.factors.classes
        self.history_ = _columns(trained.history)
        self.n_iter_ = int((self.history_["phase"] == "interleaved").sum())
        self.n_timesteps_, self.n_channels_ = trained.module.window_shape
        self.horizon_, self.n_targets_ = trained.module.future_shape

    def _check_parameters(self) -> tuple[Sizes, torch.device]:
        if self.n_channels is not None:
            check_integer("n_channels", self.n_channels)
        check_choice("latent", self.latent, LATENTS)
        for name in ("n_clusters", "n_marginal", "n_conditional", "n_hidden", "max_epochs",
                     "n_iter_no_change"):  # fmt: skip
            check_integer(name, getattr(self, name))
        check_batch_size(self.batch_size)
        check_flag("early_stopping", self.early_stopping)
        check_integer("verbose", self.verbose, minimum=0)
        check_number("learning_rate", self.learning_rate)
        check_number("validation_fraction", self.validation_fraction, upper=1.0)
        sizes = Sizes(
            n_marginal=0 if self.latent == "conditional" else self.n_marginal,
            n_conditional=0 if self.latent == "marginal" else self.n_conditional,
            n_hidden=self.n_hidden,
            n_clusters=self.n_clusters,
        )
        return sizes, resolve_device(self.device)

    def _batch_size(self, n_fit: int) -> int:
        return min(256, max(16, n_fit // 32)) if self.batch_size == "auto" else self.batch_size

    def _infer(self, X, compute, finish=lambda values: values) -> np.ndarray:
        """Check windows and compute something of them, batch by batch: all outputs start here."""
        windows = self._check_windows(X)
        data = WindowData(
            windows,
            None,
            None,
            self._x_scaling,
            self._y_scaling,
            self._parameter.device,
            to_numpy_dtype(self._parameter.dtype),
        )
        batch_size = max(1, _INFERENCE_ENTRIES // windows[0].size)
        with torch.inference_mode():
            parts = [compute(x).cpu().numpy() for x, _, _ in data.batches(batch_size)]
        return _match_precision(finish(np.concatenate(parts)), windows)

    def _check_windows(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = check_numeric("X", to_array(X))
        check_fitted_shape(X, self._window_shape)
        X = validate_data(self, X, reset=False, **_X_CHECKS)
        windows = to_windows(X, self.n_channels_)
        check_finite("X", windows)
        return windows

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        latents = self.module_.infer(x)
        return torch.cat([part for part in (latents.b, latents.a) if part is not None], dim=1)

    def _cluster_proba(self, X) -> list[np.ndarray]:
        def responses(x):
            latents = self.module_.infer_marginal(x)
            return torch.cat(self.module_.log_responses(latents.b), dim=1).exp()

        check_is_fitted(self)
        counts = [len(classes) for classes in self.factor_classes_]
        return np.split(self._infer(X, responses), np.cumsum(counts)[:-1], axis=1)

    def _to_windows(self, values: np.ndarray) -> np.ndarray:
        return self._x_scaling.invert(values).reshape(len(values), *self._window_shape)

    def _to_futures(self, values: np.ndarray) -> np.ndarray:
        return self._y_scaling.invert(values).reshape(len(values), *self._future_shape)

    @property
    def _parameter(self) -> torch.Tensor:
        """A parameter of the networks, for their device and precision."""
        return next(self.module_.parameters())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Move the networks to the CPU, so that a model fitted elsewhere opens anywhere."""
        state = super().__getstate__()
        if "module_" in state and self._parameter.device.type != "cpu":
            state = {**state, "module_": copy.deepcopy(self.module_).cpu()}
        return state


def _match_precision(values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Single precision for single-precision inputs, double for all others."""
    return values.astype(np.float32 if inputs.dtype == np.float32 else np.float64, copy=False)


def _seed(random_state) -> int:
    if random_state is None:  # fresh entropy: check_random_state would draw from NumPy's global one
        return int(np.random.default_rng().integers(2**31))
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError as error:
        raise ValueError(
            "'random_state' must be an integer from 0 to 2**32 - 1, a RandomState instance or "
            f"None, got {random_state!r}."
        ) from error


def _columns(history: list[dict]) -> dict[str, np.ndarray]:
    """One array for each name in the records, NaN where a record lacks it."""
    names = dict.fromkeys(name for record in history for name in record)
    return {name: np.array([record.get(name, np.nan) for record in history]) for name in names}
