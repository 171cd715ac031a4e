"""Files of SeriesForecaster: the same forecasts, and errors that say what is wrong with a file."""

import json
import struct

import numpy as np
import pytest
from fakes import LastValueForecaster
from sklearn.exceptions import NotFittedError

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.baselines import VAEForecaster

pd = pytest.importorskip("pandas")
safetensors = pytest.importorskip("safetensors")
pytest.importorskip("safetensors.numpy")

SMALL = {"n_hidden": 8, "max_epochs": 1, "random_state": 0}


def make_table(index):
    noise = np.random.default_rng(0).normal(size=(len(index), 2))
    return pd.DataFrame(noise, index, columns=["load", "wind"])


def make_panel():
    hours = pd.date_range("2014-01-01", periods=800, freq="h", name="at")
    parts = {7: make_table(hours), 3: 5 + make_table(hours[500:]), 9: make_table(hours[:10])}
    return pd.concat(parts, names=["meter"])


def make_forecaster(model=None, **parameters):
    model = DeepDIVEForecaster(**SMALL) if model is None else model
    return SeriesForecaster(model, **{"n_timesteps": 24, "horizon": 6, **parameters})


TABLES = {
    "hours": make_table(pd.date_range("2014-10-15", periods=400, freq="h", name="time")),
    "time zone": make_table(pd.date_range("2014-10-15", periods=400, freq="h", tz="Europe/Lisbon")),
    "local days": make_table(pd.date_range("2014-10-15", periods=90, freq="D", tz="Europe/Lisbon")),
    "single precision": make_table(pd.bdate_range("2014-01-01", periods=90)).astype("float32"),
    "periods": make_table(pd.period_range("2000-01", periods=120, freq="M", name="month")),
    "panel": make_panel(),
}


@pytest.mark.filterwarnings("ignore:1 of 3 series")
@pytest.mark.parametrize("model", [DeepDIVEForecaster(**SMALL), VAEForecaster(**SMALL)])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_loaded_forecaster_is_the_saved_one(table, model, tmp_path):
    forecaster = make_forecaster(model, targets="load", bounds={"load": (None, 9)}).fit(table)
    forecaster.save(tmp_path / "load.safetensors")
    loaded = SeriesForecaster.load(tmp_path / "load.safetensors")
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    for method in ("predict_quantiles", "last_rows"):
        pd.testing.assert_frame_equal(getattr(loaded, method)(), getattr(forecaster, method)())
    samples = (one.sample(5, random_state=0) for one in (loaded, forecaster))
    pd.testing.assert_frame_equal(*samples)
    pd.testing.assert_frame_equal(loaded.predict(table), forecaster.predict(table))
    pd.testing.assert_frame_equal(loaded.windows_, forecaster.windows_)
    assert repr(loaded.forecaster) == repr(forecaster.forecaster)
    assert loaded.targets_ == ["load"]


def test_nothing_is_saved_before_fit(tmp_path):
    with pytest.raises(NotFittedError):
        make_forecaster().save(tmp_path / "load.safetensors")


def test_what_no_file_can_hold_is_refused(tmp_path):
    table = TABLES["hours"]
    with pytest.raises(TypeError, match="not for a LastValueForecaster. Use joblib"):
        make_forecaster(LastValueForecaster()).fit(table).save(tmp_path / "file")
    named = table.set_axis([("a", "b"), ("a", "c")], axis=1)
    with pytest.raises(TypeError, match="Names of columns must be strings or numbers"):
        make_forecaster().fit(named).save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "load.safetensors"
    make_forecaster(id=None).fit(make_panel().loc[[7, 3]]).save(path)
    return path.read_bytes()


def alter(content, **entries):
    """Put other entries into the document of a file."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    document = {**json.loads(metadata["skdeepdive.series"]), **entries}
    metadata["skdeepdive.series"] = json.dumps(document)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"format": 2}, "'format' must be one of 1, got 2"),
        ({"forecaster": "Ridge"}, "holds a 'Ridge', none of DeepDIVEForecaster"),
        ({"columns": ["load"]}, "array latest must be of floats and of shape"),
        ({"parameters": {"n_timesteps": 24}}, "horizon"),
        ({"parameters": {"n_timesteps": 24, "horizon": 0}}, "'horizon' must"),
        ({"parameters": {"n_timesteps": 24, "horizon": 5}}, "array errors must be of floats"),
        ({"series": []}, "array latest must be|need at least one"),
        ({"freq": "often"}, "often"),
        ({"zone": "Europe/Atlantis"}, ""),
        ({"split": {}}, "'split' lacks"),
        ({"windows": {"steps": [-1]}}, "must be an integer from 0"),
        ({"unknown": 1}, "has unknown 'unknown'"),
    ],
)
def test_a_file_that_was_altered_is_refused(content, entries, match, tmp_path):
    path = tmp_path / "load.safetensors"
    path.write_bytes(alter(content, **entries))
    with pytest.raises(ValueError, match=f"is no SeriesForecaster: .*{match}"):
        SeriesForecaster.load(path)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("latest", np.inf, "array latest holds infinity"),
        ("scalings", 0, "array scalings must be finite, and scales positive"),
        ("errors", np.nan, "arrays of errors hold NaN or infinity"),
        ("own_errors", np.inf, "arrays of errors hold NaN or infinity"),
    ],
)
def test_arrays_that_cannot_be_are_refused(content, name, value, match, tmp_path):
    path = tmp_path / "load.safetensors"
    path.write_bytes(content)
    with safetensors.safe_open(path, "np") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    arrays[name].flat[-1] = value
    safetensors.numpy.save_file(arrays, path, metadata)
    with pytest.raises(ValueError, match=f"is no SeriesForecaster: its {match}"):
        SeriesForecaster.load(path)


@pytest.mark.parametrize("path", [None, 5])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(TypeError, match="'path' must be"):
        make_forecaster().fit(TABLES["hours"]).save(path)


def test_parameters_that_no_file_can_hold_are_named(tmp_path):
    forecaster = make_forecaster(bounds=(np.float32(-9), None)).fit(TABLES["hours"])
    with pytest.raises(TypeError, match="'bounds' must be of strings, numbers, .* Use joblib"):
        forecaster.save(tmp_path / "load.safetensors")


def test_an_offset_is_saved_by_its_name(tmp_path):
    table = TABLES["local days"]
    forecaster = make_forecaster(freq=pd.offsets.Day()).fit(table)
    forecaster.save(tmp_path / "load.safetensors")
    loaded = SeriesForecaster.load(tmp_path / "load.safetensors")
    assert loaded.freq == "D"
    pd.testing.assert_frame_equal(loaded.predict(table), forecaster.predict(table))


def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "load.safetensors"
    for other in (b"", b"time,load", content[: len(content) // 2]):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="is no SeriesForecaster"):
            SeriesForecaster.load(path)
    X = np.random.default_rng(0).normal(size=(50, 24))
    DeepDIVEForecaster(**SMALL).fit(X, X[:, :6]).save(path)
    with pytest.raises(ValueError, match="it holds no SeriesForecaster"):
        SeriesForecaster.load(path)
    with pytest.raises(FileNotFoundError):
        SeriesForecaster.load(tmp_path / "none")
