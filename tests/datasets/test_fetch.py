"""The data sets that are downloaded, from a server on the loopback: right, wrong and no answers."""

import base64
import builtins
import functools
import gzip
import hashlib
import json
import logging
import os
import pickle
import socket
import stat
import sys
import threading
import zipfile
import zlib
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
    _fetch_gaitmotion,
    _restricted_pickle,
    fetch_electricity,
    fetch_ett,
    fetch_gait_ipol,
    fetch_gaitmotion,
    load_electricity,
    load_watch_imu,
)
from skdeepdive.datasets._base import load_description
from skdeepdive.datasets._download import BadFileError, Remote, open_cache, verify_checksum
from skdeepdive.datasets._restricted_pickle import read_pickle

pytest.importorskip("pooch")

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FETCHERS = [fetch_electricity, fetch_ett, fetch_gait_ipol, fetch_gaitmotion]
FAST = {"n_retries": 0, "delay": 0.001}
# A table of three rows, as older versions pickled it; compressed.
OLD_PICKLES = {
    "pandas 0.25, NumPy 1.17, protocol 2": (
        "eNp1VOt/1EQUzW4BS5SHilqhKiLWUGrsQoEqKOUhr8BWBx9BXUOSne6s7Gb3JBPoIisP6Zb65E/xI1/98Yfpncns"
        "ClXnQ85M7j135t5zZ+6U4yRvd3tu3Em5285bshmmadizg5THnSSTaR5LG1bhZSf1woqSZ62gHAdxp87jzOaJmtgY"
        "80uWZUXY4G8ibIWymVSwcYBNDM+sYpxhs+OVvDFvfADbhKzLXpeYz/plYizN4znP8kqr2MKw1fGKeMewrVqtXviL"
        "hv54lsT2aE2M+X9a68fjP46b2UIB4wa3G9xhcMLgpMHdBvcY3GtwyqBjcNrgjEHX4KzBisEDBg8anDN4yOBhg0cW"
        "8LygEr3A8KLEjijuhlTlrBBkKQ3b3D4dyvCMnuGlfXfxch+vOP5G4gZ1smDiKUozkTxNwlbmtsMkbPA0s0+2OvG1"
        "S8XKxqsUYqdTwy5nHa/Ol3nmRmHG7SDhN4Lz6o+Nyf93Mx6v9fG642+gA+nzvCEsoftjtyDR32TYo0VfwVuiUHlx"
        "HnsLld9mmBqqfAvvPK3ycQknWqthXxH7suRdTBfTZp1jv79F/01pEbR40pACM1zi3Uj7JFQvuNV8gPcYZsV/Z5GG"
        "SYPbTH1NLpU+DjjCrer6ZjJMJQ56lo6YyU4Xc3TaYkGnOeSVKP5hhiO8hnlnmPf7Ku8PGI6qvCnzAY6Jrapdd/7T"
        "po9ua7x6pWiDxw/9BXyo+uAjBkp8IRoGO6GCnWQ4NQp22pSxOY+PizKeYThLZRT/vibn9DWZIO+S2blscMwgzqtd"
        "LzB4EhdHu15Su1YZFke7fiKmSItPHa3VRTCNDJcFo5p/FlEBPnfEpKBe+MIRoxb4UsXxGa7oOCv4Skf5WsyEEt9E"
        "QutTY/i2YAZPMK8qZsgQGWasmXUxTUxumEsMjYIpnmA2FfM7hmuG2dLMtthPzMQwOwxd3gf0OzXrVubcCtI+sqLV"
        "QuoNSLFLWyN1ezLkNVx3+rjh6J/Xw1ZOPsviqD9Oy3YjDcgtQy8Ogihv0jOaBIGdtZoxXdqbXpnePNLpe4ZbeR99"
        "RyyLU6Inbir5lOEHhttkuKMMi9pQIg4Z7jLcy3meSfxYtHVAzyXu+5vNZdMPBFb0OmhzGeobOKhhNR9p+UDVY43h"
        "J3MNfxZnh00xHOubA7+opviV4TeJ36NVPHT/BswOssA="
    ),
    "pandas 1.1, NumPy 1.18, protocol 5": (
        "eNqVk0tvEzEQx7N5kZZWAgSiPMpLVbUgtOqLwgGpFUWV6EIQLQc4VIs3ceIV2U3k9QIFyuPQVki+dejn4SPwUThy"
        "g7F3KiVtJMQe8pvYHnvm77+/VL6frxTsp88kWdzb8hpdyT0MuYwaoE8GLdmNw6zV4hL2wT34URj2/VqiYDlHjXiK"
        "eJY4QbxMvEa8QZwiThNd4i3ibaJHnCHOEueI88QF4h3iIvHuMuiK7RfZVFs9js3pYuse+AXf2YN1cP2Sdu5DvV5f"
        "+4Of/fELCkK/5Nd2QTsroHCZPt1jSZOluWwtyWIOeuQhU2zVxvtw8ytsg6vLQdyWoK/0L48SxWXCOqkXs4S1uUxB"
        "jz3odBuvn+T/83R3E/MnBhOb/B1PvZCleNxokPC3wSMzhgnikq4cxvbgJhYD+lzf7cZZR0VMSobdjwWSN7pJqmTW"
        "UCa9rE/gQXZyH9XYgRUnhFwRxy/tgKjq4tMjOn08otMS6vTNVF3eULwHiKiJhY5vKIlB0OFJWwnguEqXEyNTPdvF"
        "vcSkvjCsTcmStulz3bCvN7FY15VUMamwHF1OVbcHWA4GeKjv2D05liGK7sHEgF9/f7Z49TL3w88XyyBGTH+7IMbN"
        "vfanOMQisUS0UkQDUojRIYbp33ZKTBtNhXuoaD7pWbWcx+grXPTcKGMLnxRXTZ/Xh+Tt5FligeFiVIIU/HfC3P8m"
        "zPcn8G3Q1RlvdsGbze3F8IZAXNTV0Bg3BSzbjFffsE5mZlZ1DZ0f4CS6uxZmEXovwbCSdqKGeSB+EZ+UFTAzlbwX"
        "dfFBfDKiDow+s6MOrs5HeZZa/wT4evHJGZcfPr8g5opZ22/iOUwpfFjbkIXHfXD8ckGsWZfb69oD7y+aJJm1"
    ),
    "pandas 1.5, NumPy 1.24, protocol 4": (
        "eNqNk01v00AQhmPHoQEVtUh8BAkBQqgKqLL4LhJIrShCAkNA7QUOrVnbm9iq7Vj2WiWICjjQtNLeMvwffgI/hSM3"
        "mF1PIKkihA/7jJ3d2Zl533yyvr63avqRZ9IyyQa238+5nZSxiFieswHIeTfnfj8tRF76AkYgG3ojyLk0qLaMwKl9"
        "gXXDgyFsQNsxnLrT3IewLhuBGGRcHTK79+HwoPq9Lo2H0Ol0nv3CRy9OTYB3uP6tNvX8WKVgrUKTuEg8TWwRLxAv"
        "E68QrxKXiG3ideIy0SbeIN4k3iLeJt4h3iXeI66sAbYhT2UMJ1NUk+zmLOEgjz9mgj3R8QiufYY9aEvLTXo5yIuT"
        "26NU8DxlcWEnLGU9nhcowKO47++8qN7VLM/SCTeOvOLvEZALbplmkb8Tc9dTZ3BzaIYNpU44N9YG1UFt5qUZTSgS"
        "Ls7So2WQACaxTtR9Nr0yQpukeHGjiCOfayOoG1RSx1RreOkfBbycssSHI5ZYVSVs4ZyM5yANTPWA45dwGc+b/3fF"
        "AnZQ1fvzo8bbN5VS319rpTCXiVadyDUEdWFrWpGAv+OF7bECdTzhpnzXfaq+qeF2ZGMca0UDVHnGyOv4sqJ7sTYF"
        "zwARBZjt5KbIMXBjnvZECKo/aaXKJJ1yX7X2Sp6fVUvO0p4qZkNxooBwGwsqBMsFCiGtQvQzwNFigJc6hs7J1YLe"
        "wz8m2lIVPLaom3DBdAdbqCgTAs23B/KY241ZT4fnWBz3dws3KDPUmwmsnHkcnXdQlN7stpf+aFCrHXWT0mAI9m9l"
        "zWzF"
    ),
}


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
        _fetch_gaitmotion._metadata_remote(),
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
        ("gaitmotion.rst", ["Zhang", "10.5683/SP3/V6C59O", "2405.09569", "licence"]),
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


def make_recording(n_steps, lengths, *, seed):
    """A recording as the authors' code expects it: signals, table and segmentation."""
    pd = pytest.importorskip("pandas")
    signals = np.zeros((n_steps, 8))
    signals[:, :6] = load_watch_imu().data[seed][:n_steps]
    signals[n_steps // 2 :, 6:] = 1
    with pd.option_context("mode.string_storage", "python"):  # the files know no pyarrow
        table = pd.DataFrame({"Step": np.arange(len(lengths)), "Stride_length": lengths})
    return pickle.dumps((signals, table, np.arange(3)))


def serve_gaitmotion(server, monkeypatch, files, *, licence=None, others=(), md5=None):
    """Serve files, given by folder and name, as a Dataverse server does."""
    monkeypatch.setattr(_fetch_gaitmotion, "_SERVER", server.url + "/api")
    entries = list(others)
    for number, ((folder, name), body) in enumerate(files.items()):
        server.serve(f"/api/access/datafile/{number}", body)
        file = {
            "id": number,
            "filename": name,
            "filesize": len(body),
            "md5": hashlib.md5(body).hexdigest() if md5 is None else md5,
        }
        entries.append({"label": name, "directoryLabel": folder, "dataFile": file})
    version = {"files": entries} | ({} if licence is None else licence)
    answer = {"status": "OK", "data": {"id": 1, "latestVersion": version}}
    server.serve("/api" + _fetch_gaitmotion._QUERY, json.dumps(answer).encode())


@pytest.fixture(scope="module")
def recordings():
    """Four recordings in the folders of the source, out of order; the last without strides."""
    return {
        ("Stroke", "P2_1L.pkl"): make_recording(40, [np.nan, 60.0, 61.0, np.nan], seed=0),
        ("Normal", "P10_1L.pkl"): make_recording(50, [np.nan, *range(100, 128)], seed=1),
        ("Normal", "P2_1R.pkl"): make_recording(60, [0.0, 140.0, 141.0, 142.0], seed=2),
        ("data/Shuffle", "P2_2R.pkl"): make_recording(30, [50.0], seed=3),
    }


def test_gaitmotion_reads_signals_labels_and_flags(server, monkeypatch, tmp_path, recordings):
    serve_gaitmotion(server, monkeypatch, recordings)
    gait = fetch_gaitmotion(data_home=tmp_path, **FAST)
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
    assert [Path(name).name for name in gait.filenames] == [
        "P2_1R.pkl",
        "P10_1L.pkl",
        "P2_2R.pkl",
        "P2_1L.pkl",
    ]


def test_gaitmotion_bins_hold_about_as_many_strides_each(server, monkeypatch, tmp_path, recordings):
    serve_gaitmotion(server, monkeypatch, recordings)
    gait = fetch_gaitmotion(data_home=tmp_path, **FAST)
    strides = np.concatenate(gait.stride_length)
    bins = np.digitize(strides, gait.stride_length_edges[1:-1])
    counts = np.bincount(bins, minlength=14)
    assert len(counts) == 14
    assert counts.max() - counts.min() <= 1
    medians = [141, 113.5, 60.5]
    expected = np.digitize(medians, gait.stride_length_edges[1:-1])
    np.testing.assert_array_equal(gait.factors[:, 1], [*expected[:2], -1, expected[2]])
    assert (gait.factors[0, 1], gait.factors[3, 1]) == (13, 0)


def test_gaitmotion_without_any_stride_has_no_bins(server, monkeypatch, tmp_path, recordings):
    key = ("data/Shuffle", "P2_2R.pkl")
    serve_gaitmotion(server, monkeypatch, {key: recordings[key]})
    gait = fetch_gaitmotion(data_home=tmp_path, **FAST)
    assert np.isnan(gait.stride_length_edges).all()
    np.testing.assert_array_equal(gait.factors, [[1, -1]])


def test_gaitmotion_goes_on_where_it_was_broken_off(server, monkeypatch, tmp_path, recordings):
    serve_gaitmotion(server, monkeypatch, recordings)
    last = server.answers.pop("/api/access/datafile/0")
    with pytest.raises(OSError, match=r"'P2_1L\.pkl' could not be downloaded.*status 404"):
        fetch_gaitmotion(data_home=tmp_path, **FAST)
    server.answers["/api/access/datafile/0"] = last
    server.requests.clear()
    assert len(fetch_gaitmotion(data_home=tmp_path, **FAST).data) == 4
    assert server.requests == ["/api/access/datafile/0"]
    offline = fetch_gaitmotion(data_home=tmp_path, download_if_missing=False)
    assert len(offline.data) == 4


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (
            {"license": {"name": "CC BY 4.0", "uri": "http://creativecommons.org/licenses/by/4.0"}},
            "CC BY 4.0 http://creativecommons.org/licenses/by/4.0",
        ),
        ({"license": "CC0", "termsOfUse": "CC0 Waiver"}, "CC0 CC0 Waiver"),
        ({"license": None, "termsOfUse": "Not for sale."}, "Not for sale."),
        (None, "None stated: ask the authors."),
    ],
)
def test_gaitmotion_description_ends_with_the_licence_of_the_source(
    server, monkeypatch, tmp_path, recordings, licence, expected
):
    serve_gaitmotion(server, monkeypatch, recordings, licence=licence)
    gait = fetch_gaitmotion(data_home=tmp_path, **FAST)
    assert gait.licence == expected
    assert gait.DESCR.endswith(f"source states it**\n\n{expected}\n")


def test_gaitmotion_takes_recordings_only_and_writes_in_its_folder_only(
    server, monkeypatch, tmp_path, recordings
):
    names = ["readme.txt", "../P1_1.pkl", "P1_../../1.pkl", "/etc/P1_1.pkl"]
    others = [
        {"directoryLabel": "Normal", "dataFile": {"id": 99, "filename": name, "md5": "0"}}
        for name in names
    ]
    others += [{"dataFile": {"id": 99, "filename": "P1_1.pkl", "md5": "0"}}]
    others += [
        {"directoryLabel": "../Other", "dataFile": {"id": 99, "filename": "P1_1.pkl", "md5": "0"}}
    ]
    serve_gaitmotion(server, monkeypatch, recordings, others=others)
    assert len(fetch_gaitmotion(data_home=tmp_path, **FAST).data) == 4
    assert kept(tmp_path) == [
        "gaitmotion",
        "gaitmotion/Normal",
        "gaitmotion/Normal/P10_1L.pkl",
        "gaitmotion/Normal/P2_1R.pkl",
        "gaitmotion/Shuffle",
        "gaitmotion/Shuffle/P2_2R.pkl",
        "gaitmotion/Stroke",
        "gaitmotion/Stroke/P2_1L.pkl",
        "gaitmotion/metadata.json",
    ]


def test_gaitmotion_with_a_wrong_md5_is_not_kept(server, monkeypatch, tmp_path, recordings):
    serve_gaitmotion(server, monkeypatch, recordings, md5="0" * 32)
    with pytest.raises(OSError, match="the md5 checksum of its .* not 000"):
        fetch_gaitmotion(data_home=tmp_path, **FAST)
    assert [path for path in kept(tmp_path) if path.endswith(".pkl")] == []


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"<html>", "no metadata of GaitMotion"),
        (b'{"status": "ERROR"}', "no metadata of GaitMotion .*'data'"),
        (b'{"data": {"latestVersion": {"files": []}}}', "lists 0 files, none of them P<subject>"),
        (b'{"data": {"latestVersion": {"files": 3}}}', "no metadata of GaitMotion"),
    ],
)
def test_gaitmotion_metadata_of_another_form_are_not_kept(
    server, monkeypatch, tmp_path, answer, match
):
    serve_gaitmotion(server, monkeypatch, {})
    server.serve("/api" + _fetch_gaitmotion._QUERY, answer)
    with pytest.raises(OSError, match=match):
        fetch_gaitmotion(data_home=tmp_path, **FAST)
    assert kept(tmp_path) == ["gaitmotion"]


@pytest.mark.parametrize(
    "content",
    [
        (np.zeros((5, 7)), {"Stride_length": [1.0]}, []),
        (np.zeros((5, 8)), {"Step_length": [1.0]}, []),
        (np.zeros((5, 8)), {"Stride_length": ["long", "short"]}, []),
        np.zeros((5, 8)),
        (np.zeros(8), {"Stride_length": [1.0]}),
    ],
)
def test_gaitmotion_recording_of_another_layout_is_not_kept(server, monkeypatch, tmp_path, content):
    serve_gaitmotion(server, monkeypatch, {("Normal", "P1_1.pkl"): pickle.dumps(content)})
    with pytest.raises(OSError, match="does not hold signals of at least 8 columns"):
        fetch_gaitmotion(data_home=tmp_path, **FAST)


class Forged:
    """Object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def name_global(module, name):
    """Pickle that asks for a name and no more."""
    module, name = module.encode(), name.encode()
    return b"\x80\x04\x8c%c%b\x8c%c%b\x93." % (len(module), module, len(name), name)


def test_forged_gaitmotion_recording_is_refused_without_running_it(server, monkeypatch, tmp_path):
    mark = tmp_path / "ran"
    body = pickle.dumps((np.zeros((5, 8)), Forged(os.system, f"touch {mark}"), []))
    serve_gaitmotion(server, monkeypatch, {("Normal", "P1_1.pkl"): body})
    with pytest.raises(pickle.UnpicklingError, match=rf"asks for {os.name}\.system.*forged"):
        fetch_gaitmotion(data_home=tmp_path, **FAST)
    assert not mark.exists()
    assert [path for path in kept(tmp_path) if path.endswith(".pkl")] == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("forge", "match"),
    [
        (lambda mark: Forged(os.mkdir, mark), rf"{os.name}\.mkdir"),
        (lambda mark: Forged(eval, f"open({mark!r}, 'w')"), "eval"),
        (lambda mark: Forged(exec, f"open({mark!r}, 'w')"), "exec"),
        (lambda mark: Forged(builtins.__import__, "os"), "__import__"),
        (
            lambda mark: Forged(getattr, Forged(getattr, np.ndarray, "tofile"), "__call__"),
            "getattr",
        ),
        (lambda mark: Forged(np.load, mark), r"numpy.*load"),
        (lambda mark: Forged(np.save, mark, 1), r"numpy.*save"),
        (lambda mark: Forged(functools.partial, open, mark, "w"), "partial"),
        (lambda mark: np.array([Forged(os.mkdir, mark)], dtype=object), "mkdir"),
        (lambda mark: {"x": [1, (Forged(os.mkdir, mark),)]}, "mkdir"),
        (lambda mark: Path(mark), "Path"),
    ],
)
def test_pickle_of_anything_else_is_refused_at_every_protocol(tmp_path, forge, match, protocol):
    mark = str(tmp_path / "ran")
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(forge(mark), protocol=protocol))
    with pytest.raises(pickle.UnpicklingError, match=rf"asks for .*{match}"):
        read_pickle(path)
    assert not Path(mark).exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pandas", "read_pickle"),
        ("pandas.io.pickle", "read_pickle"),
        ("pandas.core.frame", "DataFrame.to_csv"),
        ("pandas.core.frame", "DataFrame.__init__.__globals__"),
        ("pandas", "io.common.os.system"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "dtype.__class__"),
        ("numpy", "core.multiarray._reconstruct"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy.core.numeric", "sys"),
        ("numpy.testing", "runstring"),
        ("builtins", "slice.__class__"),
        ("builtins", "object"),
        ("_codecs", "decode"),
        ("copyreg", "_reconstructor"),
        ("skdeepdive.datasets._restricted_pickle", "read_pickle"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, module, name):
    path = tmp_path / "file.pkl"
    path.write_bytes(name_global(module, name))
    with pytest.raises(
        pickle.UnpicklingError,
        match=f"'file.pkl' is refused. The .* asks for {module}.{name}, which",
    ):
        read_pickle(path)


# A datetime64 whose unit smuggles in objects.
FORGED_UNIT = (
    b"\x80\x04cnumpy\ndtype\n\x8c\x02M8\x85R(K\x04\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00}"
    b"(\x8c\x0bns],O,M8[nsK\x01K\x01K\x01t\x86tb."
)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"\x80\x04c_codecs\nencode\n\x8c\x01x\x8c\x04zlib\x86R.", "the encoding 'zlib'"),
        (b"\x80\x04cnumpy\ndtype\n\x8c\x02V8\x85R.", "unsupported dtype 'V8'"),
        (b"\x80\x04cnumpy\ndtype\n\x8c\x05f8,O8\x85R.", "unsupported dtype 'f8,O8'"),
        (FORGED_UNIT, r"unsupported dtype 'ns\],O,M8\[ns'"),
        (b"Pname\n.", "persistent"),
        (b"\x80\x04", "damaged|no pickle"),
        (b"", "no pickle of NumPy and pandas data"),
        (b"<html>", "no pickle|invalid load key"),
    ],
)
def test_pickle_that_asks_for_the_unusual_or_is_damaged_is_refused(tmp_path, body, match):
    path = tmp_path / "file.pkl"
    path.write_bytes(body)
    with pytest.raises(pickle.UnpicklingError, match=match):
        read_pickle(path)


def rebuild_array(dtype, content, shape):
    """An object that is pickled as an array of forged state."""

    class State:
        def __reduce__(self):
            start = np.empty(0).__reduce__()
            return start[0], start[1], (1, shape, dtype, False, content)

    return State()


@pytest.mark.parametrize(
    "state",
    [
        # Addresses in place of objects; more elements than there are bytes.
        (np.dtype(object), b"\x00\x10\x20\x30\x40\x50\x60\x70", (1,)),
        (np.dtype(float), b"\x00" * 8, (10**9,)),
        (np.dtype([("a", "f8"), ("b", "O")]), b"\x00" * 16, (1,)),
        ("f8", b"\x00" * 8, (1,)),
    ],
)
def test_arrays_of_forged_state_are_refused(tmp_path, state):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(rebuild_array(*state)))
    with pytest.raises(pickle.UnpicklingError):
        read_pickle(path)


def test_pickle_cannot_change_what_later_pickles_are_read_with(tmp_path):
    path = tmp_path / "file.pkl"
    # Sets the attribute x of a class.
    path.write_bytes(b"\x80\x02cpandas.core.indexes.base\nIndex\n(N}X\x01\x00\x00\x00xK\x01stb.")
    assert read_pickle(path).x == 1
    assert not hasattr(_restricted_pickle._Inert, "x")
    path.write_bytes(b"\x80\x02cpandas.core.indexes.base\nIndex\n.")
    assert not hasattr(read_pickle(path), "x")


@pytest.mark.parametrize("packed", OLD_PICKLES.values(), ids=OLD_PICKLES)
def test_pickles_of_older_versions_are_read(tmp_path, packed):
    path = tmp_path / "file.pkl"
    path.write_bytes(zlib.decompress(base64.b64decode(packed)))
    signals, table, segments = read_pickle(path)
    np.testing.assert_array_equal(signals, np.arange(24.0).reshape(3, 8))
    assert list(table) == ["Step", "Side", "Stride_length"]
    np.testing.assert_array_equal(table["Stride_length"], [np.nan, 101.5, 99.25])
    np.testing.assert_array_equal(table["Step"], [1, 2, 3])
    assert table["Side"].tolist() == ["L", "R", "L"]
    np.testing.assert_array_equal(segments, [0, 1, 2])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0, dtype=">f4").reshape(2, 3)),
        np.arange(12).reshape(3, 4)[:, ::2],
        np.array(["a", "bc"]),
        np.array([b"a", b"bc"]),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.array(["2012-01-01", "NaT"], dtype="datetime64[ns]"),
        np.array([1, "a", None, [2, 3], np.float64(0.5)], dtype=object),
        np.empty((0, 3)),
        np.array(3.5),
        np.float32(0.25),
    ],
)
def test_arrays_are_read_as_they_were_written(tmp_path, array, protocol):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(array, protocol=protocol))
    result = read_pickle(path)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_tables_are_read_as_their_columns(tmp_path, protocol):
    pd = pytest.importorskip("pandas")
    columns = {
        "a": np.arange(3),
        "b": [0.5, np.nan, 1.5],
        "c": np.array(["x", "y", "z"], dtype=object),
        "d": [3, 2, 1],
        "e": np.array(["2012-01-01"] * 3, dtype="datetime64[ns]"),
    }
    with pd.option_context("mode.string_storage", "python"):
        table = pd.DataFrame(columns, columns=pd.Index(list(columns), dtype=object))
    parts = (table, table[1:], table["b"], table.index, pd.Index([1.5, 2.5]))
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(parts, protocol=protocol))
    whole, part, series, index, numbers = read_pickle(path)
    assert list(whole) == list(columns)
    for name in columns:
        np.testing.assert_array_equal(whole[name], table[name].to_numpy())
        np.testing.assert_array_equal(part[name], table[name].to_numpy()[1:])
    np.testing.assert_array_equal(series, columns["b"])
    assert index == range(3)
    np.testing.assert_array_equal(numbers, [1.5, 2.5])
