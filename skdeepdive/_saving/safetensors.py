"""Read the headers of safetensors files, and write files atomically."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

_LONGEST_HEADER = 100_000_000  # the limit of safetensors


def import_safetensors() -> Any:
    """Import safetensors, an optional dependency."""
    try:
        import safetensors.numpy
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "Files of models and checkpoints need safetensors, which is not installed. Install it "
            'with: pip install "skdeepdive[io]"'
        ) from error
    return safetensors


def scratch_prefix(path: Path) -> str:
    """Return how the name of the temporary folder begins in which `replace_file` writes."""
    return f".partial-{path.name}-"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: what was at the path stays until the new file is complete."""
    # A folder rather than a temporary file: the file then gets the permissions of any other.
    with TemporaryDirectory(dir=path.parent, prefix=scratch_prefix(path)) as scratch:
        part = Path(scratch) / "part"
        part.write_bytes(content)
        os.replace(part, path)


def read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header's JSON object, and the number of bytes after the header.

    Raises
    ------
    ValueError
        If the file does not begin with a header.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    n_bytes = size - 8 - length
    if size < 8 or n_bytes < 0 or length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes cannot be in a file of {size} bytes")
    header = parse_json(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header, n_bytes


def parse_json(text: str) -> Any:
    """Parse strict JSON: no key twice, no NaN; raise ValueError if the text is anything else."""
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its JSON is damaged: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its JSON has a key twice")
    return entries


def _refuse(constant: str):
    raise ValueError(f"its JSON holds {constant}")
