"""Variational autoencoders to compare with, on the same encoder and decoder blocks."""

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._data.checks import check_number
from ._estimators.base import BaseForecaster, Self
from ._estimators.callbacks import with_callbacks
from ._estimators.fit import Plan, Windows, fit_vae
from ._estimators.run import Task
from .nn.features import WindowFeatures
from .nn.vae import VAE, BetaTCVAE

__all__ = ["BetaTCVAEForecaster", "VAEForecaster"]


class VAEForecaster(BaseForecaster):
    """Forecast time-series windows with the original variational autoencoder.

    A window is encoded into a latent code z with the prior N(0, I) [1]_, from which one decoder
    computes the window and another its future. The future is decoded from z alone: that is what
    tells it from ``DeepDIVEForecaster(latent="conditional")``, whose forecast also looks at the
    window itself, by a linear map that is fitted in closed form before training. Encoder, window
    decoder, scaling and training loop are the same.

    Parameters
    ----------
    n_channels : int or None, default=None
        Number of channels of a flattened 2-D `X`.
    n_latent : int, default=16
        Number of latent dimensions.
    early_stopping : bool, default=True
        Stop when the loss on the validation windows (the negative lower bound) has not improved
        for `n_iter_no_change` epochs, and keep the weights of its best epoch. False: run
        `max_epochs` epochs and keep the last weights; the validation windows then set the scale of
        the likelihood only.
    max_epochs : int, default=20
        Most passes over the training windows, in a single phase.
    learning_rate : float, default=1e-3
        Step size of Adam. It falls linearly to zero.
    n_iter_no_change : int, default=5
        Patience of early stopping, in epochs.
    n_hidden, batch_size, validation_fraction, validation_gap, random_state, device, \
            checkpoint_path, verbose
        As those of :class:`~skdeepdive.DeepDIVEForecaster`, with the same defaults.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained networks.
    device_ : str
        Where they compute, such as "cpu" or "cuda:0".
    history_ : dict of ndarray
        One entry for each epoch: its phase (always "interleaved", the loop's name for epochs on
        the whole objective), its number, its learning rate, the mean terms of the objective in
        nats per window on training and validation windows (at most 512 of these, drawn at random),
        and the validation loss, which early stopping follows.
    n_iter_ : int
        Number of epochs run.
    n_timesteps_, n_channels_, horizon_, n_targets_, n_covariates_, n_features_in_, \
            feature_names_in_
        As those of :class:`~skdeepdive.DeepDIVEForecaster`.

    See Also
    --------
    BetaTCVAEForecaster : The same with a weight on the total correlation of z.
    skdeepdive.DeepDIVEForecaster : Labelled latent dimensions and better forecasts.

    References
    ----------
    .. [1] Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv:1312.6114.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import sliding_windows
    >>> from skdeepdive.baselines import VAEForecaster
    >>> load = 5 + np.sin(2 * np.pi * np.arange(400) / 24)
    >>> X, y, _ = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = VAEForecaster(max_epochs=2, random_state=0).fit(X, y)
    >>> model.predict(X[-1:]).shape, model.transform(X[-1:]).shape
    ((1, 24), (1, 16))
    """

    _MODULE: type[VAE] = VAE
    module_: VAE
    _SIZES = (*BaseForecaster._SIZES, "max_epochs", "n_latent")

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        n_latent: int = 16,
        n_hidden: int = 256,
        max_epochs: int = 20,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        validation_gap: int | None = None,
        n_iter_no_change: int = 5,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        checkpoint_path: str | os.PathLike | None = None,
        verbose: int = 0,
    ):
        self.n_channels = n_channels
        self.n_latent = n_latent
        self.n_hidden = n_hidden
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_gap = validation_gap
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.device = device
        self.checkpoint_path = checkpoint_path
        self.verbose = verbose

    @with_callbacks
    def fit(
        self: Self, X: ArrayLike, y: ArrayLike, *, future_covariates: ArrayLike | None = None
    ) -> Self:
        """Train on windows and their futures.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_timesteps, n_channels)
            Windows, in chronological order. Read-only views such as those of
            :func:`~skdeepdive.sliding_windows` are never copied as a whole.
        y : array-like of shape (n_samples,), (n_samples, horizon) or \
                (n_samples, horizon, n_targets)
            The future of every window.
        future_covariates : array-like of shape (n_samples, horizon, n_covariates) or \
                (n_samples, horizon), default=None
            Numbers that are known for every step of the horizon when the forecast is made, which
            the decoder of futures gets beside z. `predict` and `score` then need them too.

        Returns
        -------
        self : VAEForecaster

        Raises
        ------
        ValueError
            If a value or shape is not as described: NaN or infinity, arrays of different length,
            fewer than two windows, none left to train on; a `checkpoint_path` that holds anything
            but a checkpoint of the same fit. An estimator that was fitted before stays as it was.
        TypeError, FloatingPointError, MemoryError
            As `fit` of :class:`~skdeepdive.DeepDIVEForecaster`, which warns alike.
        """
        return self._fit(X, y, future_covariates=future_covariates, plan=Plan.ANEW)

    def _make_task(self, windows: Windows, *labels: Any, plan: Plan, device: torch.device) -> Task:
        fit = partial(fit_vae, windows, self._make_module, device)
        return Task(fit, windows.arrays())

    def _make_module(
        self,
        features: WindowFeatures,
        future_shape: tuple[int, int],
        n_covariates: int,
        n_windows: int,
        generator: torch.Generator,
    ) -> VAE:
        return VAE(
            features,
            future_shape,
            n_covariates=n_covariates,
            n_latent=self.n_latent,
            n_hidden=self.n_hidden,
            generator=generator,
        )

    def _latent_names(self) -> list[str]:
        return [f"latent_{j}" for j in range(self.module_.n_latent)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # z keeps what reconstructs the windows, which may not be what their futures depend on.
        tags.regressor_tags.poor_score = True
        return tags


class BetaTCVAEForecaster(VAEForecaster):
    """Forecast time-series windows with the β-TCVAE, whose latent dimensions shun dependence.

    The variational autoencoder of :class:`VAEForecaster` with another weight on a part of its
    objective [1]_: the KL divergence is split into the mutual information of window and latent
    code z, the total correlation of z, which is the KL divergence of the aggregate posterior q(z)
    from the product of its marginals, and the KL divergence of every latent dimension from its
    prior. `beta` weighs the total correlation. With ``beta=1`` the two estimators are the same.

    Parameters
    ----------
    n_channels : int or None, default=None
        Number of channels of a flattened 2-D `X`.
    beta : float, default=6.0
        Weight of the total correlation.
    n_latent, n_hidden, max_epochs, batch_size, learning_rate, early_stopping, \
            validation_fraction, validation_gap, n_iter_no_change, random_state, device, \
            checkpoint_path, verbose
        As those of :class:`VAEForecaster`, with the same defaults. The total correlation is
        estimated within a batch, at a cost that grows with the square of its size.

    Attributes
    ----------
    module_, device_, history_, n_iter_, n_timesteps_, n_channels_, horizon_, n_targets_, \
            n_covariates_, n_features_in_, feature_names_in_
        As those of :class:`VAEForecaster`; `history_` holds the three parts of the KL divergence.

    See Also
    --------
    VAEForecaster : The same with all parts of the KL divergence weighed alike.
    skdeepdive.DeepDIVEForecaster : Labelled latent dimensions and better forecasts.

    Notes
    -----
    q(z) is estimated by minibatch stratified sampling [1]_, as if every batch were drawn from the
    training windows. The estimate is unbiased, and exact for a batch of all windows; minibatch
    weighted sampling, the alternative, overstates the total correlation by about the logarithm of
    the number of windows for every dimension but one. The logarithm of an unbiased estimate is a
    little low, so that a small total correlation can come out negative. Validation batches hold
    consecutive windows, and their total correlation is that of stretches of the series.

    References
    ----------
    .. [1] Chen, Li, Grosse, Duvenaud, "Isolating Sources of Disentanglement in Variational
       Autoencoders", NeurIPS 2018, arXiv:1802.04942.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import sliding_windows
    >>> from skdeepdive.baselines import BetaTCVAEForecaster
    >>> load = 5 + np.sin(2 * np.pi * np.arange(400) / 24)
    >>> X, y, _ = sliding_windows(load, n_timesteps=48, horizon=24)
    >>> model = BetaTCVAEForecaster(beta=4.0, max_epochs=2, random_state=0).fit(X, y)
    >>> model.predict(X[-1:]).shape, len(model.history_["total_correlation"])
    ((1, 24), 2)
    """

    _MODULE = BetaTCVAE

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        beta: float = 6.0,
        n_latent: int = 16,
        n_hidden: int = 256,
        max_epochs: int = 20,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        validation_gap: int | None = None,
        n_iter_no_change: int = 5,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        checkpoint_path: str | os.PathLike | None = None,
        verbose: int = 0,
    ):
        super().__init__(
            n_channels,
            n_latent=n_latent,
            n_hidden=n_hidden,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            validation_gap=validation_gap,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
            device=device,
            checkpoint_path=checkpoint_path,
            verbose=verbose,
        )
        self.beta = beta

    def _check_parameters(self) -> None:
        check_number("beta", self.beta)
        super()._check_parameters()

    def _make_module(
        self,
        features: WindowFeatures,
        future_shape: tuple[int, int],
        n_covariates: int,
        n_windows: int,
        generator: torch.Generator,
    ) -> BetaTCVAE:
        return BetaTCVAE(
            features,
            future_shape,
            n_covariates=n_covariates,
            beta=float(self.beta),
            n_windows=n_windows,
            n_latent=self.n_latent,
            n_hidden=self.n_hidden,
            generator=generator,
        )
