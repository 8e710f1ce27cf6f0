"""The connection pool of PostgreSQL: a few connections for each process, lent for a query or a transaction.

**Invariants:** nothing connects before the first query, and no connection is used across a fork; the thread that
queries also connects, so that no background thread waits for a server that is down, and the first query that succeeds
shows that it is up again; one process at a time changes the catalog, by the lock on the row of the serial, as SQLite
does; a change is reported as done only when no process can still answer from the state before it; what the driver
raises becomes a CatalogError.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from ...process import PerProcess
from ..admitted_names import NameSet
from ..database import FullText
from ..errors import CatalogError, CatalogReplaced
from ..full_text import TSVECTOR
from ..sqlite.change_counter import ChangeCounter
from .driver import connect, failing
from .leader_lock import PostgresLeaderLock
from .migrations import migrate
from .session import Session

# The most connections of a process, and how long a thread waits for a free one. A PostgreSQL server has 100 for all
# clients by default.
CONNECTIONS = 20
WAIT_SECONDS = 10.0
# How long a writer waits for another one, and how long that one may be idle: its process may be stopped, or
# disconnected.
LOCK_MS = 10_000
IDLE_MS = 60_000
# After a failed attempt one thread at a time tries again, at the earliest after this time: where packets are lost, each
# attempt takes seconds, and all other threads fail at once.
AWAY_SECONDS = 0.1
# A process may use the serial that it has read for this long, and a change waits for a little longer (clocks differ in
# speed) before it is reported as done. 5 ms are at most 200 queries a second for each process, at any request rate.
BELIEVED_SECONDS = 0.005
SETTLED_SECONDS = 0.006
_BEGIN = (
    "BEGIN",
    f"""SELECT set_config('lock_timeout', '{LOCK_MS}', true), set_config('statement_timeout', '0', true),
        set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true)""",
    "SELECT value FROM serial WHERE id = 1 FOR UPDATE",
)


class _Lent:
    """The connections of one process: the idle ones, and a semaphore for how many more may be in use."""

    def __init__(self) -> None:
        self.idle: deque[Session] = deque()
        self.free = threading.Semaphore(CONNECTIONS)
        self.is_migrated = False
        self.migrating = threading.Lock()
        # Held by the one thread that connects after a failed attempt.
        self.trying = threading.Lock()


class Pool:
    """The connections of this process to the catalog of ``identity`` at ``address``, a URL of PostgreSQL.

    ``pgbouncer=true`` in the URL says that each transaction may use another session: statements are not prepared then.
    The first query raises ConfigError when psycopg is missing, or when the catalog is one of another identity.
    """

    signal: ChangeCounter | None = None
    search: FullText | None = TSVECTOR
    is_disposable = False
    # Readers would wait while the indexes are created.
    drops_indexes = False
    believed = BELIEVED_SECONDS

    def __init__(self, address: str, identity: str) -> None:
        self._address, self._prepares = taken_apart(address)
        self._identity = identity
        self.generation = 0
        self.epoch = ""
        # Connections inherited through a fork are kept open: closing one would end the parent's session.
        self._ours = PerProcess(_Lent)
        self._local = threading.local()
        self._away_until = 0.0
        self._away_because = ""

    def in_set(self, column: str, names: NameSet) -> str:
        """The condition that a column has one of many names; PostgreSQL looks them up in a table of hashes."""
        return f"{column} IN ({names.listed()})"

    def place(self) -> str:
        """The address without user, password and options."""
        return shown(self._address)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A context manager for a connection on which every statement is a transaction of its own."""
        self._refuse_unpinned()
        session = self._take()
        try:
            with failing(session.raw):
                yield session
        finally:
            self._put_back(session)

    @contextlib.contextmanager
    def pinned(self, generation: int) -> Iterator[None]:
        """Within the block, this thread uses the tables of that generation; raises CatalogReplaced for others."""
        self._local.pinned = generation
        try:
            self._refuse_unpinned()
            yield
        finally:
            self._local.pinned = None

    def _refuse_unpinned(self) -> None:
        if getattr(self._local, "pinned", None) not in (None, self.generation):
            raise CatalogReplaced("its tables were replaced meanwhile")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """One write transaction; its first answer waits for the end of any other process's transaction.

        The block ends when every process sees the change.
        """
        with self.reading() as session, session.patient(), session.unanswered():
            for statement in _BEGIN:
                session.execute(statement)
            try:
                yield session
            except BaseException:
                # A connection that fails here is closed.
                with contextlib.suppress(Exception):
                    session.catch_up()
                    session.execute("ROLLBACK")
                raise
            session.execute("COMMIT")
        self.settle()

    def settle(self) -> None:
        """Wait until no process uses a serial that it read before this call."""
        time.sleep(SETTLED_SECONDS)

    @contextlib.contextmanager
    def writing_much(self, connection: Any) -> Iterator[None]:
        """Update the planner's statistics afterwards, because it would plan for empty tables."""
        yield
        connection.execute("ANALYZE file, project, listing")

    def session(self) -> Session:
        """A new connection outside of the pool; raises CatalogError."""
        ours = self._ours.get()
        if self._away_because:
            if time.monotonic() < self._away_until or not ours.trying.acquire(blocking=False):
                raise CatalogError(self._away_because)
            try:
                session = self._connect()
            finally:
                ours.trying.release()
        else:
            session = self._connect()
        self._away_because = ""
        if not ours.is_migrated:
            self._migrate(session, ours)
        return session

    def _connect(self) -> Session:
        try:
            return Session(connect(self._address, self.place(), prepares=self._prepares))
        except CatalogError as error:
            self._away_until, self._away_because = time.monotonic() + AWAY_SECONDS, str(error)
            raise

    def refuse_changed(self, connection: Any) -> None:
        """Do nothing: each new connection checks the tables."""

    def is_deleted(self) -> bool:
        """Always False: a query fails when the tables are missing."""
        return False

    def renew(self) -> None:
        """Check the tables again before the next query, and accept them as they are then."""
        self.epoch = ""
        self._ours.get().is_migrated = False
        self.generation += 1
        self.close()

    def token(self) -> str:
        """The epoch of the tables."""
        return self.epoch

    def is_lost(self, error: Exception) -> bool:
        """Whether the tables were replaced; any other failure is temporary, and the next query connects again."""
        return isinstance(error, CatalogReplaced)

    def recover(self, error: Exception) -> None:
        """Continue with the tables that are there now."""
        self.renew()

    def leader_lock(self) -> PostgresLeaderLock:
        """The lock of all servers that share this catalog, on a connection of its own."""
        return PostgresLeaderLock(self)

    def close(self) -> None:
        """Close the idle connections."""
        ours = self._ours.value
        while ours is not None and ours.idle:
            ours.idle.pop().raw.close()

    def _take(self) -> Session:
        ours = self._ours.get()
        if not ours.free.acquire(timeout=WAIT_SECONDS):
            raise CatalogError(f"all {CONNECTIONS} connections have been in use for {WAIT_SECONDS:.0f} seconds")
        try:
            with contextlib.suppress(IndexError):
                session = ours.idle.pop()
                if session.is_silent():
                    return session
                self._throw_away(session)
            return self.session()
        except BaseException:
            ours.free.release()
            raise

    def _migrate(self, session: Session, ours: _Lent) -> None:
        try:
            with ours.migrating, failing(session.raw), session.patient():
                epoch = migrate(session, self._identity, self.place())
                # The old epoch stays after a lost connection: the tables may be others now, and queries must see that.
                self.epoch = self.epoch or epoch
                ours.is_migrated = True
        except BaseException:
            session.raw.close()
            raise

    def _put_back(self, session: Session) -> None:
        ours = self._ours.get()
        if session.raw.closed or session.raw.info.transaction_status:
            self._throw_away(session)
        else:
            ours.idle.append(session)
        ours.free.release()

    def _throw_away(self, session: Session) -> None:
        """Close a connection and all idle ones: the server may be down, and return with other tables."""
        session.raw.close()
        self._ours.get().is_migrated = False
        self.close()


def shown(address: str) -> str:
    """An address that is safe in a log: without user, password and options."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def taken_apart(address: str) -> tuple[str, bool]:
    """The address without our own option, for libpq; and whether statements may be prepared."""
    place, _, query = address.partition("?")
    options = query.split("&") if query else []
    kept = "&".join(option for option in options if not option.startswith("pgbouncer="))
    return f"{place}?{kept}" if kept else place, "pgbouncer=true" not in options
