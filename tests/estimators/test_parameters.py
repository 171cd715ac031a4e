"""Every constructor parameter: what it accepts, and what it says of everything else."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster

ESTIMATORS = [DeepDIVEForecaster, VAEForecaster, BetaTCVAEForecaster]

NAN = float("nan")
NOT_INTEGERS = ["8", 8.0, np.float64(8), NAN, 8j, [8], np.array(8), torch.tensor(8), True, np.True_]
NOT_NUMBERS = ["0.1", None, 0.1j, [0.1], np.array(0.1), torch.tensor(0.1), True, np.True_]
NOT_POSITIVE = [0, 0.0, -1e-3, np.float32(-1), np.inf, -np.inf, NAN, np.float64(NAN)]
NOT_FLAGS = ["yes", None, 0, 1, 1.0, NAN, [True], np.array(True)]

SIZE = [
    (TypeError, "an integer", [*NOT_INTEGERS, None]),
    (ValueError, "a positive integer", [0, -1, np.int8(-8)]),
]
SIZE_OR_AUTO = [
    (TypeError, "an integer or 'auto'", [*NOT_INTEGERS[1:], None]),
    (ValueError, "a positive integer or 'auto'", [0, -1, "8", "Auto"]),
]
NUMBER = [(TypeError, "a number", NOT_NUMBERS), (ValueError, "a positive number", NOT_POSITIVE)]
FLAG = [(TypeError, "True or False", NOT_FLAGS)]
SEED = "an integer from 0 to 2**32 - 1, a RandomState instance or None"

# What is wrong, and what the error says is right.
WRONG = {
    "n_channels": [
        (TypeError, "an integer or None", NOT_INTEGERS),
        (ValueError, "a positive integer or None", [0, -1]),
    ],
    "latent": [
        (
            ValueError,
            "one of 'both', 'conditional', 'marginal'",
            ["all", "Both", "", b"both", None, 1, True, NAN, ["both"]],
        )
    ],
    **dict.fromkeys(
        ["n_clusters", "n_marginal", "n_conditional", "n_latent", "n_hidden", "max_epochs"], SIZE
    ),
    "n_iter_no_change": SIZE,
    "batch_size": SIZE_OR_AUTO,
    "learning_rate": NUMBER,
    "beta": NUMBER,
    "early_stopping": FLAG,
    "warm_start": FLAG,
    "priors": [
        (ValueError, "one of 'observed', 'uniform'", ["all", "", b"uniform", None, 1, True, NAN])
    ],
    "validation_fraction": [
        (TypeError, "a number", NOT_NUMBERS),
        (ValueError, "between 0 and 1, exclusive", [*NOT_POSITIVE, 1, 1.0, np.float64(1.5)]),
    ],
    "validation_gap": [
        (TypeError, "an integer or None", NOT_INTEGERS),
        (ValueError, "an integer of at least 0 or None", [-1, np.int8(-1)]),
    ],
    "random_state": [
        (ValueError, SEED, ["seed", -1, 2**32, 1.0, NAN, [1], True, np.random.default_rng(0)])
    ],
    "device": [
        (
            ValueError,
            '"auto" or a torch device that this machine has',
            ["foo", "cuda:99", "meta", "", None, 3.5, True, NAN, ["cpu"], 10**30],
        )
    ],
    "checkpoint_path": [
        (TypeError, "a string, a path or None", [1, 0.5, True, b"fit", ["fit"], NAN]),
        (ValueError, "a file in a folder that exists", ["", ".", "none/fit", Path("none/fit")]),
    ],
    "verbose": [
        (TypeError, "an integer", [*NOT_INTEGERS, None]),
        (ValueError, "an integer of at least 0", [-1]),
    ],
}

# Python's value, and the same as NumPy has it.
EQUAL = {
    **dict.fromkeys(
        ["n_clusters", "n_marginal", "n_conditional", "n_latent"],
        (3, [np.int8(3), np.uint64(3), np.int64(3)]),
    ),
    "n_channels": (1, [np.int8(1), np.uint64(1), np.int64(1)]),
    "n_hidden": (100, [np.int8(100), np.uint8(100)]),
    "max_epochs": (2, [np.int8(2), np.uint64(2)]),
    "n_iter_no_change": (2, [np.int8(2), np.uint64(2)]),
    "batch_size": (100, [np.int8(100), np.uint8(100), np.uint64(100), np.int64(100)]),
    "latent": ("conditional", [np.str_("conditional")]),
    "priors": ("uniform", [np.str_("uniform")]),
    "learning_rate": (0.25, [np.float32(0.25), np.float64(0.25)]),
    "beta": (2.0, [2, np.float32(2), np.int8(2)]),
    "early_stopping": (False, [np.False_]),
    "warm_start": (False, [np.False_]),
    "validation_fraction": (0.25, [np.float16(0.25), np.float64(0.25)]),
    "validation_gap": (3, [np.int8(3), np.uint8(3), np.uint64(3), None]),  # a horizon of 4
    "random_state": (7, [np.int8(7), np.uint64(7)]),
    "device": ("cpu", [np.str_("cpu"), torch.device("cpu")]),
    "checkpoint_path": (None, ["fit", np.str_("fit"), Path("fit")]),
    "verbose": (0, [np.int8(0)]),
}


def wrong(estimator, name):
    """Return what is wrong for a parameter of an estimator."""
    if estimator is DeepDIVEForecaster and name == "max_epochs":
        return SIZE_OR_AUTO
    return WRONG[name]


def parameters(estimator):
    return list(inspect.signature(estimator).parameters)


def stable(value):
    """Name a value the same way in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))


def of_estimators(table):
    """Cases of the table for each estimator that has the parameter."""
    return [
        pytest.param(estimator, name, *case, id=f"{estimator.__name__}-{name}-{stable(case[-1])}")
        for estimator in ESTIMATORS
        for name in parameters(estimator)
        for case in table(estimator, name)
    ]


def make_windows():
    noise = np.random.default_rng(0).standard_normal(150)
    X, y, _ = sliding_windows(np.sin(np.arange(150) * np.pi / 6) + 0.1 * noise, 12, 4)
    return X, y


def make_model(estimator, **parameters):
    return estimator(**{"n_hidden": 8, "max_epochs": 1, "random_state": 0, **parameters})


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_among_the_cases(estimator):
    assert set(parameters(estimator)) <= WRONG.keys() & EQUAL.keys()


@pytest.mark.parametrize(
    ("estimator", "name", "error", "expected", "value"),
    of_estimators(
        lambda estimator, name: [
            (error, expected, value)
            for error, expected, values in wrong(estimator, name)
            for value in values
        ]
    ),
)
def test_the_error_names_the_parameter_what_was_expected_and_what_came(
    estimator, name, error, expected, value
):
    message = re.escape(f"'{name}' must be {expected}")
    with pytest.raises(error, match=rf"^{message}\W.*got ") as raised:
        make_model(estimator, **{name: value}).fit(*make_windows())
    given = str(raised.value).rpartition(", got ")[2]
    assert given in (f"{value!r}.", f"{value}.")


@pytest.mark.parametrize(
    ("estimator", "name", "value", "other"),
    of_estimators(lambda _, name: [(EQUAL[name][0], other) for other in EQUAL[name][1]]),
)
def test_values_of_numpy_give_the_forecasts_of_python_s(
    estimator, name, value, other, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    X, y = make_windows()
    expected, forecast = (
        make_model(estimator, **{name: given}).fit(X, y).predict(X) for given in (value, other)
    )
    np.testing.assert_array_equal(forecast, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_unknown_parameter_is_an_error_that_names_it(estimator):
    with pytest.raises(TypeError, match="n_layers"):
        estimator(n_layers=3)
    with pytest.raises(ValueError, match="Invalid parameter 'n_layers'"):
        estimator().set_params(n_layers=3)


def test_channels_that_do_not_divide_the_columns_are_an_error():
    with pytest.raises(ValueError, match="'n_channels' is 5, which does not divide the 12 columns"):
        make_model(DeepDIVEForecaster, n_channels=5).fit(*make_windows())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameters_are_not_looked_at_before_fit(estimator):
    given = {name: wrong(estimator, name)[0][2][0] for name in parameters(estimator)}
    assert estimator(**given).get_params() == given
