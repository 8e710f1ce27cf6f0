"""The file of a SQLite catalog: opening it, creating its tables, checking its state, and deleting or renaming it.

**Invariants:** a journal is deleted before its file, so that no new file meets the journal of an old one; one process
at a time opens or replaces a catalog; a file that may not be a catalog is renamed, never deleted.
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
from .. import dependencies, project_rows, schema
from ..admitted_names import is_in_set
from ..database import Connection, FullText
from ..errors import CatalogError, CatalogIncomplete, CatalogInUse
from .leader_lock import leads_to, try_lock

BUSY_TIMEOUT_MS = 10_000
# In KiB, which SQLite expects as a negative number. Every thread has its own cache, and the query of a page needs
# little.
CACHE = -4096
# SQLite's shared memory consists of blocks of this many bytes (https://www.sqlite.org/walformat.html, 2.1); the first
# process to open it leaves at most NEW_MEMORY bytes before it writes the first block.
MEMORY_BLOCK = 32_768
NEW_MEMORY = 3
MEMORY_LOOKS = 3
# SQLite writes the journal back after this many pages by default, and LEAST_PAGES is the smallest limit to set.
PAGE_BYTES = 4096
JOURNAL_PAGES = 1000
LEAST_PAGES = 16
# Files next to a catalog that no other program makes; the first is made before the catalog itself.
_NEIGHBORS = (".opening", ".signal")
# How SQLite's messages begin when tables are missing, in place of a file that is damaged.
_LOST = ("no such table", "no such column", "unsupported file format")


class SqliteConnection(sqlite3.Connection):
    """A connection that closes when its thread ends; Python 3.13 warns of one that is not closed."""

    pid = -1

    def stream(self, statement: str) -> contextlib.closing[sqlite3.Cursor]:
        """A context manager for the rows, as SQLite finds them."""
        return contextlib.closing(self.execute(statement))

    def __del__(self) -> None:
        # A connection inherited through a fork must not be closed: SQLite would take it for the last one.
        if self.pid == process_id():
            self.close()


def prepare(connection: SqliteConnection, identity: str, search: FullText | None) -> str:
    """Create the tables in a file without any; gives the epoch.

    Raises CatalogInUse when the file contains something else, CatalogIncomplete when some tables are missing.
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
    """Whether an open catalog has this version's schema, and this identity."""
    found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    return _meta(identity, search).items() <= found.items()


def _meta(identity: str, search: FullText | None) -> dict[str, str]:
    kind = search.kind if search else "like"
    return {"schema": schema.SCHEMA_VERSION, "identity": identity, "search": kind}


def _statements(search: FullText | None) -> tuple[str, ...]:
    return (*schema.TABLES, *project_rows.TABLES, *dependencies.TABLES, *(search.tables if search else ()))


def _create(connection: SqliteConnection, identity: str, search: FullText | None) -> None:
    for statement in (*_statements(search), *schema.INDEXES.values()):
        connection.execute(statement)
    meta = {**_meta(identity, search), "epoch": secrets.token_hex(8)}
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta.items())
    # In microseconds, so that a catalog created in the same second as the one before it starts above every serial that
    # the earlier one can have reached: no page cache has pages of its serials.
    connection.execute("INSERT INTO serial (id, value) VALUES (1, ?)", (time.time_ns() // 1000,))


def was_catalog(path: Path) -> bool:
    """Whether a file is a catalog of any version, was one before it was damaged, or is empty or missing.

    The files next to it are checked before its tables, because a catalog that is open may not be read as another
    program would; and after its size, because another process that creates the catalog makes them before.
    """
    if not states_of([str(path)])[1][0]:
        return True
    if inodes_of([f"{path}{end}" for end in _NEIGHBORS]) != (None, None):
        return True
    try:
        # "immutable" reads without a lock, a journal and files next to it.
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM meta")}
    except sqlite3.Error:
        return False
    return names >= {"schema", "identity"}


def is_damage(error: Exception) -> bool:
    """Whether SQLite reports that the file is damaged, is not a database, or lacks its tables."""
    # Exactly this class: its subclasses are for locks, disks and programming errors.
    return type(error) is sqlite3.DatabaseError or (
        isinstance(error, sqlite3.OperationalError) and str(error).startswith(_LOST)
    )


def discard(path: Path) -> None:
    """Delete a catalog and, before it, its journal: a new file must never meet the journal of an old one."""
    for name in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), path):
        name.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Rename a damaged file to ``.damaged``: it may not be a catalog, but a file that took its place by mistake."""
    for name in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".damaged"))


def states_of(names: list[str]) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """The inode and the size (bytes) of each file, None and 0 for a missing one; takes 4 us."""
    inodes: list[int | None] = []
    sizes: list[int] = []
    for name in names:
        try:
            status = os.stat(name)
        except OSError:
            inodes.append(None)
            sizes.append(0)
        else:
            inodes.append(status.st_ino)
            sizes.append(status.st_size)
    return tuple(inodes), tuple(sizes)


def inodes_of(names: list[str]) -> tuple[int | None, ...]:
    """The inode of each file, None for a missing one."""
    return states_of(names)[0]


def is_memory_cut(journal: str, memory: str) -> bool:
    """Whether another program truncated the shared memory in this file, and it is not one that SQLite is creating.

    SQLite finds an intact header and would extend the file with zeros, in place of the words that locate each row. The
    file is not read here: closing it would release the locks that this process may have on it. Call this while no
    process opens the catalog. A journal without rows needs no shared memory, and a full disk leaves a part of the first
    block.
    """
    for _ in range(MEMORY_LOOKS):
        rows, size = states_of([journal, memory])[1]
        if not rows or size <= NEW_MEMORY or size % MEMORY_BLOCK == 0:
            return False
        # Another process may be extending the file at this moment.
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within the block, no other process opens or replaces the catalog; raises CatalogError after 10 seconds."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    with contextlib.ExitStack() as stack:
        while True:
            try:
                file = stack.enter_context(path.with_name(path.name + ".opening").open("ab"))
            except OSError as error:
                raise CatalogError(f"{path.name}.opening in its folder cannot be opened ({error.strerror})") from error
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
    """A new connection to a path, a ``file:`` URL or ``:memory:``; any thread may use it, one at a time."""
    return configured(opened(target), is_in_memory=target == ":memory:")


def opened(target: str) -> SqliteConnection:
    """A new connection that has opened the file, but has not read it or its journal."""
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
    connection.create_function("in_set", 2, is_in_set, deterministic=True)
    return connection


def configured(connection: SqliteConnection, *, is_in_memory: bool = False) -> SqliteConnection:
    """The connection, with the settings of the catalog; closes the connection when a setting fails."""
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = OFF" if is_in_memory else "PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = {CACHE}")
    except BaseException:
        connection.close()
        raise
    return connection


def bounded(connection: SqliteConnection, path: Path) -> SqliteConnection:
    """The connection, with a journal that is written back before it takes a quarter of the free space on its disk.

    By default SQLite writes it back after 1,000 pages (4 MB), which a small disk may not have.
    """
    with contextlib.suppress(OSError):
        pages = shutil.disk_usage(path.parent).free // 4 // PAGE_BYTES
        if pages < JOURNAL_PAGES:
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(LEAST_PAGES, pages)}")
    return connection


def is_full(error: BaseException) -> bool:
    """Whether SQLite reports that the disk is full."""
    return isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; waits for processes that open a new file at the same time, as SQLite does in all other cases."""
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
    """The names of all tables, virtual ones first: dropping one drops the tables that it consists of."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY sql NOT LIKE '%VIRTUAL%'")
    return [name for (name,) in rows if not name.startswith("sqlite_")]
