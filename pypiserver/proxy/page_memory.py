"""What this process knows of projects of other indexes, and until when it gives that without a question.

**Invariants:** bounded in bytes; only the time of day says how old a page is, and only the monotonic clock how long it
is given, so a clock that is set back makes no page fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from packaging.utils import NormalizedName

from ..bounded_cache import BoundedCache
from ..upstream.values import Upstream
from .page_file import KeptPage

# How long an index may say "not here" for.
MISSING_SECONDS = 60.0
# However often clients ask, and whatever a page says of its freshness, no project is asked for more often than this.
AGAIN_SECONDS = 3.0
PAGES_BYTES = 64 << 20
MISSING_BYTES = 4 << 20
# Bytes of memory of a file on a page, about, and of everything else of the page.
FILE_BYTES, PAGE_BYTES = 1500, 2000


@dataclass(frozen=True, slots=True)
class Found:
    """A project as an index has it. ``age`` is in seconds, None while the page is fresh, and ``detail`` says why not.

    ``forwarded`` says why the index was asked for this answer (RFC 9211: ``miss``, ``stale``, ``request``), '' if not.
    """

    kept: KeptPage
    upstream: Upstream
    age: float | None = None
    detail: str = ""
    forwarded: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is given until ``until``; ``asked`` is when its index was asked last (both by the monotonic clock)."""

    found: Found
    until: float
    asked: float


class PageMemory:
    """Pages by project, which are fresh for ``fresh`` seconds at most, and which index is missing which project.

    ``again`` is the least time between two questions about a project. ``clock`` is monotonic, ``now`` since the epoch.
    """

    def __init__(
        self,
        fresh: float,
        *,
        again: float = AGAIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fresh = fresh
        self._again = again
        self.clock = clock
        self.now = now
        self._known: BoundedCache[NormalizedName, Known] = BoundedCache(PAGES_BYTES, share=1)
        self._missing: BoundedCache[tuple[str, NormalizedName], float] = BoundedCache(MISSING_BYTES)

    def get(self, project: NormalizedName) -> Known | None:
        """What is known of the project, even if it is out of date."""
        return self._known.get(project)

    def current(self, project: NormalizedName, *, revalidate: bool = False) -> Found | None:
        """What is given without a question; with ``revalidate`` only if there was one a moment ago."""
        known, now = self._known.get(project), self.clock()
        if known is None or now >= known.until or (revalidate and now >= known.asked + self._again):
            return None
        found = known.found
        return found if found.age is None else self.aged(found.kept, found.upstream, found.detail)

    def put(self, project: NormalizedName, found: Found, *, seconds: float | None = None) -> Found:
        """Give this for that many seconds, by default while it is fresh."""
        now, age = self.clock(), max(0.0, self.now() - found.kept.checked)
        if seconds is None:
            seconds = max(0.0, self._lifetime(found.kept) - age)
        asked = now if found.age is not None else now - age
        size = PAGE_BYTES + FILE_BYTES * (len(found.kept.page.files) + len(found.kept.former))
        # One that is too large is not taken, and must not leave an older one.
        self._known.drop(project)
        self._known.put(project, Known(found, now + seconds, asked), size=size)
        return found

    def drop(self, project: NormalizedName) -> None:
        """Forget a project."""
        self._known.drop(project)

    def is_fresh(self, kept: KeptPage) -> bool:
        """Whether a page may be given without a question."""
        return not kept.is_gone and 0.0 <= self.now() - kept.checked < self._lifetime(kept)

    def aged(self, kept: KeptPage, upstream: Upstream, detail: str) -> Found:
        """A page that is out of date, with its age now."""
        return Found(kept, upstream, max(0.0, self.now() - kept.checked), detail)

    def note_missing(self, upstream: str, project: NormalizedName) -> None:
        """This index said that it does not have the project."""
        self._missing.put((upstream, project), self.clock() + MISSING_SECONDS, size=0)

    def was_missing(self, upstream: str, project: NormalizedName, *, revalidate: bool = False) -> bool:
        """Whether this index said so within the last minute; with ``revalidate``, a moment ago."""
        until = self._missing.get((upstream, project))
        if until is not None and revalidate:
            until += self._again - MISSING_SECONDS
        return until is not None and self.clock() < until

    def _lifetime(self, kept: KeptPage) -> float:
        """For how many seconds after it was checked a page is fresh."""
        told = kept.page.max_age
        return self._fresh if told is None else min(self._fresh, max(told, self._again))
