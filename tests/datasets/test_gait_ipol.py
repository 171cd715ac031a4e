"""Walks in the layout of the archive at the source: what is read of them, what is refused."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skdeepdive.datasets import _fetch_gait_ipol, fetch_gait_ipol, load_watch_imu

pytest.importorskip("pooch")

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "gait_imu_ipol2019_rightfoot.npz"
needs_real = pytest.mark.skipif(
    not REAL.exists(), reason="the licence does not allow it among the sources"
)
# What is known of the fixture `walks`.
WALKS = {"trials": (1, 0, 2), "subjects": (1, 0, 1), "rows": 150, "steps": 3}


def make_walk(subject, number, group, signals, *, sensor="XSens", left=(), right=()):
    """A trial as the archive holds it: its name, table and metadata; the left foot is at rest."""
    table = np.zeros((len(signals), 16))
    table[:, [9, 10, 11, 13, 14, 15]] = signals
    header = ",".join(_fetch_gait_ipol._CHANNELS)
    rows = "".join(",".join(f"{value:.6e}" for value in row) + "\n" for row in table)
    metadata = {
        "Subject": subject,
        "Trial": number,
        "Code": f"{subject}-{number}",
        "Age": "NC",
        "Sensor": sensor,
        "WalkingSpeed": 1.3,
        "PathologyGroup": group,
        "LeftFootActivity": list(left),
        "RightFootActivity": list(right),
    }
    return f"{subject}-{number}", f"{header}\n{rows}", metadata


def pack(walks, others=()):
    """Zip archive in the layout of the source."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("GaitData/", b"")
        for code, table, metadata in walks:
            archive.writestr(f"GaitData/{code}.csv", table)
            archive.writestr(f"GaitData/{code}.json", json.dumps(metadata, indent=4))
        for name, content in others:
            archive.writestr(name, content)
    return body.getvalue()


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Function that loads an archive, kept as if downloaded, of which other facts are known."""

    def load(body, **facts):
        monkeypatch.setattr(_fetch_gait_ipol, "_FACTS", _fetch_gait_ipol._Facts(**WALKS | facts))
        path = tmp_path / "skdeepdive" / "GaitData.zip"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        return fetch_gait_ipol(data_home=tmp_path, download_if_missing=False)

    return load


@pytest.fixture(scope="module")
def walks():
    """Three short trials of two subjects, with recordings of a watch in place of walks."""
    first, second, third = (recording[:50] for recording in load_watch_imu().data[:3])
    return [
        make_walk(10, 1, "Healthy", first, left=[[3, 9]], right=[[5, 12], [15, 20]]),
        make_walk(9, 2, "Neurological", second, sensor="TCon"),
        make_walk(9, 1, "Neurological", third, sensor="TCon"),
    ]


def test_gait_ipol_reads_the_archive_by_subject_and_trial(load, walks):
    gait = load(pack(walks))
    np.testing.assert_array_equal(gait.subject, [9, 9, 10])
    np.testing.assert_array_equal(gait.trial, [1, 2, 1])
    assert [gait.target_names[group] for group in gait.target] == [*["Neurological"] * 2, "Healthy"]
    assert [gait.sensor_names[make] for make in gait.sensor] == ["TCon", "TCon", "XSens"]
    assert [len(steps) for steps in gait.left_steps] == [0, 0, 1]
    np.testing.assert_array_equal(gait.right_steps[2], [[5, 12], [15, 20]])
    assert gait.metadata[0]["Age"] == "NC"
    assert gait.units[gait.channels.index("RAX")] == "g"
    assert gait.units[gait.channels.index("RRX")] == "deg/s"
    assert [trial.shape for trial in gait.data] == [(50, 16)] * 3
    assert {trial.dtype for trial in gait.data} == {np.dtype(np.float32)}


@needs_real
def test_gait_ipol_agrees_with_the_real_trials_of_the_right_foot(load):
    with np.load(REAL) as archive:
        real = dict(archive)
    chosen = [int(np.flatnonzero(real["group"] == group)[0]) for group in (0, 1, 2)]
    columns = [slice(*real["offsets"][trial : trial + 2]) for trial in chosen]
    steps = [(real["hi"][:, c].astype(np.int16) << 8) | real["lo"][:, c] for c in columns]
    signals = [(step.T * real["scale"])[:1000] for step in steps]
    walks = [
        make_walk(int(real["subject"][k]), 1, str(real["group_names"][real["group"][k]]), signal)
        for k, signal in zip(chosen, signals, strict=True)
    ]
    gait = load(pack(walks), trials=(1, 1, 1), subjects=(1, 1, 1), rows=3000, steps=0)
    right = [gait.channels.index(name) for name in ("RAX", "RAY", "RAZ", "RRX", "RRY", "RRZ")]
    for subject, group, signal in zip(real["subject"][chosen], (0, 1, 2), signals, strict=True):
        (position,) = np.flatnonzero(gait.subject == subject)
        assert gait.target[position] == group
        np.testing.assert_allclose(gait.data[position][:, right], signal, rtol=1e-6, atol=1e-9)


@needs_real
def test_gait_ipol_facts_are_those_of_the_real_data():
    facts = _fetch_gait_ipol._Facts()
    with np.load(REAL) as real:
        group, subject = real["group"], real["subject"]
        trials = tuple(np.bincount(group))
        subjects = tuple(len(np.unique(subject[group == g])) for g in range(3))
        assert facts == (trials, subjects, real["offsets"][-1], len(real["step_trial"]))
    assert (sum(facts.trials), sum(facts.subjects)) == (1020, 230)


def test_gait_ipol_ignores_other_members_and_unpacks_nothing(load, tmp_path, walks):
    others = [("../../evil.csv", "x"), ("GaitData/../1-1.csv", "x"), ("__MACOSX/1-1.csv", "x")]
    assert len(load(pack(walks, others)).data) == 3
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["GaitData.zip"]


@pytest.mark.parametrize(
    ("fact", "number"),
    [("trials", (1, 0, 3)), ("subjects", (1, 0, 2)), ("rows", 151), ("steps", 2)],
)
def test_gait_ipol_of_other_numbers_is_an_error(load, walks, fact, number):
    match = re.escape(f"'{fact}': {WALKS[fact]}") + ".* instead of .*" + re.escape(f": {number}")
    with pytest.raises(OSError, match=match):
        load(pack(walks), **{fact: number})


def flip(body, position):
    """Change one byte."""
    return body[:position] + bytes([body[position] ^ 255]) + body[position + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-1000], lambda body: flip(body, 1000), lambda body: b"<html>"]
)
def test_damaged_gait_ipol_is_an_error_that_says_what_to_do(load, walks, damage):
    match = r"GaitData\.zip is no intact archive of walks: .* Delete it, and call again"
    with pytest.raises(OSError, match=match):
        load(damage(pack(walks)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda code, table, data: ("9-1", table, data), r"9-1\.json is of another trial"),
        (lambda code, table, data: (code, table[1:], data), r"10-1\.csv has the columns AV,"),
        (
            lambda code, table, data: (code, table + "x\n", data),
            "number of columns changed from 16 to 1",
        ),
        (lambda code, table, data: (code, table, [data]), "list indices must be integers"),
        (lambda code, table, data: (code, table, {}), "'Subject'"),
    ],
)
def test_gait_ipol_of_another_layout_is_an_error(load, walks, change, match):
    with pytest.raises(OSError, match=f"no intact archive of walks: .*{match}"):
        load(pack([change(*walks[0])]))


def test_gait_ipol_without_metadata_of_a_trial_is_an_error(load, walks):
    with pytest.raises(OSError, match=r"no intact archive.*GaitData/11-1\.json"):
        load(pack(walks, [("GaitData/11-1.csv", walks[0][1])]))


def test_gait_ipol_that_unpacks_to_too_much_is_not_read(load, monkeypatch, walks):
    monkeypatch.setattr(_fetch_gait_ipol, "_MAX_BYTES", 1000)
    with pytest.raises(OSError, match="unpacks to more than 1000 bytes"):
        load(pack(walks))
