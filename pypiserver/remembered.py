"""A small bounded memory of answers that are cheap to keep and cost a question to SQLite otherwise."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, the oldest forgotten beyond a total cost of ``limit``; reading takes no lock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cost = 0
        self._values: dict[Key, tuple[Value, int]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, None when it is not remembered."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: Key, value: Value, *, cost: int = 1) -> None:
        """Remember a value, unless it alone costs more than a sixteenth of the limit."""
        if cost > self._limit // 16:
            return
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, cost)
            self._cost += cost - before
            while self._cost > self._limit:
                oldest = next(iter(self._values))
                self._cost -= self._values.pop(oldest)[1]
