"""Bad input by machine: whatever comes, the outcome is a result or an error that names it.

Hypothesis draws shapes, types, orders, values and labels. An outcome is right if it is finite and
has its shape, or if it is a ValueError or TypeError that names an argument; and inputs must be what
they were. `make test` tries a few hundred inputs, always the same; `make test-slow` some thousands
of others.
"""

import datetime
import decimal
import fractions
import inspect
import re
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from skdeepdive import DeepDIVEForecaster, calendar_factors, sliding_windows, split_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.metrics import corr_score, mutual_information_gap, rrse_score

N, N_TIMESTEPS, HORIZON = 12, 4, 2


class Subclass(np.ndarray):
    pass


class Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("there is nothing here")


# What may come


def frame(values):
    return pd.DataFrame(np.reshape(values, (len(values), -1)))


def with_object(values, thing):
    changed = values.astype(object)
    changed.flat[len(changed) // 2] = thing
    return changed


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


# Ways to hand numbers in: the same ones, fewer, none, or something else.
CONTAINERS = {
    "array": lambda a: a,
    "Fortran order": np.asfortranarray,
    "reversed": lambda a: a[::-1],
    "every second value": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": read_only,
    "all the same": lambda a: np.broadcast_to(a[:1], a.shape),
    "subclass": lambda a: a.view(Subclass),
    "masked": np.ma.array,
    "partly masked": lambda a: np.ma.masked_less(a, 0),
    "objects": lambda a: a.astype(object),
    "decimals": lambda a: np.vectorize(lambda v: decimal.Decimal(float(v)), otypes="O")(a),
    "fractions": lambda a: np.vectorize(fractions.Fraction, otypes="O")(a.astype(float)),
    "a string among them": lambda a: with_object(a, "x"),
    "None among them": lambda a: with_object(a, None),
    "NA among them": lambda a: with_object(a, pd.NA),
    "a complex number among them": lambda a: with_object(a, 1j),
    "a huge integer among them": lambda a: with_object(a, 10**400),
    "a list among them": lambda a: with_object(a, [1, 2]),
    "a set among them": lambda a: with_object(a, {1}),
    "strings": lambda a: a.astype(str),
    "bytes": lambda a: a.astype("S"),
    "complex": lambda a: a.astype(complex),
    "dates": lambda a: (a * 1e6).astype("M8[s]"),
    "spans of time": lambda a: (a * 1e6).astype("m8[s]"),
    "records": lambda a: np.zeros(a.shape, [("a", float)]),
    "lists": lambda a: a.tolist(),
    "generator": lambda a: (row for row in a),
    "dict": lambda a: {"a": a},
    "set": lambda a: {1, 2},
    "text": lambda a: "abc",
    "nothing": lambda a: None,
    "a number": lambda a: 1.0,
    "a single value": lambda a: np.array(1.0),
    "empty list": lambda a: [],
    "ragged": lambda a: [[1, 2], [3]],
    "no rows": lambda a: a[:0],
    "no columns": lambda a: a.reshape(len(a), -1)[:, :0],
    "one row": lambda a: a[:1],
    "fewer rows": lambda a: a[:-1],
    "flat": lambda a: a.ravel(),
    "one more axis": lambda a: a[..., None],
    "two more axes": lambda a: a[..., None, None],
    "first column": lambda a: a.reshape(len(a), -1)[:, 0],
    "columns twice": lambda a: np.concatenate([a, a], axis=-1),
    "sparse": lambda a: scipy.sparse.csr_array(a.reshape(len(a), -1)),
    "frame": frame,
    "columns of one name": lambda a: frame(a).set_axis(["a"] * frame(a).shape[1], axis=1),
    "nullable frame": lambda a: frame(a).astype("Float64"),
    "nullable frame with gaps": lambda a: frame(a).astype("Float64").mask(frame(a) > 0),
    "frame of flags": lambda a: (frame(a) > 0).astype("boolean"),
    "frame with text": lambda a: frame(a).assign(z="q"),
    "categories": lambda a: frame(a).round().astype("category"),
    "sparse frame": lambda a: frame(a).astype(pd.SparseDtype("float64")),
    "tensor": lambda a: torch.tensor(a.astype(float)),
    "tensor that needs gradients": lambda a: torch.tensor(a.astype(float), requires_grad=True),
    "tensor of half precision": lambda a: torch.tensor(a.astype(float)).bfloat16(),
    "sparse tensor": lambda a: torch.tensor(a.astype(float)).to_sparse(),
    "tensor without values": lambda a: torch.empty(a.shape, device="meta"),
    "unreadable": lambda a: Unreadable(),
}
DTYPES = ["f8", "f8", "f4", "f2", ">f8", "longdouble", "i1", ">i4", "u8", "?"]
MAGNITUDES = [1.0, 1.0, 1e-320, 1e-300, 1e-30, 1e-6, 1e6, 1e30, 1e38, 1e300, 1e308]
SPECIAL = [np.nan, np.inf, -np.inf, 1.7e308, -1e30, 5e-324, 0.0]

# What may come in place of a number, a name or a flag.
SCALARS = [
    *(
        None,
        "",
        "a",
        "0.5",
        b"a",
        -1,
        0,
        1,
        2,
        3,
        10**400,
        -(2**63),
        2**64,
        0.5,
        1.0,
        5e-324,
        1e308,
    ),
    *(float("nan"), float("inf"), 1j, True, False, np.True_, np.int8(3), np.uint64(2**64 - 1)),
    *(np.float32(0.5), np.longdouble("0.5"), np.array(0.5), np.array([1]), np.datetime64("2020")),
    *(np.timedelta64(1, "D"), np.str_("a"), pd.NA, pd.NaT, decimal.Decimal("0.1"), ..., len, int),
    *(fractions.Fraction(1, 2), [], [0.1], [[0.1]], [0.1, [2]], ["a"], [None], (), {}, {"a": 1}),
    *({1}, range(1, 2), slice(3), object(), pd.Series([0.1, 0.2]), torch.tensor([0.1])),
    *(np.ones((2, 2)), np.ma.masked, np.ma.array([0.1, 0.2], mask=[0, 1]), Unreadable()),
    *(datetime.date(2020, 1, 1), datetime.timedelta(1), [0.2, 0.8], [True, False]),
]
LABELS = [
    *(0, 1, 2, -1, None, np.nan, "a", "b", "", "nan", "a\0", True, 2.5, 1e30, np.inf, 2**70, -7),
    *((1, 2), [1], {1}, 1j, b"a", pd.NA, pd.NaT, datetime.date(2020, 1, 1), pd.Timestamp("2020")),
    *(decimal.Decimal(1), np.int8(3), np.float32(1), np.array([1, 2]), len, object()),
]


@st.composite
def numbers(draw, shape):
    """An array of a shape, of any type and magnitude, now and then with a special value in it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = rng.standard_normal(shape) + draw(st.sampled_from([0.0, 0.0, 3.0, 1e6]))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    with np.errstate(all="ignore"):
        values = values * draw(st.sampled_from(MAGNITUDES))
        if draw(st.integers(0, 3)) == 0:
            values.flat[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from(SPECIAL))
        if draw(st.integers(0, 5)) == 0:
            values[:] = values.flat[0]
        return values.astype(dtype)


@st.composite
def anything(draw, shape):
    """Numbers in a container of any kind."""
    values, contain = draw(numbers(shape)), CONTAINERS[draw(st.sampled_from(list(CONTAINERS)))]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return contain(values)
        except Exception:  # there is no fraction of infinity, nor a category of half precision
            return values


@st.composite
def labels(draw):
    """Labels of windows: a few of any kind, in any container."""
    kinds = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4))
    order = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=N, max_size=N))
    chosen = [kinds[k] for k in order]
    form = draw(st.sampled_from(["list", "objects", "series", "frame", "two columns", "numbers"]))
    if form == "numbers":
        return draw(anything((N,)))
    if form == "list":
        return chosen
    column = np.empty(N, dtype=object)
    column[:] = chosen
    if form == "objects":
        return column
    if form == "series":
        return pd.Series(column, name=draw(st.sampled_from([None, "hour", 3])))
    name = draw(st.sampled_from(["hour", "conditional", "a", 0, None]))
    second = draw(st.sampled_from(["a", "weekday", "a_0"]))
    columns = {name: column} if form == "frame" else {name: column, second: np.arange(N) % 3}
    return pd.DataFrame(columns)


# What must come of it


def snapshot(value):
    """What an argument holds, in words."""
    if isinstance(value, pd.DataFrame | pd.Series):
        types = value.dtypes if isinstance(value, pd.DataFrame) else value.dtype
        return repr((str(types), list(value.index), value.to_numpy(dtype=object).tolist()))
    if isinstance(value, np.ndarray):
        return repr((value.dtype, value.strides, value.flags.writeable, value.tolist()))
    return repr(value)


def names_of(function):
    arguments = set(inspect.signature(function).parameters)
    owner = getattr(function, "__self__", None)
    return arguments | set(owner.get_params() if hasattr(owner, "get_params") else [])


def outcome(function, *args, **kwargs):
    """Return the result, or None where there was a good error; inputs must be what they were."""
    before = [snapshot(value) for value in (*args, *kwargs.values())]
    try:
        result = function(*args, **kwargs)
    except (ValueError, TypeError) as error:
        names = "|".join(names_of(function))
        assert re.search(rf"\b({names})\b", str(error)), f"{error!r} names none of {names}"  # noqa: PT017
        result = None
    after = [snapshot(value) for value in (*args, *kwargs.values())]
    assert after == before
    return result


def assert_finite(values):
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        for part in values:
            assert_finite(part)
    elif getattr(values, "dtype", np.dtype(object)).kind == "f" or isinstance(values, float):
        assert np.isfinite(values).all()


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
    *(asking_about_windows, asking_in_other_ways),
    *(cutting_windows, splitting_windows, reading_the_calendar, scoring),
]
every_property = pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)


def try_examples(check, n_examples, **options):
    """Draw inputs and check each; without shrinking, which would fit hundreds of models more."""
    tried = settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        **options,
    )
    tried(given(st.data())(check))()


@every_property
def test_any_input_gives_a_result_or_an_error_that_names_it(check):
    try_examples(check, 24, derandomize=True)


@pytest.mark.slow
@every_property
def test_thousands_of_inputs_give_a_result_or_an_error_that_names_it(check):
    try_examples(check, 300)
