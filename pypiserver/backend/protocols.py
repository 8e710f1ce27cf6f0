"""What the rest of the house asks of storage, wherever that is: folders, or a bucket.

The rules to keep: a root that cannot be read is an outage (Unavailable), never an empty one; a path comes from the
catalog or from a walk, never from outside; writing is whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from ..model import File
from .stored_file import Entry

# Passes on the files of a scan, as a progress bar does that counts them.
Counted = Callable[[Iterable[Entry]], Iterable[Entry]]


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

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> Entry:
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

    def open(self, root: int, path: str) -> tuple[BinaryIO, Entry]:
        """A file's bytes, and what it is; raises NotFound and Unavailable."""

    def open_as(self, file: File) -> BinaryIO | None:
        """The bytes of the very file that a row describes, None when another one, or none, is there now.

        Raises Unavailable.
        """

    def stage(self, directory: str = "", *, digests: Sequence[str] = ("sha256",)) -> StagedFile:
        """Begin an upload, hashed by these algorithms while it is written."""
