"""The seam of the cache of other indexes: where their files and pages are kept.

**Invariants:** names come from our own parsers and from settings, never from a request; what is published is
complete and durable; a failure to keep something is never a failure to serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol

# A path (``KeptFile.stored``), a lifetime in seconds, and its start: gives an address that works without credentials.
SignStored = Callable[[str, int, int], str]


class Key(NamedTuple):
    """A file of another index: the index's name, the normalized project, the file name."""

    upstream: str
    project: str
    filename: str


class KeptFile(NamedTuple):
    """An open file of the cache; ``size`` is bytes, ``mtime_ns`` its upload time upstream (nanoseconds).

    ``sha256`` is that of its bytes (lower-case hex). ``path`` is where it is on this disk, '' if it is on none;
    ``stored`` is its path among the files that an object store can send, '' if no store can.
    """

    stream: BinaryIO
    size: int
    mtime_ns: int
    sha256: str = ""
    path: str = ""
    stored: str = ""


class KeptEntry(NamedTuple):
    """A file of the cache in a list; ``used`` is when a client last got it (seconds since the epoch)."""

    key: Key
    size: int
    mtime_ns: int
    used: float


class Progress(NamedTuple):
    """How far a fetch is: the first ``available`` bytes may be read, of ``total`` (None: not known yet).

    ``is_whole`` says that all of them were checked; ``expected`` is the sha256 that its page says, '' for none.
    """

    available: int = 0
    total: int | None = None
    is_whole: bool = False
    expected: str = ""


class GrowingFile(Protocol):
    """A file that is being fetched: on this disk, invisible until it is published, deleted by :meth:`discard`."""

    size: int

    def tell(self, progress: Progress | None) -> None:
        """Let other processes know how far it is, None for given up, where the store can; never raises."""

    def stream(self) -> BinaryIO:
        """The bytes that were written, for a reader that seeks; one at a time."""

    def write(self, data: bytes) -> int:
        """Append bytes; raises StorageFull, Forbidden or Unavailable."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes that were written; threads may read at any places while one thread writes."""

    def publish(self, mtime_ns: int, sidecars: Mapping[str, bytes], *, sha256: str) -> None:
        """Keep it under its key, in place of another, with its upload time and its sidecars (by suffix).

        Raises as :meth:`write` does.
        """

    def discard(self) -> None:
        """Drop it unless it was published; its readers can still read it. A second call has no effect."""


class FollowedFile(Protocol):
    """A file that another process fetches, on this disk."""

    def progress(self) -> Progress | None:
        """How far it is; None if the process gave it up, or is gone."""

    def read_at(self, offset: int, count: int) -> bytes:
        """As of :class:`GrowingFile`."""


class CacheStore(Protocol):
    """Files and pages of other indexes; what cannot be done raises Unavailable, StorageFull or Forbidden."""

    @property
    def sign(self) -> SignStored | None:
        """What gives an address at which clients get a kept file from an object store; None where no store can."""

    def open(self, key: Key) -> KeptFile | None:
        """A kept file, None if there is none."""

    def begin(self, key: Key, size: int | None) -> GrowingFile:
        """Begin to keep a file of about ``size`` bytes; raises StorageFull if it cannot fit."""

    def sidecar(self, key: Key, suffix: str) -> bytes | None:
        """A sidecar of a file (``.metadata``, ``.provenance``), which may be kept without its file."""

    def put_sidecar(self, key: Key, suffix: str, data: bytes) -> None:
        """Keep a sidecar, in place of an older one."""

    def remove_sidecar(self, key: Key, suffix: str) -> None:
        """Remove a sidecar; does nothing when it is missing."""

    def remove(self, key: Key) -> int:
        """Delete a kept file with its sidecars unless it is in use; returns the bytes that became free."""

    def page(self, upstream: str, project: str) -> bytes | None:
        """The kept page of a project, as :meth:`put_page` got it."""

    def put_page(self, upstream: str, project: str, data: bytes) -> None:
        """Keep a page, in place of an older one."""

    def remove_page(self, upstream: str, project: str) -> int:
        """Delete a kept page; returns the bytes that became free."""

    def pages(self) -> Iterator[tuple[str, str]]:
        """(upstream, project) of every kept page."""

    def kept_yanks(self, upstream: str, project: str) -> Mapping[str, str | None]:
        """The kept files of a project, each with the reason of its yank, None if it is not yanked."""

    def entries(self) -> Iterator[KeptEntry]:
        """Every kept file."""

    def other_bytes(self) -> int:
        """The bytes of pages, and of sidecars that are not next to a file."""

    def note_use(self, key: Key) -> None:
        """Note that a client got a file; cheap, and never raises."""

    def sole_fetcher(self, key: Key) -> AbstractContextManager[bool]:
        """Whether this process is the one that fetches the file for all replicas, while the context lasts."""

    def follow(self, key: Key) -> AbstractContextManager[FollowedFile | None]:
        """The file that another process fetches; None if there is none, or the store cannot show it."""

    def sole_pruner(self) -> AbstractContextManager[bool]:
        """Whether this process is the one that makes room, while the context lasts; never waits."""

    def close(self) -> None:
        """Write what is only in memory (uses), and let go of everything."""
