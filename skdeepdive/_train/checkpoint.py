"""A training run in one safetensors file, to go on from where it was killed.

Nothing is run from the file.
"""

import glob
import hashlib
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._data.rows import iterate_rows
from .._saving.safetensors import (
    import_safetensors,
    parse_json,
    read_header,
    replace_file,
    scratch_prefix,
)

_KEY = "skdeepdive checkpoint"  # of what is no tensor, among the metadata


@dataclass(frozen=True)
class State:
    """All that a training run needs in order to go on from the end of an epoch."""

    tensors: dict[str, torch.Tensor]
    record: dict[str, Any]  # in terms of JSON


class Checkpoint:
    """The file of one fit.

    A file of anything else is neither read nor written over. So of several fits that are given
    the same path at a time, one keeps it, and the others end with an error.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path.resolve()  # a link stays, and the working folder may change
        self.is_done = False
        self._library = import_safetensors()
        self._began = time.time()
        self._identity: dict[str, Any] = {}

    def identify(self, identity: dict[str, Any]) -> None:
        """Set what identifies the fit: single values by their names."""
        self._identity = json.loads(json.dumps(identity, default=str))

    def seed(self) -> int | None:
        """Return the seed of the fit in the file, if there is one."""
        content = self._content()
        return None if content is None else content["identity"]["random_state"]

    def read(self) -> State | None:
        """Return the last state that the fit has left, if it has left any.

        Raises
        ------
        ValueError
            If the file holds anything else.
        """
        content = self._content()
        if content is None:
            return None
        self._check_identity(content["identity"])
        try:
            tensors = self._library.torch.load(self.path.read_bytes())
        except self._library.SafetensorError as error:
            raise self._no_checkpoint(error) from error
        return State(tensors, content["record"])

    def write(self, state: State) -> None:
        """Write a state; the one before stays until it is there.

        Raises
        ------
        ValueError
            If the file has come to hold anything else.
        """
        before = self._content()
        if before is not None:
            self._check_identity(before["identity"])
        content = json.dumps({"identity": self._identity, "record": state.record})
        tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
        replace_file(self.path, self._library.torch.save(tensors, {_KEY: content}))

    def remove(self) -> None:
        """Remove the file, and what writers that were killed have left of theirs."""
        self.path.unlink(missing_ok=True)
        for folder in self.path.parent.glob(f"{glob.escape(scratch_prefix(self.path))}*"):
            if folder.stat().st_mtime < self._began:
                shutil.rmtree(folder, ignore_errors=True)

    def _content(self) -> dict[str, Any] | None:
        try:
            with self.path.open("rb") as file:
                content = parse_json(read_header(file)[0]["__metadata__"][_KEY])
            return {"identity": dict(content["identity"]), "record": dict(content["record"])}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise self._no_checkpoint(error) from error

    def _no_checkpoint(self, error: Exception) -> ValueError:
        return ValueError(
            f"'checkpoint_path' must be a new file or a checkpoint, but '{self.path}' is neither: "
            f"{error}. Remove it, or give another path."
        )

    def _check_identity(self, found: dict[str, Any]) -> None:
        names = {**self._identity, **found}
        differing = [k for k in names if found.get(k) != self._identity.get(k)]
        if differing:
            raise ValueError(
                f"'checkpoint_path' is '{self.path}', which holds the checkpoint of another fit: "
                f"it differs in {', '.join(differing)}. Fit with the same to go on from there, "
                "remove the file to begin anew, or give every fit a path of its own."
            )


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Return a hash of the values of arrays; rows that windows share are looked at once."""
    hashed = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hashed.update(f"{array.shape} {array.dtype}".encode())
        windows = array.ndim == 3 and array.size
        for chunk in (chunk for chunk, _ in iterate_rows(array)) if windows else [array]:
            hashed.update(np.ascontiguousarray(chunk).data)
    return hashed.hexdigest()
