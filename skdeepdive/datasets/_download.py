"""Files that pooch downloads once, verifies on every call and keeps in the user's data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.datasets import get_data_home

from skdeepdive._data.checks import check_flag, check_integer

_TIMEOUT = 30.0


class Remote(NamedTuple):
    """A file to download: its name in the data folder, addresses in order of preference, checksum.

    Where no checksum is known, whoever reads the file must verify the content.
    """

    filename: str
    urls: tuple[str, ...]
    sha256: str | None = None


def fetch_file(remote: Remote, data_home: Any, download_if_missing: Any, n_retries: Any) -> Path:
    """Find a file in the data folder, downloading it first where it is missing or damaged.

    The folder is the subfolder ``skdeepdive`` of `data_home` or, if that is None, of
    :func:`sklearn.datasets.get_data_home`. Raise an OSError if the file is missing or damaged and
    cannot or may not be downloaded.
    """
    if data_home is not None and not isinstance(data_home, str | os.PathLike):
        raise TypeError(f"'data_home' must be a string, a path or None, got {data_home!r}.")
    download_if_missing = check_flag("download_if_missing", download_if_missing)
    n_retries = check_integer("n_retries", n_retries, minimum=0)
    pooch = _import_pooch()
    path = Path(get_data_home(data_home)).resolve() / "skdeepdive" / remote.filename
    if not download_if_missing and not _is_intact(path, remote.sha256, pooch):
        raise OSError(
            f"{path} is missing or damaged. Pass download_if_missing=True to download it from "
            f"{remote.urls[0]}."
        )
    keeper = pooch.create(
        path.parent,
        base_url="",
        registry={path.name: remote.sha256},
        urls={path.name: remote.urls[0]},
        retry_if_failed=n_retries,
    )
    try:
        keeper.fetch(path.name, downloader=_make_downloader(remote.urls, pooch))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{path.name!r} could not be downloaded: {error} Check the connection and try again "
            f"later, or get the file by other means and save it as {path}."
        ) from error
    return path


def _is_intact(path: Path, sha256: str | None, pooch: Any) -> bool:
    return path.exists() and sha256 in (None, pooch.file_hash(path))


def _make_downloader(urls: tuple[str, ...], pooch: Any) -> Callable:
    """Make a downloader for pooch, which knows one address a file, that tries several."""
    download_from = pooch.HTTPDownloader(timeout=_TIMEOUT)

    def download(first_url: str, output_file: str, keeper: Any) -> None:
        for url in urls:
            try:
                download_from(url, output_file, keeper)
                break
            except OSError:
                if url == urls[-1]:
                    raise
        # pooch's temporary files are for their owner alone; a data folder may be shared.
        os.chmod(output_file, 0o644)

    return download


def _import_pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            "The fetch_* functions need pooch, which is not installed. Install it with: "
            'pip install "skdeepdive[datasets]"'
        ) from error
    return pooch
