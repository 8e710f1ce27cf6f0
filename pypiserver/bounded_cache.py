"""Small caches of values that take little memory but cost a SQLite query, or parsing, to get again.

**Invariants:** a cache is bounded in bytes, keys included, because most keys are text from unknown clients.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
# The bytes of an entry without its key and value: its place in a table, and a tuple.
ENTRY_BYTES = 200
# The maximum number of kinds whose lines are remembered.
_MOST_KINDS = 1000


def weight(value: object) -> int:
    """The approximate bytes of memory of text, bytes, numbers, and tuples, sets or values of these."""
    size = sys.getsizeof(value)
    if isinstance(value, tuple | frozenset):
        return size + sum(map(weight, value))
    if is_dataclass(value):
        return size + sum(weight(getattr(value, each.name)) for each in fields(value))
    return size


class BoundedCache(Generic[Key, Value]):
    """Values by key; the oldest are dropped beyond ``limit`` bytes. Reading takes no lock.

    One value takes at most the limit divided by ``share``.
    """

    def __init__(self, limit: int, *, share: int = 16) -> None:
        self._limit = limit
        self._largest = limit // share
        self._size = 0
        self._values: dict[Key, tuple[Value, int]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, None if it is not in the cache."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: Key, value: Value, *, size: int) -> None:
        """Cache a value of ``size`` bytes, unless it alone takes too much of the limit."""
        size += ENTRY_BYTES + weight(key)
        if size > self._largest:
            return
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, size)
            self._size += size - before
            while self._size > self._limit:
                oldest = next(iter(self._values))
                self._size -= self._values.pop(oldest)[1]

    def drop(self, key: Key) -> None:
        """Forget a value, if it is in the cache."""
        with self._lock:
            self._size -= self._values.pop(key, (None, 0))[1]


class OnceLog:
    """Remembers what was logged, so that it is logged once, and again only after it was dropped."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self._known: BoundedCache[tuple[object, ...], bool] = BoundedCache(limit)

    def is_new(self, *words: object) -> bool:
        """Whether this is logged for the first time."""
        if self._known.get(words):
            return False
        self._known.put(words, True, size=0)
        return True


class Skipped:
    """Chooses the skipped files that get a line in the log with the reason: the first few of a kind; counts the others.

    A mirror's tree has an ``index.html`` for each project. ``each`` is how many files of a kind get a line; a kind is
    the ``rule`` that all of its files break.
    """

    def __init__(self, each: int = 10) -> None:
        self._each = each
        self._said: dict[tuple[int, str], set[tuple[str, str]]] = {}
        self._more: dict[tuple[int, str], int] = {}
        self._told: dict[tuple[int, str], int] = {}

    def is_said(self, root: int, path: str, reason: str, rule: str) -> bool:
        """Whether to log it now; if its kind was logged often enough, it is only counted."""
        kind = root, rule
        if kind not in self._said and len(self._said) >= _MOST_KINDS:
            return False
        said = self._said.setdefault(kind, set())
        if (path, reason) in said:
            return False
        if len(said) < self._each:
            said.add((path, reason))
            return True
        self._more[kind] = self._more.get(kind, 0) + 1
        return False

    def more(self) -> list[tuple[tuple[int, str], int]]:
        """(root, rule) and how many files beyond the logged ones, if that changed; counting starts again."""
        counts, self._more = self._more, {}
        changed = [(kind, count) for kind, count in counts.items() if self._told.get(kind) != count]
        self._told = counts
        return changed


def short_texts(*, entries: int, longest: int) -> Callable[[Callable[[str], Value]], Callable[[str], Value]]:
    """Cache a function's results for texts of up to ``longest`` characters, ``entries`` of them at most.

    Half as fast as ``functools.lru_cache``, which keeps keys of any length.
    """

    def decorate(function: Callable[[str], Value]) -> Callable[[str], Value]:
        known = functools.lru_cache(maxsize=entries)(function)

        @functools.wraps(function)
        def remembering(text: str) -> Value:
            return known(text) if len(text) <= longest else function(text)

        return remembering

    return decorate
