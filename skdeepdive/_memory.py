"""What is kept of windows that are not there any more: sums, for all that has a closed form."""

from dataclasses import dataclass, fields
from typing import Any

import torch

from ._adaptation import ForecastErrors
from ._discriminants import ClassSums
from ._ridge import Moments


@dataclass
class Memory:
    """Sums over the windows of all chunks so far.

    Their size does not depend on the number of windows.
    """

    errors: ForecastErrors
    labels: ClassSums | None  # None: not of all windows so far, or there is nothing to sum

    def to_plain(self) -> dict[str, Any]:
        """Return plain Python and NumPy."""
        return _to_plain(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any], device: torch.device) -> "Memory":
        """Return the memory that `to_plain` took apart, on a device."""
        errors = _to_tensors(plain["errors"], device)
        errors |= {name: Moments(**errors[name]) for name in ("fitted", "scored")}
        labels = plain["labels"] and ClassSums(**_to_tensors(plain["labels"], device))
        return cls(ForecastErrors(**errors), labels)


def _to_plain(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.cpu().numpy()
    if part is None or isinstance(part, int):
        return part
    return {field.name: _to_plain(getattr(part, field.name)) for field in fields(part)}


def _to_tensors(plain: dict[str, Any], device: torch.device) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for name, part in plain.items():
        if isinstance(part, dict):
            tensors[name] = _to_tensors(part, device)
        else:  # a copy, because sums may be mapped from a file
            tensors[name] = part if isinstance(part, int) else torch.tensor(part, device=device)
    return tensors
