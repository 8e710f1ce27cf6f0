"""Which catalog is open, at which serial, and what is certain about it.

**Invariants:** "not here" is said only of the catalog that was opened, when a scan has completed in it; a serial is the
one of the last change, or was that a moment ago.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ..errors import Unavailable
from . import statements
from .database import Database
from .errors import CatalogIncomplete, CatalogReplaced
from .leader_lock import LeaderLock
from .postgres.driver import ANSWER_SECONDS
from .postgres.serial_cache import CoalescedQuery
from .sqlite.change_counter import ChangeCounter

# A writer that is killed after its commit signals nothing: a serial is then outdated for at most this many seconds.
SIGNAL_SECONDS = 0.25
# While one request asks again, other requests trust the serial for at most this many seconds longer.
ASKING_SECONDS = 0.05


class _Seen(NamedTuple):
    """The serial as this process last read it, the signal's value just before, and until when it may be used."""

    signal: ChangeCounter | None
    value: bytes | None
    until: float
    serial: int


class CatalogState:
    """What processes that share a catalog agree on; every method may raise one of ``FAILURES``."""

    def __init__(self, connections: Database) -> None:
        self.connections = connections
        self._seen: _Seen | None = None
        # Until when another request asks the database (time.monotonic).
        self._asked_until = 0.0
        # The generation of the connections, and the last serial that was read with them.
        self._last = (-1, 0)
        self._shared = CoalescedQuery(self._ask_serial, seconds=connections.believed, patience=ANSWER_SECONDS)

    def serial(self) -> int:
        """The number of the last change by any process.

        Costs one read of a shared file (see :mod:`change_counter`) unless something changed since this process last
        asked. Without such a file, it may be the serial that this process read a moment ago (see :mod:`serial_cache`).
        """
        connections = self.connections
        if connections.believed:
            return self._shared.ask()
        signal, seen, now = connections.signal, self._seen, time.monotonic()
        value = signal.value() if signal is not None else None
        if (
            seen is not None
            and value is not None
            and seen.signal is signal
            and seen.value == value
            and now < seen.until
        ):
            return seen.serial
        serial = self._ask_serial()
        # The signal was read before the query: a change between the two is noticed next time.
        self._seen = _Seen(signal, value, now + SIGNAL_SECONDS, serial)
        return serial

    def known_serial(self) -> int | None:
        """The result of :meth:`serial` if it needs no question to the database, else None; never waits."""
        connections = self.connections
        if connections.believed:
            return self._shared.known()
        signal, seen, now = connections.signal, self._seen, time.monotonic()
        if signal is None or seen is None or seen.signal is not signal or signal.value() != seen.value:
            return None
        if now < seen.until:
            return seen.serial
        if now >= self._asked_until:
            # The caller asks the database; all other requests would only ask with it.
            self._asked_until = now + ASKING_SECONDS
            return None
        return seen.serial if now < seen.until + ASKING_SECONDS else None

    def leader_lock(self) -> LeaderLock:
        """The lock by which all processes that share the catalog agree on one scanner (see :class:`Database`)."""
        return self.connections.leader_lock()

    def close(self) -> None:
        """Close the connections, and release the signal, which keeps its file open."""
        self.connections.close()
        self._seen = None

    def _ask_serial(self) -> int:
        # Read first: another thread may store a later serial than this query finds.
        generation, last = self.connections.generation, self._last
        rows = self._all(statements.SELECT_SERIAL_AND_EPOCH)
        serial, epoch = rows[0] if rows else (0, "")
        self._refuse_other(epoch)
        if generation == self.connections.generation:
            if last[0] == generation and serial < last[1] and self.connections.is_disposable:
                raise CatalogReplaced("it went back to an earlier state")
            self._last = (generation, int(serial))
        return int(serial)

    def is_absent(self, *, project: str = "", filename: str = "") -> bool:
        """Whether there is no row, visible or hidden, of this project (normalized name), or of this file name.

        Raises CatalogReplaced and CatalogIncomplete when the catalog cannot tell, and Unavailable when a folder cannot
        be read, because the project or file may be in it.
        """
        statement = statements.SELECT_ABSENCE_OF_FILE if filename else statements.SELECT_ABSENCE_OF_PROJECT
        epoch, is_complete, is_part_unread, is_here = self._all(statement, name=filename or project)[0]
        self._refuse_other(epoch)
        if not is_complete:
            raise CatalogIncomplete("it is being filled")
        if is_part_unread and not is_here and (project or filename):
            raise Unavailable(
                "Some folders cannot be read, so what is not known may be here: the server's log says which.",
                public=True,
            )
        return not is_here

    def refuse_incomplete(self) -> None:
        """Raise CatalogReplaced or CatalogIncomplete when rows that were just read may be only a part of all."""
        self.is_absent(project="")

    def _refuse_other(self, epoch: str) -> None:
        if epoch != self.connections.epoch:
            raise CatalogReplaced("another one is in its place")
        self._refuse_deleted()

    def _refuse_deleted(self) -> None:
        if self.connections.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")

    def refuse_changed(self) -> None:
        """Raise CatalogReplaced when another program changed the catalog to another schema, or to other folders.

        Without this check, processes that have it open would continue, while others could not open it.
        """
        with self.connections.reading() as connection:
            self.connections.refuse_changed(connection)

    def settle(self) -> None:
        """Return when no process uses an older serial than can be read now; every change waits like this already."""
        self.connections.settle()

    def token(self) -> str:
        """The name of the open catalog, the same in every process that has it open; opens the catalog if needed."""
        self._ask_serial()
        return self.connections.token()

    def was_scanned(self) -> bool:
        """Whether any scan has completed: a catalog that is being filled has no folders yet."""
        return bool(self._all(statements.SELECT_ANY_FOLDER))

    def _all(self, statement: str, **parameters: object) -> list[Any]:
        with self.connections.reading() as connection:
            return connection.execute(statement, parameters).fetchall()
