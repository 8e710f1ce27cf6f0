"""What the commands of an operator ask of folders or a bucket, without a server.

Where one of the two has no such thing, its method raises ConfigError with a sentence that says what to do instead.
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
    """What is stored: folders are asked themselves, of a bucket its catalog."""

    def check(self) -> None:
        """Raise Unavailable unless all that is stored can be told."""

    def projects(self) -> Iterable[NormalizedName]:
        """The projects that have a file."""

    def files(self, project: NormalizedName) -> list[File]:
        """Every file of a project, hidden duplicates included.

        ``sha256`` is '' where that is not known yet; ``yanked`` tells whether there is a mark, and may lack its reason.
        """

    def label(self, file: File) -> str:
        """What people call the file in its root."""

    def open(self, file: File) -> BinaryIO:
        """The bytes of a file; raises NotFound and Unavailable."""

    def local_files(self) -> Iterable[tuple[FilenameParts, Path]]:
        """Every file, with the folder it is in; raises ConfigError where files are not in folders."""


class Trash(Protocol):
    """Where deleted files are kept; ``exists`` says whether there is such a place."""

    exists: bool

    def ensure(self) -> None:
        """Raise ConfigError where what is deleted is gone."""

    def move(self, file: File) -> None:
        """Move a file here, with what stands beside it."""

    def paths(self) -> list[tuple[int, str]]:
        """Root and path, as it was below the root, of every file that is here; raises ConfigError."""

    def open(self, root: int, path: str) -> BinaryIO:
        """The bytes of a file that is here; raises OSError."""

    def restore(self, root: int, path: str) -> None:
        """Move a file back, with what stood beside it; raises Conflict where another one has its name."""


class Checker(Protocol):
    """Holds every file against its name, what stands beside it, and its row."""

    def run(self, *, progress: Tell) -> Iterator[Fault]:
        """Every fault; ``progress`` is told the files done and their number. Raises Unavailable."""


@dataclass(slots=True)
class ReindexReport:
    """What a run found: files in the bucket, rows that are new or changed, rows that went, files without a name."""

    files: int = 0
    changed: int = 0
    gone: int = 0
    skipped: int = 0


class Reindexer(Protocol):
    """Brings a catalog up to date that nothing else does."""

    def run(self, *, listed: Tell, read: Tell) -> ReindexReport:
        """List all there is and read what is new; both are told of it. Raises Unavailable, and ConfigError."""


class Orphan(NamedTuple):
    """A file that no row refers to, or what stood beside one: its path, the bytes of it all, and when it came."""

    path: str
    size: int
    modified_ns: int


class GarbageCollector(Protocol):
    """Finds what is stored and no row refers to."""

    def find(self, older_than: float) -> Iterator[Orphan]:
        """What came more than so many seconds ago and has no row; raises Unavailable, and ConfigError."""

    def delete(self, orphans: Iterable[Orphan]) -> Iterator[Orphan]:
        """Delete orphans, and give those that were deleted: what has a row by now stays."""
