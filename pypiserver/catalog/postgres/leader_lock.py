"""The lock by which servers on several machines, with one catalog in PostgreSQL, agree on one scanner.

What ``sqlite.leader_lock`` is for the processes of one machine: an advisory lock of the database, on a connection of
its own, so it ends with its process, however that dies, once the database notices (half a minute for a machine that is
cut off). What the holder says stands in the table ``scanner`` with its heartbeat; times there are those of the
database's clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from ..errors import CatalogError
from ..leader_lock import FRESH_SECONDS, catalog_in, scan_in
from .session import Session, failing

# Together with the schema the tables are in.
LOCK = 0x7363616E
# How long the database may take to say that it was given up; with the session it is gone anyway, a moment later.
RELEASE_SECONDS = 2.0
# A heartbeat is a transaction; one that is so old is that of a holder whose rounds fail, or that hangs.
HEARTBEAT_SECONDS = 2.0
ALIVE_SECONDS = 8.0
# What stands between the words and the heartbeat.
_BEAT = " ~"
_ACQUIRE = "SELECT pg_try_advisory_lock(CAST(:number AS int), hashtext(current_schema()))"
_NOW = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"
_CLOCK = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"
_SAID = f"SELECT said, {_CLOCK} FROM scanner WHERE id = 1"  # noqa: S608
_SAY = f"""
    INSERT INTO scanner (id, said) VALUES (1, CAST(:said AS text) || '{_BEAT}' || CAST({_CLOCK} AS text))
    ON CONFLICT (id) DO UPDATE SET said = excluded.said
"""  # noqa: S608


class Sessions(Protocol):
    """Who connects to the catalog's database."""

    def session(self) -> Session:
        """A new connection, for the lock alone."""

    def reading(self) -> AbstractContextManager[Session]:
        """A connection of many, for one question."""


class PostgresLeaderLock:
    """The lock of the catalog that ``database`` leads to. Every method may raise CatalogError."""

    spans_machines = True

    def __init__(self, database: Sessions) -> None:
        self._database = database
        self._session: Session | None = None
        # A fork's parent goes on with its own.
        self._inherited: list[Session] = []
        self._is_held = False
        self._found = ""
        self._ahead = 0.0
        self._words = ""
        # By time.monotonic(): when it may be taken again after it was given away, and the next heartbeat.
        self._not_before = 0.0
        self._next_touch = 0.0

    def acquire(self) -> bool:
        """Take the lock if it is free; True when it is ours."""
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
        """Whether the lock was ours when it was last asked for."""
        return self._is_held

    def was_ready_just_now(self, catalog: str | None = None) -> bool:
        """Whether the holder before us began its last scan less than two seconds ago, into this catalog, or any."""
        found = scan_in(self._found)
        is_fresh = found is not None and 0 <= time.time() + self._ahead - found[0] < FRESH_SECONDS
        return is_fresh and catalog in (None, catalog_in(self._found))

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether the server that holds the lock, alive when we cannot have it, has scanned into this catalog."""
        said = self._said()
        return said.startswith("ready") and catalog in (None, catalog_in(said))

    def outage(self) -> str:
        """What keeps that server from reading the folders; empty when nothing does."""
        word, _, reason = self._said().partition(" ")
        return reason if word == "outage" else ""

    def say_outage(self, reason: str) -> None:
        """Tell the others that the folders cannot be read, and why."""
        self._say(f"outage {reason}")

    def say_ready(self, started: float, catalog: str = "") -> None:
        """Tell the others that a scan into ``catalog`` that began at ``started`` (seconds since the epoch) is done."""
        self._say(f"ready {started + self._ahead:.3f} {time.time() - started:.3f} {catalog}")

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan of any server began (seconds since the epoch) and how long it took, if that is known."""
        return scan_in(self._said())

    def is_alive(self) -> bool:
        """Whether rounds of the server that holds the lock succeed: its heartbeat is young."""
        said, now = self._row()
        _, _, beat = said.partition(_BEAT)
        try:
            return now - float(beat) < ALIVE_SECONDS
        except ValueError:
            # An older version says none.
            return True

    def touch(self) -> None:
        """Tell the others that a round succeeded, or that a long one gets on."""
        if self._is_held and time.monotonic() >= self._next_touch:
            self._say(self._words)

    def give_way(self, seconds: float) -> bool:
        """Give the lock up and leave it to others for so long."""
        self._not_before = time.monotonic() + seconds
        self.release()
        return True

    def release(self) -> None:
        """Give the lock up, so that another may have it at once; does not raise."""
        if self._session is not None:
            if self._is_held and not self._session.raw.closed:
                self._session.raw.seconds = RELEASE_SECONDS
                with contextlib.suppress(CatalogError), failing(self._session):
                    self._session.execute("SELECT pg_advisory_unlock_all()")
            self._session.raw.close()
        self._session, self._is_held = None, False

    def forget(self) -> None:
        """After a fork: the parent's lock is not ours, and its connection is not to be closed."""
        if self._session is not None:
            self._inherited.append(self._session)
        self._session, self._is_held, self._found, self._not_before = None, False, "", 0.0

    def _said(self) -> str:
        return self._row()[0].partition(_BEAT)[0]

    def _row(self) -> tuple[str, float]:
        """What the holder said, with its heartbeat, and the time by the database's clock."""
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
            with failing(self._session):
                yield self._session
        except CatalogError:
            # With the connection the lock is gone.
            self.release()
            raise
