"""What the rest of the house asks of storage and of those who keep a catalog like it, in folders or in a bucket.

Invariants: a root that cannot be read is an outage (Unavailable), never an empty one; a path comes from the catalog or
from a walk, never from outside; writing is whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from ..catalog.recovery import CatalogKeeper
from ..errors import PypiServerError
from ..model import File
from .stored_file import StoredFile

# Told how many are done, and of how many, 0 while that is not known.
Tell = Callable[[int, int], object]


class StagedFile(Protocol):
    """A file that is being uploaded: visible to nobody until it is published, gone after :meth:`discard`."""

    size: int

    def write(self, data: bytes) -> int:
        """Take the next bytes; raises StorageFull, Forbidden or Unavailable."""

    def hexdigest(self, name: str) -> str:
        """The digest of what was written, by one of the algorithms named at first, as lower-case hex."""

    def digest(self, name: str) -> bytes:
        """The same as bytes."""

    def reader(self) -> BinaryIO:
        """What was written, for reading from its start."""

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> StoredFile:
        """Make the file durable, with what stands beside it (by suffix)."""

    def discard(self) -> None:
        """Delete what was written, unless it was published."""


class Storage(Protocol):
    """Roots by their number, and files by root and path."""

    @property
    def roots(self) -> Sequence[Path | str]:
        """The roots as people know them."""

    def check(self) -> None:
        """Raise Unavailable unless every root can be read."""

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        """A file's bytes, and what it is; raises NotFound and Unavailable."""

    def open_as(self, file: File) -> BinaryIO | None:
        """The bytes of the very file that a row describes, None when another one, or none, is there now.

        Raises Unavailable.
        """

    def stage(self, directory: str = "", *, digests: Sequence[str] = ("sha256",)) -> StagedFile:
        """Begin an upload, hashed by these algorithms while it is written."""


class FileRefresher(Protocol):
    """Compares storage with the catalog."""

    def refresh(self, keys: Iterable[tuple[int, str]]) -> object:
        """Compare single files, by root and path, with their rows."""


class Presence(Protocol):
    """Sees which names are in storage at this moment, before the catalog knows of them."""

    def holding(self, projects: Collection[str]) -> list[tuple[int, str]] | None:
        """Root and path of every file that may be of these projects; None where only the catalog can tell."""

    def is_named(self, key: tuple[int, str]) -> bool:
        """Whether anything has this name now."""


class Indexer(CatalogKeeper, Protocol):
    """Keeps the catalog current while serving."""

    def state(self) -> PypiServerError | None:
        """Why no request can be answered yet, None when it can be; waits for nothing."""

    def last_scan(self) -> tuple[float, float] | None:
        """When storage was last read (seconds since the epoch), and how long that took."""

    def start(self) -> None:
        """Begin, in the process that serves; otherwise the first request does that."""

    def close(self) -> None:
        """End what was started in this process."""

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Bring the catalog up to date without starting anything; ``progress`` is told how many files were found."""

    def is_behind(self) -> bool:
        """Whether what storage holds could not be written down: what is not in the catalog may be here."""
