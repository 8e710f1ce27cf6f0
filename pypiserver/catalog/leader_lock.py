"""The leader lock: processes, or machines, that share a catalog agree by it on one scanner.

Each database makes its own (``Database.leader_lock``): SQLite's is a lock on a file, PostgreSQL's an advisory lock.

**Invariants:** the lock ends with its process, even when the process crashes; all others can read the holder's state
(``scanning``, ``ready`` with the start and duration of its last scan and the catalog it filled, or ``outage`` with the
reason), and a heartbeat which shows that the holder's rounds succeed.
"""

from __future__ import annotations

from typing import Protocol

FRESH_SECONDS = 2.0


class LeaderLock(Protocol):
    """``spans_machines`` says whether servers on several machines share the lock, or only processes of one."""

    spans_machines: bool

    def acquire(self) -> bool:
        """Take the lock if it is free; True when this process has it. Raises Unavailable or CatalogError."""

    def is_held(self) -> bool:
        """Whether this process had the lock when that was last checked."""

    def was_ready_just_now(self, catalog: str | None = None) -> bool:
        """Whether the previous holder began its last scan at most FRESH_SECONDS ago, into this catalog, or any."""

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether the holder has completed a scan into this catalog, or into any.

        Meant for callers whose :meth:`acquire` failed: only then a holder is certain to be alive.
        """

    def is_alive(self) -> bool:
        """Whether the holder's rounds succeed: its heartbeat is recent."""

    def outage(self) -> str:
        """Why the holder cannot read storage, '' when it can."""

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan of any process began (seconds since the epoch), and its seconds; None if not known."""

    def say_outage(self, reason: str) -> None:
        """Report to the others that storage cannot be read, and why."""

    def say_ready(self, started: float, catalog: str = "") -> None:
        """Report a completed scan into ``catalog`` to the others; it began at ``started`` (seconds since the epoch)."""

    def touch(self) -> None:
        """Renew the heartbeat: a round succeeded, or a long one makes progress."""

    def give_way(self, seconds: float) -> bool:
        """Release the lock and leave it to others for this many seconds; False where no other process shares it."""

    def release(self) -> None:
        """Release the lock, so that another process can take it at once."""

    def forget(self) -> None:
        """Forget the parent's lock, after a fork."""


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
