"""The networks of DeepDIVE: PyTorch only, nothing of scikit-learn."""

from .module import DeepDIVE

__all__ = ["DeepDIVE"]
