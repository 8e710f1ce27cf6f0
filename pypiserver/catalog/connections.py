"""SQLite connections: one per thread and process, on a file or, as the last resort, in memory.

The rules to keep: a connection never crosses a fork or a thread; every write is one ``BEGIN IMMEDIATE`` transaction;
a file that turns out to be no database is thrown away, because storage can rebuild it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from . import listing, schema
from .database import Connection, FullText
from .signal import Signal

BUSY_TIMEOUT_MS = 10_000
# KiB, as SQLite wants it (negative). Every thread pays for its own, and a page's question touches little.
CACHE = -4096
# A first scan writes every index of the catalog: a small page cache would write most pages several times.
BULK_CACHE = -65536
_LOG = logging.getLogger(__name__)


class _Connection(sqlite3.Connection):
    """Ends with its thread; Python 3.13 warns of a connection that nobody closes."""

    pid = -1

    def stream(self, statement: str) -> contextlib.closing[sqlite3.Cursor]:
        """The rows as SQLite finds them."""
        return contextlib.closing(self.execute(statement))

    def __del__(self) -> None:
        # What a fork left to us is not ours to close: SQLite would take it for the last one.
        if self.pid == os.getpid():
            self.close()


class Connections:
    """Hands out the calling thread's connection to the catalog at ``path``; None keeps the catalog in memory.

    ``identity`` names what the catalog describes (roots, digest algorithm): a file that describes something else is
    emptied. ``search`` is how its words are found. Nothing is opened before the first :meth:`get`.
    """

    is_disposable = True
    # 100,000 files are inserted in 0.3 s less when their indexes are made afterwards.
    drops_indexes = True
    # The signal is told after each commit, before anybody is.
    believed = 0.0

    def __init__(self, path: Path | None, identity: str, search: FullText | None) -> None:
        self.path = path
        self.identity = identity
        self.search = search
        self.generation = 0
        self.signal: Signal | None = None
        self._local = threading.local()
        self._memory: _Connection | None = None
        self._memory_lock = threading.RLock()
        self._pid = -1
        self._inode = 0
        self._prepare_lock = threading.Lock()
        self._prepared = -1

    def place(self) -> str | None:
        """The file's path."""
        return None if self.path is None else str(self.path)

    def get(self) -> _Connection:
        """The connection of this thread in this process; raises ``sqlite3.Error`` when it cannot be had."""
        local = self._local
        if getattr(local, "key", None) == (self.generation, os.getpid()):
            connection: _Connection = local.connection
            return connection
        connection = self._open_prepared()
        local.connection = connection
        local.key = (self.generation, os.getpid())
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[_Connection]:
        """One write transaction: all of it, or nothing of it."""
        guard = self._memory_lock if self.path is None else contextlib.nullcontext()
        with guard:
            connection = self.get()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            if self.signal is not None:
                self.signal.change()

    def reading(self) -> contextlib.AbstractContextManager[_Connection]:
        """This thread's connection; in memory all threads share one, which is held meanwhile."""
        return contextlib.nullcontext(self.get()) if self.path is not None else self._reading_memory()

    @contextlib.contextmanager
    def _reading_memory(self) -> Iterator[_Connection]:
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
        """Begin anew after the file was deleted."""
        _LOG.warning("The catalog %s was deleted; building it again.", self.path)
        self._replace(self.path)

    def recover(self, error: Exception) -> None:
        """Go on in memory when the file cannot be used, with a new one when it is damaged or was deleted."""
        if self.is_deleted():
            # A thread without a connection opens an empty file then, and misses its tables.
            self.renew()
        elif isinstance(error, sqlite3.OperationalError):
            _LOG.warning(
                "The catalog %s cannot be used (%s); going on with one in memory until a restart.", self.path, error
            )
            self._replace(None)
        elif self.path is not None:
            _LOG.warning("The catalog %s is damaged (%s); it is built again from the packages.", self.path, error)
            discard(self.path)
            self._replace(self.path)

    def _replace(self, path: Path | None) -> None:
        """Go on with another file, or in memory; every thread opens anew at its next request."""
        with self._prepare_lock:
            self.path = path
            self._memory = None
            self.signal = None
            self.generation += 1

    def is_deleted(self) -> bool:
        """Whether the file we opened is no longer the file of that name."""
        if self.path is None or self._prepared != self.generation:
            return False
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Close every connection of this process that is not in the middle of a question; that one ends with it."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and (getattr(self._local, "key", None) or (0, 0))[1] == os.getpid():
            connection.close()
        # With it go the connections of other threads, which may live as long as the process.
        self._local = threading.local()
        self._memory = None
        self.signal = None
        self._prepared = -1

    def _open_prepared(self) -> _Connection:
        with self._prepare_lock:
            if self._pid != os.getpid():
                self._pid, self._memory, self._prepared = os.getpid(), None, -1
            if self.path is None:
                if self._memory is None:
                    self._memory = _connect(":memory:")
                    self._prepare(self._memory)
                    self.signal = Signal(None)
                return self._memory
            if self._prepared == self.generation:
                return _connect(str(self.path))
            connection = self._open_file(self.path)
            self._inode = self.path.stat().st_ino
            self.signal = Signal(self.path.with_name(self.path.name + ".signal"))
            self._prepared = self.generation
            return connection

    def _open_file(self, path: Path) -> _Connection:
        try:
            connection = _connect(str(path))
            self._prepare(connection)
        except sqlite3.OperationalError as error:
            # Written by another SQLite, with a full text that this one cannot even drop.
            if "no such module" not in str(error):
                raise
            discard(path)
            connection = _connect(str(path))
            self._prepare(connection)
        except sqlite3.DatabaseError as error:
            _LOG.warning("The catalog %s is damaged (%s); it is built again from the packages.", path, error)
            discard(path)
            connection = _connect(str(path))
            self._prepare(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _switch_to_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        kind = self.search.kind if self.search else "like"
        wanted = {"schema": schema.SCHEMA_VERSION, "identity": self.identity, "search": kind}
        tables = _tables(connection)
        found = dict(connection.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
        if found != wanted:
            _empty(connection)
            searched = self.search.tables if self.search else ()
            for statement in (*schema.TABLES, *listing.TABLES, *searched, *schema.INDEXES.values()):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", wanted.items())
            # In microseconds, so that a catalog made in the very second of the one before it starts above every serial
            # that one can have reached: no page cache takes it for known.
            connection.execute("INSERT INTO serial (id, value) VALUES (1, ?)", (time.time_ns() // 1000,))
        connection.execute("COMMIT")


def discard(path: Path) -> None:
    """Delete a catalog file with its journal files."""
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)


def _connect(target: str) -> _Connection:
    connection = sqlite3.connect(
        target,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=_Connection,
    )
    connection.pid = os.getpid()
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = OFF" if target == ":memory:" else "PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = {CACHE}")
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Wait for others that open a new file at the same time, as SQLite itself does everywhere else."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _tables(connection: sqlite3.Connection) -> list[str]:
    """The names of all tables, virtual ones first: dropping one drops the tables it is made of."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY sql NOT LIKE '%VIRTUAL%'")
    return [name for (name,) in rows if not name.startswith("sqlite_")]


def _empty(connection: sqlite3.Connection) -> None:
    for name in _tables(connection):
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
