"""The id of this process, and values that each process has for itself.

``os.getpid`` is a system call, a twelfth of the cost of a page.

**Invariants:** a fork updates the id in the child, so the id is never wrong; the child neither uses nor closes the
values of its parent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
_ids = [os.getpid()]
_holders: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()


def process_id() -> int:
    """The id of this process."""
    return _ids[0]


class PerProcess(Generic[Value]):
    """A value that each process makes for itself, by ``make``, when it first asks for it.

    ``value`` is the value of this process, None before. The copy of the parent's value is kept and not used: it may be
    a connection of the parent's, or a lock held by a thread that was not copied.
    """

    def __init__(self, make: Callable[[], Value]) -> None:
        self.value: Value | None = None
        self._make = make
        self._lock = threading.Lock()
        self._inherited: list[Value] = []
        _holders.add(self)

    def get(self) -> Value:
        """The value of this process, made now if necessary."""
        value = self.value
        return value if value is not None else self._begin()

    def forget(self) -> Value | None:
        """Let the next call of :meth:`get` make a new value; returns the value that this process had."""
        value, self.value = self.value, None
        return value

    def _begin(self) -> Value:
        with self._lock:
            if self.value is None:
                self.value = self._make()
            return self.value

    def _forked(self) -> None:
        self._lock = threading.Lock()
        value = self.forget()
        if value is not None:
            self._inherited.append(value)


def _forked() -> None:
    _ids[0] = os.getpid()
    for holder in list(_holders):
        holder._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
