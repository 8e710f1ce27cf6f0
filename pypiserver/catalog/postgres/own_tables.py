"""Tables in PostgreSQL that are not the catalog's, so that no rebuild of a catalog touches them.

**Invariants:** an outage is said to be an outage (Unavailable), never an empty table; a released step of the tables
never changes; each process has one connection, and every wait for an answer has a limit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import Unavailable
from ...process import PerProcess
from ..errors import CatalogError
from .driver import connect, failing
from .pool import shown, taken_apart
from .session import Session

# A question takes a millisecond; one that takes this long is an outage.
ANSWER_SECONDS = 5.0
# A table of a hundred thousand rows takes seconds to read.
FIRST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables whose names begin with ``name``.

    ``lock`` is the number of the advisory lock under which ``steps`` bring them up to date. ``setting`` has their
    address; ``what`` and ``public`` say, to operators and to clients, what an outage means.
    """

    name: str
    lock: int
    steps: tuple[tuple[str, ...], ...]
    setting: str
    what: str
    public: str


class _Ours:
    """The connection of one process, used by one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None


class TablesOf:
    """The tables in the database at ``address``; one connection for each process."""

    def __init__(self, address: str, tables: Tables) -> None:
        self._address, self._prepares = taken_apart(address)
        self._tables = tables
        self._ours = PerProcess(_Ours)

    @property
    def place(self) -> str:
        """The address without user, password and options."""
        return shown(self._address)

    @contextlib.contextmanager
    def session(self, seconds: float) -> Iterator[Session]:
        """The connection, whose answers are waited for that long; raises Unavailable, and ConfigError."""
        ours = self._ours.get()
        if not ours.lock.acquire(timeout=ANSWER_SECONDS):
            raise self.outage("it does not answer")
        try:
            session = ours.session
            if session is not None and not session.is_silent():
                session.raw.close()
                session = None
            if session is None:
                session = ours.session = Session(
                    connect(self._address, self.place, prepares=self._prepares, setting=self._tables.setting)
                )
            session.raw.seconds = seconds
            with failing(session.raw):
                yield session
        except CatalogError as error:
            ours.session = None
            raise self.outage(str(error)) from error
        finally:
            ours.lock.release()

    @contextlib.contextmanager
    def once(self) -> Iterator[Session]:
        """A connection that is closed at the end of the block."""
        try:
            with self.session(FIRST_SECONDS) as session:
                yield session
        finally:
            self.close()

    def outage(self, reason: str) -> Unavailable:
        """The failure to read or write the tables."""
        sentence = f"{self._tables.what} in {self.place} cannot be reached: {reason}."
        return Unavailable(sentence, public=self._tables.public, reason=reason)

    def are_there(self, session: Session) -> bool:
        """Whether there are such tables."""
        exists = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = :name"
        return session.execute(exists, {"name": f"{self._tables.name}_meta"}).fetchone() is not None

    def migrate(self, session: Session) -> None:
        """Bring the tables up to date, within a transaction."""
        name, steps = self._tables.name, self._tables.steps
        session.execute("SELECT pg_advisory_xact_lock(:number)", {"number": self._tables.lock})
        session.execute(
            f'CREATE TABLE IF NOT EXISTS {name}_meta (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL)'
        )
        row = session.execute(f"SELECT value FROM {name}_meta WHERE name = 'schema'").fetchone()
        version = int(row[0]) if row else 0
        for step in steps[version:]:
            for statement in step:
                session.execute(statement)
        if version < len(steps):
            session.execute(
                f"""INSERT INTO {name}_meta (name, value) VALUES ('schema', :version)
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
                {"version": str(len(steps))},
            )

    def close(self) -> None:
        """Close the connection of this process."""
        ours = self._ours.forget()
        if ours is not None and ours.session is not None:
            ours.session.raw.close()
