"""Opening the file of a catalog, or a new one in its place, and noticing that it is no longer the file of that name.

**Invariants:** a file is never emptied in place: one that is damaged, or of another schema, is replaced by a new file,
and processes that have the old one open see that it lost its name; no statement runs on a file that is not known to be
the one that was prepared.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from ...process import PerProcess
from ..database import FullText
from ..errors import CatalogError, CatalogIncomplete, CatalogInUse, CatalogReplaced
from .change_counter import ChangeCounter
from .file import (
    BUSY_TIMEOUT_MS,
    SqliteConnection,
    alone,
    bounded,
    configured,
    connect,
    discard,
    inodes_of,
    is_damage,
    is_memory_cut,
    opened,
    prepare,
    set_aside,
    states_of,
)
from .leader_lock import FileLeaderLock

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """What one process has open in addition to its threads' connections; ``keeper`` is one that keeps the journal."""

    memory: SqliteConnection | None = None
    keeper: SqliteConnection | None = None


class OpenCatalog:
    """The catalog at ``path`` as this process has it open; None keeps the catalog in memory.

    ``identity`` says what the catalog describes (roots, digest algorithm). A file that describes something else is
    replaced by a new one, but raises CatalogInUse while another process may have the :meth:`leader_lock`. ``search`` is
    the full-text index, if any. Nothing is opened before it is asked for.
    """

    def __init__(
        self,
        path: Path | None,
        identity: str,
        search: FullText | None,
    ) -> None:
        self.path = path
        self.identity = identity
        self.search = search
        self.generation = 0
        self.epoch = ""
        self.signal: ChangeCounter | None = None
        # None before the first call of leader_lock(): then no other process shares the file.
        self._leader_lock: FileLeaderLock | None = None
        self._names = [] if path is None else [str(path) + suffix for suffix in ("", "-wal", "-shm")]
        self._local = threading.local()
        self._memory_lock = threading.RLock()
        self._ours = PerProcess(self._nothing_opened)
        # The inodes of the file and its journal, which do not change while a connection of this process is open.
        self._inodes: tuple[int | None, ...] = ()
        # The sizes of the journal's two files as last seen with these inodes: neither of them ever shrinks.
        self._sizes: tuple[tuple[int | None, ...], tuple[int, ...]] = ((), ())
        self._prepare_lock = threading.Lock()
        self._prepared = -1
        # When the first and the last I/O error of a series came (time.monotonic).
        self._io_errors: tuple[float, float] | None = None

    def place(self) -> str | None:
        """The file's path, None in memory."""
        return None if self.path is None else str(self.path)

    def leader_lock(self) -> FileLeaderLock:
        """The lock on a file next to the catalog; only its holder replaces a catalog of another identity."""
        if self._leader_lock is None:
            self._leader_lock = FileLeaderLock(None if self.path is None else Path(f"{self.path}.lock"))
        return self._leader_lock

    def _refuse_unpinned(self) -> None:
        if getattr(self._local, "pinned", None) not in (None, self.generation):
            raise CatalogReplaced("it was replaced meanwhile")

    def is_deleted(self) -> bool:
        """Whether the open file or its journal is no longer the file of that name, or the journal was truncated."""
        if self.path is None or self._prepared != self.generation:
            return False
        while True:
            # Read first: another thread may store larger sizes meanwhile, or those of the next file.
            inodes, (noted, before) = self._inodes, self._sizes
            found, sizes = states_of(self._names)
            if inodes is self._inodes:
                break
        if found != inodes or (noted is inodes and self._is_journal_cut(before, sizes[1:])):
            return True
        self._sizes = (inodes, sizes[1:])
        return False

    @staticmethod
    def _is_journal_cut(before: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether the journal shrank, or the shared memory that is the index of its pages.

        Either loses rows. The next process that opens the file extends the shared memory with zeros: pages in the
        journal that it no longer refers to are then read from the file, as they were before the change.
        """
        return any(size < last for size, last in zip(sizes, before, strict=False))

    def _has_other_journal(self, inodes: tuple[int | None, ...]) -> bool:
        """Whether file and journal no longer belong together: one is ours, and the other is not or was truncated."""
        main, *journal = inodes
        ours, *our_journal = self._inodes
        if main == ours:
            return True
        return main is not None and any(inode is not None and inode in our_journal for inode in journal)

    def _nothing_opened(self) -> _Opened:
        self._prepared = -1
        return _Opened()

    def _open_prepared(self) -> tuple[SqliteConnection, int]:
        """A new connection for this thread, and its generation."""
        # With a timeout, because the file may be locked, and each thread would wait for all threads before it.
        if not self._prepare_lock.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise CatalogError("it is being opened by another thread, which has waited for 10 seconds")
        try:
            ours = self._ours.get()
            if self.path is None:
                if ours.memory is None:
                    memory = connect(":memory:")
                    self.epoch = prepare(memory, self.identity, self.search)
                    ours.memory, self.signal = memory, ChangeCounter(None)
                return ours.memory, self.generation
            self._refuse_unpinned()
            if self._prepared != self.generation:
                with alone(self.path):
                    self._open_file(self.path, ours)
            return self._open_again(self.path), self.generation
        finally:
            self._prepare_lock.release()

    def _open_again(self, path: Path) -> SqliteConnection:
        """One more connection to the prepared file.

        No statement runs before the file is known to be the same: SQLite would use the shared memory that it finds next
        to another file, and truncate it, which kills this process when other connections have it mapped.
        """
        if self.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")
        try:
            connection = opened(path.absolute().as_uri() + "?mode=rw")
        except sqlite3.OperationalError as error:
            if not self.is_deleted():
                raise
            raise CatalogReplaced("it was deleted or replaced") from error
        if self.is_deleted():
            connection.close()
            raise CatalogReplaced("it was deleted or replaced")
        return bounded(configured(connection), path)

    def _open_file(self, path: Path, ours: _Opened) -> None:
        """Open the catalog, or create a new one; the connection is kept, so that SQLite does not delete the journal."""
        ours.keeper = None
        inodes = inodes_of(self._names)
        if self._inodes and inodes[0] != self._inodes[0] and self._has_other_journal(inodes):
            # The file was replaced after it was checked: threads may still have the old journal open.
            set_aside(path)
        elif is_memory_cut(*self._names[1:]):
            _LOG.warning("The catalog %s is damaged (its -shm is cut off); it is built again from the packages.", path)
            set_aside(path)
        try:
            connection, epoch = self._opened(path)
        except (sqlite3.DatabaseError, CatalogIncomplete, CatalogInUse) as error:
            self._make_way(path, error)
            connection, epoch = self._opened(path)
        self._inodes = inodes_of(self._names)
        ours.keeper = connection
        self.epoch = epoch
        self.signal = ChangeCounter(path.with_name(path.name + ".signal"))
        self._prepared = self.generation

    def _opened(self, path: Path) -> tuple[SqliteConnection, str]:
        """A connection to the catalog, and its epoch."""
        # SQLite deletes the journal of an empty file, but not its shared memory.
        has_journal = any(map(os.path.exists, self._names[1:]))
        connection = connect(str(path))
        try:
            # The first page names the journal's mode before there is a journal. Without that page no tables can be
            # created either, because other processes have the journal open.
            if has_journal and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                raise CatalogIncomplete("its first page is missing")
            return bounded(connection, path), prepare(connection, self.identity, self.search)
        except BaseException:
            connection.close()
            raise

    def _make_way(self, path: Path, error: Exception) -> None:
        """Delete or rename a file that is not a usable catalog; raises ``error`` when the file has to stay."""
        if isinstance(error, CatalogInUse):
            if self._leader_lock is not None and not self._leader_lock.is_held():
                raise error
            _LOG.warning("The catalog %s cannot be used: %s. No server uses it; a new one replaces it.", path, error)
            if error.is_catalog:
                discard(path)
            else:
                set_aside(path)
        elif isinstance(error, CatalogIncomplete) or is_damage(error):
            _LOG.warning("The catalog %s is damaged (%s); it is built again from the packages.", path, error)
            set_aside(path)
        else:
            raise error
