"""What each channel of windows adds to a score."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._data.checks import check_futures, check_integer
from ..metrics import forecast_scorer


def channel_importance(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    scoring: Any = "r2",
    n_repeats: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Compute by how much a score falls where a channel comes from other windows.

    It is permutation importance [1]_, with whole channels in place of single features: the course
    of a channel is exchanged between windows, and stays a course.

    Parameters
    ----------
    estimator : fitted forecaster
    X : array-like of the shape given to `fit`, n_samples aside
        Windows.
    y : array-like of the shape given to `fit`, n_samples aside
        True futures.
    scoring : str or callable, default="r2"
        A name for :func:`~skdeepdive.metrics.forecast_scorer`, or a scorer
        ``scorer(estimator, X, y)``.
    n_repeats : int, default=5
        Number of permutations of each channel.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutations.

    Returns
    -------
    importance : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        importances : ndarray of shape (n_channels, n_repeats)
            Score of the windows as they are, less that of the permuted ones.
        importances_mean, importances_std : ndarray of shape (n_channels,)
            Mean and standard deviation over the permutations.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If `X` or `y` have another shape than in `fit`, or there is no scorer of this name.

    References
    ----------
    .. [1] L. Breiman, "Random Forests", Machine Learning 45, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from skdeepdive import DeepDIVEForecaster, sliding_windows
    >>> from skdeepdive.inspection import channel_importance
    >>> noise = np.random.default_rng(0).normal(size=500)
    >>> series = np.column_stack([np.sin(np.arange(500) / 4), noise])
    >>> X, y, _ = sliding_windows(series, n_timesteps=24, horizon=6, targets=[0])
    >>> model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0).fit(X, y)
    >>> load, noise = channel_importance(model, X, y, random_state=0).importances_mean
    >>> bool(load > 1 > abs(noise))
    True
    """
    check_is_fitted(estimator)
    n_repeats = check_integer("n_repeats", n_repeats)
    scorer = scoring if callable(scoring) else forecast_scorer(scoring)
    generator = check_random_state(random_state)
    X = np.asarray(X)
    y = check_futures(y, len(X))
    score = scorer(estimator, X, y)
    windows = X.reshape(len(X), -1, estimator.n_channels_)
    drops = np.empty((estimator.n_channels_, n_repeats))
    for channel in range(estimator.n_channels_):
        for repeat in range(n_repeats):
            permuted = windows.copy()
            permuted[..., channel] = windows[generator.permutation(len(X)), :, channel]
            drops[channel, repeat] = score - scorer(estimator, permuted.reshape(X.shape), y)
    return Bunch(
        importances=drops, importances_mean=drops.mean(axis=1), importances_std=drops.std(axis=1)
    )
