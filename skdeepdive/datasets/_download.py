"""Downloading files into a folder of the user's, verified before they are used or kept."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sklearn.datasets import get_data_home

from skdeepdive._data.checks import check_flag, check_integer, check_number

_TIMEOUT = 30.0
_CHUNK = 2**20
# Request Timeout and Too Many Requests: client errors that may pass.
_PASSING = (408, 429)


class BadFileError(ValueError):
    """A file is not what it should be; raised by checksums and by the readers of `fetch`."""


class Remote(NamedTuple):
    """A file to download.

    Parameters
    ----------
    filename : str
        Name in the cache, with an extension that its reader expects.
    urls : tuple of str
        Addresses, in the order in which to try them.
    checksum : str or None, default=None
        ``"<algorithm>:<hexadecimal digest>"``, where the algorithm is one of :mod:`hashlib` or
        ``"git"``, the id of the file as a git blob. None where none is known: then the reader's
        own checks are all there is.
    """

    filename: str
    urls: tuple[str, ...]
    checksum: str | None = None


@dataclass(frozen=True)
class Cache:
    """A folder of downloaded files, and how to fill it.

    Parameters
    ----------
    folder : Path
        Where the files are kept; created by the first download.
    download_if_missing : bool
        Whether a missing or damaged file is downloaded.
    n_retries : int
        How often every address is tried again.
    delay : float
        Seconds between one round of attempts and the next.
    """

    folder: Path
    download_if_missing: bool
    n_retries: int
    delay: float

    def fetch(self, remote: Remote, read: Callable[[Path], Any]) -> Any:
        """Read a file, downloading it first where it is missing or damaged.

        Parameters
        ----------
        remote : Remote
            The file.
        read : callable
            Turns the path of the file, whose checksum is right by then, into the result; raises
            `BadFileError` where the content is wrong. A download becomes visible in the folder,
            at one stroke, after it was read.

        Returns
        -------
        result : object
            What `read` returned.

        Raises
        ------
        OSError
            If the file is missing or damaged and cannot or may not be downloaded.
        """
        path = self.path(remote)
        damage = None
        if path.exists():
            try:
                return _read_verified(remote, path, read)
            except BadFileError as error:
                damage = error
        if not self.download_if_missing:
            raise OSError(_describe_refusal(remote, path, damage)) from damage
        return self._download(remote, read)

    def path(self, remote: Remote) -> Path:
        """Where a file is kept."""
        return self.folder / remote.filename

    def _download(self, remote: Remote, read: Callable[[Path], Any]) -> Any:
        """Try the addresses in turn, and those that may yet answer again."""
        downloader = _make_downloader(remote.filename)
        path = self.path(remote)
        path.parent.mkdir(parents=True, exist_ok=True)
        failures: dict[str, Exception] = {}
        urls = list(remote.urls)
        for attempt in range(self.n_retries + 1):
            if not urls:
                break
            if attempt:
                time.sleep(self.delay)
            for url in tuple(urls):
                try:
                    return _download_once(url, remote, path, read, downloader)
                except (OSError, BadFileError) as error:
                    _close(error)
                    failures[url] = error
                    if _is_final(error):
                        urls.remove(url)
        raise OSError(_describe_failures(path, failures)) from failures[remote.urls[-1]]


def open_cache(data_home: Any, download_if_missing: Any, n_retries: Any, delay: Any) -> Cache:
    """Check the arguments that all `fetch_*` functions share and make a cache of them.

    Parameters
    ----------
    data_home : str, path-like or None
        Folder; None for that of :func:`sklearn.datasets.get_data_home`. The files go into its
        subfolder ``skdeepdive``.
    download_if_missing : bool
        Whether a missing or damaged file is downloaded.
    n_retries : int
        How often to try again, at least 0.
    delay : float
        Seconds before trying again, above 0.

    Returns
    -------
    cache : Cache
        The cache.

    Raises
    ------
    TypeError or ValueError
        If an argument is of the wrong type or out of range.
    """
    if data_home is not None and not isinstance(data_home, str | os.PathLike):
        raise TypeError(f"'data_home' must be a string, a path or None, got {data_home!r}.")
    download_if_missing = check_flag("download_if_missing", download_if_missing)
    n_retries = check_integer("n_retries", n_retries, minimum=0)
    delay = check_number("delay", delay)
    folder = Path(get_data_home(data_home)).resolve() / "skdeepdive"
    return Cache(folder, download_if_missing, n_retries, delay)


def verify_checksum(path: Path, checksum: str | None) -> None:
    """Raise `BadFileError` if the file at `path` does not have this checksum."""
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    found = _hash_file(path, algorithm)
    if found != expected.lower():
        size = path.stat().st_size
        raise BadFileError(
            f"the {algorithm} checksum of its {size} bytes is {found}, not {expected}"
        )


def _hash_file(path: Path, algorithm: str) -> str:
    # Not for security: md5 and sha1 are what the sources publish.
    name = "sha1" if algorithm == "git" else algorithm
    digest = hashlib.new(name, usedforsecurity=False)
    if algorithm == "git":
        digest.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read_verified(remote: Remote, path: Path, read: Callable[[Path], Any]) -> Any:
    verify_checksum(path, remote.checksum)
    return read(path)


def _download_once(
    url: str, remote: Remote, path: Path, read: Callable[[Path], Any], downloader: Callable
) -> Any:
    # A folder rather than a temporary file: the file then gets the permissions of any other.
    with TemporaryDirectory(dir=path.parent, prefix=".partial-") as scratch:
        part = Path(scratch) / path.name
        downloader(url, str(part), None)
        result = _read_verified(remote, part, read)
        os.replace(part, path)
    return result


def _make_downloader(filename: str) -> Callable:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"Downloading {filename!r} needs pooch, which is not installed. Install it with: "
            'pip install "skdeepdive[datasets]"'
        ) from error
    # The downloader alone: pooch.retrieve logs to standard error and knows no git blob ids.
    # "identity": a server that compresses on the way would hide how long the file is.
    return pooch.HTTPDownloader(
        chunk_size=_CHUNK, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}
    )


def _close(error: Exception) -> None:
    # pooch leaves the connection open when the server answers with an error.
    if (response := getattr(error, "response", None)) is not None:
        response.close()


def _status(error: Exception) -> int | None:
    """HTTP status that an error of the downloader carries, if any."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_final(error: Exception) -> bool:
    """Whether asking again would give the same answer."""
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in _PASSING


def _explain(error: Exception) -> str:
    if isinstance(error, BadFileError):
        return f"what arrived is not the file: {error}"
    if (status := _status(error)) is not None:
        return f"the server answered with HTTP status {status}"
    return f"no connection or no complete answer ({type(error).__name__}: {error})"


def _describe_failures(path: Path, failures: dict[str, Exception]) -> str:
    attempts = "; ".join(f"{url}: {_explain(error)}" for url, error in failures.items())
    return (
        f"{path.name!r} could not be downloaded. {attempts}. Check the connection and try again "
        f"later, or get the file by other means and save it as {path}."
    )


def _describe_refusal(remote: Remote, path: Path, damage: BadFileError | None) -> str:
    state = "is missing" if damage is None else f"is damaged ({damage})"
    return (
        f"{path} {state}, and download_if_missing is False. Pass download_if_missing=True to "
        f"download it from {remote.urls[0]}."
    )
