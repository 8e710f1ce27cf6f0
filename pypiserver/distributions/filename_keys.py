"""Keys of file names: by which files are sorted, and by which two names are the same.

**Invariants:** pure; a key is equal for all spellings that its function says it is equal for.
"""

from __future__ import annotations

from typing import Any, Protocol

from .filename import FilenameParts
from .versions import canonical_version, version_key


class Sortable(Protocol):
    """The attributes that :func:`file_key` needs."""

    @property
    def version(self) -> str:
        """The version in the file name's spelling."""

    @property
    def filename(self) -> str:
        """The file name."""


def file_key(file: Sortable) -> tuple[Any, ...]:
    """A key that sorts files by version, then by name."""
    return (*version_key(file.version), file.filename)


def folded(filename: str) -> str:
    """A key that is equal for file names that differ only in case and in ``-``, ``_`` and ``.``."""
    return filename.lower().replace("_", "-").replace(".", "-")


def spelling_key(dist: FilenameParts) -> tuple[str, ...]:
    """A key that is equal for all spellings of one file name: project, version, kind, and the rest of the name."""
    rest = dist.filename.lower()
    for part in (dist.name.lower(), dist.version.lower()):
        rest = rest.replace(part, "", 1)
    return dist.project, canonical_version(dist.version), dist.kind, rest.replace("_", "-")
