"""Storage: the folders that hold the packages, which are the only truth."""

from .entries import Entry, Scan, sidecar
from .folders import Folders
from .staging import Staged

__all__ = ["Entry", "Folders", "Scan", "Staged", "sidecar"]
