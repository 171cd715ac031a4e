"""Types that files are checked against: each value they let through, and what they refuse."""

import json
import math
import pickle
import re
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest

from skdeepdive._saving.document import parse_document, to_document
from skdeepdive._saving.plain import plain_module
from skdeepdive._saving.schema import Kind, check_names, parse
from skdeepdive.baselines import VAEForecaster
from skdeepdive.nn.configuration import Count, Shape, Size, VAEConfiguration
from skdeepdive.nn.vae import VAE

Even = Annotated[int, Kind("an even number", lambda value: value % 2 == 0)]


@dataclass(frozen=True)
class Inner:
    size: Size


@dataclass(frozen=True)
class Outer:
    inner: Inner
    flags: list[bool]


class Entry(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("declared", "plain", "expected"),
    [
        (bool, False, False),
        (str, "ä", "ä"),
        (float, -2.5, -2.5),
        (float, 4, 4),
        (Size, 1, 1),
        (Size, 2**31 - 1, 2**31 - 1),
        (Count, 0, 0),
        (Even, 6, 6),
        (Any, [None], [None]),
        (Literal[None, "a", 2], None, None),
        (Literal[None, "a", 2], 2, 2),
        (list[Count], [], []),
        (Shape, [3, 1], (3, 1)),
        (tuple[str, bool], ["a", True], ("a", True)),
        (dict[str, float], {"a": 1.5, "": 2}, {"a": 1.5, "": 2}),
        (Entry, {"name": "a"}, {"name": "a"}),
        (Outer, {"flags": [True], "inner": {"size": 3}}, Outer(Inner(3), [True])),
    ],
)
def test_plain_values_become_those_of_their_declared_type(declared, plain, expected):
    found = parse(plain, declared, "it")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("declared", "plain", "problem"),
    [
        (bool, 1, "it must be true or false, got 1"),
        (str, None, "it must be a string, got None"),
        (float, "1", "it must be a number, got '1'"),
        (float, True, "it must be a number, got True"),
        (float, math.nan, "it must be a number, got nan"),
        (float, 10**400, "it must be a number, got 1000"),
        (Size, 0, "it must be an integer from 1 to 2147483647, got 0"),
        (Size, 2**31, "it must be an integer from 1 to 2147483647, got 2147483648"),
        (Size, True, "it must be an integer from 1"),
        (Size, 2.0, "it must be an integer from 1"),
        (Count, -1, "it must be an integer from 0 to 2147483647, got -1"),
        (Even, 3, "it must be an even number, got 3"),
        (Literal[None, "a", 2], 2.0, 'it must be one of null, "a", 2, got 2.0'),
        (Literal[None, "a", 2], [], 'it must be one of null, "a", 2, got []'),
        (list[Count], (1, 2), "it must be a list, got (1, 2)"),
        (list[Count], [1, "2"], "a value of it must be an integer from 0 to 2147483647, got '2'"),
        (Shape, [1], "it must be a list of 2 values, got [1]"),
        (tuple[str, bool], ["a", "b"], "a value of it must be true or false, got 'b'"),
        (dict[str, float], [1.5], "it must be an object, got [1.5]"),
        (dict[str, float], {"a": "b"}, "'a' must be a number, got 'b'"),
        (Entry, {"name": 3}, "'name' must be a string, got 3"),
        (Entry, {"name": "a", "code": "b"}, "it has unknown 'code'"),
        (Outer, {"inner": {"size": 3}}, "it lacks 'flags'"),
        (Outer, {"inner": {}, "flags": []}, "'inner' lacks 'size'"),
        (Outer, {"inner": {"size": -3}, "flags": []}, "'size' must be an integer from 1"),
    ],
)
def test_values_of_other_types_are_refused_with_what_was_expected(declared, plain, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        parse(plain, declared, "it")


def test_of_many_wrong_names_three_are_listed():
    with pytest.raises(ValueError, match=r"^it has unknown 'a', 'b', 'c', \.\.\.$"):
        check_names("edcba", "", "it")


# A new option: one field of the configuration, and an argument of the constructor that keeps it.


@dataclass(frozen=True)
class TemperedConfiguration(VAEConfiguration):
    temperature: float
    n_draws: Count


class TemperedVAE(VAE):
    Configuration = TemperedConfiguration

    def __init__(self, *args, temperature, n_draws, **options):
        super().__init__(*args, **options)
        self.temperature, self.n_draws = temperature, n_draws


@pytest.fixture
def model(monkeypatch):
    """A fitted estimator whose module has two new options."""
    windows = np.random.default_rng(0).standard_normal((40, 7))
    model = VAEForecaster(n_hidden=2, n_latent=2, max_epochs=1, random_state=0)
    model.fit(windows[:, :5], windows[:, 5:])
    state = model.__getstate__()
    state["module_"]["configuration"] |= {"temperature": 0.5, "n_draws": 3}
    monkeypatch.setattr(VAEForecaster, "_MODULE", TemperedVAE)
    model.__setstate__(state)
    return model


def by_pickle(model, path):
    return pickle.loads(pickle.dumps(model))


def by_file(model, path):
    model.save(path)
    return VAEForecaster.load(path)


@pytest.mark.parametrize("way", [by_pickle, by_file])
def test_a_new_option_is_kept_by_every_way_of_saving(way, model, tmp_path):
    module = way(model, tmp_path / "model").module_
    assert isinstance(module, TemperedVAE)
    assert (module.temperature, module.n_draws) == (0.5, 3)
    assert module.configuration == model.module_.configuration


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"temperature": "hot"}, "'temperature' must be a number, got 'hot'"),
        ({"n_draws": -1}, "'n_draws' must be an integer from 0 to 2147483647, got -1"),
        ({"n_draws": 0.5}, "'n_draws' must be an integer from 0 to 2147483647, got 0.5"),
        ({"n_steps": 1}, "'configuration' has unknown 'n_steps'"),
    ],
)
def test_a_new_option_of_another_type_is_refused_by_its_name(options, problem, model):
    document = describe(model)
    document["configuration"] |= options
    with pytest.raises(ValueError, match=problem):
        parse_document(document, VAEForecaster)
    state = model.__getstate__()
    state["module_"]["configuration"] |= options
    with pytest.raises(ValueError, match=problem):
        model.__setstate__(state)


def describe(model):
    return json.loads(json.dumps(to_document(model.__getstate__(), VAEForecaster)))


def test_a_new_option_must_be_there(model):
    document = describe(model)
    del document["configuration"]["temperature"]
    with pytest.raises(ValueError, match="'configuration' lacks 'temperature'"):
        parse_document(document, VAEForecaster)


def test_a_module_without_the_option_refuses_its_file(model, monkeypatch):
    monkeypatch.setattr(VAEForecaster, "_MODULE", VAE)
    with pytest.raises(ValueError, match="'configuration' has unknown 'n_draws', 'temperature'"):
        parse_document(describe(model), VAEForecaster)


def test_numbers_of_numpy_become_those_of_python(model):
    model.module_.n_draws, model.module_.temperature = np.int64(3), np.float64(0.5)
    found = plain_module(model.module_)["configuration"]
    assert [type(found[name]) for name in ("n_draws", "temperature")] == [int, float]
    assert found == asdict(model.module_.configuration)


def test_a_configuration_cannot_be_changed_but_copied(model):
    configuration = model.module_.configuration
    with pytest.raises(AttributeError, match="cannot assign to field 'n_draws'"):
        configuration.n_draws = 4
    assert TemperedVAE.blank(replace(configuration, n_draws=4)).n_draws == 4
