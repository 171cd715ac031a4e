"""The data sets that come with the package: their shapes, facts known of them, and licences."""

import sys
from importlib import resources

import numpy as np
import pytest

from skdeepdive import DeepDIVEForecaster, SeriesForecaster
from skdeepdive.datasets import electricity_csv, load_electricity, load_watch_imu
from skdeepdive.datasets._base import _decode_series
from skdeepdive.windows import calendar_factors, sliding_windows

FILES = resources.files("skdeepdive.datasets")


def encode_series(series):
    """The packing of the files, as the module that reads them explains it."""
    differences = np.diff(series, axis=0, prepend=0).T
    codes = np.where(differences >= 0, 2 * differences, -2 * differences - 1)
    return np.stack([(codes >> 8 * k & 255).astype(np.uint8) for k in range(4)])


def test_packing_of_integer_series_is_lossless():
    series = np.random.default_rng(0).integers(-300_000, 300_000, size=(50, 3))
    series[:4, 0] = [0, 300_000, -300_000, 0]
    np.testing.assert_array_equal(_decode_series(encode_series(series)), series)


@pytest.mark.parametrize("subset", ["clients_2", "clients_321"])
def test_packing_of_the_electricity_files_is_the_documented_one(subset):
    electricity = load_electricity(subset)
    planes = encode_series(electricity.data.astype(np.int64))
    with FILES.joinpath("data", electricity.filename).open("rb") as file, np.load(file) as archive:
        stored = archive["planes"]
    np.testing.assert_array_equal(stored, planes[: len(stored)])
    assert not planes[len(stored) :].any()


@pytest.mark.parametrize(
    ("subset", "shape", "first", "names"),
    [
        ("clients_2", (26304, 2), "2012-01-01T00", ["client_000", "client_320"]),
        ("clients_321", (840, 321), "2014-11-27T00", [f"client_{i:03d}" for i in range(321)]),
    ],
)
def test_electricity_has_the_documented_shape_and_hours(subset, shape, first, names):
    electricity = load_electricity(subset)
    assert electricity.data.shape == shape
    assert electricity.data.dtype == np.float32
    assert electricity.data.flags.c_contiguous
    assert electricity.feature_names == names
    assert electricity.filename == f"electricity_{subset}.npz"
    hours = np.arange(first, "2015-01-01T00", dtype="datetime64[h]")
    np.testing.assert_array_equal(electricity.timestamps, hours)


@pytest.mark.parametrize("subset", ["clients_2", "clients_321"])
def test_electricity_loads_are_non_negative_integers(subset):
    data = load_electricity(subset).data
    assert data.min() == 0
    np.testing.assert_array_equal(data, np.round(data))


def test_electricity_starts_with_the_published_values():
    np.testing.assert_array_equal(load_electricity().data[:3], [[14, 2162], [18, 2835], [21, 2764]])
    np.testing.assert_array_equal(
        load_electricity("clients_321").data[0, :5], [12, 77, 8, 456, 271]
    )


def test_electricity_subsets_agree_where_they_overlap():
    full, last = load_electricity("clients_2"), load_electricity("clients_321")
    np.testing.assert_array_equal(full.data[-840:], last.data[:, [0, 320]])
    np.testing.assert_array_equal(full.timestamps[-840:], last.timestamps)


def test_client_320_is_zero_only_in_the_hours_that_the_spring_clock_change_skips():
    electricity = load_electricity()
    skipped = electricity.timestamps[electricity.data[:, 1] == 0]
    expected = ["2012-03-25T01", "2013-03-31T01", "2014-03-30T01"]
    np.testing.assert_array_equal(skipped, np.array(expected, dtype="datetime64[h]"))


@pytest.mark.parametrize("day", ["2013-10-27", "2014-10-26"])
def test_client_320_doubles_in_the_hour_that_the_autumn_clock_change_repeats(day):
    electricity = load_electricity()
    row = int(np.flatnonzero(electricity.timestamps == np.datetime64(f"{day}T01"))[0])
    before, during, after = electricity.data[row - 1 : row + 2, 1]
    assert 1.8 < 2 * during / (before + after) < 2.2


def test_one_client_of_the_last_weeks_is_zero_throughout():
    assert (load_electricity("clients_321").data == 0).all(axis=0).sum() == 1


@pytest.mark.parametrize("subset", ["clients_2", "clients_321"])
def test_electricity_factors_are_the_calendar_of_every_row(subset):
    electricity = load_electricity(subset)
    assert electricity.factor_names == ["hour", "weekday", "month"]
    expected = calendar_factors(electricity.timestamps, electricity.factor_names)
    np.testing.assert_array_equal(electricity.factors, expected)


def test_electricity_as_frame_holds_the_same_over_an_hourly_index():
    pd = pytest.importorskip("pandas")
    arrays, frames = load_electricity(), load_electricity(as_frame=True)
    np.testing.assert_array_equal(frames.data.to_numpy(), arrays.data)
    np.testing.assert_array_equal(frames.factors.to_numpy(), arrays.factors)
    assert list(frames.data.columns) == arrays.feature_names
    assert list(frames.factors.columns) == arrays.factor_names
    assert (frames.data.dtypes == np.float32).all()
    assert isinstance(frames.data.index, pd.DatetimeIndex)
    assert frames.data.index.freq is not None
    assert frames.factors.index.equals(frames.data.index)


def test_electricity_frame_is_cut_into_windows_without_copying():
    pytest.importorskip("pandas")
    load = load_electricity(as_frame=True).data
    X, y, origin = sliding_windows(load, n_timesteps=168, horizon=24)
    assert np.shares_memory(X, load.to_numpy())
    assert X.shape == (26304 - 192 + 1, 168, 2)
    assert y.shape == (len(X), 24, 2)
    assert len(calendar_factors(load.index[origin], ["hour"])) == len(X)


def test_electricity_as_frame_without_pandas_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"'as_frame=True' needs pandas.*as_frame=False"):
        load_electricity(as_frame=True)


def test_electricity_as_arrays_does_not_need_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_electricity().factors.shape == (26304, 3)


@pytest.mark.parametrize("subset", ["clients_3", None, ["clients_2"]])
def test_unknown_electricity_subset_is_an_error_that_lists_the_known(subset):
    with pytest.raises(ValueError, match="'subset' must be one of 'clients_2', 'clients_321', got"):
        load_electricity(subset)


def test_loading_again_gives_fresh_arrays():
    load_electricity().data[:] = -1
    assert load_electricity().data.min() == 0
    load_watch_imu().data[0][:] = 100
    assert load_watch_imu().data[0].max() < 100


def test_watch_imu_has_every_exercise_of_every_subject_on_both_sides_once():
    watch = load_watch_imu()
    assert len(watch.data) == 140
    assert watch.target_names == ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]
    assert watch.side_names == ["left", "right"]
    cells = set(map(tuple, np.column_stack([watch.target, watch.subject, watch.side]).tolist()))
    assert cells == {(t, s, d) for t in range(7) for s in range(1, 11) for d in (0, 1)}


def test_watch_imu_recordings_have_the_documented_lengths_and_dtype():
    watch = load_watch_imu()
    lengths = [len(recording) for recording in watch.data]
    assert (min(lengths), max(lengths), sum(lengths)) == (947, 2618, 244102)
    assert all(recording.shape[1] == 6 for recording in watch.data)
    assert all(recording.dtype == np.float32 for recording in watch.data)
    assert all(recording.flags.c_contiguous for recording in watch.data)
    assert watch.sampling_rate == 50.0


def test_watch_imu_units_fit_the_channels():
    watch = load_watch_imu()
    assert watch.channels == ["acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z"]
    assert watch.units == ["g"] * 3 + ["rad/s"] * 3
    # Gravity holds the mean acceleration near 1 g in recordings that begin and end at rest.
    norms = [np.linalg.norm(recording[:, :3], axis=1).mean() for recording in watch.data]
    assert 0.9 < np.median(norms) < 1.2


def test_watch_imu_starts_with_the_recorded_values_rounded_as_documented():
    watch = load_watch_imu()
    expected = [-1.0836, -0.0186, -0.0272, 0.411, -1.603, -2.489]
    np.testing.assert_allclose(watch.data[0][0], expected, rtol=1e-6)
    steps = watch.data[0] / np.float32([0.0002] * 3 + [0.001] * 3)
    np.testing.assert_allclose(steps, np.round(steps), atol=0.01)


def test_gravity_tells_the_side_in_as_many_recordings_as_documented():
    watch = load_watch_imu()
    upright = np.array([recording[:, 0].mean() > 0 for recording in watch.data])
    assert upright[watch.side == 0].sum() == 65
    assert (~upright[watch.side == 1]).sum() == 65


@pytest.mark.parametrize(
    ("load", "credits"),
    [
        (load_electricity, ["Trindade", "CC BY 4.0", "10.24432/C58C86", "Lai", "Portuguese"]),
        (load_watch_imu, ["Burns", "BSD", "1802.01489", "seglearn"]),
    ],
)
def test_descriptions_credit_their_sources(load, credits):
    description = load().DESCR
    assert [credit for credit in credits if credit not in description] == []


def test_watch_imu_ships_with_its_licence():
    text = FILES.joinpath("data", "LICENSE-watch_imu.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2018, David M. Burns" in text
    assert "Redistribution and use in source and binary forms" in text


@pytest.mark.parametrize(
    "filename", ["electricity_clients_2.npz", "electricity_clients_321.npz", "watch_imu.npz"]
)
def test_data_files_are_small_and_hold_no_pickles(filename):
    path = FILES.joinpath("data", filename)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
    assert len(path.read_bytes()) < 2_000_000


def test_package_holds_only_data_that_may_be_passed_on():
    names = {path.name for path in FILES.joinpath("data").iterdir()}
    assert names == {
        "LICENSE-electricity.txt",
        "LICENSE-watch_imu.txt",
        "electricity_clients_2.npz",
        "electricity_clients_321.npz",
        "electricity_meters.csv",
        "watch_imu.npz",
    }


def test_the_csv_of_meters_is_a_slice_with_a_clock_change_and_a_hole():
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
    load = load_electricity(as_frame=True).data["2014-08-01":"2014-12-09"]
    twice = pd.Timestamp("2014-10-26 01:00")
    assert table.index[table.index.duplicated()].tolist() == [twice]
    missing = load.index.difference(table.index)
    assert missing.equals(pd.date_range("2014-09-17 09:00", "2014-09-18 20:00", freq="h"))
    summed = table.groupby(level=0).sum().astype("float32")
    np.testing.assert_array_equal(summed, load.loc[summed.index])


def test_the_csv_of_meters_goes_from_file_to_dated_forecast():
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(electricity_csv(), index_col="time", parse_dates=True)
    table = table.tz_localize("Europe/Lisbon", ambiguous="infer")
    model = DeepDIVEForecaster(n_hidden=8, max_epochs=1, random_state=0)
    forecaster = SeriesForecaster(model, n_timesteps=168, horizon=24).fit(table)
    day = pd.date_range("2014-12-10", periods=24, freq="h", tz="Europe/Lisbon", name="time")
    pd.testing.assert_index_equal(forecaster.predict().index, day)
    assert forecaster.windows_.loc[0, ["steps", "missing"]].tolist() == [3145, 36]
