"""The lock by which processes, or machines, that share a catalog agree on one scanner.

Each database makes its own (``Database.leader_lock``): SQLite's is a lock on a file, PostgreSQL's an advisory lock.
Invariants: the lock ends with its process, however that dies; what its holder says of itself (``scanning``, ``ready``
with the time its last scan began, how long that took and the catalog it filled, or ``outage`` with what is wrong) is
read by all others, with a heartbeat that rounds of the holder succeed.
"""

from __future__ import annotations

from typing import Protocol

FRESH_SECONDS = 2.0


class LeaderLock(Protocol):
    """``spans_machines`` says whether servers on several machines agree by it, or processes of one."""

    spans_machines: bool

    def acquire(self) -> bool:
        """Take the lock if it is free; True when it is ours. Raises Unavailable or CatalogError."""

    def is_held(self) -> bool:
        """Whether the lock was ours when it was last asked for."""

    def was_ready_just_now(self, catalog: str | None = None) -> bool:
        """Whether the holder before us began its last scan less than two seconds ago, into this catalog, or any."""

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether who holds the lock, alive when we cannot have it, has scanned into this catalog, or into any."""

    def is_alive(self) -> bool:
        """Whether rounds of who holds the lock succeed: its heartbeat is young."""

    def outage(self) -> str:
        """What keeps who holds the lock from reading storage; empty when nothing does."""

    def last_scan(self) -> tuple[float, float] | None:
        """When anybody's last scan began (seconds since the epoch) and how long it took, if that is known."""

    def say_outage(self, reason: str) -> None:
        """Tell the others that storage cannot be read, and why."""

    def say_ready(self, started: float, catalog: str = "") -> None:
        """Tell the others that a scan into ``catalog`` that began at ``started`` (seconds since the epoch) is done."""

    def touch(self) -> None:
        """Tell the others that a round succeeded, or that a long one gets on."""

    def give_way(self, seconds: float) -> bool:
        """Give the lock up and leave it to others for so long; False where nobody shares it."""

    def release(self) -> None:
        """Give the lock up, so that another may have it at once."""

    def forget(self) -> None:
        """After a fork: the parent's lock is not ours."""


def scan_in(said: str) -> tuple[float, float] | None:
    """When the scan that a holder speaks of began and how long it took, None where it speaks of none."""
    word, *numbers = said.split() or [""]
    try:
        began, took = map(float, numbers[:2])
    except ValueError:
        return None
    return (began, took) if word == "ready" else None


def catalog_in(said: str) -> str:
    """The catalog that a holder speaks of, empty where it speaks of none."""
    return "".join(said.split()[3:4])
