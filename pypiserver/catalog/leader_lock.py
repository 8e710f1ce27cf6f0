"""The leader lock: processes, or machines, that share a catalog agree by it on one scanner.

Each database makes its own (``Database.leader_lock``): SQLite's is a lock on a file, PostgreSQL's an advisory lock.
What the holder says of itself is the same text in both, and read here.

**Invariants:** the lock ends with its process, even when the process crashes; all others can read the holder's state
(``scanning``, ``ready`` with the start and duration of its last scan and the catalog it filled, or ``outage`` with the
reason), and a heartbeat which shows that the holder's rounds succeed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

FRESH_SECONDS = 2.0


class LeaderLock(ABC):
    """``spans_machines`` says whether servers on several machines share the lock, or only processes of one."""

    spans_machines: bool
    # The state that the previous holder left, and by how many seconds the clock of all holders is ahead of ours.
    _found = ""
    _ahead = 0.0

    @abstractmethod
    def acquire(self) -> bool:
        """Take the lock if it is free; True when this process has it. Raises Unavailable or CatalogError."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether this process had the lock when that was last checked."""

    def was_ready_just_now(self, catalog: str | None = None) -> bool:
        """Whether the previous holder began its last scan at most FRESH_SECONDS ago, into this catalog, or any."""
        found = scan_in(self._found)
        is_fresh = found is not None and 0 <= time.time() + self._ahead - found[0] < FRESH_SECONDS
        return is_fresh and catalog in (None, catalog_in(self._found))

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether the holder has completed a scan into this catalog, or into any.

        Meant for callers whose :meth:`acquire` failed: only then a holder is certain to be alive.
        """
        said = self._said()
        return said.startswith("ready") and catalog in (None, catalog_in(said))

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether the holder's rounds succeed: its heartbeat is recent."""

    def outage(self) -> str:
        """Why the holder cannot read storage, '' when it can."""
        word, _, reason = self._said().partition(" ")
        return reason if word == "outage" else ""

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan of any process began (seconds since the epoch), and its seconds; None if not known."""
        return scan_in(self._said())

    def say_outage(self, reason: str) -> None:
        """Report to the others that storage cannot be read, and why."""
        self._say(f"outage {reason}")

    def say_ready(self, started: float, catalog: str = "") -> None:
        """Report a completed scan into ``catalog`` to the others; it began at ``started`` (seconds since the epoch)."""
        self._say(f"ready {started + self._ahead:.3f} {time.time() - started:.3f} {catalog}")

    @abstractmethod
    def touch(self) -> None:
        """Renew the heartbeat: a round succeeded, or a long one makes progress."""

    @abstractmethod
    def give_way(self, seconds: float) -> bool:
        """Release the lock and leave it to others for this many seconds; False where no other process shares it."""

    @abstractmethod
    def release(self) -> None:
        """Release the lock, so that another process can take it at once."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the parent's lock, after a fork."""

    @abstractmethod
    def _said(self) -> str:
        """The holder's state, '' where there is none."""

    @abstractmethod
    def _say(self, said: str) -> None:
        """Tell the others this state, while the lock is held."""


def scan_in(said: str) -> tuple[float, float] | None:
    """Start (seconds since the epoch) and seconds of the scan in a holder's state, None where it has no scan."""
    word, *numbers = said.split() or [""]
    try:
        began, took = map(float, numbers[:2])
    except ValueError:
        return None
    return (began, took) if word == "ready" else None


def catalog_in(said: str) -> str:
    """The catalog's token in a holder's state, '' where it has none."""
    return "".join(said.split()[3:4])
