"""The networks of DeepDIVE: PyTorch only, nothing of scikit-learn."""

from ._module import DeepDIVE

__all__ = ["DeepDIVE"]
