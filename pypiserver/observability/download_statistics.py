"""Download counts per day, project, version and client, in a separate SQLite file.

The counts are not in the catalog, which can be deleted at any time, because they exist nowhere else.

**Invariants:** no address and no user is recorded; a download counts when its last byte is sent; counting makes no
answer fail or wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .request_events import RequestEvent, exchange, exchanged_again

_LOG = logging.getLogger(__name__)
BUSY_SECONDS = 5.0
RECENT_DAYS = 30
# The maximum number of counts kept while they cannot be written; each release has few keys.
MOST_WAITING = 100_000
CLIENTS = frozenset({
    "bandersnatch", "conda", "curl", "devpi", "hatch", "mamba", "nexus", "pdm", "pip", "pipenv", "pixi", "poetry",
    "python-requests", "twine", "uv", "wget",
})  # fmt: skip
_TABLE = """
CREATE TABLE IF NOT EXISTS downloads (
    day TEXT NOT NULL, project TEXT NOT NULL, version TEXT NOT NULL, client TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (project, version, day, client)
) WITHOUT ROWID
"""
_COLUMNS = frozenset({"day", "project", "version", "client", "count"})
_ADD = """
INSERT INTO downloads (day, project, version, client, count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (project, version, day, client) DO UPDATE SET count = count + excluded.count
"""
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    """The downloads of a project: total, in the last thirty days, and by version and client, the highest first."""

    project: str
    total: int
    recent: int
    versions: dict[str, int]
    clients: dict[str, int]


class Downloads:
    """Counts downloads into the file at ``path``, and reads them. ``clock`` returns seconds since the epoch.

    Nothing is opened before the first download or query; without ``makes`` the file is not created then.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, makes: bool = True) -> None:
        self.path = path
        self._makes = makes
        self._clock = clock
        self._waiting: Counter[Key] = Counter()
        self._connection: sqlite3.Connection | None = None
        self._has_failed = False

    def check(self, *, makes: bool = True) -> None:
        """Raise ConfigError unless counts can be written, or when the file is the database of another program.

        Without ``makes`` a missing file is not made.
        """
        try:
            if not makes and not self._is_there():
                if not os.access(self.path.parent, os.W_OK | os.X_OK):
                    raise sqlite3.OperationalError("unable to open database file")
                return
            with contextlib.closing(self._open()):
                pass
        except (OSError, sqlite3.Error) as error:
            why = (isinstance(error, OSError) and error.strerror) or error
            raise ConfigError(
                f"The statistics {self.path} cannot be written ({why}); name a file in a folder this user may write "
                "to with --stats.",
                kind="unwritable",
                setting="stats",
                value=self.path,
            ) from error

    def _is_there(self) -> bool:
        """Whether the file exists; raises OSError for a path that cannot be looked up."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        return True

    note = staticmethod(exchange)
    again = staticmethod(exchanged_again)

    def observe(self, exchanges: Sequence[RequestEvent]) -> None:
        """Count the downloads among these."""
        for each in exchanges:
            if each.download is not None and each.method == "GET" and each.sent == each.download[2]:
                project, version, _ = each.download
                key = (_day(each.when), project, version, client_of(each.agent))
                if key in self._waiting or len(self._waiting) < MOST_WAITING:
                    self._waiting[key] += 1
        self._write()

    def close(self) -> None:
        """Write the counts that are still in memory."""
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self) -> None:
        if not self._waiting:
            return
        try:
            if self._connection is None:
                self._connection = self._open()
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                self._connection.executemany(_ADD, [(*key, count) for key, count in self._waiting.items()])
        except (sqlite3.Error, ConfigError) as error:
            if not self._has_failed:
                _LOG.error("Downloads cannot be counted in %s: %s. It is tried again.", self.path, error)
            self._has_failed = True
            return
        self._waiting.clear()
        self._has_failed = False

    def _open(self, *, make: bool = True) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}"
        connection = sqlite3.connect(
            address, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            self._refuse_foreign(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
        except (sqlite3.Error, ConfigError):
            connection.close()
            raise
        return connection

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Raise ConfigError when the file has tables, such as those of a catalog, and not this one."""
        # In this order, because another process may be creating the table.
        has_tables = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        columns = {row[1] for row in connection.execute("PRAGMA table_info(downloads)")}
        if has_tables and not columns >= _COLUMNS:
            raise ConfigError(
                f"The file {self.path} of --stats is a database without download counts; name another one.",
                kind="foreign",
                setting="stats",
                value=self.path,
            )

    def projects(self) -> list[tuple[str, int, int]]:
        """(project, total downloads, downloads in the last thirty days), the highest first; raises ConfigError."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT project, SUM(count), SUM(CASE WHEN day > ? THEN count ELSE 0 END) FROM downloads"
                " GROUP BY project ORDER BY 2 DESC, 1",
                (self._recently(),),
            )
            return [(str(project), int(total), int(recent)) for project, total, recent in rows]

    def counts(self, project: str) -> Counts:
        """The downloads of the project with that normalized name; raises ConfigError."""
        versions: Counter[str] = Counter()
        clients: Counter[str] = Counter()
        recent, since = 0, self._recently()
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT version, client, day, count FROM downloads WHERE project = ? ORDER BY version", (project,)
            )
            for version, client, day, count in rows:
                versions[version] += count
                clients[client] += count
                recent += count if day > since else 0
        return Counts(project, versions.total(), recent, dict(versions.most_common()), dict(clients.most_common()))

    def _recently(self) -> str:
        return _day(self._clock() - RECENT_DAYS * 86_400)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(self._open(make=self._makes)) as connection:
                yield connection
        except sqlite3.Error as error:
            if not self.path.exists():
                raise ConfigError(
                    f"There are no statistics at {self.path}; the server counts with --stats FILE.",
                    kind="missing",
                    setting="stats",
                    value=self.path,
                ) from error
            raise ConfigError(
                f"The statistics {self.path} cannot be read ({error}).",
                kind="unreadable",
                setting="stats",
                value=self.path,
            ) from error


def client_of(agent: str) -> str:
    """The client that a User-Agent names, if it is one that installs packages; ``browser``, or ``other``."""
    match = re.match(r"[A-Za-z][A-Za-z-]*", agent)
    name = match[0].lower() if match else ""
    return "browser" if name == "mozilla" else name if name in CLIENTS else "other"


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(when))
