"""Pages of other indexes for requests: fresh for a while, then asked for again by one request for all.

**Invariants:** "not found" is raised only when every index that may have the project said so just now; an index is
asked by threads of its own, which end soon after its last question; a request that waits is given the last
page after a moment, if there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import replace

from packaging.utils import NormalizedName

from ..backend.cache_store import CacheStore
from ..errors import PypiServerError, Unavailable
from ..upstream.values import RemotePage, Upstream
from .flights import IN_THREAD, Flight, Flights, Waiting
from .kept_pages import KeptPages
from .lanes import Lanes
from .page_file import KeptPage
from .page_memory import AGAIN_SECONDS, Found, PageMemory
from .revalidation import Revalidation, not_here
from .source import BUSY
from .upstreams import Upstreams

OFFLINE, SLOW = "offline", "upstream-slow"
FRESH_SECONDS = 600.0
# A client waits this long for an index when there is an older page, and this long at most when there is none.
PATIENCE_SECONDS = 3.0
LONGEST_SECONDS = 90.0


def _nothing(page: RemotePage) -> None:
    """Do nothing."""


class Pages:
    """The pages of ``upstreams``, kept in ``store``.

    ``fresh`` is how long a page is given without a question (seconds). ``waiting`` requests at most hold a thread for
    long while they wait for other indexes; ``fetches`` questions at most are under way for each index. ``offline`` is
    whether none is ever asked. ``noted`` is called with each new page. ``clock`` is monotonic, ``now`` since the epoch.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        store: CacheStore,
        *,
        fresh: float = FRESH_SECONDS,
        waiting: int = 16,
        fetches: int = 32,
        offline: bool = False,
        patience: float = PATIENCE_SECONDS,
        again: float = AGAIN_SECONDS,
        noted: Callable[[RemotePage], object] = _nothing,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._upstreams = upstreams
        self._fresh = fresh
        self._offline = offline
        self._patience = patience
        self._clock = clock
        self._memory = PageMemory(fresh, again=again, clock=clock, now=now)
        self._questions = Revalidation(upstreams, KeptPages(store), self._memory, noted)
        self._flights: Flights[Found] = Flights(waiting, clock=clock)
        # As many again may wait for an index after the first one.
        self._lanes = Lanes(2 * fetches)

    def known(self, project: NormalizedName) -> Found | None:
        """What :meth:`get` would return, if it is in memory and needs no question; waits for nothing."""
        return self._memory.current(project)

    def get(self, project: NormalizedName, *, revalidate: bool = False, waiting: Waiting = IN_THREAD) -> Found:
        """The project's page; with ``revalidate`` its index is asked now, unless it was asked a moment ago.

        Raises NotFound, Unavailable if that is not certain, and Postponed if ``waiting`` says so.
        """
        resumed = waiting.resumed
        if isinstance(resumed, Flight) and resumed.key == project and (resumed.is_forced or not revalidate):
            return self._outcome(resumed)
        found = self._memory.current(project, revalidate=revalidate)
        if found is not None:
            return found
        if self._offline:
            return self._offline_page(project)
        if not revalidate and self._memory.get(project) is None and self._is_missing(project):
            raise not_here(project)
        found = self._renewed(project, revalidate, waiting)
        if revalidate and not found.forwarded and found.age is None:
            # It joined another request's question, which was answered from what is kept.
            found = self._renewed(project, revalidate, waiting)
        return found

    def last(self, project: NormalizedName, upstream: str) -> KeptPage | None:
        """The page that this index gave last, and the files it had before; asks no index."""
        source = next((each for each in self._upstreams.of(project) if each.name == upstream), None)
        return None if source is None else self._questions.kept(source, project)

    def indexes(self, project: NormalizedName) -> tuple[Upstream, ...]:
        """The indexes that this project could come from, in order."""
        return tuple(each.upstream for each in self._upstreams.of(project))

    def close(self, seconds: float = 2.0) -> None:
        """Wait a moment for questions that are under way; what is not finished then is not kept."""
        deadline = time.monotonic() + seconds
        while not self._flights.is_idle() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._upstreams.close()

    def _renewed(self, project: NormalizedName, revalidate: bool, waiting: Waiting) -> Found:
        flight, is_leader = self._flights.join(project, is_forced=revalidate)
        if is_leader:
            self._lead(project, flight)
        # Without an older page there is nothing to give meanwhile.
        seconds = LONGEST_SECONDS if flight.last is None or revalidate else self._patience
        self._flights.wait(flight, seconds, waiting)
        return self._outcome(flight)

    def _lead(self, project: NormalizedName, flight: Flight[Found]) -> None:
        """Have the question answered: from what is kept, at once if no index is asked, else by a thread."""
        is_begun = False
        try:
            unkept: set[str] = set()
            flight.last = last = self._questions.latest(project, unkept=unkept)
            source = self._questions.first(project, force=flight.is_forced)
            if last is not None and last.age is None and not flight.is_forced:
                flight.value = last
            elif source is None or source.refuses(project):
                flight.value = self._questions.ask(project, force=flight.is_forced)
            else:
                is_begun = self._begun(source.name, project, flight, unkept)
        except PypiServerError as error:
            flight.error = error
        finally:
            if not is_begun:
                self._flights.end(flight)

    def _begun(self, lane: str, project: NormalizedName, flight: Flight[Found], unkept: Container[str]) -> bool:
        """Whether a thread asks, or will; if not, there is an older page. Raises Unavailable."""
        try:
            self._lanes.run(lane, lambda: self._answer(project, flight, unkept))
        except Unavailable:
            if flight.last is None:
                raise
            return False
        return True

    def _answer(self, project: NormalizedName, flight: Flight[Found], unkept: Container[str]) -> None:
        try:
            flight.value = self._questions.ask(project, force=flight.is_forced, unkept=unkept)
        except PypiServerError as error:
            flight.error = error
        finally:
            self._flights.end(flight)

    def _outcome(self, flight: Flight[Found]) -> Found:
        """What a request gets that waits no longer."""
        is_lost = flight.is_done and flight.value is None and flight.error is None
        if flight.last is not None and (is_lost or not flight.is_done):
            # The question could not be asked, failed unexpectedly, or is not answered yet.
            return self._memory.aged(flight.last.kept, flight.last.upstream, BUSY if is_lost else SLOW)
        if not flight.is_done:
            raise Unavailable("Another index takes too long to respond. Try again in a moment.", public=True, kind=SLOW)
        return flight.outcome()

    def _is_missing(self, project: NormalizedName) -> bool:
        """Whether every index said within the last minute that it does not have the project."""
        return all(self._memory.was_missing(each.name, project) for each in self._upstreams.of(project))

    def _offline_page(self, project: NormalizedName) -> Found:
        """The last page, however old."""
        last = self._questions.latest(project)
        if last is not None:
            found = last if last.age is None else replace(last, detail=OFFLINE)
            return self._memory.put(project, found, seconds=self._fresh)
        if not self._upstreams.of(project):
            raise not_here(project)
        raise Unavailable(
            f"The project {project} is not kept here, and this server asks no other index (offline).",
            public=True,
            is_passing=False,
            kind=OFFLINE,
            project=project,
        )
