"""Devices, generators, and arrays as tensors."""

from typing import TypeVar

import numpy as np
import torch

from .checks import naming

Module = TypeVar("Module", bound=torch.nn.Module)


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name; "auto" takes CUDA where there is one, else the CPU."""
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if device is None or torch.device(device).type == "meta":
            raise TypeError("nothing can be computed there")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError, ValueError, ImportError) as error:
        raise ValueError(
            f'\'device\' must be "auto" or a torch device that this machine has, such as "cpu", '
            f"got {device!r}."
        ) from error


def device_or_cpu(device: str) -> torch.device:
    """Return the torch device of a name, or the CPU where this machine has no such device."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def to_array(name: str, values):
    """Return a torch tensor as a NumPy array, and everything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    with naming(name):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def to_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array, which may be a view, as a tensor on a device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def for_inference(module: Module, device: torch.device) -> Module:
    """Put a trained module on a device, in double precision where the device has it."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return module.requires_grad_(False).eval().to(dtype).to(device)


def to_numpy_dtype(dtype: torch.dtype) -> type:
    """Return the NumPy counterpart of torch's single or double precision."""
    return {torch.float32: np.float32, torch.float64: np.float64}[dtype]
