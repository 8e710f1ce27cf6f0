"""The protocols behind an operator's commands, which work on folders or a bucket without a server.

**Invariants:** where a backend does not have a feature, its method raises ConfigError with a sentence that says what to
do instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from packaging.utils import NormalizedName

from ..distributions.filename import FilenameParts
from ..model import File
from .checks import Fault
from .protocols import Tell


class Inventory(Protocol):
    """What is stored: read from the folders themselves, or from the catalog of a bucket."""

    def check(self) -> None:
        """Raise Unavailable when the inventory would be incomplete."""

    def projects(self) -> Iterable[NormalizedName]:
        """The projects that have at least one file."""

    def files(self, project: NormalizedName) -> list[File]:
        """Every file of a project, hidden duplicates included.

        ``sha256`` is '' where it is not known yet; ``yanked`` says whether the file is yanked, and may lack the reason.
        """

    def label(self, file: File) -> str:
        """The name of the file in its root, for people."""

    def open(self, file: File) -> BinaryIO:
        """A stream of a file's bytes; raises NotFound and Unavailable."""

    def local_files(self) -> Iterable[tuple[FilenameParts, Path]]:
        """Every file, with its folder; raises ConfigError where files are not in folders."""


class Trash(Protocol):
    """The place that keeps deleted files; ``exists`` says whether this backend has one."""

    exists: bool

    def ensure(self) -> None:
        """Raise ConfigError where deleted files are not kept."""

    def move(self, file: File) -> None:
        """Move a file and its sidecars into the trash."""

    def paths(self) -> list[tuple[int, str]]:
        """(root, path) of every file in the trash, with the path it had below its root; raises ConfigError."""

    def open(self, root: int, path: str) -> BinaryIO:
        """A stream of a trashed file's bytes; raises OSError."""

    def restore(self, root: int, path: str) -> None:
        """Move a file and its sidecars back; raises Conflict when another file has its name."""


class Checker(Protocol):
    """Compares every file with its name, its sidecars and its row."""

    def run(self, *, progress: Tell) -> Iterator[Fault]:
        """Every fault; ``progress`` is called with the number of files done, and of all. Raises Unavailable."""


@dataclass(slots=True)
class ReindexReport:
    """The counts of a run: files in the bucket, rows new or changed, rows removed, files skipped for their name."""

    files: int = 0
    changed: int = 0
    gone: int = 0
    skipped: int = 0


class Reindexer(Protocol):
    """Brings a catalog up to date that no indexer keeps equal to storage."""

    def run(self, *, listed: Tell, read: Tell) -> ReindexReport:
        """List everything, then read what is new; ``listed`` and ``read`` are called with the progress of each.

        Raises Unavailable and ConfigError.
        """


class Orphan(NamedTuple):
    """A file that no row refers to, or leftover sidecars: the path, the size of all of it in bytes, and when it came.

    ``modified_ns`` is in nanoseconds since the epoch.
    """

    path: str
    size: int
    modified_ns: int


class GarbageCollector(Protocol):
    """Finds and deletes what is stored but no row refers to."""

    def find(self, older_than: float) -> Iterator[Orphan]:
        """Orphans stored more than ``older_than`` seconds ago; raises Unavailable and ConfigError."""

    def delete(self, orphans: Iterable[Orphan]) -> Iterator[Orphan]:
        """Delete orphans; yields those that were deleted. An orphan that has a row by now stays."""
