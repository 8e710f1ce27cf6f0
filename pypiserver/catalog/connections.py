"""SQLite connections: one per thread and process, on a file or, where no file can ever be made, in memory.

The rules to keep: a connection never crosses a fork or a thread; every write is one ``BEGIN IMMEDIATE`` transaction;
a file is never emptied in place: one that is damaged, or of another schema, is replaced by a new file, and who has the
old one open sees that it lost its name; a disk that is full, a lock or an I/O error is waited for, not worked around.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..scanlock import try_lock
from . import listing, schema
from .database import Connection, FullText
from .failures import CatalogError, CatalogIncomplete, CatalogInUse, CatalogReplaced
from .signal import Signal

BUSY_TIMEOUT_MS = 10_000
# KiB, as SQLite wants it (negative). Every thread pays for its own, and a page's question touches little.
CACHE = -4096
# A first scan writes every index of the catalog: a small page cache would write most pages several times.
BULK_CACHE = -65536
# An I/O error that lasts is taken for damage (a journal that was cut off); a moment's is waited for.
IO_ERROR_SECONDS = 2.0
# A pause between two of them ends it.
IO_PAUSE_SECONDS = 4.0
_LOST = ("no such table", "no such column", "unsupported file format")
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

    ``identity`` names what the catalog describes (roots, digest algorithm). A file that describes something else is
    replaced by a new one when ``may_replace`` says that no other process serves from it, and is CatalogInUse otherwise.
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
        may_replace: Callable[[], bool] = lambda: True,
    ) -> None:
        self.path = path
        self.identity = identity
        self.search = search
        self.generation = 0
        self.epoch = ""
        self.signal: Signal | None = None
        self._may_replace = may_replace
        self._names = [] if path is None else [str(path) + suffix for suffix in ("", "-wal", "-shm")]
        self._local = threading.local()
        self._memory: _Connection | None = None
        self._memory_lock = threading.RLock()
        self._pid = -1
        # The inodes of the file and its journal. They stay what they are while a connection of ours is open.
        self._inodes: tuple[int | None, ...] = ()
        self._keeper: _Connection | None = None
        self._prepare_lock = threading.Lock()
        self._prepared = -1
        # When the first and the last I/O error of a row came (time.monotonic).
        self._io_errors: tuple[float, float] | None = None

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
            if self.is_deleted():
                raise CatalogReplaced("it was deleted or replaced while it was written to")

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
        """Begin anew after the file was deleted or replaced."""
        _LOG.warning("The catalog %s was deleted or replaced; building it again.", self.path)
        self._replace(lambda inodes: inodes != self._inodes)

    def token(self) -> str:
        """The epoch, and the inode: a copy of the file that is put in its place is another catalog."""
        return f"{self.epoch}.{self._inodes[0]}" if self._inodes else self.epoch

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
            self._replace(lambda inodes: True)
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
        with _alone(self.path):
            inodes = _inodes(self._names)
            # Another process may have replaced it meanwhile.
            if self._inodes and inodes[0] == self._inodes[0] and is_damaged(inodes):
                set_aside(self.path)
        with self._prepare_lock:
            self._keeper = None
            self.signal = None
            self._io_errors = None
            self.generation += 1

    def is_deleted(self) -> bool:
        """Whether the file we opened, or its journal, is no longer the file of that name."""
        if self.path is None or self._prepared != self.generation:
            return False
        return _inodes(self._names) != self._inodes

    def close(self) -> None:
        """Close every connection of this process that is not in the middle of a question; that one ends with it."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and (getattr(self._local, "key", None) or (0, 0))[1] == os.getpid():
            connection.close()
        # With it go the connections of other threads, which may live as long as the process.
        self._local = threading.local()
        self._memory = None
        if self._keeper is not None and self._pid == os.getpid():
            self._keeper.close()
        self._keeper = None
        self.signal = None
        self._prepared = -1

    def _open_prepared(self) -> _Connection:
        # The file may be locked, and then each thread would wait for all before it.
        if not self._prepare_lock.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise CatalogError("it is being opened by another thread, which has waited for 10 seconds")
        try:
            if self._pid != os.getpid():
                self._pid, self._memory, self._keeper, self._prepared = os.getpid(), None, None, -1
            if self.path is None:
                if self._memory is None:
                    self._memory = _connect(":memory:")
                    self.epoch = self._prepare(self._memory)
                    self.signal = Signal(None)
                return self._memory
            if self._prepared != self.generation:
                with _alone(self.path):
                    self._open_file(self.path)
            return self._open_again(self.path)
        finally:
            self._prepare_lock.release()

    def _open_again(self, path: Path) -> _Connection:
        """A connection more to the file that was prepared."""
        try:
            connection = _connect(path.absolute().as_uri() + "?mode=rw")
        except sqlite3.OperationalError as error:
            if not self.is_deleted():
                raise
            raise CatalogReplaced("it was deleted or replaced") from error
        if self.is_deleted():
            connection.close()
            raise CatalogReplaced("it was deleted or replaced")
        return connection

    def _open_file(self, path: Path) -> None:
        """Open the catalog, or begin a new one; the connection is kept, so that its journal stays."""
        self._keeper = None
        try:
            connection, epoch = self._opened(path)
        except (sqlite3.DatabaseError, CatalogIncomplete, CatalogInUse) as error:
            self._make_way(path, error)
            connection, epoch = self._opened(path)
        self._inodes = _inodes(self._names)
        self._keeper = connection
        self.epoch = epoch
        self.signal = Signal(path.with_name(path.name + ".signal"))
        self._prepared = self.generation

    def _opened(self, path: Path) -> tuple[_Connection, str]:
        """A connection to the catalog, and its epoch."""
        # SQLite deletes the journal of an empty file, but not the memory that is shared about it.
        has_journal = any(Path(name).exists() for name in self._names[1:])
        connection = _connect(str(path))
        try:
            # The first page says that there is a journal before there is one. Without that page no tables can be made
            # either, as others have the journal open.
            if has_journal and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                raise CatalogIncomplete("its first page is missing")
            return connection, self._prepare(connection)
        except BaseException:
            connection.close()
            raise

    def _make_way(self, path: Path, error: Exception) -> None:
        """Take away a file that is no catalog of ours; raises ``error`` when it has to stay."""
        if isinstance(error, CatalogInUse):
            if not self._may_replace():
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

    def _prepare(self, connection: _Connection) -> str:
        """Make the tables where there are none; gives the epoch.

        Raises CatalogInUse when the file holds something else, CatalogIncomplete when tables of it are missing.
        """
        _switch_to_wal(connection)
        tables = _tables(connection)
        if not tables:
            connection.execute("BEGIN IMMEDIATE")
            tables = _tables(connection)
            if not tables:
                self._create(connection)
            connection.execute("COMMIT")
            tables = _tables(connection)
        found = dict(connection.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
        epoch = str(found.pop("epoch", ""))
        wanted = self._meta()
        if found != wanted:
            raise CatalogInUse(
                "it is that of other folders, another --hash-algo or another version of pypiserver, or no catalog; "
                "if a server uses it, name another file with --catalog",
                is_catalog=found.keys() == wanted.keys(),
            )
        names = {statement.split()[5] for statement in self._tables() if statement.startswith("CREATE TABLE")}
        if not epoch or not names <= set(tables):
            raise CatalogIncomplete("tables are missing")
        return epoch

    def _meta(self) -> dict[str, str]:
        kind = self.search.kind if self.search else "like"
        return {"schema": schema.SCHEMA_VERSION, "identity": self.identity, "search": kind}

    def _tables(self) -> tuple[str, ...]:
        return (*schema.TABLES, *listing.TABLES, *(self.search.tables if self.search else ()))

    def _create(self, connection: _Connection) -> None:
        for statement in (*self._tables(), *schema.INDEXES.values()):
            connection.execute(statement)
        meta = {**self._meta(), "epoch": secrets.token_hex(8)}
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta.items())
        # In microseconds, so that a catalog made in the very second of the one before it starts above every serial
        # that one can have reached: no page cache takes it for known.
        connection.execute("INSERT INTO serial (id, value) VALUES (1, ?)", (time.time_ns() // 1000,))


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is broken, no database at all, or without the tables it had."""
    # Exactly this class: its subclasses are about locks, disks and mistakes of ours.
    return type(error) is sqlite3.DatabaseError or (
        isinstance(error, sqlite3.OperationalError) and str(error).startswith(_LOST)
    )


def discard(path: Path) -> None:
    """Delete a catalog with its journal, which goes first: a new file must never meet the journal of an old one."""
    for name in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), path):
        name.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Rename a damaged file to ``.damaged``: it may be no catalog at all, but what somebody named by mistake."""
    for name in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".damaged"))


def _inodes(names: list[str]) -> tuple[int | None, ...]:
    """The inode of each file, None for one that is not there; 4 us."""
    inodes: list[int | None] = []
    for name in names:
        try:
            inodes.append(os.stat(name).st_ino)  # noqa: PTH116 - a Path costs as much again
        except OSError:
            inodes.append(None)
    return tuple(inodes)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no other process open or replace the catalog meanwhile; raises CatalogError after 10 seconds."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    with contextlib.ExitStack() as stack:
        while True:
            try:
                file = stack.enter_context(path.with_name(path.name + ".opening").open("ab"))
            except OSError as error:
                raise CatalogError(f"{path.name}.opening beside it cannot be opened ({error.strerror})") from error
            try:
                try_lock(file)
                break
            except OSError:
                stack.close()
            if time.monotonic() > deadline:
                raise CatalogError("another process has been opening it for 10 seconds")
            time.sleep(0.005)
        yield


def _connect(target: str) -> _Connection:
    connection: _Connection = sqlite3.connect(
        target,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=target.startswith("file:"),
        factory=_Connection,
    )
    connection.pid = os.getpid()
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = OFF" if target == ":memory:" else "PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = {CACHE}")
    except BaseException:
        connection.close()
        raise
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
