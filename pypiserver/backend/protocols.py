"""The protocols of storage, and of the parts that keep a catalog equal to it, for folders and buckets.

**Invariants:** a root that cannot be read is an outage (Unavailable), never an empty root; a path comes from the
catalog or from a walk, never from outside; a write is complete or has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from ..catalog.recovery import CatalogKeeper
from ..errors import PypiServerError
from ..model import File
from .stored_file import StoredFile

# Progress: called with how many are done, and of how many, 0 while that is not known.
Tell = Callable[[int, int], object]


class StagedFile(Protocol):
    """A file that is being uploaded: invisible until it is published, deleted by :meth:`discard`."""

    size: int

    def write(self, data: bytes) -> int:
        """Append bytes; raises StorageFull, Forbidden or Unavailable."""

    def hexdigest(self, name: str) -> str:
        """The digest of what was written as lower-case hex, by one of the algorithms given to :meth:`Storage.stage`."""

    def digest(self, name: str) -> bytes:
        """The same digest as bytes."""

    def reader(self) -> BinaryIO:
        """A stream of what was written, from its start."""

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> StoredFile:
        """Make the file durable under its name, with its sidecars (by suffix)."""

    def discard(self) -> None:
        """Delete what was written, unless it was published."""


class Storage(Protocol):
    """Roots by number, and files by root and path."""

    @property
    def roots(self) -> Sequence[Path | str]:
        """The roots as people name them: folders, or a bucket's URL."""

    def check(self) -> None:
        """Raise Unavailable when a root cannot be read."""

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        """A stream of a file's bytes, and its size and identity; raises NotFound and Unavailable."""

    def open_as(self, file: File) -> BinaryIO | None:
        """A stream of exactly the file that a row describes, None when it changed or is gone.

        Raises Unavailable.
        """

    def stage(self, directory: str = "", *, digests: Sequence[str] = ("sha256",)) -> StagedFile:
        """Begin an upload, which is hashed by these algorithms while it is written."""


class FileRefresher(Protocol):
    """Brings the rows of single files up to date with storage."""

    def refresh(self, keys: Iterable[tuple[int, str]]) -> object:
        """Compare single files, by root and path, with their rows."""


class Presence(Protocol):
    """Sees which names are in storage at this moment, before the catalog has them."""

    def holding(self, projects: Collection[str]) -> list[tuple[int, str]] | None:
        """(root, path) of every file that may belong to these projects; None where only the catalog can tell."""

    def mark(self) -> Hashable | None:
        """Equal to an earlier one as long as no name appeared since; None where that is not known without a look.

        Waits for nothing.
        """

    def is_named(self, key: tuple[int, str]) -> bool:
        """Whether anything has this root and path now."""


class Indexer(CatalogKeeper, Protocol):
    """Keeps the catalog equal to storage while the server runs."""

    def state(self) -> PypiServerError | None:
        """Why no request can be answered yet, None when requests can be answered; never waits."""

    def is_current(self) -> bool:
        """Whether what the catalog says can be answered now; waits for nothing."""

    def last_scan(self) -> tuple[float, float] | None:
        """When storage was last scanned (seconds since the epoch), and how long that took (seconds)."""

    def start(self) -> None:
        """Start in the process that serves; otherwise the first request starts the indexer."""

    def close(self) -> None:
        """Stop what was started in this process."""

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Bring the catalog up to date without starting threads; ``progress`` is called with the files found so far."""

    def is_behind(self) -> bool:
        """Whether changes of storage could not be recorded: files that the catalog lacks may be here."""
