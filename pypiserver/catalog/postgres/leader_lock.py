"""The leader lock of servers on several machines that share one catalog in PostgreSQL.

**Invariants:** the lock is an advisory lock of the database on a connection of its own, so it ends with its process,
even when the process crashes, as soon as the database notices (half a minute for a machine that loses its network); the
holder's state and heartbeat are in the table ``scanner``; times in that table are those of the database's clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from ..errors import CatalogError
from ..leader_lock import LeaderLock
from .driver import failing
from .session import Session

# The number of the advisory lock, used together with a hash of the name of the tables' schema.
LOCK = 0x7363616E
# How long to wait for the database to confirm the release; closing the session releases the lock anyway.
RELEASE_SECONDS = 2.0
# Seconds between two heartbeats, each of which is a transaction; and the age at which the last one shows that the
# holder's rounds fail, or that it hangs.
HEARTBEAT_SECONDS = 2.0
ALIVE_SECONDS = 8.0
# Separates the state from the heartbeat.
_BEAT = " ~"
_ACQUIRE = "SELECT pg_try_advisory_lock(CAST(:number AS int), hashtext(current_schema()))"
_NOW = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"
_CLOCK = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"
_SAID = f"SELECT said, {_CLOCK} FROM scanner WHERE id = 1"
_SAY = f"""
    INSERT INTO scanner (id, said) VALUES (1, CAST(:said AS text) || '{_BEAT}' || CAST({_CLOCK} AS text))
    ON CONFLICT (id) DO UPDATE SET said = excluded.said
"""


class Sessions(Protocol):
    """Connects to the catalog's database."""

    def session(self) -> Session:
        """A new connection, used only for the lock."""

    def reading(self) -> AbstractContextManager[Session]:
        """A connection of the pool, for one query."""


class PostgresLeaderLock(LeaderLock):
    """The lock of the catalog behind ``database``. Every method may raise CatalogError."""

    spans_machines = True

    def __init__(self, database: Sessions) -> None:
        self._database = database
        self._session: Session | None = None
        # After a fork: sessions of the parent, which still uses them.
        self._inherited: list[Session] = []
        self._is_held = False
        self._words = ""
        # By time.monotonic(): when the lock may be taken again after give_way(), and when the next heartbeat is due.
        self._not_before = 0.0
        self._next_touch = 0.0

    def acquire(self) -> bool:
        """Take the lock if it is free; True when this process has it."""
        if time.monotonic() < self._not_before:
            return False
        if self._session is None:
            self._session = self._database.session()
        with self._asking() as session:
            if self._is_held:
                session.execute("SELECT 1")
                return True
            self._is_held = session.execute(_ACQUIRE, {"number": LOCK}).fetchone()[0]
            if self._is_held:
                self._ahead = session.execute(_NOW).fetchone()[0] - time.time()
                row = session.execute(_SAID).fetchone()
                self._found = row[0].partition(_BEAT)[0] if row else ""
                self._say(self._found if self.was_ready_just_now() else "scanning")
        return self._is_held

    def is_held(self) -> bool:
        """Whether this process had the lock when that was last checked."""
        return self._is_held

    def is_alive(self) -> bool:
        """Whether the holder's rounds succeed: its heartbeat is recent."""
        said, now = self._row()
        _, _, beat = said.partition(_BEAT)
        try:
            return now - float(beat) < ALIVE_SECONDS
        except ValueError:
            # An older version writes no heartbeat.
            return True

    def touch(self) -> None:
        """Renew the heartbeat: a round succeeded, or a long one makes progress."""
        if self._is_held and time.monotonic() >= self._next_touch:
            self._say(self._words)

    def give_way(self, seconds: float) -> bool:
        """Release the lock and leave it to others for this many seconds."""
        self._not_before = time.monotonic() + seconds
        self.release()
        return True

    def release(self) -> None:
        """Release the lock, so that another server can take it at once; does not raise."""
        if self._session is not None:
            if self._is_held and not self._session.raw.closed:
                self._session.raw.seconds = RELEASE_SECONDS
                with contextlib.suppress(CatalogError), failing(self._session.raw):
                    self._session.execute("SELECT pg_advisory_unlock_all()")
            self._session.raw.close()
        self._session, self._is_held = None, False

    def forget(self) -> None:
        """Forget the parent's lock after a fork, without closing its connection."""
        if self._session is not None:
            self._inherited.append(self._session)
        self._session, self._is_held, self._found, self._not_before = None, False, "", 0.0

    def _said(self) -> str:
        return self._row()[0].partition(_BEAT)[0]

    def _row(self) -> tuple[str, float]:
        """The holder's state with its heartbeat, and the time by the database's clock."""
        with self._database.reading() as session:
            row = session.execute(_SAID).fetchone()
        return (row[0], row[1]) if row else ("", 0.0)

    def _say(self, said: str) -> None:
        self._words = said
        self._next_touch = time.monotonic() + HEARTBEAT_SECONDS
        if self._session is not None and self._is_held:
            with self._asking() as session:
                session.execute(_SAY, {"said": said})

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Session]:
        if self._session is None:
            raise CatalogError("the lock's connection is gone")
        try:
            with failing(self._session.raw):
                yield self._session
        except CatalogError:
            # The lock ends with the connection.
            self.release()
            raise
