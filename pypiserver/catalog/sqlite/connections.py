"""SQLite connections: one per thread and process, on a file or, where no file can be created at all, in memory.

**Invariants:** a connection never crosses a fork or a thread; every write is one ``BEGIN IMMEDIATE`` transaction; a
file is never emptied in place: one that is damaged, or of another schema, is replaced by a new file, and processes that
have the old one open see that it lost its name; after a full disk, a lock or an I/O error the server waits and does not
replace the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...process import PerProcess, process_id
from ..database import Connection, FullText
from ..errors import CatalogError, CatalogIncomplete, CatalogInUse, CatalogReplaced
from .change_counter import ChangeCounter
from .file import (
    BUSY_TIMEOUT_MS,
    CACHE,
    SqliteConnection,
    alone,
    bounded,
    configured,
    connect,
    discard,
    inodes_of,
    is_damage,
    is_full,
    is_memory_cut,
    is_ours,
    opened,
    prepare,
    set_aside,
    states_of,
)
from .leader_lock import FileLeaderLock

# In KiB (negative). A first scan writes every index of the catalog: a small page cache would write most pages several
# times.
BULK_CACHE = -65536
# I/O errors for longer than this count as damage (a truncated journal); shorter ones are waited for.
IO_ERROR_SECONDS = 2.0
# A pause of this length between two I/O errors begins a new series.
IO_PAUSE_SECONDS = 4.0
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """What one process has open in addition to its threads' connections; ``keeper`` is one that keeps the journal."""

    memory: SqliteConnection | None = None
    keeper: SqliteConnection | None = None


class Connections:
    """Hands out the calling thread's connection to the catalog at ``path``; None keeps the catalog in memory.

    ``identity`` says what the catalog describes (roots, digest algorithm). A file that describes something else is
    replaced by a new one, but raises CatalogInUse while another process may have the :meth:`leader_lock`. ``search`` is
    the full-text index, if any. Nothing is opened before the first :meth:`get`.
    """

    is_disposable = True
    # 100,000 files are inserted in 0.3 s less when their indexes are made afterwards.
    drops_indexes = True
    # The signal changes after each commit, before the change is reported to any client.
    believed = 0.0

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

    def get(self) -> SqliteConnection:
        """The connection of this thread in this process; raises one of ``FAILURES`` when it cannot be opened."""
        local = self._local
        if getattr(local, "key", None) == (self.generation, process_id()):
            connection: SqliteConnection = local.connection
            return connection
        connection, generation = self._open_prepared()
        local.connection = connection
        local.key = (generation, process_id())
        return connection

    @contextlib.contextmanager
    def pinned(self, generation: int) -> Iterator[None]:
        """Within the block, this thread uses the catalog of that generation; raises CatalogReplaced for another one.

        For work of several statements, such as a scan: if it began in one catalog and ended in another, that one would
        look complete and not be.
        """
        local = self._local
        local.pinned = generation
        try:
            self._refuse_unpinned()
            yield
        finally:
            local.pinned = None

    def _asked(self) -> int:
        """The generation of this thread's connection, or the current one if it has none."""
        return int(getattr(self._local, "key", (self.generation,))[0])

    def _refuse_unpinned(self) -> None:
        if getattr(self._local, "pinned", None) not in (None, self.generation):
            raise CatalogReplaced("it was replaced meanwhile")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqliteConnection]:
        """One atomic write transaction; raises CatalogReplaced when the file was replaced meanwhile."""
        guard = self._memory_lock if self.path is None else contextlib.nullcontext()
        with guard:
            connection = self.get()
            generation = self._asked()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if is_full(error):
                    # A checkpoint frees the journal's space for the next transaction.
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                raise
            if self.signal is not None:
                self.signal.change()
            # If another thread has opened a new file meanwhile, is_deleted() would describe that one.
            if generation != self.generation or self.is_deleted():
                raise CatalogReplaced("it was deleted or replaced while it was written to")

    def reading(self) -> contextlib.AbstractContextManager[SqliteConnection]:
        """A context manager for this thread's connection; in memory, all threads share one and take turns."""
        return contextlib.nullcontext(self.get()) if self.path is not None else self._reading_memory()

    @contextlib.contextmanager
    def _reading_memory(self) -> Iterator[SqliteConnection]:
        with self._memory_lock:
            yield self.get()

    @contextlib.contextmanager
    def writing_much(self, connection: Connection) -> Iterator[None]:
        """Use a larger page cache within the block."""
        connection.execute(f"PRAGMA cache_size = {BULK_CACHE}")
        yield
        connection.execute(f"PRAGMA cache_size = {CACHE}")

    def settle(self) -> None:
        """Do nothing: the signal changed before a change could be read here."""

    def renew(self) -> None:
        """Start again with the file of that name, or a new one, after the file was deleted or replaced."""
        _LOG.warning("The catalog %s was deleted or replaced; building it again.", self.path)
        self._replace(self._has_other_journal)

    def token(self) -> str:
        """The epoch, and the inode: a copy of the file that takes its place is another catalog.

        It names the catalog that this thread used last; raises CatalogReplaced when there is another one now.
        """
        token = f"{self.epoch}.{self._inodes[0]}" if self._inodes else self.epoch
        if self._asked() != self.generation:
            raise CatalogReplaced("it was replaced meanwhile")
        return token

    def is_lost(self, error: Exception) -> bool:
        """Whether the catalog must be replaced after this failure; otherwise callers may try again in a moment."""
        if self.path is None:
            return False
        if isinstance(error, CatalogReplaced) or self.is_deleted():
            return True
        return is_damage(error) or ("I/O error" in str(error) and self._has_lasted())

    def recover(self, error: Exception) -> None:
        """Use another file after a failure for which :meth:`is_lost` is true."""
        if isinstance(error, sqlite3.Error) and not self.is_deleted():
            _LOG.warning("The catalog %s is damaged (%s); it is built again from the packages.", self.path, error)
            self._replace(lambda inodes: inodes[0] == self._inodes[0])
        else:
            self.renew()

    def _has_lasted(self) -> bool:
        """Note an I/O error; gives whether the series has lasted longer than IO_ERROR_SECONDS."""
        now = time.monotonic()
        first, last = self._io_errors or (now, now)
        if now - last > IO_PAUSE_SECONDS:
            first = now
        self._io_errors = (first, now)
        return now - first > IO_ERROR_SECONDS

    def _replace(self, is_damaged: Callable[[tuple[int | None, ...]], bool]) -> None:
        """Make every thread open the file of that name at its next query; the present one is set aside if damaged.

        A file without its journal counts as damaged: processes that have the old journal open, and those that began a
        new one, would overwrite each other's rows.
        """
        assert self.path is not None, "what is in memory is never lost"  # noqa: S101
        with alone(self.path):
            inodes = inodes_of(self._names)
            # Another process may have replaced the file meanwhile.
            if self._inodes and is_damaged(inodes):
                set_aside(self.path)
        with self._prepare_lock:
            if self._ours.value is not None:
                self._ours.value.keeper = None
            self.signal = None
            self._io_errors = None
            self.generation += 1

    def refuse_changed(self, connection: Connection) -> None:
        """Raise CatalogReplaced when the file now has another identity or schema."""
        if not is_ours(connection, self.identity, self.search):
            raise CatalogReplaced("it became one of other folders or of another version")

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

    def close(self) -> None:
        """Close every connection of this process; one in the middle of a query closes when that ends."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and (getattr(self._local, "key", None) or (0, 0))[1] == process_id():
            connection.close()
        # This drops the connections of other threads too, which may live as long as the process.
        self._local = threading.local()
        ours = self._ours.forget()
        if ours is not None and ours.keeper is not None:
            ours.keeper.close()
        self.signal = None
        self._prepared = -1

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
