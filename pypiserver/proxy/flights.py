"""One question to other indexes for all requests that want its answer: what is under way, and who waits.

**Invariants:** every wait has a limit. Under a server whose threads wait, a limited number of requests waits for long,
and all others for a moment, so that a slow index leaves threads to other requests; a request that is postponed holds
none.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from ..deferred import Postponed
from ..errors import PypiServerError, Unavailable
from .lanes import Waiters

Value = TypeVar("Value")
# A request for which there is no place waits this long, and not at all if a question has been under way for longer:
# most are answered sooner.
MOMENT_SECONDS = 1.0


class Waiting(NamedTuple):
    """How a request waits: its thread does, or it is postponed and asked again with ``resumed``."""

    postpones: bool = False
    resumed: object = None


IN_THREAD = Waiting()


@dataclass(slots=True, eq=False)
class Flight(Generic[Value]):
    """A question under way: when it began (by the clock), and its outcome once it is done.

    ``is_forced`` says that the index itself is asked. ``last`` is what was known before, None for nothing.
    """

    key: Hashable
    began: float
    is_forced: bool = False
    last: Value | None = None
    value: Value | None = None
    error: PypiServerError | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _waiters: Waiters = field(default_factory=Waiters)

    @property
    def is_done(self) -> bool:
        """Whether the outcome is there."""
        return self._done.is_set()

    def when_ready(self, call: Callable[[], object]) -> None:
        """As of :class:`..deferred.UnderWay`."""
        self._waiters.when(self._done.is_set, call)

    def wait(self, seconds: float) -> bool:
        """Wait in this thread; returns whether it is done."""
        return self._done.wait(max(0.0, seconds))

    def end(self) -> None:
        """The outcome is there: wake all that wait."""
        self._done.set()
        self._waiters.tell()

    def outcome(self) -> Value:
        """The value; raises the failure."""
        if self.error is not None:
            raise copy.copy(self.error)
        if self.value is None:
            raise Unavailable("The question to another index failed; the server's log says why.", public=True)
        return self.value


class Flights(Generic[Value]):
    """Questions by key; at most ``places`` requests wait for long in threads of theirs. ``clock`` is monotonic."""

    def __init__(self, places: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places = places
        self._flights: dict[Hashable, Flight[Value]] = {}

    def join(self, key: Hashable, *, is_forced: bool = False) -> tuple[Flight[Value], bool]:
        """The flight for this key, and whether this request must lead it: have it answered, and call :meth:`end`."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key, self._clock(), is_forced)
            return flight, True

    def end(self, flight: Flight[Value]) -> None:
        """The outcome is there."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        flight.end()

    def wait(self, flight: Flight[Value], seconds: float, waiting: Waiting) -> bool:
        """Wait for a flight until ``seconds`` after it began; returns whether it is done. May raise Postponed."""
        left = flight.began + seconds - self._clock()
        if flight.is_done or left <= 0:
            return flight.is_done
        if waiting.postpones and waiting.resumed is None:
            raise Postponed(flight, left)
        with self._lock:
            oldest = next(iter(self._flights.values()), flight).began
            has_place = self._places > 0
            if has_place:
                self._places -= 1
        if not has_place:
            return flight.wait(min(left, oldest + MOMENT_SECONDS - self._clock()))
        try:
            return flight.wait(left)
        finally:
            with self._lock:
                self._places += 1

    def is_idle(self) -> bool:
        """Whether no question is under way."""
        return not self._flights
