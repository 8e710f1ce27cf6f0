"""SQLite connections: one per thread and process, on a file or, where no file can ever be made, in memory.

The rules to keep: a connection never crosses a fork or a thread; every write is one ``BEGIN IMMEDIATE`` transaction;
a file is never emptied in place: one that is damaged, or of another schema, is replaced by a new file, and who has the
old one open sees that it lost its name; a disk that is full, a lock or an I/O error is waited for, not worked around.
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

# A first scan writes every index of the catalog: a small page cache would write most pages several times.
BULK_CACHE = -65536
# An I/O error that lasts is taken for damage (a journal that was cut off); a moment's is waited for.
IO_ERROR_SECONDS = 2.0
# A pause between two of them ends it.
IO_PAUSE_SECONDS = 4.0
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """What one process has open besides the connections of its threads; ``keeper`` is one that keeps the journal."""

    memory: SqliteConnection | None = None
    keeper: SqliteConnection | None = None


class Connections:
    """Hands out the calling thread's connection to the catalog at ``path``; None keeps the catalog in memory.

    ``identity`` names what the catalog describes (roots, digest algorithm). A file that describes something else is
    replaced by a new one, and is CatalogInUse while another process may have the :meth:`leader_lock`.
    ``search`` is how its words are found. Nothing is opened before the first :meth:`get`.
    """

    is_disposable = True
    # 100,000 files are inserted in 0.3 s less when their indexes are made afterwards.
    drops_indexes = True
    # The signal is told after each commit, before anybody is.
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
        # None while nobody asked for it: then no other process shares the file.
        self._leader_lock: FileLeaderLock | None = None
        self._names = [] if path is None else [str(path) + suffix for suffix in ("", "-wal", "-shm")]
        self._local = threading.local()
        self._memory_lock = threading.RLock()
        self._ours = PerProcess(self._nothing_opened)
        # The inodes of the file and its journal. They stay what they are while a connection of ours is open.
        self._inodes: tuple[int | None, ...] = ()
        # The sizes of the journal's two files as they were last seen with these inodes: neither becomes shorter.
        self._sizes: tuple[tuple[int | None, ...], tuple[int, ...]] = ((), ())
        self._prepare_lock = threading.Lock()
        self._prepared = -1
        # When the first and the last I/O error of a row came (time.monotonic).
        self._io_errors: tuple[float, float] | None = None

    def place(self) -> str | None:
        """The file's path."""
        return None if self.path is None else str(self.path)

    def leader_lock(self) -> FileLeaderLock:
        """The lock on a file next to the catalog's; one of another identity is replaced by its holder alone."""
        if self._leader_lock is None:
            self._leader_lock = FileLeaderLock(None if self.path is None else Path(f"{self.path}.lock"))
        return self._leader_lock

    def get(self) -> SqliteConnection:
        """The connection of this thread in this process; raises ``sqlite3.Error`` when it cannot be had."""
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
        """Let this thread ask the catalog of that generation and no other; raises CatalogReplaced once there is one.

        For work of several questions, such as a scan: begun in one catalog and ended in another, it would leave one
        that looks complete and is not.
        """
        local = self._local
        local.pinned = generation
        try:
            self._refuse_unpinned()
            yield
        finally:
            local.pinned = None

    def _asked(self) -> int:
        """The generation that this thread's connection belongs to, today's where it has none."""
        return int(getattr(self._local, "key", (self.generation,))[0])

    def _refuse_unpinned(self) -> None:
        if getattr(self._local, "pinned", None) not in (None, self.generation):
            raise CatalogReplaced("it was replaced meanwhile")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqliteConnection]:
        """One write transaction: all of it, or nothing of it."""
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
                    # What the journal takes is free for the next one then.
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                raise
            if self.signal is not None:
                self.signal.change()
            # Where another thread has opened the next file meanwhile, that one has its name.
            if generation != self.generation or self.is_deleted():
                raise CatalogReplaced("it was deleted or replaced while it was written to")

    def reading(self) -> contextlib.AbstractContextManager[SqliteConnection]:
        """This thread's connection; in memory all threads share one, which is held meanwhile."""
        return contextlib.nullcontext(self.get()) if self.path is not None else self._reading_memory()

    @contextlib.contextmanager
    def _reading_memory(self) -> Iterator[SqliteConnection]:
        with self._memory_lock:
            yield self.get()

    @contextlib.contextmanager
    def writing_much(self, connection: Connection) -> Iterator[None]:
        """With a larger page cache."""
        connection.execute(f"PRAGMA cache_size = {BULK_CACHE}")
        yield
        connection.execute(f"PRAGMA cache_size = {CACHE}")

    def settle(self) -> None:
        """Nothing: whoever changed the catalog told the signal before this could be read."""

    def renew(self) -> None:
        """Begin anew after the file was deleted or replaced."""
        _LOG.warning("The catalog %s was deleted or replaced; building it again.", self.path)
        self._replace(self._has_other_journal)

    def token(self) -> str:
        """The epoch, and the inode: a copy of the file that is put in its place is another catalog.

        It is that of the catalog which this thread asked last; raises CatalogReplaced when there is another one.
        """
        token = f"{self.epoch}.{self._inodes[0]}" if self._inodes else self.epoch
        if self._asked() != self.generation:
            raise CatalogReplaced("it was replaced meanwhile")
        return token

    def is_lost(self, error: Exception) -> bool:
        """Whether the catalog must be replaced after this failure; otherwise it may be asked again in a moment."""
        if self.path is None:
            return False
        if isinstance(error, CatalogReplaced) or self.is_deleted():
            return True
        return is_damage(error) or ("I/O error" in str(error) and self._has_lasted())

    def recover(self, error: Exception) -> None:
        """Go on with another file after a failure for which :meth:`is_lost`."""
        if isinstance(error, sqlite3.Error) and not self.is_deleted():
            _LOG.warning("The catalog %s is damaged (%s); it is built again from the packages.", self.path, error)
            self._replace(lambda inodes: inodes[0] == self._inodes[0])
        else:
            self.renew()

    def _has_lasted(self) -> bool:
        """Note an I/O error; gives whether they have come for longer than a moment."""
        now = time.monotonic()
        first, last = self._io_errors or (now, now)
        if now - last > IO_PAUSE_SECONDS:
            first = now
        self._io_errors = (first, now)
        return now - first > IO_ERROR_SECONDS

    def _replace(self, is_damaged: Callable[[tuple[int | None, ...]], bool]) -> None:
        """Every thread opens the file of that name at its next question; ours is set aside when it is damaged.

        A file whose journal is gone is: processes that have the old journal open, and those that began a new one, would
        write over each other's rows.
        """
        assert self.path is not None, "what is in memory is never lost"  # noqa: S101
        with alone(self.path):
            inodes = inodes_of(self._names)
            # Another process may have replaced it meanwhile.
            if self._inodes and is_damaged(inodes):
                set_aside(self.path)
        with self._prepare_lock:
            if self._ours.value is not None:
                self._ours.value.keeper = None
            self.signal = None
            self._io_errors = None
            self.generation += 1

    def refuse_changed(self, connection: Connection) -> None:
        """Raise CatalogReplaced when the file says that it is another catalog."""
        if not is_ours(connection, self.identity, self.search):
            raise CatalogReplaced("it became one of other folders or of another version")

    def is_deleted(self) -> bool:
        """Whether the file we opened, or its journal, is no longer the file of that name."""
        if self.path is None or self._prepared != self.generation:
            return False
        while True:
            # Read first: what another thread notes meanwhile may be of longer ones than we find, or of the next file.
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
        """Whether the journal became shorter, or the shared memory that says which rows are in it.

        Rows are lost with the end of either. Whoever opens the file next gives the memory its length again, with zeros:
        what they should lead to is then read as it was before it was changed.
        """
        return any(size < last for size, last in zip(sizes, before, strict=False))

    def _has_other_journal(self, inodes: tuple[int | None, ...]) -> bool:
        """Whether file and journal no longer belong together: one of them is ours, and the other is not, or was cut."""
        main, *journal = inodes
        ours, *our_journal = self._inodes
        if main == ours:
            return True
        return main is not None and any(inode is not None and inode in our_journal for inode in journal)

    def close(self) -> None:
        """Close every connection of this process that is not in the middle of a question; that one ends with it."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and (getattr(self._local, "key", None) or (0, 0))[1] == process_id():
            connection.close()
        # With it go the connections of other threads, which may live as long as the process.
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
        """A new connection for this thread, and the generation it belongs to."""
        # The file may be locked, and then each thread would wait for all before it.
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
        """A connection more to the file that was prepared.

        Nothing is asked before it is known that this is the file: SQLite takes the shared memory that it finds beside
        another one for its own, and cuts it off, which ends this process when other connections have it mapped.
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
        """Open the catalog, or begin a new one; the connection is kept, so that its journal stays."""
        ours.keeper = None
        inodes = inodes_of(self._names)
        if self._inodes and inodes[0] != self._inodes[0] and self._has_other_journal(inodes):
            # It came between our looking and this: threads may still have that journal open.
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
        # SQLite deletes the journal of an empty file, but not the memory that is shared about it.
        has_journal = any(map(os.path.exists, self._names[1:]))
        connection = connect(str(path))
        try:
            # The first page says that there is a journal before there is one. Without that page no tables can be made
            # either, as others have the journal open.
            if has_journal and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                raise CatalogIncomplete("its first page is missing")
            return bounded(connection, path), prepare(connection, self.identity, self.search)
        except BaseException:
            connection.close()
            raise

    def _make_way(self, path: Path, error: Exception) -> None:
        """Take away a file that is no catalog of ours; raises ``error`` when it has to stay."""
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
