"""GaitMotion: pickles made here, converted by the lines of the docstring, and read again."""

import inspect
import pickle
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from skdeepdive.datasets import load_gaitmotion, load_watch_imu


def make_recording(n_steps, lengths, *, seed):
    """A pickle as the authors' code expects it: signals, table and segmentation."""
    pd = pytest.importorskip("pandas")
    signals = np.zeros((n_steps, 8))
    signals[:, :6] = load_watch_imu().data[seed][:n_steps]
    signals[n_steps // 2 :, 6:] = 1
    table = pd.DataFrame({"Step": np.arange(len(lengths)), "Stride_length": lengths})
    return pickle.dumps((signals, table, np.arange(3)))


# Out of order; the last one without strides.
RECORDINGS = {
    "Stroke/P2_1L.pkl": (40, [np.nan, 60.0, 61.0, np.nan]),
    "Normal/P10_1L.pkl": (50, [np.nan, *range(100, 128)]),
    "Normal/P2_1R.pkl": (60, [0, 140, 141, 142]),
    "data/Shuffle/P2_2R.pkl": (30, [50.0]),
}


def convert_as_documented():
    """Run the lines that the docstring shows."""
    docstring = inspect.getdoc(load_gaitmotion)
    (block,) = re.findall(r"code-block:: python\n\n((?: +.*\n|\n)+)", docstring)
    exec(textwrap.dedent(block), {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder of converted recordings, beside their pickles."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, (n_steps, lengths)) in enumerate(RECORDINGS.items()):
        path = tmp_path / "GaitMotion" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_recording(n_steps, lengths, seed=seed))
    convert_as_documented()
    return tmp_path / "GaitMotion"


def test_documented_lines_write_one_file_of_numbers_beside_every_pickle(folder):
    converted = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npz"))
    assert converted == sorted(name.replace(".pkl", ".npz") for name in RECORDINGS)
    for name in converted:
        with np.load(folder / name, allow_pickle=False) as archive:
            assert {archive[key].dtype for key in archive.files} == {np.dtype(float)}


@pytest.mark.parametrize("kind", [str, Path])
def test_converted_recordings_are_read_in_order_with_labels_and_flags(folder, kind):
    gait = load_gaitmotion(kind(folder))
    assert [gait.target_names[t] for t in gait.target] == ["Normal", "Normal", "Shuffle", "Stroke"]
    np.testing.assert_array_equal(gait.subject, [2, 10, 2, 2])
    assert [recording.shape for recording in gait.data] == [(60, 6), (50, 6), (30, 6), (40, 6)]
    assert {recording.dtype for recording in gait.data} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(gait.data[0], load_watch_imu().data[2][:60])
    np.testing.assert_array_equal(gait.step_flags[0].sum(axis=0), [30, 30])
    np.testing.assert_array_equal(gait.stride_length[0], [140, 141, 142])
    np.testing.assert_array_equal(gait.stride_length[3], [60, 61])
    assert gait.factor_names == ["gait", "stride_length"]
    np.testing.assert_array_equal(gait.factors[:, 0], gait.target)
    names = [Path(name).name for name in gait.filenames]
    assert names == ["P2_1R.npz", "P10_1L.npz", "P2_2R.npz", "P2_1L.npz"]


def test_recordings_are_in_the_order_of_the_subjects_numbers(tmp_path):
    (tmp_path / "Normal").mkdir()
    for subject in (10, 2, 33, 1, 7, 20):
        arrays = {"signals": np.zeros((5, 8)), "stride_length": [0.0, 100.0]}
        np.savez(tmp_path / "Normal" / f"P{subject}_1.npz", **arrays)
    np.testing.assert_array_equal(load_gaitmotion(tmp_path).subject, [1, 2, 7, 10, 20, 33])


def test_bins_hold_about_as_many_strides_each(folder):
    gait = load_gaitmotion(folder)
    strides = np.concatenate(gait.stride_length)
    bins = np.digitize(strides, gait.stride_length_edges[1:-1])
    counts = np.bincount(bins, minlength=14)
    assert len(counts) == 14
    assert counts.max() - counts.min() <= 1
    medians = [141, 113.5, 60.5]
    expected = np.digitize(medians, gait.stride_length_edges[1:-1])
    np.testing.assert_array_equal(gait.factors[:, 1], [*expected[:2], -1, expected[2]])
    assert (gait.factors[0, 1], gait.factors[3, 1]) == (13, 0)


def test_recordings_without_any_stride_have_no_bins(folder):
    gait = load_gaitmotion(folder / "data")
    assert np.isnan(gait.stride_length_edges).all()
    np.testing.assert_array_equal(gait.factors, [[1, -1]])


def test_other_files_are_not_read(folder):
    for name in ("Normal/readme.npz", "Normal/Q1_1.npz", "P1_1.npz", "Other/P1_1.npz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no recording")
    assert len(load_gaitmotion(folder).data) == 4


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"signals": np.zeros((5, 7)), "stride_length": [1.0]}, r"shapes are \(5, 7\) and \(1,\)"),
        ({"signals": np.zeros(8), "stride_length": [1.0]}, r"shapes are \(8,\)"),
        ({"signals": np.zeros((5, 8)), "stride_length": 1.0}, r"shapes are \(5, 8\) and \(\)"),
        ({"signals": np.zeros((5, 8))}, "stride_length"),
        ({"signals": np.zeros((5, 8)), "stride_length": ["long"]}, "could not convert"),
        ({"signals": np.zeros((5, 8)), "stride_length": np.array([None])}, "allow_pickle=False"),
    ],
)
def test_file_without_the_two_arrays_is_an_error_that_says_what_to_do(tmp_path, arrays, match):
    (tmp_path / "Normal").mkdir()
    np.savez(tmp_path / "Normal" / "P1_1.npz", **arrays)
    match = rf"P1_1\.npz must hold arrays of numbers .*{match}.* Convert the recording again"
    with pytest.raises(ValueError, match=match):
        load_gaitmotion(tmp_path)


@pytest.mark.parametrize("body", [b"", b"<html>", pickle.dumps([1]), b"PK\x03\x04"])
def test_file_that_is_no_archive_is_an_error(tmp_path, body):
    (tmp_path / "Normal").mkdir()
    (tmp_path / "Normal" / "P1_1.npz").write_bytes(body)
    with pytest.raises(ValueError, match=r"P1_1\.npz must hold arrays of numbers"):
        load_gaitmotion(tmp_path)


@pytest.mark.parametrize("name", [".", "missing"])
def test_folder_without_recordings_is_an_error_that_names_the_layout(tmp_path, name):
    match = r"must hold files P<subject>_\*\.npz in folders Normal, Shuffle, Stroke, got .*none"
    with pytest.raises(FileNotFoundError, match=match):
        load_gaitmotion(tmp_path / name)


def test_folder_that_is_no_path_is_an_error():
    with pytest.raises(TypeError, match="'folder' must be a string or a path, got 3"):
        load_gaitmotion(3)


def test_description_names_source_and_licence(folder):
    description = load_gaitmotion(folder).DESCR
    credits = ["Zhang", "10.5683/SP3/V6C59O", "2405.09569", "licence"]
    assert [credit for credit in credits if credit not in description] == []
