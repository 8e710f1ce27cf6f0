"""The version of this package; any module can read it without importing the package itself."""

__version__ = "3.0.0.dev0"
