"""The data sets that are downloaded, from a server on the loopback: right, wrong and no answers."""

import functools
import gzip
import hashlib
import json
import logging
import os
import socket
import stat
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from skdeepdive.datasets import (
    _download,
    _fetch_electricity,
    _fetch_ett,
    _fetch_gait_ipol,
    fetch_electricity,
    fetch_ett,
    fetch_gait_ipol,
    load_electricity,
    load_watch_imu,
)
from skdeepdive.datasets._base import load_description
from skdeepdive.datasets._download import BadFileError, Remote, open_cache, verify_checksum

pytest.importorskip("pooch")

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FETCHERS = [fetch_electricity, fetch_ett, fetch_gait_ipol]
FAST = {"n_retries": 0, "delay": 0.001}


def shared(filename):
    """Path of a file that may not be passed on, where the development data are at hand."""
    path = SHARED / filename
    if not path.exists():
        pytest.skip(f"{filename} is not among the sources: its licence does not allow it.")
    return path


class Server:
    """HTTP server on the loopback; `answers` maps a path to (status, body, length to announce)."""

    def __init__(self):
        self.answers, self.requests = {}, []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        # In place of socketserver's half a second between looks at whether to stop.
        serve = functools.partial(self._server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _make_handler(outer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                answer = outer.answers.get(self.path, (404, b"no such file", None))
                if isinstance(answer, list):
                    answer = answer.pop(0)
                status, body, length = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        return Handler

    def serve(self, path, body, *, status=200, length=None):
        """Answer `path` with `body` and return its address."""
        self.answers[path] = (status, body, length)
        return self.url + path

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch):
    # Whatever proxy the machine has is of no use on the loopback.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def closed_url():
    """Address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}/file"


@pytest.fixture(scope="module")
def loads():
    """The first 50 rows of the real loads of two clients, as text."""
    return as_text(load_electricity().data[:50].astype(int))


@pytest.fixture(scope="module")
def complete_loads():
    """Text of the complete size, with the bundled slices in their places and 0 elsewhere."""
    table = np.zeros((26304, 321), dtype=int)
    table[:, [0, 320]] = load_electricity("clients_2").data
    table[-840:] = load_electricity("clients_321").data
    table[0, :8] = [14, 69, 234, 415, 215, 1056, 29, 840]
    middle = b"," + b"0," * 319
    rows = [b"%d%s%d\n" % (row[0], middle, row[320]) for row in table[1:-840]]
    return as_text(table[:1]) + b"".join(rows) + as_text(table[-840:])


def as_text(table):
    return "".join(",".join(map(str, row)) + "\n" for row in table.tolist()).encode()


def as_checksum(body, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def as_blob(body):
    return "git:" + hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def read_loads(path):
    return np.loadtxt(path, delimiter=",", dtype=int)


def make_cache(folder, *, download_if_missing=True, n_retries=0):
    return open_cache(folder, download_if_missing, n_retries, 0.001)


def kept(folder):
    """Files and folders in the cache, hidden ones too."""
    root = Path(folder) / "skdeepdive"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_download_is_read_and_kept_under_its_name_alone(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads),), as_checksum(loads))
    result = make_cache(tmp_path).fetch(remote, read_loads)
    np.testing.assert_array_equal(result, load_electricity().data[:50])
    assert kept(tmp_path) == ["loads.txt"]
    assert (tmp_path / "skdeepdive" / "loads.txt").read_bytes() == loads


@pytest.mark.parametrize("checksum", [as_checksum, functools.partial(as_checksum, algorithm="md5")])
def test_checksum_of_the_right_file_is_accepted_in_either_case(tmp_path, loads, checksum):
    path = tmp_path / "loads.txt"
    path.write_bytes(loads)
    algorithm, _, digest = checksum(loads).partition(":")
    verify_checksum(path, f"{algorithm}:{digest}")
    verify_checksum(path, f"{algorithm}:{digest.upper()}")


@pytest.mark.parametrize(
    ("content", "blob"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
    ],
)
def test_git_checksum_is_the_id_that_git_gives(tmp_path, content, blob):
    path = tmp_path / "file"
    path.write_bytes(content)
    verify_checksum(path, f"git:{blob}")
    with pytest.raises(BadFileError, match=f"the git checksum of its .* is {blob}, not 00"):
        verify_checksum(path, "git:00")


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "git"])
def test_wrong_checksum_is_an_error_and_the_file_is_not_kept(server, tmp_path, loads, algorithm):
    url = server.serve("/a", loads)
    remote = Remote("loads.txt", (url,), f"{algorithm}:0123")
    match = rf"'loads.txt' could not be downloaded. {url}: what arrived is not the file: the "
    with pytest.raises(OSError, match=match + f"{algorithm} checksum .* not 0123") as caught:
        make_cache(tmp_path).fetch(remote, read_loads)
    assert isinstance(caught.value.__cause__, BadFileError)
    assert kept(tmp_path) == []


def test_truncated_answer_is_an_error_and_the_file_is_not_kept(server, tmp_path, loads):
    url = server.serve("/a", loads[:100], length=len(loads))
    remote = Remote("loads.txt", (url,), as_blob(loads))
    # urllib3 1 does not notice that bytes are missing; the checksum does.
    match = "no connection or no complete answer|the git checksum of its 100 bytes"
    with pytest.raises(OSError, match=match) as caught:
        make_cache(tmp_path).fetch(remote, read_loads)
    assert caught.value.__cause__ is not None
    assert kept(tmp_path) == []


def test_file_that_is_short_at_the_source_fails_its_checksum(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads[:100]),), as_blob(loads))
    with pytest.raises(OSError, match="the git checksum of its 100 bytes is"):
        make_cache(tmp_path).fetch(remote, read_loads)
    assert kept(tmp_path) == []


def test_second_address_is_asked_after_a_404(server, tmp_path, loads):
    urls = (server.url + "/gone", server.serve("/b", loads))
    make_cache(tmp_path).fetch(Remote("loads.txt", urls, as_blob(loads)), read_loads)
    assert server.requests == ["/gone", "/b"]


def test_second_address_is_asked_after_a_wrong_file(server, tmp_path, loads):
    urls = (server.serve("/a", b"<html>"), server.serve("/b", loads))
    make_cache(tmp_path).fetch(Remote("loads.txt", urls, as_blob(loads)), read_loads)
    assert server.requests == ["/a", "/b"]


def test_404_everywhere_is_an_error_that_names_all_addresses_and_is_not_tried_again(
    server, tmp_path
):
    urls = (server.url + "/a", server.url + "/b")
    match = rf"{urls[0]}: the server answered with HTTP status 404; {urls[1]}: .* 404"
    with pytest.raises(OSError, match=match):
        make_cache(tmp_path, n_retries=3).fetch(Remote("loads.txt", urls), read_loads)
    assert server.requests == ["/a", "/b"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failure_is_tried_again(server, tmp_path, loads, status):
    server.answers["/a"] = [(status, b"busy", None), (status, b"busy", None), (200, loads, None)]
    remote = Remote("loads.txt", (server.url + "/a",), as_blob(loads))
    make_cache(tmp_path, n_retries=2).fetch(remote, read_loads)
    assert server.requests == ["/a"] * 3


def test_retries_end_in_an_error_that_says_where_to_put_the_file(server, tmp_path):
    url = server.serve("/a", b"busy", status=503)
    match = r"HTTP status 503. Check the connection .* save it as .*skdeepdive.loads\.txt"
    with pytest.raises(OSError, match=match):
        make_cache(tmp_path, n_retries=2).fetch(Remote("loads.txt", (url,)), read_loads)
    assert server.requests == ["/a"] * 3


def test_offline_is_an_error_that_names_the_address(closed_url, tmp_path):
    with pytest.raises(OSError, match=rf"{closed_url}: no connection .*ConnectionError"):
        make_cache(tmp_path).fetch(Remote("loads.txt", (closed_url,)), read_loads)
    assert kept(tmp_path) == []


def test_server_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_download, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with pytest.raises(OSError, match="ReadTimeout"):
            make_cache(tmp_path).fetch(Remote("loads.txt", (url,)), read_loads)


def test_kept_file_is_verified_and_not_asked_for_again(server, tmp_path, loads, monkeypatch):
    remote = Remote("loads.txt", (server.serve("/a", loads),), as_blob(loads))
    first = make_cache(tmp_path).fetch(remote, read_loads)
    monkeypatch.setitem(sys.modules, "pooch", None)
    again = make_cache(tmp_path, download_if_missing=False).fetch(remote, read_loads)
    np.testing.assert_array_equal(again, first)
    assert server.requests == ["/a"]


@pytest.mark.parametrize("damaged", [b"", b"14,2162\n", None])
def test_damaged_kept_file_is_downloaded_anew(server, tmp_path, loads, damaged):
    remote = Remote("loads.txt", (server.serve("/a", loads),), as_checksum(loads))
    path = make_cache(tmp_path).path(remote)
    path.parent.mkdir()
    path.write_bytes(loads.replace(b"14", b"15", 1) if damaged is None else damaged)
    make_cache(tmp_path).fetch(remote, read_loads)
    assert path.read_bytes() == loads


def test_damaged_kept_file_is_an_error_where_nothing_may_be_downloaded(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads),), as_checksum(loads))
    cache = make_cache(tmp_path, download_if_missing=False)
    cache.path(remote).parent.mkdir()
    cache.path(remote).write_bytes(loads[:-1])
    match = r"loads\.txt is damaged \(the sha256 checksum .*Pass download_if_missing=True"
    with pytest.raises(OSError, match=match) as caught:
        cache.fetch(remote, read_loads)
    assert isinstance(caught.value.__cause__, BadFileError)
    assert server.requests == []


def test_file_is_not_in_its_place_before_it_was_read(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads),))
    cache = make_cache(tmp_path)

    def read(path):
        assert not cache.path(remote).exists()
        return path.name

    assert cache.fetch(remote, read) == "loads.txt"
    assert cache.path(remote).exists()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_interrupted_fetch_leaves_nothing_behind(server, tmp_path, loads, interruption):
    def read(path):
        raise interruption

    with pytest.raises(interruption):
        make_cache(tmp_path).fetch(Remote("loads.txt", (server.serve("/a", loads),)), read)
    assert kept(tmp_path) == []


def test_content_that_the_reader_refuses_is_not_kept(server, tmp_path, loads):
    def read(path):
        raise BadFileError("it holds no gait")

    remote = Remote("loads.txt", (server.serve("/a", loads),), as_checksum(loads))
    with pytest.raises(OSError, match="what arrived is not the file: it holds no gait"):
        make_cache(tmp_path).fetch(remote, read)
    assert kept(tmp_path) == []


def test_fetches_at_the_same_time_all_get_the_file(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads),), as_checksum(loads))
    cache = make_cache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: cache.fetch(remote, read_loads), range(16)))
    for result in results:
        np.testing.assert_array_equal(result, load_electricity().data[:50])
    assert kept(tmp_path) == ["loads.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_kept_file_has_the_permissions_of_any_other(server, tmp_path, loads):
    remote = Remote("loads.txt", (server.serve("/a", loads),))
    make_cache(tmp_path).fetch(remote, read_loads)
    (tmp_path / "other").write_bytes(loads)
    modes = [
        path.stat().st_mode for path in (make_cache(tmp_path).path(remote), tmp_path / "other")
    ]
    assert stat.S_IMODE(modes[0]) == stat.S_IMODE(modes[1])


def test_fetching_prints_nothing_and_leaves_the_logger_of_pooch_alone(
    server, tmp_path, loads, capfd
):
    import pooch

    before = vars(pooch.get_logger()) | {"handlers": list(pooch.get_logger().handlers)}
    levels = (logging.root.level, logging.getLogger("urllib3").level)
    remote = Remote("loads.txt", (server.serve("/a", loads),))
    make_cache(tmp_path).fetch(remote, read_loads)
    assert capfd.readouterr() == ("", "")
    assert vars(pooch.get_logger()) == before
    assert (logging.root.level, logging.getLogger("urllib3").level) == levels


def test_downloading_without_pooch_is_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pooch.*pip install "skdeepdive\[datasets\]"'):
        fetch_ett(data_home=tmp_path, **FAST)


def test_default_folder_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "data"))
    folder = make_cache(None).folder
    assert folder == (tmp_path / "data" / "skdeepdive").resolve()
    assert not folder.exists()


@pytest.mark.parametrize("fetch", FETCHERS)
def test_missing_file_is_an_error_where_nothing_may_be_downloaded(fetch, tmp_path):
    match = "is missing, and download_if_missing is False. Pass download_if_missing=True .* http"
    with pytest.raises(OSError, match=match):
        fetch(data_home=tmp_path, download_if_missing=False)
    assert not (tmp_path / "skdeepdive").exists()


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"data_home": 3}, TypeError, "'data_home' must be a string, a path or None, got 3"),
        ({"download_if_missing": "no"}, TypeError, "'download_if_missing' must be True or False"),
        ({"n_retries": -1}, ValueError, "'n_retries' must be an integer of at least 0, got -1"),
        ({"n_retries": 1.5}, TypeError, "'n_retries' must be an integer, got 1.5"),
        ({"delay": 0}, ValueError, "'delay' must be a positive number, got 0"),
    ],
)
def test_argument_of_wrong_type_or_value_is_an_error(fetch, arguments, error, match):
    with pytest.raises(error, match=match):
        fetch(**arguments)


@pytest.mark.parametrize(
    "remote",
    [
        _fetch_electricity._REMOTE,
        *_fetch_ett._REMOTES.values(),
        _fetch_gait_ipol._REMOTE,
    ],
)
def test_first_address_of_every_file_is_encrypted(remote):
    assert remote.urls[0].startswith("https://")


@pytest.mark.parametrize(
    ("filename", "credits"),
    [
        ("electricity.rst", ["Lai", "CC BY 4.0", "``fetch_electricity``"]),
        ("ett.rst", ["Zhou", "2012.07436", "CC BY-ND 4.0", "11520 to 14399"]),
        ("gait_ipol.rst", ["Truong", "10.5201/ipol.2019.265", "CC BY-NC-SA", "commercially"]),
    ],
)
def test_descriptions_name_sources_and_licences(filename, credits):
    description = load_description(filename)
    assert [credit for credit in credits if credit not in description] == []


def serve_electricity(server, monkeypatch, text, *, checksum=None):
    """Serve loads as the complete file, with their own git id in place of that of the source."""
    body = gzip.compress(text, compresslevel=1)
    remote = Remote(
        "electricity.txt.gz",
        (server.url + "/gone", server.serve("/electricity.txt.gz", body)),
        as_blob(body) if checksum is None else checksum,
    )
    monkeypatch.setattr(_fetch_electricity, "_REMOTE", remote)


def test_electricity_agrees_with_the_bundled_slices(server, monkeypatch, tmp_path, complete_loads):
    serve_electricity(server, monkeypatch, complete_loads)
    electricity = fetch_electricity(data_home=tmp_path, **FAST)
    assert electricity.data.shape == (26304, 321)
    assert electricity.data.dtype == np.float32
    for subset, rows in [("clients_2", np.s_[:]), ("clients_321", np.s_[-840:])]:
        bundled = load_electricity(subset)
        columns = [electricity.feature_names.index(name) for name in bundled.feature_names]
        np.testing.assert_array_equal(electricity.data[rows][:, columns], bundled.data)
        np.testing.assert_array_equal(electricity.timestamps[rows], bundled.timestamps)
        np.testing.assert_array_equal(electricity.factors[rows], bundled.factors)
        assert set(electricity) == set(bundled)
    assert Path(electricity.filename).parent == (tmp_path / "skdeepdive").resolve()


def test_electricity_as_frame_is_over_an_hourly_index(
    server, monkeypatch, tmp_path, complete_loads
):
    pytest.importorskip("pandas")
    serve_electricity(server, monkeypatch, complete_loads)
    frames = fetch_electricity(data_home=tmp_path, as_frame=True, **FAST)
    assert frames.data.index.freqstr.lower() == "h"
    assert frames.data.columns[320] == "client_320"
    assert frames.factors.index.equals(frames.data.index)


def change_load(text):
    """Raise the very last load by one."""
    head, _, last = text.rstrip().rpartition(b",")
    return b"%s,%d\n" % (head, int(last) + 1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (change_load, r"disagrees with load_electricity\('clients_2'\)"),
        (lambda text: text.replace(b"14,69,", b"14,70,", 1), r"first values are not \(14, 69"),
        (lambda text: text[: len(text) // 100], "no table of integers|rows and columns"),
        (lambda text: b"1,2\n3,4\n", r"it has \(2, 2\) rows and columns instead"),
        (lambda text: b"<html>", "no table of integers"),
    ],
)
def test_electricity_that_is_not_the_known_data_is_not_kept(
    server, monkeypatch, tmp_path, complete_loads, change, match
):
    serve_electricity(server, monkeypatch, change(complete_loads))
    with pytest.raises(OSError, match=match):
        fetch_electricity(data_home=tmp_path, **FAST)
    assert kept(tmp_path) == []


def test_electricity_must_have_the_git_id_of_the_source(server, monkeypatch, tmp_path, loads):
    checksum = _fetch_electricity._REMOTE.checksum
    assert checksum == "git:df158a9fff65428ece107200432a72c992d5e4e9"
    serve_electricity(server, monkeypatch, loads, checksum=checksum)
    with pytest.raises(OSError, match="not df158a9fff65428ece107200432a72c992d5e4e9"):
        fetch_electricity(data_home=tmp_path, **FAST)


def serve_ett(server, monkeypatch, name, body, *, checksum):
    remote = Remote(f"{name}.csv", (server.serve(f"/{name}.csv", body),), checksum)
    monkeypatch.setitem(_fetch_ett._REMOTES, name, remote)


def test_ett_is_read_from_the_original_file(server, monkeypatch, tmp_path):
    body = gzip.decompress(shared("ETTh1.csv.gz").read_bytes())
    serve_ett(server, monkeypatch, "ETTh1", body, checksum=_fetch_ett._REMOTES["ETTh1"].checksum)
    ett = fetch_ett(data_home=tmp_path, **FAST)
    assert ett.data.shape == (17420, 7)
    assert ett.feature_names == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    np.testing.assert_allclose(ett.data[0, [0, 6]], [5.827, 30.531], rtol=1e-6)
    np.testing.assert_allclose(ett.data[-1, [0, 6]], [10.114, 9.567], rtol=1e-6)
    assert ett.timestamps[-1] == np.datetime64("2018-06-26T19:00")
    np.testing.assert_array_equal(ett.factors[0], [0, 4, 7])
    means = [ett.data[rows, 6].mean() for rows in ett.splits.values()]
    np.testing.assert_allclose(means, [17.1, 15.6, 4.8], atol=0.06)


def make_ett(n_rows, minutes, *, columns="HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"):
    """Table in the layout of the files, with the row number as every value."""
    times = np.datetime64("2016-07-01T00:00:00") + np.arange(n_rows) * np.timedelta64(minutes, "m")
    rows = [
        f"{str(time).replace('T', ' ')}{f',{row}' * 7}\n" for row, time in enumerate(times.tolist())
    ]
    return f"date,{columns}\n{''.join(rows)}".encode()


@pytest.mark.parametrize(
    ("name", "minutes", "n_rows"), [("ETTh2", 60, 17420), ("ETTm1", 15, 69680)]
)
def test_ett_splits_are_months_of_30_days_at_every_interval(
    server, monkeypatch, tmp_path, name, minutes, n_rows
):
    body = make_ett(n_rows, minutes)
    serve_ett(server, monkeypatch, name, body, checksum=as_blob(body))
    ett = fetch_ett(name, data_home=tmp_path, **FAST)
    assert len(ett.data) == n_rows
    starts = {part: ett.timestamps[rows][0] for part, rows in ett.splits.items()}
    assert starts == {
        "train": np.datetime64("2016-07-01"),
        "validation": np.datetime64("2017-06-26"),
        "test": np.datetime64("2017-10-24"),
    }
    assert ett.timestamps[ett.splits["test"]][-1] == np.datetime64("2018-02-21") - np.timedelta64(
        minutes, "m"
    )
    np.testing.assert_array_equal(ett.data[ett.splits["test"]][0], [8 * 1440 * 60 / minutes] * 7)


def test_ett_as_frame_is_over_its_timestamps(server, monkeypatch, tmp_path):
    pytest.importorskip("pandas")
    body = make_ett(17420, 60)
    serve_ett(server, monkeypatch, "ETTh1", body, checksum=as_blob(body))
    frames = fetch_ett(data_home=tmp_path, as_frame=True, **FAST)
    assert list(frames.data.columns) == frames.feature_names
    assert str(frames.data.index[-1]) == "2018-06-26 19:00:00"


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (make_ett(17420, 60, columns="A,B,C,D,E,F,OT"), r"its columns are \['date', 'A'"),
        (make_ett(17419, 60), "its times are not the 17420 expected"),
        (make_ett(17420, 30), "its times are not the 17420 expected"),
        (b"<html>\n<body>\n", "no table of numbers over times"),
    ],
)
def test_ett_of_another_layout_is_not_kept(server, monkeypatch, tmp_path, body, match):
    serve_ett(server, monkeypatch, "ETTh1", body, checksum=as_blob(body))
    with pytest.raises(OSError, match=match):
        fetch_ett(data_home=tmp_path, **FAST)
    assert kept(tmp_path) == []


def test_unknown_ett_name_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match="'name' must be one of 'ETTh1', .* got 'ETTh3'"):
        fetch_ett("ETTh3")


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


def pack_walks(path, walks, *, others=()):
    """Zip archive in the layout of the source."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("GaitData/", b"")
        for code, table, metadata in walks:
            archive.writestr(f"GaitData/{code}.csv", table)
            archive.writestr(f"GaitData/{code}.json", json.dumps(metadata, indent=4))
        for name, content in others:
            archive.writestr(name, content)
    return path.read_bytes()


def serve_walks(server, monkeypatch, body, **facts):
    """Serve an archive as the complete one, with facts of its own."""
    remote = Remote("GaitData.zip", (server.serve("/GaitData.zip", body),))
    monkeypatch.setattr(_fetch_gait_ipol, "_REMOTE", remote)
    monkeypatch.setattr(_fetch_gait_ipol, "_FACTS", _fetch_gait_ipol._Facts(**facts))


@pytest.fixture(scope="module")
def walks():
    """Three short trials of two subjects, with recordings of a watch in place of walks."""
    first, second, third = (recording[:50] for recording in load_watch_imu().data[:3])
    return [
        make_walk(10, 1, "Healthy", first, left=[[3, 9]], right=[[5, 12], [15, 20]]),
        make_walk(9, 2, "Neurological", second, sensor="TCon"),
        make_walk(9, 1, "Neurological", third, sensor="TCon"),
    ]


WALKS = {"trials": (1, 0, 2), "subjects": (1, 0, 1), "rows": 150, "steps": 3}


def test_gait_ipol_reads_the_archive_by_subject_and_trial(server, monkeypatch, tmp_path, walks):
    serve_walks(server, monkeypatch, pack_walks(tmp_path / "a.zip", walks), **WALKS)
    gait = fetch_gait_ipol(data_home=tmp_path, **FAST)
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


def test_gait_ipol_agrees_with_the_real_trials_of_the_right_foot(server, monkeypatch, tmp_path):
    with np.load(shared("gait_imu_ipol2019_rightfoot.npz")) as archive:
        real = dict(archive)
    chosen = [int(np.flatnonzero(real["group"] == group)[0]) for group in (0, 1, 2)]
    columns = [slice(*real["offsets"][trial : trial + 2]) for trial in chosen]
    steps = [(real["hi"][:, c].astype(np.int16) << 8) | real["lo"][:, c] for c in columns]
    signals = [(step.T * real["scale"])[:1000] for step in steps]
    walks = [
        make_walk(int(real["subject"][k]), 1, str(real["group_names"][real["group"][k]]), signal)
        for k, signal in zip(chosen, signals, strict=True)
    ]
    body = pack_walks(tmp_path / "a.zip", walks)
    facts = {"trials": (1, 1, 1), "subjects": (1, 1, 1), "rows": 3000, "steps": 0}
    serve_walks(server, monkeypatch, body, **facts)
    gait = fetch_gait_ipol(data_home=tmp_path, **FAST)
    right = [gait.channels.index(name) for name in ("RAX", "RAY", "RAZ", "RRX", "RRY", "RRZ")]
    for subject, group, signal in zip(real["subject"][chosen], (0, 1, 2), signals, strict=True):
        (position,) = np.flatnonzero(gait.subject == subject)
        assert gait.target[position] == group
        np.testing.assert_allclose(gait.data[position][:, right], signal, rtol=1e-6, atol=1e-9)


def test_gait_ipol_facts_are_those_of_the_real_data():
    facts = _fetch_gait_ipol._Facts()
    with np.load(shared("gait_imu_ipol2019_rightfoot.npz")) as real:
        group, subject = real["group"], real["subject"]
        trials = tuple(np.bincount(group))
        subjects = tuple(len(np.unique(subject[group == g])) for g in range(3))
        assert facts == (trials, subjects, real["offsets"][-1], len(real["step_trial"]))
    assert (sum(facts.trials), sum(facts.subjects)) == (1020, 230)


def test_gait_ipol_ignores_other_members_and_unpacks_nothing(server, monkeypatch, tmp_path, walks):
    others = [("../../evil.csv", "x"), ("GaitData/../1-1.csv", "x"), ("__MACOSX/1-1.csv", "x")]
    body = pack_walks(tmp_path / "a.zip", walks, others=others)
    serve_walks(server, monkeypatch, body, **WALKS)
    assert len(fetch_gait_ipol(data_home=tmp_path / "home" / "data", **FAST).data) == 3
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["GaitData.zip", "a.zip"]


@pytest.mark.parametrize(
    ("fact", "number", "match"),
    [
        ("trials", (1, 0, 3), r"it holds \(1, 0, 2\) trials instead of \(1, 0, 3\)"),
        ("subjects", (1, 0, 2), r"\(1, 0, 1\) subjects instead of \(1, 0, 2\)"),
        ("rows", 151, "150 rows instead of 151"),
        ("steps", 2, "3 steps instead of 2"),
    ],
)
def test_gait_ipol_of_other_numbers_is_not_kept(
    server, monkeypatch, tmp_path, walks, fact, number, match
):
    body = pack_walks(tmp_path / "a.zip", walks)
    serve_walks(server, monkeypatch, body, **(WALKS | {fact: number}))
    with pytest.raises(OSError, match=match):
        fetch_gait_ipol(data_home=tmp_path, **FAST)
    assert kept(tmp_path) == []


def flip(body, position):
    """Change one byte."""
    return body[:position] + bytes([body[position] ^ 255]) + body[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda body: body[:-1000], "no intact archive of walks"),
        (lambda body: flip(body, 1000), "no intact archive|cannot be read"),
        (lambda body: b"<html>", "no intact archive of walks"),
    ],
)
def test_damaged_gait_ipol_is_not_kept(server, monkeypatch, tmp_path, walks, damage, match):
    serve_walks(server, monkeypatch, damage(pack_walks(tmp_path / "a.zip", walks)), **WALKS)
    with pytest.raises(OSError, match=match):
        fetch_gait_ipol(data_home=tmp_path, **FAST)
    assert kept(tmp_path) == []


def test_gait_ipol_that_was_damaged_after_its_download_is_fetched_again(
    server, monkeypatch, tmp_path, walks
):
    body = pack_walks(tmp_path / "a.zip", walks)
    serve_walks(server, monkeypatch, body, **WALKS)
    path = Path(fetch_gait_ipol(data_home=tmp_path, **FAST).filename)
    path.write_bytes(flip(body, 1000))
    fetch_gait_ipol(data_home=tmp_path, **FAST)
    assert path.read_bytes() == body


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda code, table, data: ("9-1", table, data), r"9-1\.json is of another trial"),
        (lambda code, table, data: (code, table[1:], data), r"10-1\.csv has the columns AV,"),
        (lambda code, table, data: (code, table + "x\n", data), "file that cannot be read"),
        (lambda code, table, data: (code, table, [data]), "file that cannot be read"),
        (lambda code, table, data: (code, table, {}), "no intact archive of walks"),
    ],
)
def test_gait_ipol_of_another_layout_is_not_kept(
    server, monkeypatch, tmp_path, walks, change, match
):
    body = pack_walks(tmp_path / "a.zip", [change(*walks[0])])
    serve_walks(server, monkeypatch, body, **WALKS)
    with pytest.raises(OSError, match=match):
        fetch_gait_ipol(data_home=tmp_path, **FAST)


def test_gait_ipol_without_metadata_of_a_trial_is_not_kept(server, monkeypatch, tmp_path, walks):
    body = pack_walks(tmp_path / "a.zip", walks, others=[("GaitData/11-1.csv", walks[0][1])])
    serve_walks(server, monkeypatch, body, **WALKS)
    with pytest.raises(OSError, match=r"no intact archive.*GaitData/11-1\.json"):
        fetch_gait_ipol(data_home=tmp_path, **FAST)


def test_gait_ipol_that_unpacks_to_too_much_is_not_read(server, monkeypatch, tmp_path, walks):
    monkeypatch.setattr(_fetch_gait_ipol, "_MAX_BYTES", 1000)
    serve_walks(server, monkeypatch, pack_walks(tmp_path / "a.zip", walks), **WALKS)
    with pytest.raises(OSError, match="unpacks to more than 1000 bytes"):
        fetch_gait_ipol(data_home=tmp_path, **FAST)
