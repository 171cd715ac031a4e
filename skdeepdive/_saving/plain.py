"""Turn estimators into plain Python and NumPy, which is what pickles hold, and back."""

import inspect
import mmap
import os
import warnings
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import sklearn
import torch
from sklearn.exceptions import InconsistentVersionWarning
from torch.overrides import TorchFunctionMode

from .._data.devices import device_or_cpu, for_inference
from .._data.scaling import Scaling
from .._version import __version__
from ..nn.module import DeepDIVE
from ..nn.vae import VAE
from .schema import parse

# The modules that estimators fit.
Networks = DeepDIVE | VAE

# Raise it with every change that would make another model of an older state: a change of the state
# itself, of a module's configuration or parameters, or of a constant in the networks.
FORMAT = 3
VERSIONS = {
    "_sklearn_version": sklearn.__version__,
    "_skdeepdive_version": __version__,
    "_skdeepdive_format": FORMAT,
}
_SCALINGS = ("_x_scaling", "_y_scaling", "_covariate_scaling")


def to_plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator in plain Python and NumPy, with versions.

    Parameters
    ----------
    attributes : dict
        Those of an estimator, fitted or not.

    Returns
    -------
    state : dict
        `module_` has become ``{"configuration": dict, "weights": dict of ndarray}``, scalings have
        become tuples of their two arrays.
    """
    state = {**attributes, **VERSIONS}
    if isinstance(state["device"], torch.device):
        state["device"] = str(state["device"])
    if isinstance(state["checkpoint_path"], os.PathLike):
        state["checkpoint_path"] = os.fspath(state["checkpoint_path"])
    if "module_" in state:
        state["module_"] = plain_module(state["module_"])
        state |= {name: (state[name].loc, state[name].scale) for name in _SCALINGS}
    return state


def from_plain(state: dict[str, Any], estimator_class: type[Any]) -> dict[str, Any]:
    """Return the attributes of an estimator from the state that `to_plain` returned.

    A fitted estimator comes back on the device it was on, or on the CPU where this machine lacks
    that device; with ``device="auto"`` the device is chosen anew. A parameter that is newer than
    the state has its default.

    Warns
    -----
    InconsistentVersionWarning
        If the state is of another version of scikit-learn.
    UserWarning
        If the state is in another format of this package.
    """
    attributes = {**_defaults(estimator_class), **state}
    _warn_of_versions(
        estimator_class.__name__,
        attributes.pop("_sklearn_version", "unknown"),
        attributes.pop("_skdeepdive_version", "unknown"),
        attributes.pop("_skdeepdive_format", 0),
    )
    if "module_" in attributes:
        wanted = attributes["device"] if attributes["device"] == "auto" else attributes["device_"]
        device = device_or_cpu(wanted)
        attributes["device_"] = str(device)
        attributes["module_"] = make_module(
            estimator_class._MODULE, **attributes["module_"], device=device
        )
        attributes |= {name: Scaling(*map(np.array, attributes[name])) for name in _SCALINGS}
    return attributes


def _defaults(estimator_class: type) -> dict[str, Any]:
    parameters = inspect.signature(estimator_class).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _warn_of_versions(name: str, sklearn_version: str, version: str, state_format: int) -> None:
    if sklearn_version != sklearn.__version__:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=name,
                current_sklearn_version=sklearn.__version__,
                original_sklearn_version=sklearn_version,
            ),
            stacklevel=4,
        )
    if state_format != FORMAT:
        warnings.warn(
            f"This {name} was saved by skdeepdive {version} in format {state_format}, but "
            f"skdeepdive {__version__} reads format {FORMAT}: it may fail or give other results. "
            "Fit it again, or open it with the version that saved it.",
            UserWarning,
            stacklevel=4,
        )


def plain_module(module: Networks) -> dict[str, Any]:
    """Return the configuration of a module as a dict, and its parameters and buffers as arrays.

    Arrays are in double precision or 64-bit integers.
    """
    weights = {}
    for name, tensor in module.state_dict().items():
        dtype = torch.float64 if tensor.is_floating_point() else torch.int64
        weights[name] = tensor.detach().cpu().to(dtype).contiguous().numpy()
    configuration = asdict(
        module.configuration,
        dict_factory=lambda options: {name: to_python(value) for name, value in options},
    )
    return {"configuration": configuration, "weights": weights}


def to_python(value: Any) -> Any:
    """Return a NumPy scalar as a value of Python, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


class _ShapesOnly(TorchFunctionMode):
    """Give tensors of this thread no memory; ``torch.device("meta")`` would affect all threads."""

    _MAKERS = frozenset({torch.empty, torch.full, torch.ones, torch.zeros})

    def __torch_function__(self, function, types, args=(), kwargs=None):
        options = dict(kwargs or {})
        if function in self._MAKERS and options.get("device") is None:
            options["device"] = "meta"
        return function(*args, **options)


def blank_module(module_class: type[Networks], configuration: Any) -> Networks:
    """Make a module whose tensors have shapes but take no memory.

    Raises
    ------
    ValueError
        If there can be no module of this configuration.
    """
    try:
        with _ShapesOnly():
            return module_class.blank(configuration)
    except RuntimeError as error:  # sizes whose product is beyond 64 bits
        raise ValueError(f"a module has impossible sizes: {error}") from error


@torch.inference_mode(False)
def make_module(
    module_class: type[Networks],
    configuration: dict[str, Any],
    weights: dict[str, np.ndarray],
    device: torch.device,
) -> Networks:
    """Make a module from what `plain_module` returned, ready for inference on a device."""
    declared = module_class.Configuration
    module = blank_module(module_class, parse(configuration, declared, "'configuration'"))
    tensors = {name: _to_tensor(array) for name, array in weights.items()}
    module.load_state_dict(tensors, assign=True)
    return for_inference(module, device)


def _to_tensor(array: np.ndarray) -> torch.Tensor:
    """Copy an array to a tensor; an array that is mapped from a file stays there."""
    if (
        isinstance(array, np.memmap)
        and isinstance(array.base, mmap.mmap)
        and array.size
        and array.filename
    ):
        return torch.from_numpy(_private_mapping(array.filename, array))
    # torch aligns the copy like any other tensor; the last digits of results depend on alignment.
    return torch.tensor(array, device="cpu")


def _private_mapping(filename: str, array: np.memmap) -> np.memmap:
    """Map the same part of the file again, copy-on-write: PyTorch has no read-only tensors."""
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return np.memmap(filename, array.dtype, "c", array.offset, array.shape, order)
