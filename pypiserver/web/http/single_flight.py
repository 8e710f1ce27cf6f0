"""Work that several requests want at once, done by one of them.

A page of 2,000 files takes 50 ms to make; when a file was added and sixty clients ask, each would make it. The rules to
keep: a result is taken only when it is still right, or was begun after the request came, so a client sees its own
upload; a catalog or a folder that fails is asked by one at a time, and those who waited for it fail with it.
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
    """The requests that want one thing: how many they are, and what came of the last attempt to make it."""

    requests: int = 0
    begun: int = 0
    failures: int = 0
    value: Value | None = None
    error: Unavailable = field(default_factory=Unavailable)
    turn: threading.Lock = field(default_factory=threading.Lock)


class SingleFlight(Generic[Value]):
    """Lets one request at a time make what has a key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, current: Callable[[], Value | None], make: Callable[[], Value]) -> Value:
        """What ``make`` makes, made by this request or another one; ``current`` is what was made and is still right.

        Raises what ``make`` raises, and Unavailable when the attempt that was waited for did.
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
