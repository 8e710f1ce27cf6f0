"""SQLite connections: one per thread and process, on a file or, where no file can be created at all, in memory.

**Invariants:** a connection never crosses a fork or a thread; every write is one ``BEGIN IMMEDIATE`` transaction;
after a full disk, a lock or an I/O error the server waits and does not replace the file.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

from ...process import process_id
from ..admitted_names import FEW, NameSet
from ..database import Connection
from ..errors import CatalogReplaced
from .file import CACHE, SqliteConnection, alone, inodes_of, is_damage, is_full, is_ours, set_aside
from .opening import OpenCatalog

# In KiB (negative). A first scan writes every index of the catalog: a small page cache would write most pages several
# times.
BULK_CACHE = -65536
# I/O errors for longer than this count as damage (a truncated journal); shorter ones are waited for.
IO_ERROR_SECONDS = 2.0
# A pause of this length between two I/O errors begins a new series.
IO_PAUSE_SECONDS = 4.0
_LOG = logging.getLogger(__name__)


class Connections(OpenCatalog):
    """Hands out the calling thread's connection to the catalog. Nothing is opened before the first :meth:`get`."""

    is_disposable = True
    # 100,000 files are inserted in 0.3 s less when their indexes are made afterwards.
    drops_indexes = True
    # The signal changes after each commit, before the change is reported to any client.
    believed = 0.0

    def in_set(self, column: str, names: NameSet) -> str:
        """The condition that a column has one of many names."""
        return f"{column} IN ({names.listed()})" if len(names.names) <= FEW else f"in_set({names.number}, {column})"

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
