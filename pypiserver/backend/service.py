"""Threads of the process that serves: begun by whoever needs them first, once in each process, watched, and ended.

The rules to keep: nothing runs before that, so that a server may fork with an application it has made; what was forked
from a process with threads begins anew; no exception ends a thread, one that ended all the same is begun again; a
process whose rounds fail, or hang, gives the lock to another one and says that what it knows is old.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

from ..catalog.leader_lock import LeaderLock
from ..errors import Unavailable
from ..process import PerProcess
from ..supervisor import Loop, Pulse

Parts = Mapping[str, Callable[[], None]]
_LOG = logging.getLogger(__name__)
# How often the threads are looked after.
GUARD_SECONDS = 1.0
# How long another process may try for the lock that was given away.
YIELD_SECONDS = 5.0


class BackgroundService(ABC):
    """What both watches are made on: threads that end together, and the lock by which one process works for all."""

    def __init__(self, lock: LeaderLock) -> None:
        self._lock = lock
        self._recover_lock = threading.Lock()
        self._loops = PerProcess(self._make_loops)
        self._reset()

    def _reset(self) -> None:
        """Know nothing of what another process did."""
        self._closing = threading.Event()
        self._threads: list[Loop] = []
        self._pulse = Pulse()
        self._was_stale = False

    @abstractmethod
    def _parts(self) -> Parts:
        """Called as this process begins: what is to run, by the name of its thread."""

    @abstractmethod
    def _begin_again(self, name: str) -> None:
        """The thread of that name met what was not expected: what it knows may be wrong, and is looked at again."""

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan began (seconds since the epoch) and how long it took, in whichever process it was."""
        return self._lock.last_scan()

    def start(self) -> None:
        """Start the threads in this process; a second call does nothing."""
        if self._loops.value is None:
            self._loops.get()
            self._revive()

    def _make_loops(self) -> list[Loop]:
        """What is to run in this process."""
        self._reset()
        self._lock.forget()
        parts = {**self._parts(), "guard": self._guard}
        pulse, closing = self._pulse, self._closing
        self._threads = [
            Loop(name, work, closing=closing, failed=partial(self._met, name), ended=pulse.call)
            for name, work in parts.items()
        ]
        return self._threads

    def _met(self, name: str, error: Exception) -> None:
        self._begin_again(name)

    def _revive(self) -> bool:
        """Begin again what ended; gives whether all of it runs."""
        if self._closing.is_set():
            return True
        # Each of them is to be begun, whether the one before it could be or not.
        dead = [loop for loop in self._threads if not loop.start()]
        if dead:
            self._pulse.call()
        else:
            self._pulse.restore()
        return not dead

    def _guard(self) -> None:
        while not self._closing.wait(GUARD_SECONDS):
            self._look_after()

    def _look_after(self) -> None:
        """See that the threads run, and give the lock away when the one that scans does not get on."""
        self._revive()
        if self._pulse.is_patient():
            # What takes long without a word was announced.
            self._touch()
        elif self._pulse.is_late() and self._lock.is_held() and self._lock.give_way(YIELD_SECONDS):
            age = self._pulse.age()
            _LOG.error("No round succeeded for %.0f seconds; another process may try to follow the changes.", age)
        is_stale = self._pulse.is_stale()
        if is_stale and not self._was_stale:
            _LOG.error("Changes have not been followed for %.0f seconds; requests are 503.", self._pulse.age())
        elif self._was_stale and not is_stale:
            _LOG.warning("Changes are followed again.")
        self._was_stale = is_stale

    def _beat(self, patience: float = 0.0) -> None:
        """A round succeeded, or a long one came further; the next word may take ``patience`` seconds more."""
        self._pulse.beat(patience)
        self._touch()

    def _touch(self) -> None:
        # Who follows has until the heartbeat is old; a lock that cannot be touched says so at the next round.
        with contextlib.suppress(OSError, ValueError):
            self._lock.touch()

    def _stale(self) -> str:
        """Why what is known may be old, empty when it is not; begins again what ended."""
        self._revive()
        if not self._pulse.is_stale():
            return ""
        return "Changes of the packages are not being followed now. Try again in a minute."

    def _refuse_stale(self) -> None:
        """Raise Unavailable when no round succeeded for too long; begins again what ended."""
        if reason := self._stale():
            raise Unavailable(reason)

    def _end(self, *wake: threading.Event) -> bool:
        """End the threads, which may wait for these events too; gives whether this process had any."""
        if self._loops.value is None:
            return False
        for event in (self._closing, *wake):
            event.set()
        for thread in self._threads:
            thread.join(timeout=10)
        return True

    def _give_up(self) -> None:
        """Let another process work for all."""
        self._lock.release()
        self._loops.forget()
