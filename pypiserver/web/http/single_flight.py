"""One request does work that several requests need at once.

A page of 2,000 files takes 50 ms to render; without this, after an upload each of sixty clients would cause a render.

**Invariants:** a request takes a result only if the result is still valid, or its making began after the request came,
so a client sees its own upload; one request at a time queries a catalog or folder that fails, and the requests that
waited for it fail with it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...errors import Unavailable

Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _Flight(Generic[Value]):
    """The requests that want the same result: their number, and the outcome of the last attempt to make it."""

    requests: int = 0
    begun: int = 0
    failures: int = 0
    value: Value | None = None
    error: Unavailable = field(default_factory=Unavailable)
    turn: threading.Lock = field(default_factory=threading.Lock)


class SingleFlight(Generic[Value]):
    """Lets one request at a time make the result for a key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, current: Callable[[], Value | None], make: Callable[[], Value]) -> Value:
        """The result of ``make``, run by this request or another one; ``current`` returns a result that is still valid.

        Raises what ``make`` raises, and Unavailable when the attempt of another request, which this one waited for,
        failed.
        """
        with self._lock:
            flight = self._flights.setdefault(key, _Flight())
            flight.requests += 1
            begun, failures = flight.begun, flight.failures
        try:
            with flight.turn:
                if flight.failures > failures:
                    raise copy.copy(flight.error)
                value = flight.value if flight.begun > begun else None
                return value or current() or self._make(flight, make)
        finally:
            with self._lock:
                flight.requests -= 1
                if not flight.requests:
                    del self._flights[key]

    @staticmethod
    def _make(flight: _Flight[Value], make: Callable[[], Value]) -> Value:
        flight.begun += 1
        flight.value = None
        try:
            flight.value = value = make()
        except Unavailable as error:
            flight.failures += 1
            flight.error = error
            raise
        return value
