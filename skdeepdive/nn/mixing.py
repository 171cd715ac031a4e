"""Apply the linear maps of classes, weighed by the responses to the classes."""

from collections.abc import Iterator

import torch

from .layers import BLOCK_ENTRIES

# Inputs of class maps that are formed at once (512 MB in double precision).
_GATED_ENTRIES = 2**26


def apply_class_maps(inputs: torch.Tensor, response: torch.Tensor, *maps: torch.Tensor) -> list:
    """Map inputs `(r, n, n_inputs)` to the mean of what all classes make of them, for some maps.

    The mean is under the responses `(n, n_classes)`; maps are those of a `LinearForecast`.
    """
    if len(inputs) > len(maps[0]):
        return [_apply_to_all_targets(inputs, response, weight[0]) for weight in maps]
    outputs: list = [0.0 for _ in maps]
    for classes, gated in gate(inputs, response):
        outputs = [
            total + gated @ weight[:, classes].flatten(1, 2)
            for total, weight in zip(outputs, maps, strict=True)
        ]
    return outputs


def _apply_to_all_targets(inputs, response, weight) -> torch.Tensor:
    """Map the inputs of all targets by the same maps, of which every window has a mean of its own.

    `weight` is `(n_classes, n_inputs, n_outputs)`.
    """
    size = max(1, BLOCK_ENTRIES // weight[0].numel())
    parts = []
    for own, some in zip(inputs.split(size, dim=1), response.split(size), strict=True):
        mean = (some @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        parts.append(own.movedim(0, 1) @ mean)
    return torch.cat(parts).movedim(1, 0)


def gate(inputs: torch.Tensor, response: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Repeat inputs `(r, n, n_inputs)` once a class, weighed by its response `(n, n_classes)`.

    Yield classes, as many as memory has room for, and their inputs `(r, n, classes * n_inputs)`.
    """
    size = max(1, _GATED_ENTRIES // max(1, inputs.numel()))
    for first in range(0, response.shape[1], size):
        classes = slice(first, first + size)
        yield classes, (response[:, classes].unsqueeze(2) * inputs.unsqueeze(2)).flatten(2)
