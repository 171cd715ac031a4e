"""DeepDIVEForecaster: fit, partial_fit, clusters."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._data.checks import LATENTS, PRIORS, check_choice, check_flag
from .._data.devices import to_array
from .._data.labels import (
    Factors,
    check_factors,
    check_known_factors,
    check_same_classes,
    no_factors,
)
from .._data.validation import last_groups, last_of_classes
from .._saving.plain import plain_module
from .._start.continuation import WindowSums
from .._start.start import Sizes
from .._train.distributed import Processes
from ..nn.module import DeepDIVE
from .base import Self
from .callbacks import with_callbacks
from .classifier import FactorClassifier, classifier_of
from .explanation import ExplanationMixin, where_marginal
from .fit import Fitted, Plan, Windows, fit_deepdive, fit_deepdive_further
from .labelled import LabelledForecaster
from .probabilistic import ProbabilisticMixin
from .run import Task


class DeepDIVEForecaster(ExplanationMixin, ProbabilisticMixin, LabelledForecaster):
    """Forecast time-series windows with an interpretable variational autoencoder.

    Call `fit` with windows, their futures and, where you have them, labels of the windows. Then
    `predict` forecasts, with `predict_quantiles` for intervals; `predict_cluster` reads the labels
    of new windows; `transform` embeds them; `score_samples` is low for unusual ones; `attribute`
    and `counterfactual` explain a forecast. Forecasts come in the units of `y`: data are
    standardised inside. For a table with time stamps, see :class:`~skdeepdive.SeriesForecaster`.

    A window is encoded into *marginal* dimensions, one group for each factor (a label known for
    the training windows, such as hour, weekday or gait type), and *conditional* dimensions, all
    the rest.

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
    n_marginal : int, default=16
        Most marginal dimensions of a factor; it never has more than its number of classes less
        one, which already place all classes at equal distances.
    n_conditional : int, default=16
        Number of conditional dimensions.
    n_hidden : int, default=256
        Width of the hidden layers.
    max_epochs : int or "auto", default="auto"
        Most passes over the training windows in the interleaved phase. A phase on the labels alone,
        of at most ten epochs and with a patience of one, comes before it. A phase on the forecast
        alone, of at most as many and with a patience of at most three, comes after it. "auto" takes
        as many as make 300 gradient steps, but between 5 and 8: 8 up to 10,752 training windows,
        5 from 15,105 on, in batches of 256.
    batch_size : int or "auto", default="auto"
        Windows in a gradient step. "auto" takes a 32nd of the training windows, but between 16 and
        256, so that a few windows train for enough steps.
    learning_rate : float, default=2e-3
        Step size of Adam for the conditional path, from which that of the marginal path follows.
        Along every phase it falls linearly to zero.
    early_stopping : bool, default=True
        Stop when the loss on the validation windows (the negative lower bound plus the
        cross-entropies) has not improved for `n_iter_no_change` epochs, and keep the weights of
        its best epoch. False: run `max_epochs` epochs and keep the last weights; the validation
        windows then choose the penalties of the closed-form start and the shrinkage of the
        correction only.
    validation_fraction : float, default=0.2
        Part of the windows, the last in their order, that is kept for validation. Windows overlap,
        so a random part would leak. Where windows are cases of their own, sorted by class, it is
        the last part of every class.
    validation_gap : int or None, default=None
        Windows before the validation windows that are not trained on, because their futures share
        steps with those of validation windows. None: `horizon - 1`, right for windows one step
        apart; for windows `s` steps apart ``ceil(horizon / s) - 1`` suffices. For windows that
        share no steps, such as one of each recording, and with `groups`, None is 0.
    n_iter_no_change : int, default=3
        Patience of early stopping, in epochs.
    priors : {"observed", "uniform"}, default="observed"
        Class frequencies that `predict_cluster` and `predict_cluster_proba` assume: those of the
        labels, for the fewest errors, or the same for all classes, for a high balanced accuracy.
        It has no effect on `fit` and on forecasts.
    warm_start : bool, default=False
        Let a further `fit` start from the fitted model, in its scaling and with its classes, for
        fine-tuning on new data. Shapes and the names of the factors must be the same, and a label
        one of the classes. A ridge regression of the forecast's errors on the new windows is added
        to the forecast where the new validation windows gain by it; its correction is trained anew.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the batches and the draws of the latent
        variables. An integer gives the same result every time on the same machine. No global
        generator is used.
    device : str, default="auto"
        A torch device such as "cpu" or "cuda:0"; "auto" takes CUDA where there is one.
    checkpoint_path : str, path-like or None, default=None
        A file that `fit` keeps while it trains, with all that is needed to go on from the end of
        the last epoch. The same fit, once more, then resumes one that was killed, and has the
        result that it would have had: to the last bit on the same machine. The file goes when
        `fit` is done. Every fit needs a path of its own, and safetensors. None: no file.
    verbose : int, default=0
        1 shows progress on standard error: a bar where tqdm is installed, otherwise one line an
        epoch. 2 shows every term, in one line an epoch.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained networks.
    device_ : str
        Where they compute, such as "cpu" or "cuda:0".
    factor_names_ : list of str
        Names of the factors: the columns of `factors`, "factor0" and so on, or "cluster".
    factor_classes_ : list of ndarray
        Labels of every factor, sorted, or in the order of an ordered Categorical of pandas.
    factor_priors_ : list of Bunch
        The mixture over the marginal dimensions of every factor, one normal component for each
        class: its frequency `weights` (n_classes,), its `centres` (n_classes, n_dims), the centres
        of the RBF layer, and its deviation `scales` (n_classes,), in units of :meth:`transform`.
    history_ : dict of ndarray
        One entry for each epoch: its phase ("marginal", "interleaved", then "forecast"), its
        number, its learning rate, the mean terms of the objective in nats per window on training
        and validation windows (at most 512 of these, drawn at random), and the validation loss,
        which early stopping follows; in the forecast phase that is the squared error of
        standardised futures. NaN where a phase has no such term.
    n_iter_ : int
        Number of interleaved epochs run.
    n_timesteps_, n_channels_, horizon_, n_targets_ : int
        Shapes of windows and futures.
    n_covariates_ : int
        Number of covariates known for every step of the horizon; 0 where `fit` had none.
    n_features_in_ : int
        Size of the second axis of `X`.
    feature_names_in_ : ndarray of str
        Column names of `X`, where it was a DataFrame with string columns.

    See Also
    --------
    skdeepdive.SeriesForecaster : Forecast tables with time stamps.
    skdeepdive.sliding_windows : Cut a series into windows and futures.
    skdeepdive.calendar_factors : Labels from timestamps.
    skdeepdive.calendar_features : Covariates of the horizon from timestamps.

    Notes
    -----
    An RBF layer reads every factor from its own marginal dimensions alone. Cross-attention fuses
    marginal and conditional dimensions, and two decoders turn them into the window and its future.

    Training has a closed-form start: ridge regression from the window for the forecast, with a map
    for every class where that helps; Fisher's linear discriminants of the labels for the marginal
    dimensions; principal components of the windows within classes for the conditional dimensions.
    Gradient steps then train labels, reconstruction and a correction of the forecast interleaved:
    every mini-batch takes a step for the labels and one for the rest, on disjoint parameters, so
    that no objective disturbs the other. (Discovered clusters are an exception: the reconstruction
    shapes them.) In the last phase the correction is trained anew on the finished latent
    dimensions, and the validation windows decide how much of it is kept. Covariates that are known
    for the horizon, such as weather forecasts, enter the forecast by a ridge regression for every
    step, on nonlinear functions of them, and by the correction.

    Training runs in single precision, everything after it in double, so that the result for a
    window does not depend on which others come along. Results are float32 for float32 input,
    otherwise float64. KMeans on the windows' principal components initialises the clusters. The
    columns of an embedding are the marginal dimensions of every factor, such as "hour_0", then the
    conditional ones, such as "conditional_0".

    Where torch's default process group is initialised (``torch.distributed``, as under torchrun),
    its processes fit together, each its share of every batch. All must call `fit` with the same
    windows and parameters, and all get the same model.

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

    _MODULE = DeepDIVE
    _sums: dict[str, Any] | None
    _SIZES = (*LabelledForecaster._SIZES, "n_clusters", "n_marginal", "n_conditional")
    _SIZES_OR_AUTO = (*LabelledForecaster._SIZES_OR_AUTO, "max_epochs")
    __metadata_request__fit: ClassVar = {"groups": True}

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        latent: str = "both",
        n_clusters: int = 8,
        n_marginal: int = 16,
        n_conditional: int = 16,
        n_hidden: int = 256,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 2e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        validation_gap: int | None = None,
        n_iter_no_change: int = 3,
        priors: str = "observed",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        checkpoint_path: str | os.PathLike | None = None,
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
        self.validation_gap = validation_gap
        self.n_iter_no_change = n_iter_no_change
        self.priors = priors
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.checkpoint_path = checkpoint_path
        self.verbose = verbose

    @with_callbacks
    def fit(
        self: Self,
        X: ArrayLike,
        y: ArrayLike,
        factors: ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train on windows and their futures.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels)
            Windows, in chronological order. Read-only views such as those of
            :func:`~skdeepdive.sliding_windows` are never copied as a whole, unless they have gaps:
            NaN is missing, here and in `y`.
        y : array-like of shape (n_samples,), (n_samples, horizon) or \
                (n_samples, horizon, n_targets)
            The future of every window.
        factors : array-like, DataFrame or dict of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels of every window: strings or integers; -1, None or NaN where unknown. The columns
            of a DataFrame (of pandas or polars) name the factors, as do the keys of a dict. None:
            clusters are discovered.
        future_covariates : array-like of shape (n_samples, horizon, n_covariates) or \
                (n_samples, horizon), default=None
            Numbers that are known for every step of the horizon when the forecast is made, such as
            weather forecasts, prices, holidays or the calendar (see
            :func:`~skdeepdive.calendar_features`). Two dimensions are a single covariate; with a
            horizon of one step they are (n_samples, n_covariates). `predict` and its like then
            need them too.
        groups : array-like of shape (n_samples,), default=None
            The person or recording of every window, where labels are to be read of new ones. The
            groups that come last are for validation, as a whole, and folds do not divide any. A
            single group is as none. scikit-learn's tools hand on `groups` unasked.

        Returns
        -------
        self : DeepDIVEForecaster

        Raises
        ------
        ValueError
            If a value or shape is not as described: infinity, arrays of different length,
            fewer than two windows, none left to train on, a factor with a single class or
            no labelled window; a `checkpoint_path` that holds anything but a checkpoint of the
            same fit; processes that are to fit together, but not the same, or in batches of fewer
            windows than there are processes. An estimator that was fitted before stays as it was.
        TypeError
            If a parameter has the wrong type.
        FloatingPointError
            If a term of the objective becomes NaN or infinite, in the smallest steps too.
        MemoryError
            If a batch does not fit into memory.
        KeyboardInterrupt
            If it is interrupted (Ctrl-C). In training, the estimator then has the best weights so
            far. It stays as it was before and after training, at a second interrupt, and among
            several processes.

        Warns
        -----
        ConvergenceWarning
            If a term becomes NaN or infinite: training then goes on from its last good epoch in
            steps of a tenth, up to three times.
        """
        goes_on = check_flag("warm_start", self.warm_start) and self.__sklearn_is_fitted__()
        plan = Plan.FURTHER if goes_on else Plan.ANEW
        options = {"future_covariates": future_covariates, "groups": groups}
        return self._fit(X, y, factors, None, plan=plan, **options)

    def partial_fit(
        self: Self,
        X: ArrayLike,
        y: ArrayLike,
        factors: ArrayLike | None = None,
        classes: Mapping[str, ArrayLike] | ArrayLike | None = None,
        future_covariates: ArrayLike | None = None,
    ) -> Self:
        """Learn from one more chunk of windows, of a stream or of data larger than memory.

        The first call fits its chunk as `fit` does, but with one epoch in every phase of the
        training. It decides on the scaling of the data and on the form of the linear forecast, so
        its chunk should be a typical one. In every later call the linear forecast and the
        discriminants of the labels, which have a closed form, are fitted to all chunks so far, by
        sums over their windows; the networks train on the new chunk alone, for one epoch in every
        phase. The last part of every chunk (`validation_fraction`) is for validation.

        After `fit` all calls are later ones; what they add to the linear forecast is then fitted
        to the windows since, and the labels are learnt by the networks alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels)
            Windows, in chronological order; some hundreds or more, for the networks to gain by
            them.
        y : array-like of shape (n_samples,), (n_samples, horizon) or \
                (n_samples, horizon, n_targets)
            The future of every window.
        factors : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels of every window, as in :meth:`fit`. None in a later call: none is known.
        classes : dict of str to array-like, or array-like of a single factor, default=None
            All labels of factors, by the factors' names, where the first chunk does not have them
            all. Later calls do not need it.
        future_covariates : array-like, default=None
            Covariates of the horizon, as in :meth:`fit`; every call needs them, or none.

        Returns
        -------
        self : DeepDIVEForecaster
            `history_` and `n_iter_` grow by the new epochs.

        Raises
        ------
        ValueError
            As in :meth:`fit`; if shapes, or the names of factors, differ from those of the first
            call; if a label is none of its factor's classes.
        TypeError, FloatingPointError, MemoryError
            As in :meth:`fit`, which warns alike. An estimator that was fitted before stays as it
            was.

        Notes
        -----
        The sums do not grow with the number of windows, but with the square of their length: they
        take about ``24 * d**2`` bytes, with d the number of values in a window (or its time steps,
        times the square root of the number of targets, where every target is forecast from its own
        channel alone), and are a part of pickles. `save` leaves them out; a model that was
        loaded goes on as after `fit`. What classes and covariates add to the linear forecast is
        fitted in the first call only. Discovered clusters are those of the first chunk.

        Examples
        --------
        >>> import numpy as np
        >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
        >>> load = 5 + np.sin(2 * np.pi * np.arange(1200) / 24)
        >>> model = DeepDIVEForecaster(random_state=0)
        >>> for days in np.split(load, 3):
        ...     X, y, origin = sliding_windows(days, n_timesteps=48, horizon=24)
        ...     model = model.partial_fit(X, y, origin % 24, classes=np.arange(24))
        >>> model.predict(X[-1:]).shape
        (1, 24)
        """
        goes_on = self.__sklearn_is_fitted__()
        plan = Plan.NEXT_CHUNK if goes_on else Plan.FIRST_CHUNK
        return self._fit(X, y, factors, classes, future_covariates=future_covariates, plan=plan)

    @where_marginal
    def predict_cluster(self, X: ArrayLike) -> np.ndarray:
        """Assign windows to the cluster of the greatest RBF response, for every factor.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, n_samples aside

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_factors)
            In the labels given to `fit`, whole floats as integers: one column for each factor, in
            the order of `factor_names_`; a single factor gives a single dimension.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `X` has another shape than in `fit`, or holds infinity.
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

    @where_marginal
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
            If `X` has another shape than in `fit`, or holds infinity.
        """
        proba = self._cluster_proba(X)
        return proba[0] if len(proba) == 1 else proba

    @where_marginal
    def as_classifier(self, factor: str | None = None) -> FactorClassifier:
        """Return a factor as a scikit-learn classifier.

        It is fitted, and its `predict` and `predict_proba` are :meth:`predict_cluster` and
        :meth:`predict_cluster_proba` of the factor. Tools that fit classifiers clone the forecaster
        and need its futures, as metadata: see :meth:`FactorClassifier.fit`.

        Parameters
        ----------
        factor : str, default=None
            Its name, as in `factor_names_`. None: the only one.

        Returns
        -------
        classifier : FactorClassifier

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there is no such factor, or several to choose from.
        """
        check_is_fitted(self)
        return classifier_of(self, factor)

    def _processes(self) -> Processes:
        return Processes.current()

    def _make_task(self, windows: Windows, *labels: Any, plan: Plan, device: torch.device) -> Task:
        factors, classes = labels
        if plan.goes_on:
            self._check_sizes()
            factors = self._check_further(factors, classes, len(windows.X))
            windows, factors = self._in_order(windows, factors)
            weights = plain_module(self.module_)["weights"].values()
            fit = partial(
                fit_deepdive_further, windows, factors, self._before(device), plan, device
            )
            return Task(fit, [*windows.arrays(), factors.codes, *weights])
        if factors is None and classes is not None:
            raise ValueError("'classes' are those of 'factors', which must be given too, got None.")
        if factors is not None:
            factors = check_factors(to_array("factors", factors), len(windows.X), classes)
        windows, ordered = self._in_order(windows, factors or no_factors(len(windows.X)))
        factors = None if factors is None else ordered
        fit = partial(fit_deepdive, windows, factors, self._sizes(), plan, device)
        return Task(fit, [*windows.arrays(), *([] if factors is None else [factors.codes])])

    def _in_order(self, windows: Windows, factors: Factors) -> tuple[Windows, Factors]:
        """Move the windows of the last groups, or the last ones of every class, to the end.

        Classes matter where windows are cases of their own, which may be sorted by class.
        """
        last = None
        if windows.groups is not None:
            last = last_groups(windows.groups, self.validation_fraction)
        elif not windows.share_steps:
            last = last_of_classes(factors.codes, windows.n_valid)
        if last is None:
            return windows, factors
        windows, codes = windows.with_last(last, factors.codes)
        return windows, replace(factors, codes=codes)

    def _check_further(self, factors: Any, classes: Any, n_samples: int) -> Factors:
        """Return the labels of further windows as codes of the known classes."""
        known = self._known_factors()
        if classes is not None:
            check_same_classes(classes, known)
        factors = to_array("factors", factors) if known.names else None
        return check_known_factors(factors, n_samples, known)

    def _before(self, device: torch.device) -> Fitted:
        """Return the fitted model that is to learn further."""
        sums = None if self._sums is None else WindowSums.from_plain(self._sums, device)
        known = self._known_factors()
        scalings = self._x_scaling, self._y_scaling, self._covariate_scaling
        return Fitted(self.module_, *scalings, [], known, sums)

    def _check_sizes(self) -> None:
        """Raise where parameters ask for another module than the one that is to learn further."""
        sizes, module = self._sizes(), self.module_
        given = {
            "n_hidden": sizes.n_hidden,
            "n_conditional": sizes.n_conditional,
            "latent": bool(sizes.n_marginal),
        }
        fitted = {
            "n_hidden": module.n_hidden,
            "n_conditional": module.n_conditional,
            "latent": module.has_marginal,
        }
        changed = [f"'{name}'" for name in given if given[name] != fitted[name]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} must stay as when the model was first fitted for it to "
                "learn further. Fit it anew with warm_start=False."
            )

    def _keep(self, fitted: Fitted, plan: Plan, device: torch.device) -> None:
        before = (self.history_, self.n_iter_) if plan is Plan.NEXT_CHUNK else None
        super()._keep(fitted, plan, device)
        self.factor_names_, self.factor_classes_ = fitted.factors.names, fitted.factors.classes
        self._sums = None if fitted.sums is None else fitted.sums.to_plain()
        if before is not None:
            self.history_ = _appended(before[0], self.history_)
            self.n_iter_ += before[1]

    def _check_parameters(self) -> None:
        check_choice("latent", self.latent, LATENTS)
        check_choice("priors", self.priors, PRIORS)
        check_flag("warm_start", self.warm_start)
        super()._check_parameters()

    def _sizes(self) -> Sizes:
        return Sizes(
            n_marginal=0 if self.latent == "conditional" else self.n_marginal,
            n_conditional=0 if self.latent == "marginal" else self.n_conditional,
            n_hidden=self.n_hidden,
            n_clusters=self.n_clusters,
        )

    def _latent_names(self) -> list[str]:
        names = [
            f"{name}_{j}"
            for name, n_dims in zip(self.factor_names_, self.module_.factor_dims, strict=True)
            for j in range(n_dims)
        ]
        return names + [f"conditional_{j}" for j in range(self.module_.n_conditional)]

    def _n_classes(self) -> int:
        return self.module_.n_classes

    def _cluster_proba(self, X: Any) -> list[np.ndarray]:
        def responses(x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            window = self.module_.features(x)
            return torch.cat(self.module_.read_labels(window, uniform=uniform), dim=1)

        check_is_fitted(self)
        uniform = check_choice("priors", self.priors, PRIORS) == "uniform"
        counts = [len(classes) for classes in self.factor_classes_]
        return np.split(self._infer(X, responses), np.cumsum(counts)[:-1], axis=1)


def _appended(history: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put the epochs of one history after those of another; NaN where either lacks a term."""

    def column(part: dict[str, np.ndarray], name: str) -> np.ndarray:
        return part.get(name, np.full(len(part["epoch"]), np.nan))

    return {
        name: np.concatenate([column(history, name), column(more, name)])
        for name in {**history, **more}
    }
