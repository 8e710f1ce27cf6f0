"""The file of a catalog in SQLite: opening it, making its tables, seeing what became of it, and taking it away.

The rules to keep: a journal is deleted before its file, so that no new file meets the journal of an old one; one
process at a time opens or replaces a catalog; a file that may be no catalog is renamed and not deleted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from ...process import process_id
from .. import dependencies, project_list, schema
from ..database import Connection, FullText
from ..errors import CatalogError, CatalogIncomplete, CatalogInUse
from .leader_lock import leads_to, try_lock

BUSY_TIMEOUT_MS = 10_000
# KiB, as SQLite wants it (negative). Every thread pays for its own, and a page's question touches little.
CACHE = -4096
# SQLite's shared memory consists of blocks of this many bytes (https://www.sqlite.org/walformat.html, 2.1); the first
# process to open it leaves so many before it makes the first.
MEMORY_BLOCK = 32_768
NEW_MEMORY = 3
MEMORY_LOOKS = 3
# After how many pages SQLite writes the journal back, and how few that may be.
PAGE_BYTES = 4096
JOURNAL_PAGES = 1000
LEAST_PAGES = 16
# How SQLite says that what was there is not, in place of being broken.
_LOST = ("no such table", "no such column", "unsupported file format")


class SqliteConnection(sqlite3.Connection):
    """Ends with its thread; Python 3.13 warns of a connection that nobody closes."""

    pid = -1

    def stream(self, statement: str) -> contextlib.closing[sqlite3.Cursor]:
        """The rows as SQLite finds them."""
        return contextlib.closing(self.execute(statement))

    def __del__(self) -> None:
        # What a fork left to us is not ours to close: SQLite would take it for the last one.
        if self.pid == process_id():
            self.close()


def prepare(connection: SqliteConnection, identity: str, search: FullText | None) -> str:
    """Make the tables where there are none; gives the epoch.

    Raises CatalogInUse when the file holds something else, CatalogIncomplete when tables of it are missing.
    """
    _switch_to_wal(connection)
    tables = _table_names(connection)
    if not tables:
        connection.execute("BEGIN IMMEDIATE")
        tables = _table_names(connection)
        if not tables:
            _create(connection, identity, search)
        connection.execute("COMMIT")
        tables = _table_names(connection)
    found = dict(connection.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
    epoch = str(found.pop("epoch", ""))
    wanted = _meta(identity, search)
    if found != wanted:
        raise CatalogInUse(
            "it is that of other folders, another --hash-algo or another version of pypiserver, or no catalog; "
            "if a server uses it, name another file with --catalog",
            is_catalog=found.keys() == wanted.keys(),
        )
    names = {statement.split()[5] for statement in _statements(search) if statement.startswith("CREATE TABLE")}
    if not epoch or not names <= set(tables):
        raise CatalogIncomplete("tables are missing")
    return epoch


def is_ours(connection: Connection, identity: str, search: FullText | None) -> bool:
    """Whether an open catalog says that it is one of this version and identity."""
    found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    return _meta(identity, search).items() <= found.items()


def _meta(identity: str, search: FullText | None) -> dict[str, str]:
    kind = search.kind if search else "like"
    return {"schema": schema.SCHEMA_VERSION, "identity": identity, "search": kind}


def _statements(search: FullText | None) -> tuple[str, ...]:
    return (*schema.TABLES, *project_list.TABLES, *dependencies.TABLES, *(search.tables if search else ()))


def _create(connection: SqliteConnection, identity: str, search: FullText | None) -> None:
    for statement in (*_statements(search), *schema.INDEXES.values()):
        connection.execute(statement)
    meta = {**_meta(identity, search), "epoch": secrets.token_hex(8)}
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


def states_of(names: list[str]) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """The inode and the size (bytes) of each file, None and 0 for one that is not there; 4 us."""
    inodes: list[int | None] = []
    sizes: list[int] = []
    for name in names:
        try:
            status = os.stat(name)  # noqa: PTH116 - a Path costs as much again
        except OSError:
            inodes.append(None)
            sizes.append(0)
        else:
            inodes.append(status.st_ino)
            sizes.append(status.st_size)
    return tuple(inodes), tuple(sizes)


def inodes_of(names: list[str]) -> tuple[int | None, ...]:
    """The inode of each file, None for one that is not there."""
    return states_of(names)[0]


def is_memory_cut(journal: str, memory: str) -> bool:
    """Whether the shared memory in this file was cut off by another program, and not begun anew by SQLite.

    SQLite, which finds a whole header, would give it its length again, with zeros in place of the words where each row
    is. It is not read: closing it would end the locks that this process may have on it. To be asked while no process
    opens the catalog. A journal without rows needs none of it, and a full disk leaves a part of the first.
    """
    for _ in range(MEMORY_LOOKS):
        rows, size = states_of([journal, memory])[1]
        if not rows or size <= NEW_MEMORY or size % MEMORY_BLOCK == 0:
            return False
        # Another process may be in the middle of making it longer.
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
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
                if leads_to(Path(file.name), file):
                    break
            except OSError:
                pass
            stack.close()
            if time.monotonic() > deadline:
                raise CatalogError("another process has been opening it for 10 seconds")
            time.sleep(0.005)
        try:
            yield
        except OSError as error:
            raise CatalogError(f"its folder cannot be used ({error.strerror})") from error


def connect(target: str) -> SqliteConnection:
    """A new connection to a path, a ``file:`` address or ``:memory:``; it may be used by any thread, one at a time."""
    return configured(opened(target), is_in_memory=target == ":memory:")


def opened(target: str) -> SqliteConnection:
    """A new connection that has opened the file and has not read it, nor its journal."""
    connection: SqliteConnection = sqlite3.connect(
        target,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=target.startswith("file:"),
        factory=SqliteConnection,
    )
    connection.pid = process_id()
    return connection


def configured(connection: SqliteConnection, *, is_in_memory: bool = False) -> SqliteConnection:
    """The connection, with our settings; it is closed when it cannot be read."""
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = OFF" if is_in_memory else "PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = {CACHE}")
    except BaseException:
        connection.close()
        raise
    return connection


def bounded(connection: SqliteConnection, path: Path) -> SqliteConnection:
    """The connection, with a journal that is written back before it has a quarter of what is free on its disk.

    SQLite does that after 1,000 pages (4 MB), which a small disk may never have.
    """
    with contextlib.suppress(OSError):
        pages = shutil.disk_usage(path.parent).free // 4 // PAGE_BYTES
        if pages < JOURNAL_PAGES:
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(LEAST_PAGES, pages)}")
    return connection


def is_full(error: BaseException) -> bool:
    """Whether SQLite says that there is no room on the disk."""
    return isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error)


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


def _table_names(connection: sqlite3.Connection) -> list[str]:
    """The names of all tables, virtual ones first: dropping one drops the tables it is made of."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY sql NOT LIKE '%VIRTUAL%'")
    return [name for (name,) in rows if not name.startswith("sqlite_")]
