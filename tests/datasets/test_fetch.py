"""The data sets that are downloaded, from a server on the loopback: right, wrong and no answers."""

import functools
import gzip
import hashlib
import logging
import os
import socket
import stat
import sys
import threading
import time
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
)
from skdeepdive.datasets._base import load_description
from skdeepdive.datasets._download import Remote

pooch = pytest.importorskip("pooch")

FETCHERS = [fetch_electricity, fetch_ett, fetch_gait_ipol]
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ETTh1.csv.gz"


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

    def serve(self, path, body):
        """Answer `path` with `body` and return its address."""
        self.answers[path] = (200, body, None)
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


def make_ett(n_rows, minutes):
    """Table in the layout of the files, with the row number as every value."""
    times = np.datetime64("2016-07-01T00:00:00") + np.arange(n_rows) * np.timedelta64(minutes, "m")
    rows = [
        f"{str(time).replace('T', ' ')}{f',{row}' * 7}\n" for row, time in enumerate(times.tolist())
    ]
    return f"date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n{''.join(rows)}".encode()


LOADS = make_ett(9, 60)


@pytest.fixture
def provide(monkeypatch):
    """Function that makes a file the data set ETTh1 at some addresses."""

    def provide(*urls, body=LOADS, name="ETTh1"):
        remote = Remote(f"{name}.csv", urls, hashlib.sha256(body).hexdigest())
        monkeypatch.setitem(_fetch_ett._REMOTES, name, remote)

    return provide


def kept(folder):
    """Files and folders in the data folder, hidden ones too."""
    root = Path(folder) / "skdeepdive"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_file_is_kept_under_its_name_alone_and_asked_for_once(server, provide, tmp_path):
    provide(server.serve("/a", LOADS))
    ett = fetch_ett(data_home=tmp_path, n_retries=0)
    assert ett.filename == str(tmp_path.resolve() / "skdeepdive" / "ETTh1.csv")
    assert Path(ett.filename).read_bytes() == LOADS
    assert kept(tmp_path) == ["ETTh1.csv"]
    again = fetch_ett(data_home=tmp_path, download_if_missing=False)
    np.testing.assert_array_equal(again.data, ett.data)
    assert server.requests == ["/a"]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((404, b"no such file", None), "404 Client Error: Not Found for url: http"),
        ((503, b"busy", None), "503 Server Error: Service Unavailable for url: http"),
        ((200, b"<html>", None), "hash .* does not match"),
        # urllib3 1 does not notice that bytes are missing; the checksum does.
        ((200, LOADS[:100], len(LOADS)), "IncompleteRead|hash .* does not match"),
    ],
)
def test_wrong_answer_is_an_error_and_nothing_is_kept(server, provide, tmp_path, answer, match):
    server.answers["/a"] = answer
    provide(server.url + "/a")
    with pytest.raises(OSError, match=rf"'ETTh1\.csv' could not be downloaded: .*({match})"):
        fetch_ett(data_home=tmp_path, n_retries=0)
    assert kept(tmp_path) == []


def test_offline_is_an_error_that_says_where_to_put_the_file(closed_url, provide, tmp_path):
    provide(closed_url)
    match = r"Check the connection and try again .* save it as .*skdeepdive.ETTh1\.csv\."
    with pytest.raises(OSError, match=match):
        fetch_ett(data_home=tmp_path, n_retries=0)
    assert kept(tmp_path) == []


def test_server_that_falls_silent_is_given_up(provide, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_download, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provide(f"http://127.0.0.1:{silent.getsockname()[1]}/a")
        with pytest.raises(OSError, match="timed out"):
            fetch_ett(data_home=tmp_path, n_retries=0)


def test_failed_download_is_tried_again(server, provide, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.answers["/a"] = [(503, b"busy", None), (200, LOADS[:9], None), (200, LOADS, None)]
    provide(server.url + "/a")
    assert len(fetch_ett(data_home=tmp_path, n_retries=2).data) == 9
    assert server.requests == ["/a"] * 3
    assert pauses == [1, 2]


def test_second_address_is_asked_where_the_first_fails(server, provide, tmp_path):
    provide(server.url + "/gone", server.serve("/b", LOADS), server.url + "/c")
    assert len(fetch_ett(data_home=tmp_path, n_retries=0).data) == 9
    assert server.requests == ["/gone", "/b"]


def test_damaged_file_is_downloaded_anew(server, provide, tmp_path):
    provide(server.serve("/a", LOADS))
    path = tmp_path / "skdeepdive" / "ETTh1.csv"
    path.parent.mkdir()
    path.write_bytes(LOADS.replace(b"1", b"2", 1))
    fetch_ett(data_home=tmp_path, n_retries=0)
    assert path.read_bytes() == LOADS


def test_damaged_file_is_an_error_where_nothing_may_be_downloaded(server, provide, tmp_path):
    provide(server.serve("/a", LOADS))
    path = tmp_path / "skdeepdive" / "ETTh1.csv"
    path.parent.mkdir()
    path.write_bytes(LOADS[:-1])
    match = rf"ETTh1\.csv is missing or damaged. Pass download_if_missing=True .* {server.url}/a"
    with pytest.raises(OSError, match=match):
        fetch_ett(data_home=tmp_path, download_if_missing=False)
    assert server.requests == []
    assert path.read_bytes() == LOADS[:-1]


@pytest.mark.parametrize("fetch", FETCHERS)
def test_missing_file_is_an_error_where_nothing_may_be_downloaded(fetch, tmp_path):
    with pytest.raises(
        OSError, match=r"missing or damaged. Pass download_if_missing=True .* https"
    ):
        fetch(data_home=tmp_path, download_if_missing=False)
    assert not (tmp_path / "skdeepdive").exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_a_kept_file(server, provide, tmp_path):
    provide(server.serve("/a", LOADS))
    path = fetch_ett(data_home=tmp_path, n_retries=0).filename
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


class Listener(logging.Handler):
    """Handler that keeps the messages."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def test_pooch_announces_a_download_and_its_logger_is_left_alone(server, provide, tmp_path):
    provide(server.serve("/a", LOADS))
    logger, listener = pooch.get_logger(), Listener()
    logger.addHandler(listener)
    try:
        before = logger.level, logger.disabled, [*logger.handlers], [*logger.filters]
        fetch_ett(data_home=tmp_path, n_retries=0)
        fetch_ett(data_home=tmp_path, n_retries=0)
        assert (logger.level, logger.disabled, logger.handlers, logger.filters) == before
    finally:
        logger.removeHandler(listener)
    (message,) = listener.messages
    assert message.startswith("Downloading file 'ETTh1.csv' from 'http")


def test_fetching_without_pooch_is_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pooch.*pip install "skdeepdive\[datasets\]"'):
        fetch_ett(data_home=tmp_path)


def test_default_folder_is_that_of_scikit_learn(server, provide, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    provide(server.serve("/a", LOADS))
    fetch_ett(n_retries=0)
    assert kept(tmp_path) == ["ETTh1.csv"]


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"data_home": 3}, TypeError, "'data_home' must be a string, a path or None, got 3"),
        ({"download_if_missing": "no"}, TypeError, "'download_if_missing' must be True or False"),
        ({"n_retries": -1}, ValueError, "'n_retries' must be an integer of at least 0, got -1"),
        ({"n_retries": 1.5}, TypeError, "'n_retries' must be an integer, got 1.5"),
    ],
)
def test_argument_of_wrong_type_or_value_is_an_error(fetch, arguments, error, match):
    with pytest.raises(error, match=match):
        fetch(**arguments)


@pytest.mark.parametrize(
    "remote",
    [_fetch_electricity._REMOTE, *_fetch_ett._REMOTES.values(), _fetch_gait_ipol._REMOTE],
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


def as_text(table):
    return "".join(",".join(map(str, row)) + "\n" for row in table.astype(int).tolist()).encode()


@pytest.fixture
def serve_electricity(server, monkeypatch):
    """Function that serves loads as the complete file."""

    def serve_electricity(text):
        body = gzip.compress(text, compresslevel=1)
        url = server.serve("/electricity.txt.gz", body)
        remote = Remote("electricity.txt.gz", (url,), hashlib.sha256(body).hexdigest())
        monkeypatch.setattr(_fetch_electricity, "_REMOTE", remote)

    return serve_electricity


def test_electricity_agrees_with_the_bundled_slices(serve_electricity, tmp_path):
    table = np.zeros((26304, 321))
    table[:, [0, 320]] = load_electricity("clients_2").data
    table[-840:] = load_electricity("clients_321").data
    serve_electricity(as_text(table))
    electricity = fetch_electricity(data_home=tmp_path, n_retries=0)
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


def test_electricity_as_frame_is_over_an_hourly_index(serve_electricity, tmp_path):
    pytest.importorskip("pandas")
    serve_electricity(as_text(load_electricity("clients_321").data))
    frames = fetch_electricity(data_home=tmp_path, as_frame=True, n_retries=0)
    assert frames.data.index.freqstr.lower() == "h"
    assert frames.data.columns[320] == "client_320"
    assert frames.factors.index.equals(frames.data.index)


@pytest.mark.skipif(not REAL.exists(), reason="the licence does not allow it among the sources")
def test_ett_is_read_from_the_original_file(server, provide, tmp_path):
    body = gzip.decompress(REAL.read_bytes())
    published = _fetch_ett._REMOTES["ETTh1"]
    provide(server.serve("/a", body), body=body)
    assert _fetch_ett._REMOTES["ETTh1"].sha256 == published.sha256
    ett = fetch_ett(data_home=tmp_path, n_retries=0)
    assert ett.data.shape == (17420, 7)
    assert ett.feature_names == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    np.testing.assert_allclose(ett.data[0, [0, 6]], [5.827, 30.531], rtol=1e-6)
    np.testing.assert_allclose(ett.data[-1, [0, 6]], [10.114, 9.567], rtol=1e-6)
    assert ett.timestamps[-1] == np.datetime64("2018-06-26T19:00")
    np.testing.assert_array_equal(ett.factors[0], [0, 4, 7])
    means = [ett.data[rows, 6].mean() for rows in ett.splits.values()]
    np.testing.assert_allclose(means, [17.1, 15.6, 4.8], atol=0.06)


@pytest.mark.parametrize(
    ("name", "minutes", "n_rows"), [("ETTh2", 60, 17420), ("ETTm1", 15, 69680)]
)
def test_ett_splits_are_months_of_30_days_at_every_interval(
    server, provide, tmp_path, name, minutes, n_rows
):
    body = make_ett(n_rows, minutes)
    provide(server.serve("/a", body), body=body, name=name)
    ett = fetch_ett(name, data_home=tmp_path, n_retries=0)
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


def test_ett_as_frame_is_over_its_timestamps(server, provide, tmp_path):
    pytest.importorskip("pandas")
    provide(server.serve("/a", LOADS))
    frames = fetch_ett(data_home=tmp_path, as_frame=True, n_retries=0)
    assert list(frames.data.columns) == frames.feature_names
    assert str(frames.data.index[-1]) == "2016-07-01 08:00:00"


def test_unknown_ett_name_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match="'name' must be one of 'ETTh1', .* got 'ETTh3'"):
        fetch_ett("ETTh3")
