"""Storage: the folders that hold the packages, which are the only truth; or a bucket (:mod:`bucket`)."""

from .entries import Entry, Scan, sidecar
from .folders import Folders
from .protocol import StagedFile, Storage
from .staging import Staged

__all__ = ["Entry", "Folders", "Scan", "Staged", "StagedFile", "Storage", "sidecar"]
