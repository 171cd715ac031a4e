"""Saved models: their plain state, every way of writing it down, and files not to be trusted."""

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import sklearn
import torch
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError

from skdeepdive import DeepDIVEForecaster, sliding_windows
from skdeepdive._data.devices import resolve_device
from skdeepdive._saving import plain
from skdeepdive._train import conformal
from skdeepdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdeepdive.nn import DeepDIVE
from skdeepdive.nn.configuration import (
    CovariateEffectConfiguration,
    DeepDIVEConfiguration,
    LinearForecastConfiguration,
)
from skdeepdive.nn.linear_forecast import LinearForecast

PERIOD = 12
HERE = Path(__file__).parent
CURRENT_FORMAT = HERE / "files" / "deepdive_format_3.safetensors"


def make_windows(n_channels=None, horizon=3, n_timesteps=PERIOD, n_steps=150):
    """Windows of a noisy sine, and the phase they end at."""
    shifts = 0 if n_channels is None else 2 * np.arange(n_channels)
    angle = 2 * np.pi * np.add.outer(np.arange(n_steps), shifts) / PERIOD
    series = np.sin(angle) + 0.1 * np.random.default_rng(0).standard_normal(angle.shape)
    X, y, origin = sliding_windows(series, n_timesteps, horizon)
    return X, y, origin % PERIOD


def make_model(estimator=DeepDIVEForecaster, **parameters):
    small = {"n_hidden": 2, "max_epochs": 1, "batch_size": 64, "random_state": 0}
    if estimator is DeepDIVEForecaster:
        small |= {"n_conditional": 2, "n_marginal": 2, "n_clusters": 3}
    else:
        small["n_latent"] = 2
    return estimator(**{**small, **parameters})


def fit_data_frames():
    X, y, phase = make_windows()
    X = pd.DataFrame(X, columns=[f"step {i}" for i in range(PERIOD)])
    factors = pd.DataFrame({"hour": phase % 4, "half": np.where(phase < 6, "früh", "late")})
    return make_model().fit(X, y, factors=factors), X


def fit_labels(labels):
    X, y, phase = make_windows()
    return make_model().fit(X, y, factors=labels(phase)), X


def fit_flat():
    X, y, phase = make_windows(n_channels=2)
    X = X.reshape(len(X), -1)
    return make_model(n_channels=2).fit(X, y, factors=phase % 3), X


def fit_unrelated_targets():
    X, _, phase = make_windows()
    y = 1e4 + 30 * np.random.default_rng(1).standard_normal((len(X), 2))
    return make_model().fit(X, y, factors=phase % 3), X


def fit_class_maps():
    """A series that goes on by another rule in every class."""
    rng = np.random.default_rng(0)
    X, label = rng.standard_normal((400, 6)), rng.integers(2, size=400)
    X[:, 0] = 5.0 * label + 0.1 * X[:, 0]  # tells the class
    y = np.where(label == 0, 3.0, -3.0)[:, None] * X[:, -2:]
    return make_model(early_stopping=False).fit(X, y, factors=label), X


def fit_channels(estimator=DeepDIVEForecaster, n_channels=3, y_ndim=3, **parameters):
    X, y, _ = make_windows(n_channels)
    y = y if y_ndim == 3 else y.reshape(len(y), -1)[:, 0]
    return make_model(estimator, **parameters).fit(X, y), X


CONFIGURATIONS = {
    "data frames, two factors": fit_data_frames,
    "marginal": lambda: fit_channels(latent="marginal"),
    "conditional": lambda: fit_channels(latent="conditional"),
    "discovered clusters, 1-D y": lambda: fit_channels(n_channels=1, y_ndim=1),
    "integer labels, some unknown": lambda: fit_labels(
        lambda phase: np.where(phase % 5, phase, -1).astype(np.int16)
    ),
    "single-precision labels": lambda: fit_labels(lambda phase: (phase % 3).astype(np.float32)),
    "flags as labels": lambda: fit_labels(lambda phase: phase < 6),
    "large labels": lambda: fit_labels(lambda phase: np.array([2**70, -3, 5], object)[phase % 3]),
    "string labels, some unknown": lambda: fit_labels(
        lambda phase: [[None, "a", "bcd", "-"][i % 4] for i in phase]
    ),
    "flattened windows": fit_flat,
    "targets that continue no channel": fit_unrelated_targets,
    "class maps": fit_class_maps,
    "VAE": lambda: fit_channels(VAEForecaster),
    "VAE, compressed windows, 1-D y": lambda: fit_channels(VAEForecaster, n_channels=300, y_ndim=1),
    "β-TCVAE": lambda: fit_channels(BetaTCVAEForecaster, beta=4, n_hidden=np.int64(2)),
}
every_configuration = pytest.mark.parametrize("name", CONFIGURATIONS)


@cache
def fitted(name):
    """A trained model and its windows; tests must not change either."""
    return CONFIGURATIONS[name]()


def outputs(model, X):
    found = {name: getattr(model, name)(X) for name in ("predict", "transform", "reconstruct")}
    found["inverse_transform"] = model.inverse_transform(found["transform"])
    if hasattr(model, "predict_cluster"):
        found["predict_cluster"] = model.predict_cluster(X)
        proba = model.predict_cluster_proba(X)
        proba = proba if isinstance(proba, list) else [proba]
        found |= {f"predict_cluster_proba {i}": p for i, p in enumerate(proba)}
    return found


def assert_same_outputs(model, expected, X):
    found, wanted = outputs(model, X), outputs(expected, X)
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        assert type(values) is np.ndarray
        assert values.dtype.kind == wanted[name].dtype.kind
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


def set_state(model, **changes):
    """Another model, with a changed state."""
    other = type(model).__new__(type(model))
    other.__setstate__({**model.__getstate__(), **changes})
    return other


# Ways to save


def by_joblib(model, path, *, compress=0, mmap_mode=None):
    joblib.dump(model, path, compress=compress)
    return joblib.load(path, mmap_mode=mmap_mode)


def by_cloudpickle(model, path):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(model))


def by_skops(model, path):
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    own = [f"{type(model).__module__}.{type(model).__name__}"]
    assert skops.get_untrusted_types(data=data) == own
    return skops.loads(data, trusted=own)


def by_file(model, path):
    model.save(path)
    return type(model).load(path)


WAYS = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "pickle, protocol 2": lambda model, path: pickle.loads(pickle.dumps(model, protocol=2)),
    "joblib": by_joblib,
    "joblib, compressed": lambda model, path: by_joblib(model, path, compress=3),
    "joblib, memory-mapped": lambda model, path: by_joblib(model, path, mmap_mode="r"),
    "cloudpickle": by_cloudpickle,
    "skops": by_skops,
    "copy": lambda model, path: copy.copy(model),
    "deep copy": lambda model, path: copy.deepcopy(model),
    "file": by_file,
}


@every_configuration
@pytest.mark.parametrize("way", WAYS)
def test_a_saved_model_gives_the_same_outputs_bit_by_bit(name, way, tmp_path):
    model, X = fitted(name)
    saved = WAYS[way](model, tmp_path / "model")
    assert_same_outputs(saved, model, X)
    assert vars(saved).keys() == vars(model).keys()
    assert saved.get_params() == model.get_params()


@every_configuration
def test_the_configurations_are_what_their_names_say(name):
    model, _ = fitted(name)
    if not isinstance(model, DeepDIVEForecaster):
        assert model.module_.features.compressed == ("compressed" in name)
        return
    linear = model.module_.linear_forecast
    assert (linear.source_channels is None) == (name == "targets that continue no channel")
    if name == "class maps":
        assert any(maps is not None for maps in linear.class_maps)


_LOAD = """
import pickle, sys, warnings
warnings.simplefilter("error")
import joblib, numpy as np
from skdeepdive import DeepDIVEForecaster
folder = sys.argv[1]
with open(folder + "/pickle", "rb") as file:
    models = {"pickle": pickle.load(file)}
models["joblib"] = joblib.load(folder + "/joblib")
models["mapped"] = joblib.load(folder + "/joblib", mmap_mode="r")
models["file"] = DeepDIVEForecaster.load(folder + "/file")
X = np.load(folder + "/X.npy")
for name, model in models.items():
    np.savez(f"{folder}/{name}.npz", forecast=model.predict(X), cluster=model.predict_cluster(X))
"""


def test_a_saved_model_opens_in_a_fresh_process(tmp_path):
    model, X = fitted("string labels, some unknown")
    (tmp_path / "pickle").write_bytes(pickle.dumps(model))
    joblib.dump(model, tmp_path / "joblib")
    model.save(tmp_path / "file")
    np.save(tmp_path / "X.npy", X)
    subprocess.run([sys.executable, "-c", _LOAD, str(tmp_path)], check=True)
    for name in ("pickle", "joblib", "mapped", "file"):
        with np.load(tmp_path / f"{name}.npz") as found:
            np.testing.assert_array_equal(found["forecast"], model.predict(X))
            np.testing.assert_array_equal(found["cluster"], model.predict_cluster(X))


def test_an_unfitted_model_is_pickled_with_its_parameters():
    model = make_model(n_hidden=7)
    assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params()


@pytest.mark.parametrize("way", ["pickle", "file"])
def test_a_loaded_model_can_be_fitted_again(way, tmp_path):
    model, X = fitted("VAE")
    _, y, _ = make_windows(3)
    saved = WAYS[way](model, tmp_path / "model")
    np.testing.assert_array_equal(saved.fit(X, y).predict(X), model.predict(X))


def test_a_deep_copy_is_independent():
    _, y, _ = make_windows(3)
    model, X = fitted("marginal")
    expected = model.predict(X)
    copied = copy.deepcopy(model)
    for parameter in copied.module_.parameters():
        parameter.zero_()
    copied.fit(X + 3, 2 * y)
    np.testing.assert_array_equal(model.predict(X), expected)


def test_the_size_of_a_pickle_does_not_grow_with_the_data(monkeypatch):
    monkeypatch.setattr(conformal, "_MOST_WINDOWS", 20)
    sizes = []
    for n_steps in (200, 2000):
        X, y, phase = make_windows(n_steps=n_steps)
        model = make_model(early_stopping=False).fit(X, y, factors=phase)
        sizes.append(len(pickle.dumps(model)))
    assert abs(sizes[1] - sizes[0]) < 1000


def test_mapped_weights_stay_in_the_file_and_may_be_written_to(tmp_path, monkeypatch):
    model, X = fitted("marginal")
    path = tmp_path / "model"
    joblib.dump(model, path)
    content, mapped = path.read_bytes(), []
    remap = plain._private_mapping
    monkeypatch.setattr(
        plain,
        "_private_mapping",
        lambda filename, array: mapped.append(array) or remap(filename, array),
    )
    saved = joblib.load(path, mmap_mode="r")
    weights = model.module_.state_dict().values()
    assert len(mapped) == sum(tensor.numel() > 0 for tensor in weights)
    for parameter in saved.module_.parameters():
        parameter.zero_()
    assert path.read_bytes() == content
    assert not np.array_equal(saved.reconstruct(X), model.reconstruct(X))


# State

PLAIN = (dict, list, tuple, str, bool, int, float, type(None), np.ndarray, np.int64)


def assert_plain(value):
    assert type(value) in PLAIN
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        value = list(value.values())
    if isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufUO"
        value = value.tolist() if value.dtype.kind == "O" else []
    if isinstance(value, list | tuple):
        for part in value:
            assert_plain(part)


@every_configuration
def test_the_state_is_plain_python_and_numpy(name):
    model, _ = fitted(name)
    state = model.__getstate__()
    assert_plain(state)
    weights = state["module_"]["weights"]
    assert weights.keys() == model.module_.state_dict().keys()
    for key, array in weights.items():
        assert array.dtype == (np.int64 if key.endswith("source_channels") else np.float64)
        assert array.flags.c_contiguous
    assert all(t.is_contiguous() for t in model.module_.state_dict().values())


def test_asking_for_the_state_changes_nothing():
    model, _ = fitted("class maps")
    module = model.module_
    model.__getstate__()
    assert model.module_ is module
    assert joblib.hash(model) == joblib.hash(copy.deepcopy(model))


def test_a_device_given_as_an_object_is_saved_by_name():
    model, X = fitted("VAE")
    saved = set_state(copy.copy(model).set_params(device=torch.device("cpu")))
    assert saved.device == "cpu"
    assert_same_outputs(saved, model, X)


def test_single_precision_weights_are_saved_in_double():
    model = copy.deepcopy(fitted("VAE")[0])
    model.module_.float()  # as on a device without double precision
    weights = model.__getstate__()["module_"]["weights"]
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float64)}


def test_a_fitted_model_records_its_device():
    assert fitted("VAE")[0].device_ == str(resolve_device("auto"))
    X, y, _ = make_windows()
    assert make_model(VAEForecaster, device="cpu").fit(X, y).device_ == "cpu"


@pytest.mark.parametrize("device", ["cuda:77", "hpu", "some accelerator"])
def test_a_model_of_a_device_that_is_absent_opens_on_the_cpu(device):
    model, X = fitted("data frames, two factors")
    saved = set_state(model, device=device, device_=device)
    assert saved.device_ == "cpu"
    assert saved.device == device
    assert_same_outputs(saved, model, X)


def test_an_automatic_device_is_chosen_anew():
    saved = set_state(fitted("VAE")[0], device="auto", device_="cuda:77")
    assert saved.device_ == str(resolve_device("auto"))


def test_another_version_of_scikit_learn_raises_its_warning(monkeypatch):
    model, X = fitted("VAE")
    with monkeypatch.context() as patch:
        patch.setitem(plain.VERSIONS, "_sklearn_version", "1.0.2")
        data = pickle.dumps(model)
    with pytest.warns(InconsistentVersionWarning, match="VAEForecaster from version 1.0.2") as log:
        saved = pickle.loads(data)
    assert log[0].filename == __file__
    assert log[0].message.current_sklearn_version == sklearn.__version__
    assert_same_outputs(saved, model, X)
    pickle.loads(pickle.dumps(saved))  # is of this version


@pytest.mark.parametrize("state_format", [0, 99])
def test_another_format_of_the_state_raises_a_warning(state_format):
    changes = {"_skdeepdive_format": state_format, "_skdeepdive_version": "7.8"}
    with pytest.warns(UserWarning, match=rf"saved by skdeepdive 7.8 in format {state_format}"):
        set_state(fitted("VAE")[0], **changes)


def test_parameters_that_came_later_than_a_state_have_their_defaults():
    model, _ = fitted("VAE")
    state = model.__getstate__()
    del state["n_iter_no_change"]
    older = VAEForecaster.__new__(VAEForecaster)
    older.__setstate__(state)
    assert older.n_iter_no_change == VAEForecaster().n_iter_no_change
    assert older.get_params().keys() == model.get_params().keys()


def test_another_version_with_the_same_format_raises_no_warning():
    set_state(fitted("VAE")[0], _skdeepdive_version="7.8")


EFFECT = CovariateEffectConfiguration(n_covariates=6, n_hinges=7, n_scores=8, n_summary=5)
LINEAR = [
    LinearForecastConfiguration(**{"effect": [], **options})
    for options in (
        {"joint": True, "shared": True, "anchored": False, "n_components": 0, "class_maps": []},
        {"joint": True, "shared": True, "anchored": True, "n_components": 3, "class_maps": [True]},
        {"joint": False, "shared": True, "anchored": True, "n_components": 2, "class_maps": []},
        {
            "joint": False,
            "shared": False,
            "anchored": True,
            "n_components": 2,
            "class_maps": [False, True],
            "effect": [EFFECT],
        },
    )
]


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize(("class_counts", "n_conditional"), [([2, 7], 3), ([4, 2], 0)])
def test_a_configuration_makes_a_module_of_that_configuration(linear, class_counts, n_conditional):
    configuration = DeepDIVEConfiguration(
        window_shape=(9, 2),
        future_shape=(3, 4),
        n_covariates=6 if linear.effect else 0,
        class_counts=class_counts,
        n_marginal=3,
        n_conditional=n_conditional,
        n_hidden=10**8,
        interleave=False,
        n_errors=5,
        n_pooled_components=0 if linear.joint else 4,
        linear=linear,
    )
    module = plain.blank_module(DeepDIVE, configuration)
    assert module.configuration == configuration
    assert all(tensor.is_meta for tensor in module.state_dict().values())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"joint": False}, "need source channels"),
        ({"class_maps": [True]}, "need a factor each"),
        ({"class_maps": [False]}, "need a factor each"),
        ({"effect": [EFFECT]}, "one effect of covariates at most, of the scores there are"),
        ({"effect": 2 * [EFFECT], "n_components": 8}, "one effect of covariates at most"),
    ],
)
def test_a_linear_forecast_that_cannot_be_is_rejected(changes, problem):
    with pytest.raises(ValueError, match=problem):
        LinearForecast.blank((5, 2), (3, 4), [], replace(LINEAR[0], **changes))


def test_other_threads_make_ordinary_tensors_meanwhile():
    made = []
    with plain._ShapesOnly():
        assert torch.empty(2).is_meta
        thread = threading.Thread(target=lambda: made.append(torch.empty(2)))
        thread.start()
        thread.join()
    assert not made[0].is_meta
    assert not torch.empty(2).is_meta


def test_opening_a_model_draws_from_no_global_generator():
    data = pickle.dumps(fitted("class maps")[0])
    before = torch.get_rng_state()
    pickle.loads(data)
    assert torch.equal(torch.get_rng_state(), before)


# Files


@every_configuration
def test_a_loaded_model_has_the_state_of_the_saved_one(name, tmp_path):
    model, _ = fitted(name)
    model.save(tmp_path / "one")
    loaded = type(model).load(str(tmp_path / "one"))
    assert_same_values(loaded.__getstate__(), model.__getstate__())
    loaded.save(tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def assert_same_values(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same_values(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_values(one, other)
    elif isinstance(expected, np.ndarray):
        assert found.dtype.kind == expected.dtype.kind
        assert expected.dtype.kind == "U" or found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def test_a_file_is_an_ordinary_one_of_safetensors(tmp_path):
    model, _ = fitted("class maps")
    model.save(tmp_path / "model")
    arrays = safetensors.numpy.load_file(tmp_path / "model")
    for name, array in model.__getstate__()["module_"]["weights"].items():
        np.testing.assert_array_equal(arrays[f"module.{name}"], array)
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_of_the_current_format_still_opens():
    model = DeepDIVEForecaster.load(CURRENT_FORMAT)
    X, _, _ = make_windows()
    found = [model.predict(X)[7], model.transform(X)[7], model.predict_cluster_proba(X)[0][7]]
    expected = json.loads(CURRENT_FORMAT.with_suffix(".json").read_text())
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, wanted, rtol=1e-9)
    assert model.factor_names_ == ["hour", "half"]
    assert model.factor_classes_[1].tolist() == ["early", "late"]


def test_the_choice_of_output_is_kept(tmp_path):
    model, X = fitted("VAE")
    model = copy.copy(model).set_output(transform="pandas")
    loaded = by_file(model, tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.transform(X), model.transform(X))


def test_saving_replaces_a_file_at_one_stroke(tmp_path, monkeypatch):
    model, _ = fitted("VAE")
    path = tmp_path / "model"
    path.write_text("what was there")
    replace = os.replace

    def check_and_replace(source, target):
        assert path.read_text() == "what was there"
        assert type(model).load(source).n_iter_ == model.n_iter_
        replace(source, target)

    monkeypatch.setattr(os, "replace", check_and_replace)
    model.save(path)
    assert type(model).load(path).n_iter_ == model.n_iter_


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_was_there_stays_where_writing_fails(error, tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_text("what was there")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(type(error)):
        fitted("VAE")[0].save(path)
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_text() == "what was there"


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").touch()
    fitted("VAE")[0].save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_to_a_file_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "model")
    model = by_file(fitted("VAE")[0], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert VAEForecaster.load(tmp_path / "model").n_iter_ == model.n_iter_


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="'path' must be in a folder that exists, got '.*m'"
    ):
        fitted("VAE")[0].save(tmp_path / "none" / "m")


def test_a_folder_that_must_not_be_written_to_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(PermissionError):
        fitted("VAE")[0].save(tmp_path / "model")
    tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [None, 3, b"model"])
def test_what_is_no_path_is_an_error_that_names_it(path):
    with pytest.raises(TypeError, match="'path' must be a string or a path, got "):
        fitted("VAE")[0].save(path)
    with pytest.raises(TypeError, match="'path' must be a string or a path, got "):
        VAEForecaster.load(path)


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(IsADirectoryError, match="'path' must be a file, got the folder '.*model'"):
        fitted("VAE")[0].save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    with pytest.raises(ValueError, match="'path' must be a file, got '.*model'"):
        VAEForecaster.load(tmp_path / "model")


def test_a_file_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        VAEForecaster.load(tmp_path / "model")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "model")
    with pytest.raises(ValueError, match="'path' must be a file"):
        VAEForecaster.load(tmp_path / "model")


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        make_model().save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("action", ["save", "load"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(action, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "skdeepdive\[io\]"'):
        getattr(fitted("VAE")[0], action)(tmp_path / "model")


class OwnForecaster(VAEForecaster):
    pass


UNSAVEABLE = {
    "generator": (
        {"random_state": np.random.RandomState(0)},
        TypeError,
        "'random_state' must be an integer or None to be saved to a file, got a RandomState",
    ),
    "invalid size": ({"n_hidden": 0}, ValueError, "'n_hidden' must be a positive integer, got 0"),
    "wrong type": ({"device": None}, TypeError, "'device' must be a string, got None"),
}


@pytest.mark.parametrize("case", UNSAVEABLE)
def test_parameters_that_no_file_may_hold_are_not_saved(case, tmp_path):
    parameters, error, message = UNSAVEABLE[case]
    model = copy.copy(fitted("VAE")[0]).set_params(**parameters)
    with pytest.raises(error, match=message):
        model.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_an_estimator_of_somebody_else_is_not_saved(tmp_path):
    X, y, _ = make_windows()
    with pytest.raises(TypeError, match="a OwnForecaster cannot be saved to one. Use joblib"):
        make_model(OwnForecaster).fit(X, y).save(tmp_path / "model")


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), TypeError, "Factor 'factor0' .* Timestamp"),
        (np.array(["a", "b" * 1001]), TypeError, "Factor 'factor0' must have labels"),
    ],
)
def test_labels_that_no_file_may_hold_are_not_saved(labels, error, message, tmp_path):
    X, y, phase = make_windows()
    model = make_model().fit(X, y, factors=np.asarray(labels, dtype=object)[phase % 2])
    with pytest.raises(error, match=message):
        model.save(tmp_path / "model")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = copy.deepcopy(fitted("VAE")[0])
    model.module_.encoder.head.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"cannot be saved to a file: its array .* holds NaN"):
        model.save(tmp_path / "model")


# Files that are not what they should be


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a small model's file."""
    path = tmp_path_factory.mktemp("content") / "model"
    fitted("string labels, some unknown")[0].save(path)
    return path.read_bytes()


def take_apart(content):
    """Header without metadata, document and data of a file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    document = json.loads(header.pop("__metadata__")["skdeepdive"])
    return SimpleNamespace(header=header, document=document, data=content[8 + length :])


def put_together(parts):
    metadata = {"skdeepdive": json.dumps(parts.document)}
    return with_header(json.dumps({"__metadata__": metadata, **parts.header}), parts.data)


def with_header(text, data=b""):
    header = text.encode()
    return len(header).to_bytes(8, "little") + header + data


def load(content, tmp_path, estimator=DeepDIVEForecaster):
    path = tmp_path / "model"
    path.write_bytes(content)
    return estimator.load(path)


def test_a_file_put_together_again_opens(content, tmp_path):
    model, X = fitted("string labels, some unknown")
    assert_same_outputs(load(put_together(take_apart(content)), tmp_path), model, X)


def nested(depth):
    return with_header("[" * depth + "]" * depth)


NO_FILES = {
    "empty": (lambda _: b"", "a header of 0 bytes cannot be"),
    "text": (lambda _: b"What is this?", "a header of .* bytes cannot be in .* of 13"),
    "zeros": (lambda _: bytes(1000), "JSON is damaged"),
    "pickle": (lambda _: pickle.dumps({}), "a header of"),
    "zip": (lambda _: b"PK\3\4" + bytes(1000), "a header of"),
    "header longer than the file": (
        lambda content: (2**40).to_bytes(8, "little") + content[8:],
        "a header of 1099511627776 bytes",
    ),
    "header beyond all integers": (
        lambda content: b"\xff" * 8 + content[8:],
        "a header of 18446744073709551615 bytes",
    ),
    "no text": (lambda _: with_header(""), "JSON is damaged"),
    "no UTF-8": (lambda _: (2).to_bytes(8, "little") + b"\xff\xfe", "utf-8"),
    "a list": (lambda _: with_header("[]"), "header is no JSON object"),
    "no metadata": (lambda _: with_header("{}"), "not one of skdeepdive"),
    "somebody else's metadata": (
        lambda _: safetensors.numpy.save({"weight": np.ones(3)}, {"format": "pt"}),
        "not one of skdeepdive",
    ),
    "deeply nested": (lambda _: nested(100_000), "JSON is damaged"),
    "a key twice": (lambda _: with_header('{"a": 1, "a": 1}'), "has a key twice"),
    "NaN": (lambda _: with_header('{"a": NaN}'), "holds NaN"),
    "data cut off": (lambda content: content[:-8], "but it holds"),
    "data at the end": (lambda content: content + bytes(8), "but it holds"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_FILES)
def test_what_is_no_file_of_a_model_is_rejected(case, content, tmp_path):
    change, problem = NO_FILES[case]
    with pytest.raises(ValueError, match=rf"'.*model' is no DeepDIVEForecaster: .*{problem}"):
        load(change(content), tmp_path)


def changed(**entries):
    return lambda parts: parts.document.update(entries)


def parameter(name, value):
    return lambda parts: parts.document["parameters"].update({name: value})


def configured(name, value):
    return lambda parts: parts.document["configuration"].update({name: value})


def linear(name, value):
    return lambda parts: parts.document["configuration"]["linear"].update({name: value})


def factor(name, value):
    return lambda parts: parts.document["factors"][0].update({name: value})


def array(name, **entries):
    return lambda parts: parts.header[name].update(entries)


LOG_SCALE = "module.window_decoder.log_scale"


def values(name, value):
    """Overwrite the first number of an array."""

    def change(parts):
        start = parts.header[name]["data_offsets"][0]
        data = np.array([value]).tobytes()
        parts.data = parts.data[:start] + data + parts.data[start + 8 :]

    return change


def swap_offsets(parts):
    one, other = parts.header["x_loc"], parts.header[LOG_SCALE]
    one["data_offsets"] = other["data_offsets"]


DAMAGED = {
    "newer format": (changed(format=4, version="9.0"), "in format 4 of skdeepdive '9.0'.* reads"),
    "format of another type": (changed(format="1"), "in format '1'"),
    "format that is a float": (changed(format=3.0), "'format' must be an integer"),
    "another class of ours": (
        changed(**{"class": "VAEForecaster"}),
        "holds a VAEForecaster; open it with VAEForecaster.load",
    ),
    "unknown class": (
        changed(**{"class": "os.system"}),
        "holds a 'os.system', which is none of DeepDIVEForecaster, VAEForecaster",
    ),
    "class of another type": (changed(**{"class": {}}), "holds a {}"),
    "unknown key": (changed(code="import os"), "description has unknown 'code'"),
    "missing key": (lambda parts: parts.document.pop("history"), "lacks 'history'"),
    "unknown parameter": (parameter("n_layers", 3), r"'parameters' has unknown \['n_layers'\]"),
    "parameter of another type": (parameter("n_hidden", "2"), "'n_hidden' must be an integer"),
    "parameter out of range": (parameter("max_epochs", 0), "'max_epochs' must be a positive"),
    "huge parameter": (parameter("learning_rate", 10**400), "'learning_rate' must be a positive"),
    "parameter that is a list": (parameter("verbose", [1]), "'verbose' must be a single value"),
    "seed of another type": (parameter("random_state", 0.5), "'random_state' must be an integer"),
    "negative seed": (parameter("random_state", -1), "'random_state' must be an integer"),
    "device of another type": (parameter("device", 7), "'device' must be a string"),
    "unknown latent": (parameter("latent", "neither"), "'latent' must be one of"),
    "huge layer": (configured("n_hidden", 10**9), "must be .*1000000000.*, got"),
    "huge layers": (configured("n_hidden", 2**31 - 1), "must be .*2147483647.*, got"),
    "layer beyond integers": (configured("n_hidden", 10**30), "'n_hidden' must be an integer"),
    "huge window": (configured("window_shape", [2**31 - 1] * 2), "impossible sizes"),
    "huge components": (linear("n_components", 10**9), "must be .*1000000000.*, got"),
    "negative size": (configured("n_hidden", -2), "'n_hidden' must be an integer from 1"),
    "fractional size": (configured("n_hidden", 2.0), "'n_hidden' must be an integer from 1"),
    "size that is a flag": (configured("n_hidden", True), "'n_hidden' must be an integer"),
    "shape of three": (configured("window_shape", [1, 2, 3]), "must be a list of 2 values"),
    "shape that is a number": (configured("future_shape", 3), "must be a list of 2 values"),
    "configuration that is a list": (changed(configuration=[]), "must be an object"),
    "unknown configuration": (configured("n_layers", 3), r"'configuration' has unknown"),
    "flag that is a number": (linear("joint", 1), "'joint' must be true or false"),
    "maps without factors": (linear("class_maps", [True] * 9), "class maps need a factor each"),
    "many classes": (configured("class_counts", [2] * 10**5), "contradict each other"),
    "no dimensions": (
        lambda parts: (
            configured("class_counts", [])(parts),
            configured("n_conditional", 0)(parts),
            changed(factors=[])(parts),
        ),
        "there must be marginal or conditional dimensions",
    ),
    "many factors": (
        lambda parts: (
            configured("class_counts", [1] * 10**4)(parts),
            changed(factors=[{"name": "a", "dtype": "bool", "classes": [True]}] * 10**4)(parts),
        ),
        "fewer arrays than factors",
    ),
    "dimensions of X": (changed(X_ndim=4), "'X_ndim' must be one of 2, 3, got 4"),
    "dimensions of X as a float": (changed(X_ndim=2.0), "'X_ndim' must be one of 2, 3, got 2.0"),
    "dimensions of y": (changed(y_ndim=1), "'y_ndim' and 'future_shape' contradict"),
    "names of columns": (changed(feature_names=["a"]), "must name 12 columns, got 1"),
    "names that are numbers": (changed(feature_names=[1] * 12), "'feature_names' must be a string"),
    "fewer labels": (factor("classes", ["a"]), "'factors' and 'class_counts' contradict"),
    "labels of another type": (factor("dtype", "int8"), "are not of its dtype 'int8'"),
    "labels of no type": (factor("dtype", "V8"), "are not of its dtype 'V8'"),
    "labels that would be code": (factor("dtype", "os.system"), "are not of its dtype"),
    "padded labels": (factor("dtype", "<U100000000"), "are not of its dtype"),
    "label that is a list": (factor("classes", ["a", "b", []]), "'classes' must be a number"),
    "label too long": (factor("classes", ["a", "b", "c" * 1001]), "at most 1000 characters"),
    "history of different length": (
        lambda parts: parts.document["history"]["epoch"].pop(),
        "'history' has columns of different length",
    ),
    "history of different types": (
        lambda parts: parts.document["history"]["epoch"].__setitem__(0, "one"),
        "entries of 'epoch' in 'history' differ in type",
    ),
    "history beyond integers": (
        lambda parts: parts.document["history"].update(epoch=[10**30] * 3),
        "'history'",
    ),
    "count of epochs": (changed(n_iter=-1), "'n_iter' must be an integer from 0"),
    "unknown output": (changed(output="excel"), "'output' must be one of null, \"default\""),
    "missing array": (lambda parts: parts.header.pop("x_loc"), "list of arrays lacks 'x_loc'"),
    "unknown array": (
        lambda parts: parts.header.update({"../../etc/passwd": parts.header["x_loc"]}),
        "list of arrays has unknown '../../etc/passwd'",
    ),
    "array of another type": (array("x_loc", dtype="F32"), "x_loc must be .*'F64'"),
    "array of another shape": (array("x_loc", shape=[2]), r"x_loc must be .* got \['F64', \[2\]\]"),
    "huge array": (array("x_loc", shape=[10**15]), r"x_loc must be"),
    "array of negative size": (array("x_loc", shape=[-1]), r"x_loc must be"),
    "array without a shape": (
        lambda parts: parts.header["x_loc"].pop("shape"), "x_loc must be .*None"
    ),
    "array that is a number": (lambda parts: parts.header.update(x_loc=3), "must be .* got 3"),
    "array beyond the file": (array("x_loc", data_offsets=[10**12, 10**12 + 8]), "Error while"),
    "negative offsets": (array("x_loc", data_offsets=[-8, 0]), "Error while"),
    "overlapping arrays": (swap_offsets, "Error while"),
    "weight that is NaN": (values(LOG_SCALE, np.nan), f"{LOG_SCALE} holds NaN or infinity"),
    "weight that is infinite": (values(LOG_SCALE, -np.inf), "holds NaN or infinity"),
    "scale of zero": (values("x_scale", 0.0), "x_scale must be positive"),
    "negative scale": (values("y_scale", -1.0), "y_scale must be positive"),
    "channel out of range": (
        values("module.linear_forecast.source_channels", 1), "must hold numbers of channels"
    ),
    "negative channel": (
        values("module.linear_forecast.source_channels", -1), "must hold numbers of channels"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_rejected_with_the_reason(case, content, tmp_path):
    change, problem = DAMAGED[case]
    parts = take_apart(content)
    change(parts)
    with pytest.raises(ValueError, match=rf"'.*model' is no DeepDIVEForecaster: .*{problem}"):
        load(put_together(parts), tmp_path)


def test_a_key_twice_in_the_description_is_rejected(content, tmp_path):
    parts = take_apart(content)
    document = json.dumps(parts.document).replace('{"format"', '{"format": 1, "format"', 1)
    header = {"__metadata__": {"skdeepdive": document}, **parts.header}
    with pytest.raises(ValueError, match="has a key twice"):
        load(with_header(json.dumps(header), parts.data), tmp_path)


def test_the_file_of_another_estimator_is_rejected(tmp_path):
    fitted("β-TCVAE")[0].save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"open it with BetaTCVAEForecaster.load"):
        VAEForecaster.load(tmp_path / "model")
    with pytest.raises(ValueError, match=r"open it with BetaTCVAEForecaster.load"):
        OwnForecaster.load(tmp_path / "model")


def test_parameters_that_came_later_than_a_file_have_their_defaults(content, tmp_path):
    parts = take_apart(content)
    del parts.document["parameters"]["learning_rate"]
    loaded = load(put_together(parts), tmp_path)
    assert loaded.learning_rate == DeepDIVEForecaster().learning_rate
    model, X = fitted("string labels, some unknown")
    assert_same_outputs(loaded, model, X)


def test_the_file_of_an_absent_device_opens_on_the_cpu(content, tmp_path):
    parts = take_apart(content)
    parts.document["device"] = parts.document["parameters"]["device"] = "cuda:77"
    loaded = load(put_together(parts), tmp_path)
    assert (loaded.device, loaded.device_) == ("cuda:77", "cpu")
    model, X = fitted("string labels, some unknown")
    assert_same_outputs(loaded, model, X)


def test_a_file_cut_off_anywhere_is_rejected(content, tmp_path):
    for length in range(0, len(content), 64):
        with pytest.raises(ValueError, match="is no DeepDIVEForecaster"):
            load(content[:length], tmp_path)


def flip(content, bit):
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


@pytest.mark.parametrize("part", ["header", "anywhere"])
def test_a_flipped_bit_gives_an_error_or_a_model(part, content, tmp_path):
    _, X = fitted("string labels, some unknown")
    n_bytes = len(content) if part == "anywhere" else 8 + int.from_bytes(content[:8], "little")
    n_opened = 0
    for bit in np.random.default_rng(0).integers(8 * n_bytes, size=400).tolist():
        try:
            loaded = load(flip(content, bit), tmp_path)
        except ValueError as error:
            assert "is no DeepDIVEForecaster" in str(error)  # noqa: PT017
            continue
        n_opened += 1
        with np.errstate(all="ignore"):
            outputs(loaded, X.reshape(len(X), *loaded._window_shape))
    assert 0 < n_opened < 400


@pytest.mark.slow
def test_thousands_of_damaged_files_give_an_error_or_a_model_in_bounded_memory(content, tmp_path):
    rng = np.random.default_rng(1)
    tracemalloc.start()
    try:
        for _ in range(2000):
            damaged = bytearray(content)
            start, length = rng.integers(len(content)), rng.integers(1, 64)
            damaged[start : start + length] = rng.bytes(rng.integers(0, 64))
            try:
                load(bytes(damaged), tmp_path)
            except ValueError as error:
                assert "is no DeepDIVEForecaster" in str(error)  # noqa: PT017
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(content) + 2**22


def test_nothing_of_torch_or_pickle_is_asked_to_read_a_file(content, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("code could be run")

    for module, name in [(pickle, "load"), (pickle, "loads"), (torch, "load"), (np, "load")]:
        monkeypatch.setattr(module, name, refuse)
    model, X = fitted("string labels, some unknown")
    np.testing.assert_array_equal(load(content, tmp_path).predict(X), model.predict(X))
