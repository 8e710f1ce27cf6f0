"""pypiserver: a Python package index over a folder."""

__version__ = "3.0.0.dev0"
