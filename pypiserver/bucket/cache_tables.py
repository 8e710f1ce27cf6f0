"""The tables of a cache that servers on several machines share: which files are kept, pages, and who fetches what.

**Invariants:** the tables are no catalog's, so a rebuild does not touch them; a lock ends with its connection; a row is
believed for a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..backend.cache_store import KeptEntry, Key
from ..bounded_cache import BoundedCache, weight
from ..catalog.postgres.own_tables import ANSWER_SECONDS, FIRST_SECONDS, Tables, TablesOf
from ..catalog.postgres.session import Session
from ..errors import ConfigError, PypiServerError
from ..process import PerProcess

# A row is believed for this many seconds, and this many bytes of them.
_BELIEVED_SECONDS = 1.0
_ROW_BYTES = 4 << 20
_COLUMNS = 'upstream TEXT COLLATE "C" NOT NULL, project TEXT COLLATE "C" NOT NULL'
STEPS: tuple[tuple[str, ...], ...] = (
    (
        f"""CREATE TABLE proxy_cache_file (
            {_COLUMNS}, filename TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL,
            mtime_ns BIGINT NOT NULL, used BIGINT NOT NULL, yanked TEXT, PRIMARY KEY (upstream, project, filename))""",
        "CREATE INDEX proxy_cache_file_by_sha256 ON proxy_cache_file (sha256)",
        f"CREATE TABLE proxy_cache_page ({_COLUMNS}, data BYTEA NOT NULL, PRIMARY KEY (upstream, project))",
        'CREATE TABLE proxy_cache_index (name TEXT COLLATE "C" PRIMARY KEY, url TEXT NOT NULL)',
    ),
)
TABLES = Tables(
    "proxy_cache",
    lock=0x70707363,
    steps=STEPS,
    setting="catalog",
    what="The cache of other indexes",
    public="The cache of other indexes cannot be reached right now. Try again in a moment.",
)
_SELECT_FILE = """
    SELECT sha256, size, mtime_ns, yanked FROM proxy_cache_file
    WHERE upstream = :upstream AND project = :project AND filename = :filename
"""
_DELETE_FILE = """
    DELETE FROM proxy_cache_file WHERE upstream = :upstream AND project = :project AND filename = :filename
    RETURNING sha256, size, mtime_ns, yanked
"""
_SELECT_SAME = "SELECT 1 FROM proxy_cache_file WHERE sha256 = :sha256 AND filename = :filename"
_SELECT_YANKS = "SELECT filename, yanked FROM proxy_cache_file WHERE upstream = :upstream AND project = :project"
_SELECT_FILES = "SELECT upstream, project, filename, size, mtime_ns, used FROM proxy_cache_file"
_UPDATE_USED = """
    UPDATE proxy_cache_file SET used = GREATEST(used, :used)
    WHERE upstream = :upstream AND project = :project AND filename = :filename
"""
_SELECT_PAGE = "SELECT data FROM proxy_cache_page WHERE upstream = :upstream AND project = :project"
_DELETE_PAGE = """
    DELETE FROM proxy_cache_page WHERE upstream = :upstream AND project = :project RETURNING length(data)
"""
_SELECT_PAGES = "SELECT upstream, project FROM proxy_cache_page"
_SUM_PAGES = "SELECT coalesce(sum(length(data)), 0) FROM proxy_cache_page"
_INSERT_INDEX = "INSERT INTO proxy_cache_index (name, url) VALUES (:name, :url) ON CONFLICT (name) DO NOTHING"
_SELECT_INDEX = "SELECT url FROM proxy_cache_index WHERE name = :name"
_YANK_FILE = """
    UPDATE proxy_cache_file SET yanked = :reason
    WHERE upstream = :upstream AND project = :project AND filename = :filename
"""
_UPSERT_FILE = """
    INSERT INTO proxy_cache_file (upstream, project, filename, sha256, size, mtime_ns, used, yanked)
    VALUES (:upstream, :project, :filename, :sha256, :size, :mtime_ns, :used, :yanked)
    ON CONFLICT (upstream, project, filename) DO UPDATE SET sha256 = excluded.sha256, size = excluded.size,
        mtime_ns = excluded.mtime_ns, used = excluded.used, yanked = excluded.yanked
"""
_UPSERT_PAGE = """
    INSERT INTO proxy_cache_page (upstream, project, data) VALUES (:upstream, :project, :data)
    ON CONFLICT (upstream, project) DO UPDATE SET data = excluded.data
"""


class Row(NamedTuple):
    """A kept file: its digest, size in bytes, upload time in nanoseconds, and why it is yanked, None if it is not."""

    sha256: str
    size: int
    mtime_ns: int
    yanked: str | None


class CacheTables:
    """The tables in the database at ``address``; ``clock`` returns seconds since the epoch. It opens nothing."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.time) -> None:
        self._database = TablesOf(address, TABLES)
        self._clock = clock
        self._ready = PerProcess(self._prepare)
        self._rows: BoundedCache[Key, tuple[float, Row]] = BoundedCache(_ROW_BYTES)

    def claim(self, indexes: Mapping[str, str]) -> None:
        """Note the address of each index by name; raises ConfigError if the cache has what another one offered."""
        for name, url in indexes.items():
            with self.session() as session:
                session.execute(_INSERT_INDEX, {"name": name, "url": url})
                (known,) = session.execute(_SELECT_INDEX, {"name": name}).fetchone()
            if known != url:
                raise ConfigError(
                    f"The cache in {self._database.place} has what another index offered ({known}); give the index "
                    f"{name} another name.",
                    kind="contradiction",
                    setting="fallback_url",
                    value=url,
                )

    # -- files ---------------------------------------------------------------------------------------------------

    def file(self, key: Key) -> Row | None:
        """The row of a kept file, None if there is none."""
        known = self._rows.get(key)
        if known is not None and self._clock() - _BELIEVED_SECONDS < known[0] <= self._clock():
            return known[1]
        found = self._one(_SELECT_FILE, **key._asdict())
        if found is None:
            return None
        row = Row(*found)
        self._rows.put(key, (self._clock(), row), size=weight(tuple(row)))
        return row

    def put_file(self, key: Key, row: Row) -> None:
        """Write the row of a kept file, which was used now."""
        with self.session() as session:
            session.execute(_UPSERT_FILE, {**key._asdict(), **row._asdict(), "used": int(self._clock())})
        self._rows.drop(key)

    def remove_file(self, key: Key) -> tuple[Row, bool] | None:
        """Delete a row; returns it, and whether another one has the same bytes under the same name."""
        with self.session() as session, session.raw.transaction():
            found = session.execute(_DELETE_FILE, key._asdict()).fetchone()
            if found is None:
                return None
            row = Row(*found)
            same = session.execute(_SELECT_SAME, {"sha256": row.sha256, "filename": key.filename}).fetchone()
        self._rows.drop(key)
        return row, same is not None

    def yank(self, key: Key, reason: str | None) -> None:
        """Yank a kept file, or unyank it (None)."""
        with self.session() as session:
            session.execute(_YANK_FILE, {**key._asdict(), "reason": reason})
        self._rows.drop(key)

    def yanks(self, upstream: str, project: str) -> dict[str, str | None]:
        """The kept files of a project, each with the reason of its yank, None if it is not yanked."""
        return {row[0]: row[1] for row in self._all(_SELECT_YANKS, upstream=upstream, project=project)}

    def entries(self) -> Iterator[KeptEntry]:
        """Every kept file."""
        for *key, size, mtime_ns, used in self._all(_SELECT_FILES):
            yield KeptEntry(Key(*key), size, mtime_ns, float(used))

    def add_uses(self, uses: Iterable[tuple[Key, int]]) -> None:
        """Note when files were last used (seconds since the epoch)."""
        with self.session() as session:
            session.executemany(_UPDATE_USED, [{**key._asdict(), "used": used} for key, used in uses])

    # -- pages ---------------------------------------------------------------------------------------------------

    def page(self, upstream: str, project: str) -> bytes | None:
        """The kept page of a project."""
        row = self._one(_SELECT_PAGE, upstream=upstream, project=project)
        return None if row is None else bytes(row[0])

    def put_page(self, upstream: str, project: str, data: bytes) -> None:
        """Keep a page, in place of an older one."""
        with self.session() as session:
            session.execute(_UPSERT_PAGE, {"upstream": upstream, "project": project, "data": data})

    def remove_page(self, upstream: str, project: str) -> int:
        """Delete a kept page; returns the bytes that became free."""
        row = self._one(_DELETE_PAGE, upstream=upstream, project=project)
        return 0 if row is None else int(row[0])

    def pages(self) -> Iterator[tuple[str, str]]:
        """(upstream, project) of every kept page."""
        yield from ((row[0], row[1]) for row in self._all(_SELECT_PAGES))

    def page_bytes(self) -> int:
        """The bytes of all pages."""
        row = self._one(_SUM_PAGES)
        return int(row[0]) if row is not None else 0

    # -- locks ---------------------------------------------------------------------------------------------------

    def lock(self, number: int) -> bool:
        """Take the advisory lock of this number if it is free, also from other threads of this process."""
        ready = self._ready.get()
        # All threads share the connection, to which the database would give the same lock again.
        with ready.locking:
            if number in ready.held:
                return False
            row = self._one("SELECT pg_try_advisory_lock(:number)", number=number)
            if row is not None and row[0]:
                ready.held.add(number)
                return True
            return False

    def holds(self, number: int) -> bool:
        """Whether this process has the lock of this number."""
        return number in self._ready.get().held

    def unlock(self, number: int) -> None:
        """Let go of a lock; does not raise, because a connection that ended took its locks with it."""
        with contextlib.suppress(PypiServerError):
            self._one("SELECT pg_advisory_unlock(:number)", number=number)
        self._ready.get().held.discard(number)

    @contextlib.contextmanager
    def session(self, seconds: float = ANSWER_SECONDS) -> Iterator[Session]:
        """The connection to the tables, which are made where there are none."""
        self._ready.get()
        with self._database.session(seconds) as session:
            yield session

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _one(self, statement: str, **parameters: Any) -> Any:
        with self.session() as session:
            return session.execute(statement, parameters).fetchone()

    def _all(self, statement: str, **parameters: Any) -> list[Any]:
        with self.session(FIRST_SECONDS) as session:
            return list(session.execute(statement, parameters).fetchall())

    def _prepare(self) -> _Ready:
        with self._database.session(FIRST_SECONDS) as session, session.raw.transaction():
            self._database.migrate(session)
        return _Ready()


class _Ready:
    """A process whose tables are there, with the advisory locks that its connection holds."""

    def __init__(self) -> None:
        self.locking = threading.Lock()
        self.held: set[int] = set()
