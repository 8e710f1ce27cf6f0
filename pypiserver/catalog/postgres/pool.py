"""PostgreSQL: a few connections for each process, lent for a question or a transaction, and taken back.

The rules to keep: nothing is connected before the first question, and no connection is used across a fork; whoever
asks connects, so that no thread of ours waits for a server that is away, and the first one that is answered shows that
it is back; of all processes one changes the catalog at a time, by the lock on the row of the serial, as SQLite does it;
a change is not said to be done while a process may still answer from before it; what the driver raises is a
CatalogError.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from ...process import PerProcess
from ..database import FullText
from ..errors import CatalogError, CatalogReplaced
from ..full_text import TSVECTOR
from ..sqlite.change_counter import ChangeCounter
from .leader_lock import PostgresLeaderLock
from .migrations import migrate
from .session import Session, connect, failing

# For each process. Threads wait for one that is free, and a server has 100 for all, unless it is told otherwise.
CONNECTIONS = 20
WAIT_SECONDS = 10.0
# How long a writer waits for another, and how long that one may do nothing: its process may be stopped, or cut off.
LOCK_MS = 10_000
IDLE_MS = 60_000
# After an attempt that failed one thread at a time tries again, and not before this: where packets are lost each
# attempt takes seconds, and all others are told at once.
AWAY_SECONDS = 0.1
# For so long a process goes on with the serial it has read, and a change waits before it is said to be done. 5 ms are
# 200 questions a second for each process, however many requests it answers. A little more for clocks of other pace.
BELIEVED_SECONDS = 0.005
SETTLED_SECONDS = 0.006
_BEGIN = (
    "BEGIN",
    f"""SELECT set_config('lock_timeout', '{LOCK_MS}', true), set_config('statement_timeout', '0', true),
        set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true)""",
    "SELECT value FROM serial WHERE id = 1 FOR UPDATE",
)


class _Lent:
    """The connections of one process: those nobody uses, and how many more there may be."""

    def __init__(self) -> None:
        self.idle: deque[Session] = deque()
        self.free = threading.Semaphore(CONNECTIONS)
        self.is_migrated = False
        self.migrating = threading.Lock()
        # Held by the one thread that connects after an attempt that failed.
        self.trying = threading.Lock()


class Pool:
    """The connections of this process to the catalog at ``address``, a URL of PostgreSQL, describing ``identity``.

    ``pgbouncer=true`` in it says that transactions may meet another session each time: nothing is prepared then.
    Raises ConfigError when psycopg is missing or the catalog is another one.
    """

    signal: ChangeCounter | None = None
    search: FullText | None = TSVECTOR
    is_disposable = False
    # Whoever reads would have to wait for them.
    drops_indexes = False
    believed = BELIEVED_SECONDS

    def __init__(self, address: str, identity: str) -> None:
        self._address, self._prepares = _taken_apart(address)
        self._identity = identity
        self.generation = 0
        self.epoch = ""
        # What a fork left to us is kept: closing it would end the parent's session.
        self._ours = PerProcess(_Lent)
        self._local = threading.local()
        self._away_until = 0.0
        self._away_because = ""

    def place(self) -> str:
        """The address without user and password."""
        return shown(self._address)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A connection on which every statement is a transaction of its own."""
        self._refuse_unpinned()
        session = self._take()
        try:
            with failing(session):
                yield session
        finally:
            self._put_back(session)

    @contextlib.contextmanager
    def pinned(self, generation: int) -> Iterator[None]:
        """Let this thread ask the tables of that generation and no others; raises CatalogReplaced."""
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
        """One write transaction, after that of any other process, which its first answer waits for.

        It ends when every process sees what it changed.
        """
        with self.reading() as session, session.patient(), session.unanswered():
            for statement in _BEGIN:
                session.execute(statement)
            try:
                yield session
            except BaseException:
                # A connection that fails here is thrown away.
                with contextlib.suppress(Exception):
                    session.catch_up()
                    session.execute("ROLLBACK")
                raise
            session.execute("COMMIT")
        self.settle()

    def settle(self) -> None:
        """Wait until no process believes a serial that it read before now."""
        time.sleep(SETTLED_SECONDS)

    @contextlib.contextmanager
    def writing_much(self, connection: Any) -> Iterator[None]:
        """Tell the planner of the rows afterwards, or it takes the tables for empty ones."""
        yield
        connection.execute("ANALYZE file, project, listing")

    def session(self) -> Session:
        """A new connection, which is not of the pool; raises CatalogError."""
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
            return connect(self._address, self.place(), prepares=self._prepares)
        except CatalogError as error:
            self._away_until, self._away_because = time.monotonic() + AWAY_SECONDS, str(error)
            raise

    def refuse_changed(self, connection: Any) -> None:
        """Nothing: whoever connects looks at the tables."""

    def is_deleted(self) -> bool:
        """Never: what is missing fails."""
        return False

    def renew(self) -> None:
        """Look at the tables again before the next question, and take them for what they are then."""
        self.epoch = ""
        self._ours.get().is_migrated = False
        self.generation += 1
        self.close()

    def token(self) -> str:
        """The epoch."""
        return self.epoch

    def is_lost(self, error: Exception) -> bool:
        """Only when the tables are others; any other failure passes, and the next question connects anew."""
        return isinstance(error, CatalogReplaced)

    def recover(self, error: Exception) -> None:
        """Go on with the tables that are there now."""
        self.renew()

    def leader_lock(self) -> PostgresLeaderLock:
        """A lock of all who have this catalog open, on a connection of its own."""
        return PostgresLeaderLock(self)

    def close(self) -> None:
        """Close what nobody uses now."""
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
            with ours.migrating, failing(session), session.patient():
                epoch = migrate(session, self._identity, self.place())
                # Kept when a connection was lost: the tables may be others now, and whoever asks must see that.
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
        """Close it, and all that are idle: the server may be gone, and its tables may be others when it is back."""
        session.raw.close()
        self._ours.get().is_migrated = False
        self.close()


def shown(address: str) -> str:
    """An address as it may stand in a log: without user, password and options."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _taken_apart(address: str) -> tuple[str, bool]:
    """The address as libpq knows it, and whether statements may be prepared."""
    place, _, query = address.partition("?")
    options = query.split("&") if query else []
    kept = "&".join(option for option in options if not option.startswith("pgbouncer="))
    return f"{place}?{kept}" if kept else place, "pgbouncer=true" not in options
