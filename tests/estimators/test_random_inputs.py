"""Bad input by machine, to estimators, windows and scores.

Hypothesis draws shapes, types, orders, values and labels, as `random_inputs.py` says. `make test`
tries a few hundred inputs, always the same; `make test-slow` some thousands of others.
"""

import inspect
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from random_inputs import (
    HORIZON,
    N_TIMESTEPS,
    SCALARS,
    N,
    anything,
    assert_finite,
    labels,
    outcome,
    try_examples,
)
from sklearn.exceptions import ConvergenceWarning

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.metrics import corr_score, mutual_information_gap, rrse_score

SMALL = {
    "n_hidden": 4,
    "max_epochs": 1,
    "batch_size": 64,
    "random_state": 0,
    "validation_gap": 0,  # of few windows, the default would leave none to train on
}


def make_model(**parameters):
    return DeepDIVEForecaster(**{**SMALL, "n_conditional": 2, "n_clusters": 2, **parameters})


def make_arrays(*shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, *shape) if shape else (N, N_TIMESTEPS))
    return X, rng.standard_normal((N, HORIZON)), np.arange(N) % 3


@cache
def fitted(latent="both"):
    """A model; tests must not change it."""
    return make_model(latent=latent).fit(*make_arrays())


def replaced(data, strategies, originals):
    """Some of the arguments as they should be, at least one as it may be."""
    wrong = data.draw(st.sets(st.sampled_from(list(strategies)), min_size=1))
    return {
        name: data.draw(strategies[name]) if name in wrong else value
        for name, value in originals.items()
    }


def arguments_of_fit(data, *, factors=True):
    shape = data.draw(st.sampled_from([(N, 4), (N, 1), (N, 3, 2), (N, 1, 1), (3, 4), (2, 2)]))
    horizon = data.draw(st.sampled_from([(2,), (1,), (7,), (), (3, 2)]))
    X, y, codes = make_arrays()
    strategies = {"X": anything(shape), "y": anything((len(X), *horizon))}
    if factors:
        strategies["factors"] = labels()
    return replaced(data, strategies, {"X": X, "y": y, **({"factors": codes} if factors else {})})


def check_forecasts(model, X):
    """Forecasts and embeddings of the windows that a model was fitted to."""
    X = list(X) if inspect.isgenerator(X) else X
    n = len(X.shape and X if hasattr(X, "shape") else X)
    forecast = outcome(model.predict, X)
    if forecast is None:  # beyond the range of single precision
        return
    assert forecast.shape == (n, *model._future_shape)
    assert_finite(forecast)
    assert_finite(outcome(model.transform, X))


# Properties


def fitting(data):
    model = make_model(latent=data.draw(st.sampled_from(["both", "conditional", "marginal"])))
    arguments = arguments_of_fit(data)
    if data.draw(st.booleans()):
        arguments["factors"] = None
    if outcome(model.fit, **arguments) is not None:
        check_forecasts(model, arguments["X"])
        if model.latent != "conditional":
            found = outcome(model.predict_cluster, arguments["X"])
            assert found is None or len(found)


def fitting_baselines(data):
    estimator = data.draw(st.sampled_from([VAEForecaster, BetaTCVAEForecaster]))
    model, arguments = estimator(**SMALL, n_latent=2), arguments_of_fit(data, factors=False)
    if outcome(model.fit, **arguments) is not None:
        check_forecasts(model, arguments["X"])


def fitting_in_parts(data):
    X, y, codes = make_arrays()
    model = make_model().fit(X, y, codes) if data.draw(st.booleans()) else make_model()
    before = model.predict(X) if hasattr(model, "module_") else None
    arguments = arguments_of_fit(data)
    if data.draw(st.booleans()):
        arguments["classes"] = data.draw(st.sampled_from([*SCALARS, [0, 1, 2], {"factor0": [1]}]))
    if outcome(model.partial_fit, **arguments) is not None:
        check_forecasts(model, arguments["X"])
    elif before is not None:
        np.testing.assert_array_equal(model.predict(X), before)


PLAIN_METHODS = [
    *("predict", "transform", "reconstruct", "predict_cluster", "predict_cluster_proba"),
    *("predict_quantiles", "score_samples", "score_terms", "attribute"),
]
METHODS = {
    **{name: {} for name in PLAIN_METHODS},
    "sample": {"n_samples": 2, "random_state": 0},
    "counterfactual": {"factors": {"factor0": 1}},
    "traverse": {"dimension": 0, "values": [0.5]},
    "score": {"y": make_arrays()[1]},
}


def asking_about_windows(data):
    name = data.draw(st.sampled_from(list(METHODS)))
    method = getattr(fitted(), name)
    X = data.draw(
        anything(data.draw(st.sampled_from([(N, N_TIMESTEPS), (1, N_TIMESTEPS), (N, 3)])))
    )
    result = outcome(method, X, **METHODS[name])
    assert_finite(result)
    if result is not None and type(X) is np.ndarray and isinstance(result, np.ndarray):
        expected = method(np.ascontiguousarray(X, dtype=np.float64), **METHODS[name])
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6 * np.ptp(expected))


def asking_in_other_ways(data):
    model, (X, y, _) = fitted(), make_arrays()
    value, label = (data.draw(st.sampled_from(SCALARS)) for _ in range(2))
    few = [v for v in SCALARS if not isinstance(v, int | np.uint64) or abs(int(v)) < 10]
    calls = {
        "return_std": lambda: outcome(model.predict, X, return_std=value),
        "quantiles": lambda: outcome(model.predict_quantiles, X, quantiles=value),
        "n_samples": lambda: outcome(model.sample, X, n_samples=data.draw(st.sampled_from(few))),
        "random_state": lambda: outcome(model.sample, X, 2, random_state=value),
        "dimension": lambda: outcome(model.traverse, X, dimension=value, values=[0.0]),
        "values": lambda: outcome(model.traverse, X, dimension=0, values=value),
        "factors": lambda: outcome(model.counterfactual, X, factors=value),
        "label": lambda: outcome(model.counterfactual, X, factors={"factor0": label}),
        "y": lambda: outcome(model.score, X, y=data.draw(anything((N, HORIZON)))),
        "weights": lambda: outcome(model.score, X, y, sample_weight=data.draw(anything((N,)))),
        "Z": lambda: outcome(model.inverse_transform, data.draw(anything((3, 4)))),
    }
    assert_finite(calls[data.draw(st.sampled_from(list(calls)))]())


def setting_parameters(data):
    estimator = data.draw(st.sampled_from([DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]))
    model = estimator(**SMALL)
    names = [name for name in model.get_params() if name != "verbose"]
    for name in data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=3)):
        value = data.draw(st.sampled_from(SCALARS))
        model.set_params(**{name: value})
    X, y, _ = make_arrays()
    try:
        with warnings.catch_warnings():  # as documented as well
            warnings.filterwarnings("ignore", ".* Lower 'learning_rate'", ConvergenceWarning)
            result = outcome(model.fit, X, y)
    except FloatingPointError as error:  # as documented, where the steps are too large
        assert float(model.learning_rate) > 1
        assert "'learning_rate'" in str(error)  # noqa: PT017
        return
    if result is not None:
        check_forecasts(model, X)


def make_covariates(n_covariates=2):
    return np.random.default_rng(1).standard_normal((N, HORIZON, n_covariates))


SHAPES_OF_COVARIATES = [(N, HORIZON), (N, HORIZON, 1), (N, HORIZON, 2), (N, 1), (N,), (3, HORIZON)]


def fitting_with_covariates(data):
    estimator = data.draw(st.sampled_from([DeepDIVEForecaster, VAEForecaster]))
    model, (X, y, _) = estimator(**SMALL), make_arrays()
    known = data.draw(anything(data.draw(st.sampled_from(SHAPES_OF_COVARIATES))))
    fit = model.fit
    if estimator is DeepDIVEForecaster:
        fit = data.draw(st.sampled_from([model.fit, model.partial_fit]))
        X = X if data.draw(st.booleans()) else data.draw(anything((N, N_TIMESTEPS)))
    if outcome(fit, X, y, future_covariates=known) is not None:
        forecast = outcome(model.predict, X, future_covariates=known)
        assert forecast is None or forecast.shape == y.shape
        assert_finite(forecast)


@cache
def fitted_with_covariates():
    X, y, codes = make_arrays()
    labels = {"hour": codes, "half": codes > 1}
    return make_model().fit(X, y, labels, future_covariates=make_covariates())


METHODS_WITH_COVARIATES = {
    **{name: {} for name in ("predict", "predict_quantiles", "attribute")},
    "sample": {"n_samples": 2, "random_state": 0},
    "score": {"y": make_arrays()[1]},
    "counterfactual": {"factors": {"hour": 1}},
}


def asking_with_covariates(data):
    name = data.draw(st.sampled_from(list(METHODS_WITH_COVARIATES)))
    known = data.draw(anything(data.draw(st.sampled_from(SHAPES_OF_COVARIATES))))
    method, (X, _, _) = getattr(fitted_with_covariates(), name), make_arrays()
    options = METHODS_WITH_COVARIATES[name]
    result = outcome(method, X, **options, future_covariates=known)
    assert_finite(result)
    assert result is None or known is not None or name == "counterfactual"


METHODS_WITH_LABELS = {
    **{name: {} for name in ("predict", "predict_quantiles", "attribute", "score_terms")},
    **{name: {} for name in ("transform", "reconstruct", "score_samples")},
    "sample": {"n_samples": 2, "random_state": 0},
    "score": {"y": make_arrays()[1]},
}


def asking_with_known_labels(data):
    """Labels of any kind, and some of the model's own among those of another kind."""
    name = data.draw(st.sampled_from(list(METHODS_WITH_LABELS)))
    X, _, codes = make_arrays()
    model, options = fitted_with_covariates(), dict(METHODS_WITH_LABELS[name])
    if "future_covariates" in inspect.signature(getattr(model, name)).parameters:
        options["future_covariates"] = make_covariates()
    own = {"hour": codes, "half": codes > 1}
    known = [{**own, "hour": data.draw(labels())}, {"half": data.draw(labels())}, own]
    told = data.draw(st.sampled_from([*known, data.draw(labels()), *SCALARS]))
    assert_finite(outcome(getattr(model, name), X, **options, factors=told))


# Columns of a series that tell little or nothing.
LIVE = np.sin(np.arange(60)) + 0.1 * np.random.default_rng(0).standard_normal(60)
DEGENERATE = {
    "live": LIVE,
    "constant": np.full(60, 0.1),
    "another constant": np.full(60, -1e9 - 0.1),
    "zero": np.zeros(60),
    "nearly constant": 7 * (1 + 1e-12 * LIVE),
    "rounding errors": 7 + 8e-16 * np.sign(LIVE),
    "multiple": 3 - 2 * LIVE,
    "sum": LIVE + (np.arange(60) % 3),
    "jump": (np.arange(60) > 30) * 1.0,
    "spike": (np.arange(60) == 30) * 1e6,
    "constant at first": np.where(np.arange(60) < 45, 0.1, LIVE),
    "constant at last": np.where(np.arange(60) < 45, LIVE, 0.1),
    "line": np.arange(60) / 60,
    "switch": (np.arange(60) % 4 < 2) * 1.0,
}
LABELS_OF_WINDOWS = [
    lambda n: None,
    np.arange,
    lambda n: np.arange(n) // (n - 1),
    lambda n: np.arange(n) // (n // 2 + 1),
    lambda n: np.where(np.arange(n) < n - 5, -1, np.arange(n) % 2),
    lambda n: np.arange(n) % 3,
]


def fitting_without_variation(data):
    names = data.draw(st.lists(st.sampled_from(list(DEGENERATE)), min_size=1, max_size=4))
    X, y, _ = sliding_windows(np.column_stack([DEGENERATE[name] for name in names]), 4, 2)
    known = DEGENERATE[data.draw(st.sampled_from(list(DEGENERATE)))][4:][:, None]
    known = np.lib.stride_tricks.sliding_window_view(known, 2, axis=0).mT[: len(X)]
    options = {"future_covariates": known} if data.draw(st.booleans()) else {}
    estimator = data.draw(st.sampled_from([DeepDIVEForecaster, DeepDIVEForecaster, VAEForecaster]))
    model = estimator(**SMALL)
    if estimator is DeepDIVEForecaster:
        options["factors"] = data.draw(st.sampled_from(LABELS_OF_WINDOWS))(len(X))
        if data.draw(st.booleans()):
            half = {name: None if v is None else v[:25] for name, v in options.items()}
            model.partial_fit(X[:25], y[:25], **half, classes=_classes(options["factors"]))
    (model.partial_fit if hasattr(model, "module_") else model.fit)(X, y, **options)
    options.pop("factors", None)
    forecast = model.predict(X, **options)
    assert_finite([forecast, model.transform(X), model.reconstruct(X)])
    assert_finite(model.score(X, y, **options))
    if estimator is DeepDIVEForecaster:
        assert_finite(model.predict_quantiles(X, **options))
        assert_finite([model.score_samples(X), model.sample(X, 2, random_state=0, **options)])
    for target in np.flatnonzero(np.ptp(y, axis=(0, 1)) == 0):
        np.testing.assert_array_equal(forecast[..., target], y[..., target])


def _classes(labels):
    if labels is None:
        return None
    return np.unique(labels[labels != -1])


def cutting_windows(data):
    sizes = {"n_timesteps": 4, "horizon": 2, "gap": 0, "stride": 1, "targets": None}
    series = data.draw(anything(data.draw(st.sampled_from([(30,), (30, 3), (5, 1), (1, 2)]))))
    for name in data.draw(st.sets(st.sampled_from(list(sizes)), max_size=2)):
        sizes[name] = data.draw(st.one_of(st.sampled_from(SCALARS), st.integers(0, 40)))
    cut = outcome(sliding_windows, series, **sizes)
    if cut is not None:
        X, y, origin = cut
        assert len(X) == len(y) == len(origin) > 0
        assert X.shape[1] == sizes["n_timesteps"]
        assert y.shape[1] == sizes["horizon"]


def splitting_windows(data):
    index = pd.date_range("2020-03-28", periods=60, freq="h")
    zone = data.draw(st.sampled_from([None, "UTC", "Europe/Berlin", "America/St_Johns"]))
    index = index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    arguments = {"origin": np.arange(3, 50), "horizon": 2, "gap": 0, "fractions": (0.5, 0.5)}
    dates = ["2020-03-29 02:30", "2020-03-29 00:00", "2020-03-29T12:00Z", *SCALARS]
    if data.draw(st.booleans()):
        arguments["dates"] = data.draw(st.lists(st.sampled_from(dates), max_size=2))
        arguments["index"] = index if data.draw(st.booleans()) else data.draw(anything((60,)))
    name = data.draw(st.sampled_from(list(arguments)))
    if name == "origin":
        arguments[name] = data.draw(anything((20,)))
    elif name not in ("dates", "index"):
        arguments[name] = data.draw(st.sampled_from(SCALARS))
    parts = outcome(split_windows, **arguments)
    if parts is not None:
        assert all(0 <= part.start < part.stop <= 50 for part in parts)


def reading_the_calendar(data):
    unit = data.draw(st.sampled_from(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "as"]))
    counts = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**4), 10**4))
    stamps = np.array(data.draw(st.lists(counts, max_size=4)), dtype="i8").astype(f"M8[{unit}]")
    names = data.draw(
        st.one_of(
            st.lists(st.sampled_from(["minute", "hour", "weekday", "day", "month", "quarter"])),
            st.lists(st.sampled_from(SCALARS), max_size=2),
            st.sampled_from(SCALARS),
        )
    )
    index = stamps if data.draw(st.integers(0, 3)) else data.draw(anything((4,)))
    found = outcome(calendar_factors, index, names)
    if found is not None:
        found = np.asarray(found)
        assert found.shape[1] == len(names)
        assert ((found >= 0) & (found < 60)).all()


def scoring(data):
    score = data.draw(st.sampled_from([rrse_score, corr_score, mutual_information_gap]))
    shape = data.draw(st.sampled_from([(N,), (N, 3), (N, 2, 3), (1, 1)]))
    if score is mutual_information_gap:
        factors, Z = data.draw(labels()), data.draw(anything((N, 3)))
        n_bins = data.draw(st.one_of(st.integers(2, 40), st.sampled_from(SCALARS)))
        result = outcome(score, factors, Z, n_bins=n_bins)
        assert result is None or 0 <= result <= 1 + 1e-9
        return
    first, second = data.draw(anything(shape)), data.draw(anything(shape))
    if data.draw(st.integers(0, 5)) == 0:
        second = first
    assert_finite(outcome(score, first, second))


PROPERTIES = [
    *(fitting, fitting_baselines, fitting_in_parts, setting_parameters),
    *(fitting_with_covariates, fitting_without_variation),
    *(asking_about_windows, asking_in_other_ways),
    *(asking_with_covariates, asking_with_known_labels),
    *(cutting_windows, splitting_windows, reading_the_calendar, scoring),
]
every_property = pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)


@every_property
def test_any_input_gives_a_result_or_an_error_that_names_it(check):
    try_examples(check, 24, derandomize=True)


@pytest.mark.slow
@every_property
def test_thousands_of_inputs_give_a_result_or_an_error_that_names_it(check):
    try_examples(check, 300)
