"""BaseForecaster, which all estimators share: checks, forecasts, embeddings, saving."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.batches import count_rows
from .._data.checks import (
    check_fitted_shape,
    check_flag,
    check_futures,
    check_integer,
    check_integer_or_auto,
    check_number,
    check_numeric,
    check_path,
    check_validation_split,
    check_window_shape,
    naming,
    shape_text,
    to_windows,
)
from .._data.covariates import check_covariates, check_known_covariates
from .._data.devices import to_array, to_numpy_dtype, to_tensor
from .._data.rows import check_finite, check_futures_observed, check_observed, first_values
from .._data.scores import mean_r2
from .._data.threads import threads_for
from .._data.validation import check_groups, last_groups, share_steps
from .._saving import file
from .._saving.plain import Networks, from_plain, make_module, plain_module, to_plain
from .._train.distributed import Processes
from .._train.phases import INTERLEAVED
from .callbacks import CallbackSupportMixin
from .fit import Fitted, Plan, Windows
from .naming import name_inherited_methods
from .run import FitRun, Task

# Finiteness is checked apart, in chunks: windows are views that must not be copied.
_X_CHECKS = {"dtype": "numeric", "allow_nd": True, "ensure_all_finite": False}

# Values of the windows in one batch of inference: few enough for the cache (8 MB in doubles).
_INFERENCE_ENTRIES = 2**20

Self = TypeVar("Self", bound="BaseForecaster")


class BaseForecaster(
    CallbackSupportMixin, MultiOutputMixin, RegressorMixin, TransformerMixin, BaseEstimator
):
    """Forecast, embed and reconstruct windows with a trained module.

    Estimators implement `_make_task`, the computation of a fit, and `_latent_names`. Their
    module, a `_MODULE`, offers `forecast`, `embed` and `decode_embedding`, and a `configuration`
    from which `blank` makes another.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        if "__init__" in vars(cls):
            name_inherited_methods(cls)
        super().__init_subclass__(**options)  # wraps `transform` where a class has its own

    # scikit-learn takes every argument but X and y for metadata; embeddings are none.
    __metadata_request__inverse_transform = {"Z": UNUSED}  # noqa: RUF012

    _MODULE: type[Networks]
    module_: Networks
    _window_shape: tuple[int, ...]
    _future_shape: tuple[int, ...]
    _covariate_columns: list[str]

    # Parameters that are positive integers, or those or "auto"; estimators add their own.
    _SIZES: tuple[str, ...] = ("n_hidden", "n_iter_no_change")
    _SIZES_OR_AUTO: tuple[str, ...] = ("batch_size",)

    def predict(self, X: ArrayLike, *, future_covariates: ArrayLike | None = None) -> np.ndarray:
        """Forecast the future of windows.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
        future_covariates : array-like of the shape given to `fit`, n_samples aside, default=None
            What is known of the horizon; required if `fit` had it.

        Returns
        -------
        y : ndarray of the shape of `y` given to `fit`, n_samples aside
            In the units of `y`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` or `future_covariates` have another shape than in `fit`, or hold infinity; if
            covariates are NaN.
        """
        return self._infer_futures(
            X,
            future_covariates,
            lambda x, labels, covariates: self.module_.forecast(x, covariates=covariates),
            self._to_futures,
        )

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Embed windows into the latent space.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        Z : ndarray of shape (n_samples, n_latent)
            Posterior means of the latent dimensions, which :meth:`get_feature_names_out` names.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.
        """
        return self._infer(X, lambda x, labels: self.module_.embed(x))

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
        Z = check_numeric("Z", to_array("Z", Z))
        with naming("Z"), np.errstate(over="ignore"):
            array: np.ndarray = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
        n_latent = len(self.get_feature_names_out())
        if array.shape[1] != n_latent:
            raise ValueError(
                f"'Z' must have {n_latent} columns, one for each latent dimension, got "
                f"{array.shape[1]}."
            )
        with torch.inference_mode():
            like = self._parameter
            embedding = torch.tensor(
                np.ascontiguousarray(array), dtype=like.dtype, device=like.device
            )
            decoded = self.module_.decode_embedding(embedding).cpu().numpy()
        return _match_precision("Z", self._to_windows(decoded), array)

    @overload
    def reconstruct(self, X: ArrayLike, return_std: Literal[False] = ...) -> np.ndarray: ...

    @overload
    def reconstruct(
        self, X: ArrayLike, return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def reconstruct(
        self, X: ArrayLike, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Decode windows from their own embeddings, and fill their gaps.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside
            NaN is missing.
        return_std : bool, default=False
            Whether to return how far values are expected to be from the result.

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
            If `X` has another shape than in `fit`, or holds infinity.
        """
        return self._reconstruct(X, return_std, lambda x, labels: self.module_.reconstruct(x))

    def _reconstruct(
        self,
        X: Any,
        return_std: bool,
        decode: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        factors: Any = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        with_deviation = check_flag("return_std", return_std)
        decoded = self._infer(X, decode, self._to_windows, factors=factors)
        if not with_deviation:
            return decoded

        def deviation(x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            missing = self.module_.features.completion.deviation(x)
            return torch.where(x.isnan(), missing, self.module_.window_scale)

        def in_units(values: np.ndarray) -> np.ndarray:
            scaled = values * self._x_scaling.scale
            return scaled.reshape(len(values), *self._window_shape)

        return decoded, self._infer(X, deviation, in_units)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
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
        forecast = self.predict(X, future_covariates=future_covariates)
        return self._r2_score(forecast, y, sample_weight)

    def _r2_score(self, forecast: np.ndarray, y: Any, sample_weight: Any) -> float:
        y, _ = _to_futures("y", y, len(forecast))
        if y.shape != forecast.shape:
            raise ValueError(
                f"'y' must have shape {forecast.shape}, as the forecasts, got {y.shape}."
            )
        if len(y) < 2:
            raise ValueError("'y' must hold at least two windows: R² of a single one is undefined.")
        # R² does not depend on unit and zero. In units of the model nothing overflows. With the
        # first known value of a step as zero, those that equal it are exactly 0.
        zero = first_values(y.reshape(len(y), 1, -1)).reshape(1, *y.shape[1:])
        true, found = (self._in_model_units(futures, zero) for futures in (y, forecast))
        with naming("sample_weight"), np.errstate(over="ignore", invalid="ignore"):
            score = mean_r2(true, found, sample_weight)
        if not np.isfinite(score):
            raise ValueError("'y' is too far from the forecasts for R² to be a number.")
        return score

    def _in_model_units(self, y: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """Subtract `zero`, divide by the target scale, and flatten each future to a row."""
        difference = np.subtract(y, zero, dtype=np.float64)
        difference = difference.reshape(len(y), self.horizon_, self.n_targets_)
        return (difference / self._y_scaling.scale).reshape(len(y), -1)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """Name the latent dimensions.

        Parameters
        ----------
        input_features : ignored
            Present for consistency with scikit-learn.

        Returns
        -------
        names : ndarray of str
            In the order of the columns of :meth:`transform`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        return np.asarray(self._latent_names(), dtype=object)

    def save(self, path: str | os.PathLike) -> None:
        """Save the fitted model to a file that can be opened without trusting it.

        One safetensors file: the weights as arrays, everything else as JSON in its header. It
        needs safetensors (``pip install "skdeepdive[io]"``). The file appears at one stroke; where
        writing fails, what was at `path` stays.

        Parameters
        ----------
        path : str or path-like
            Where to save; a file that is there is replaced.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If `path` is no path; if something cannot be put into the file: an estimator of another
            class than those of this package, a `random_state` that is a RandomState instance,
            labels of factors that are neither numbers nor strings of at most 1000 characters.
        ValueError
            If a parameter was set to an invalid value after `fit`.
        OSError
            If the file cannot be written: `path` is a folder, or in one that does not exist.
        ImportError
            If safetensors is not installed.

        See Also
        --------
        load : Open the file.

        Notes
        -----
        Kept are the parameters, everything that `fit` learned and the choice of
        ``set_output``; requests for metadata routing are not. pickle, joblib and skops keep
        those too.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from skdeepdive import sliding_windows
        >>> from skdeepdive.baselines import VAEForecaster
        >>> load = 5 + np.sin(2 * np.pi * np.arange(200) / 24)
        >>> X, y, _ = sliding_windows(load, n_timesteps=48, horizon=24)
        >>> model = VAEForecaster(n_hidden=8, max_epochs=1, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(Path(folder) / "load.safetensors")
        ...     loaded = VAEForecaster.load(Path(folder) / "load.safetensors")
        >>> bool((loaded.predict(X) == model.predict(X)).all())
        True
        """
        check_is_fitted(self)
        file.write(path, self.__getstate__(), type(self))

    @classmethod
    def load(cls: type[Self], path: str | os.PathLike) -> Self:
        """Open a model that `save` wrote.

        Nothing in the file is run, and the memory it takes is bounded by its size, so that it need
        not be trusted: it is checked before the weights are read.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        model : estimator of this class
            Its outputs are those of the saved model, bit by bit. It computes on the device of the
            saved one, or on the CPU where this machine has no such device; with ``device="auto"``
            the machine decides anew.

        Raises
        ------
        TypeError
            If `path` is no path.
        ValueError
            If the file is damaged or no such file, holds an estimator of another class, or is in
            the format of another release.
        OSError
            If there is no file, or it cannot be read.
        ImportError
            If safetensors is not installed.

        See Also
        --------
        save : Write the file.
        """
        model = cls.__new__(cls)
        model.__setstate__(file.read(path, cls))
        return model

    def _fit(self: Self, X: Any, y: Any, *labels: Any, plan: Plan, **options: Any) -> Self:
        """Fit by a plan; an estimator that was fitted before stays as it was until it succeeds.

        Options are covariates and groups of the windows.
        """
        run = FitRun(self, X, y, plan, self._processes(), **options)
        self.__dict__ = run.fit(*labels)  # at one stroke, for interrupts and other threads
        run.finish()
        return self

    def _make_task(self, windows: Windows, *labels: Any, plan: Plan, device: torch.device) -> Task:
        """Return the computation of a fit, given checked windows and unchecked labels."""
        raise NotImplementedError

    def _processes(self) -> Processes:
        """Return the processes that fit together."""
        return Processes()

    def _shallow_copy(self: Self) -> Self:
        copied = self.__new__(type(self))  # the way of copy.copy would take the module apart
        copied.__dict__.update(self.__dict__)
        return copied

    def _check_parameters(self) -> None:
        if self.n_channels is not None:
            check_integer("n_channels", self.n_channels, otherwise=" or None")
        for name in self._SIZES:
            check_integer(name, getattr(self, name))
        for name in self._SIZES_OR_AUTO:
            check_integer_or_auto(name, getattr(self, name))
        check_flag("early_stopping", self.early_stopping)
        check_integer("verbose", self.verbose, minimum=0)
        check_path("checkpoint_path", self.checkpoint_path)
        check_number("learning_rate", self.learning_rate)
        check_number("validation_fraction", self.validation_fraction, upper=1.0)
        if self.validation_gap is not None:
            check_integer("validation_gap", self.validation_gap, minimum=0, otherwise=" or None")

    def _take_windows(
        self, X: Any, y: Any, future_covariates: Any, groups: Any, plan: Plan
    ) -> Windows:
        """Check windows and what belongs to them, note their shapes, and split them."""
        check = self._check_windows if plan.goes_on else self._check_first_windows
        windows, X_has_gaps = check(X)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        with _naming_factors(y):
            y, y_has_gaps = _to_futures("y", y, len(windows))
        if plan.goes_on and y.shape[1:] != self._future_shape:
            expected = shape_text(self._future_shape)
            raise ValueError(f"'y' must have shape {expected} as before, got {y.shape}.")
        futures = y.reshape(*y.shape, *(1,) * (3 - y.ndim))
        self._future_shape = y.shape[1:]
        self.n_timesteps_, self.n_channels_ = windows.shape[1:]
        self.horizon_, self.n_targets_ = futures.shape[1:]
        if plan.goes_on:
            covariates = self._check_covariates(future_covariates, len(windows))
        else:
            covariates = self._check_first_covariates(future_covariates, len(windows))
        n_samples, fraction = len(windows), self.validation_fraction
        groups = None if groups is None else check_groups(groups, n_samples)
        if groups is not None:
            n_valid = int(last_groups(groups, fraction).sum())
            counts, share = (n_samples - n_valid, n_valid), False
        else:
            share = share_steps(windows, futures)
            default_gap = self.horizon_ - 1 if share else 0
            counts = check_validation_split(n_samples, fraction, self.validation_gap, default_gap)
        has_gaps = X_has_gaps, y_has_gaps
        if X_has_gaps and not plan.goes_on:
            check_observed("X", windows[: counts[0]])
        if y_has_gaps and not plan.goes_on:
            for part in (futures[: counts[0]], futures[-counts[1] :]):
                check_futures_observed(part)
        return Windows(windows, futures, covariates, *counts, share, groups, *has_gaps)

    def _check_first_windows(self, X: Any) -> tuple[np.ndarray, bool]:
        X = check_numeric("X", to_array("X", X), gaps=True)
        if len(X.shape) != 2:
            check_window_shape(X, self.n_channels)
        with naming("X"):
            X = validate_data(self, X, **_X_CHECKS, ensure_min_samples=2)
        check_window_shape(X, self.n_channels)
        windows = to_windows(X, self.n_channels)
        has_gaps = check_finite("X", windows, gaps=True)
        self._window_shape = X.shape[1:]
        return windows, has_gaps

    def _check_first_covariates(self, values: Any, n_samples: int) -> np.ndarray | None:
        self.n_covariates_, self._covariate_columns = 0, []
        if values is None:
            return None
        covariates, self._covariate_columns = check_covariates(values, n_samples, self.horizon_)
        self.n_covariates_ = covariates.shape[2]
        return covariates

    def _check_covariates(self, values: Any, n_samples: int) -> np.ndarray | None:
        return check_known_covariates(
            values, n_samples, self.horizon_, self.n_covariates_, self._covariate_columns
        )

    def _keep(self, fitted: Fitted, plan: Plan, device: torch.device) -> None:
        # As a saved model is loaded: so both have the same numbers in the same memory layout.
        self.module_ = make_module(self._MODULE, **plain_module(fitted.module), device=device)
        self.device_ = str(device)
        self._x_scaling, self._y_scaling = fitted.x_scaling, fitted.y_scaling
        self._covariate_scaling = fitted.covariate_scaling
        self.history_ = _columns(fitted.history)
        self.n_iter_ = sum(record["phase"] == INTERLEAVED for record in fitted.history)

    def _infer(
        self,
        X: Any,
        compute: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        finish: Callable[[np.ndarray], np.ndarray] = lambda values: values,
        *,
        factors: Any = None,
    ) -> np.ndarray:
        """Check windows and labels, and compute something of each window, batch by batch.

        `finish` returns the results of a batch to the units of the data, while they are in the
        cache; windows are their first axis.
        """
        windows, _ = self._check_windows(X)
        codes = self._to_codes(factors, len(windows))
        return self._in_batches(
            windows, codes, None, lambda x, labels, covariates: compute(x, labels), finish
        )

    def _infer_futures(
        self,
        X: Any,
        future_covariates: Any,
        compute: Callable[[torch.Tensor, torch.Tensor | None, torch.Tensor | None], torch.Tensor],
        finish: Callable[[np.ndarray], np.ndarray],
        *,
        factors: Any = None,
    ) -> np.ndarray:
        """Check windows, labels and covariates, and compute something of futures, as `_infer`."""
        windows, _ = self._check_windows(X)
        codes = self._to_codes(factors, len(windows))
        covariates = self._check_covariates(future_covariates, len(windows))
        return self._in_batches(windows, codes, covariates, compute, finish)

    def _to_codes(self, factors: Any, n_samples: int) -> np.ndarray | None:
        """Return labels that are known as codes; None where none is, or there are no factors."""
        return None

    def _in_batches(
        self,
        windows: np.ndarray,
        codes: np.ndarray | None,
        covariates: np.ndarray | None,
        compute: Callable[[torch.Tensor, torch.Tensor | None, torch.Tensor | None], torch.Tensor],
        finish: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        size = windows[0].size + (0 if covariates is None else covariates[0].size)
        batch_size = count_rows(_INFERENCE_ENTRIES, size, self._n_classes())

        def of_batch(start: int) -> np.ndarray:
            rows = slice(start, start + batch_size)
            x = self._to_tensor(windows[rows])
            labels = None if codes is None else to_tensor(codes[rows], x.device)
            known = None if covariates is None else self._scaled_covariates(covariates[rows])
            values = compute(x, labels, known).cpu().numpy()
            with np.errstate(over="ignore", invalid="ignore"):
                return _match_precision("X", finish(values), windows)

        with threads_for(min(len(windows), batch_size) * size), torch.inference_mode():
            return np.concatenate([of_batch(n) for n in range(0, len(windows), batch_size)])

    def _n_classes(self) -> int:
        """Count the classes that every window has a response to."""
        return 0

    def _check_windows(self, X: Any) -> tuple[np.ndarray, bool]:
        """Return windows, and whether they have gaps."""
        check_is_fitted(self)
        X = check_numeric("X", to_array("X", X), gaps=True)
        check_fitted_shape(X, self._window_shape)
        with naming("X"):
            X = validate_data(self, X, reset=False, **_X_CHECKS)
        windows = to_windows(X, self.n_channels_)
        return windows, check_finite("X", windows, gaps=True)

    def _to_tensor(self, windows: np.ndarray) -> torch.Tensor:
        like = self._parameter
        return to_tensor(self._x_scaling.apply(windows, to_numpy_dtype(like.dtype)), like.device)

    def _scaled_covariates(self, covariates: np.ndarray) -> torch.Tensor:
        like = self._parameter
        scaled = self._covariate_scaling.apply(covariates, to_numpy_dtype(like.dtype))
        return to_tensor(scaled, like.device)

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return plain Python and NumPy, so that a model opens wherever there is this package."""
        return to_plain(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(from_plain(state, type(self)))


@contextmanager
def _naming_factors(y: Any) -> Iterator[None]:
    """Let what is raised about futures that are text say where labels go."""
    try:
        yield
    except ValueError as error:
        if not _is_text(y):
            raise
        raise ValueError(
            f"{error} Labels of windows are the 'factors' of DeepDIVEForecaster.fit; as_classifier "
            "and FactorClassifier predict them."
        ) from error


def _is_text(y: Any) -> bool:
    """Whether the first value of an array-like is text; one that cannot be read has none."""
    try:
        return isinstance(np.ravel(np.asarray(y, dtype=object))[0], str)
    except Exception:
        return False


def _to_futures(name: str, y: Any, n_samples: int) -> tuple[np.ndarray, bool]:
    """Return the futures of some windows as an array of numbers, and whether some are NaN."""
    y = check_futures(check_numeric(name, to_array(name, y), gaps=True), n_samples)
    return y, check_finite(name, y.reshape(len(y), -1, 1), gaps=True)


def _match_precision(name: str, values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Single precision for single-precision inputs, double for all others."""
    dtype = np.dtype(np.float32 if inputs.dtype == np.float32 else np.float64)
    with np.errstate(over="ignore"):
        matched = values.astype(dtype, copy=False)
    if not np.isfinite(matched).all():
        raise ValueError(
            f"'{name}' must be closer to what was given to fit: what follows from it is beyond the "
            f"range of {dtype}."
        )
    return matched


def _columns(history: list[dict]) -> dict[str, np.ndarray]:
    """One array for each name in the records, NaN where a record lacks it."""
    names = dict.fromkeys(name for record in history for name in record)
    columns = {"phase": np.array([], dtype=str), "epoch": np.array([], dtype=int)}  # of no records
    return columns | {
        name: np.array([record.get(name, np.nan) for record in history]) for name in names
    }
