"""A forecaster that keeps what it is given, and a series to give to it."""

import numpy as np
from sklearn.base import BaseEstimator


class LastValueForecaster(BaseEstimator):
    """Repeat the last value of the first channels; keep what `fit` was given."""

    def __init__(self, validation_fraction=0.2, validation_gap=None):
        self.validation_fraction = validation_fraction
        self.validation_gap = validation_gap

    def fit(self, X, y, factors=None):
        self.X_, self.y_, self.factors_ = X, y, factors
        return self

    def predict(self, X):
        return np.repeat(X[:, -1:, : self.y_.shape[2]], self.y_.shape[1], axis=1)


class KnownForecaster(LastValueForecaster):
    """Forecast the first covariate of every step to come."""

    def fit(self, X, y, factors=None, future_covariates=None):
        self.known_ = future_covariates
        return super().fit(X, y, factors)

    def predict(self, X, future_covariates=None):
        return np.repeat(future_covariates[..., :1], self.y_.shape[2], axis=2)


class ToldForecaster(LastValueForecaster):
    """Keep the labels that forecasts are told."""

    def fit(self, X, y, factors=None):
        self.factor_names_ = [] if factors is None else list(factors)
        self.factor_classes_ = [np.unique(factors[name]) for name in self.factor_names_]
        return super().fit(X, y, factors)

    def predict(self, X, factors=None):
        self.told_ = factors
        return super().predict(X)
