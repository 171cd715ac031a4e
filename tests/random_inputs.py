"""Inputs drawn by Hypothesis: whatever comes, the outcome is a result or an error that names it.

An outcome is right if it is finite and has its shape, or if it is a ValueError or TypeError that
names an argument; and inputs must be what they were.
"""

import datetime
import decimal
import fractions
import inspect
import re
import warnings

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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
