"""The version of the package; setuptools reads it without importing the rest."""

__version__ = "0.1.0"
