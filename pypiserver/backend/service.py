"""The background threads of a process that serves: started by the first use, once in each process, watched, and ended.

**Invariants:** no thread runs before that, so that a server may construct the application and then fork; a process
forked from one with threads starts its own; no exception ends a thread, and a thread that ended for any other reason is
started again; a process whose rounds fail or hang gives the leader lock to another one, and reports that its data may
be stale.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial

from ..catalog import FAILURES, Catalog
from ..catalog.leader_lock import LeaderLock
from ..errors import CatalogUnavailable, Unavailable
from ..process import PerProcess
from ..supervisor import Loop, Pulse

Parts = Mapping[str, Callable[[], None]]
_LOG = logging.getLogger(__name__)
# Seconds between two checks of the threads.
GUARD_SECONDS = 1.0
# Seconds that other processes have to take the lock before this one may take it again.
YIELD_SECONDS = 5.0


class BackgroundService(ABC):
    """Base of both indexers: threads that end together, and the leader lock by which one process works for all."""

    def __init__(self, catalog: Catalog, lock: LeaderLock) -> None:
        self.catalog = catalog
        self._lock = lock
        self._recover_lock = threading.Lock()
        self._loops = PerProcess(self._make_loops)
        self._reset()

    def _reset(self) -> None:
        """Forget the state that was inherited from another process."""
        self._closing = threading.Event()
        self._threads: list[Loop] = []
        self._pulse = Pulse()
        self._was_stale = False

    @abstractmethod
    def _parts(self) -> Parts:
        """The functions to run in this process, by the name of the thread; called once in each process."""

    @abstractmethod
    def _begin_again(self, name: str) -> None:
        """Recover from an unexpected error in the thread of that name: its state may be wrong, so it is read again."""

    def recover(self, error: Exception, generation: int) -> None:
        """Replace a damaged or missing catalog; raises CatalogUnavailable when the caller has to wait for it.

        ``generation`` is that of the connections that failed: if they were replaced since, there is nothing to do. What
        else fails in a database of many recovers by itself.
        """
        connections = self.catalog.connections
        with self._recover_lock:
            if generation != connections.generation:
                return
            if connections.is_lost(error):
                with self._replacing():
                    try:
                        connections.recover(error)
                    except FAILURES as failure:
                        # Its folder is missing or not accessible: the next attempt looks for the file of that name.
                        raise CatalogUnavailable(f"The catalog fails: {failure}. Try again in a moment.") from failure
            elif connections.is_disposable:
                raise CatalogUnavailable(f"The catalog fails: {error}. Try again in a moment.") from error

    def _replacing(self) -> AbstractContextManager[None]:
        """What surrounds the replacement of a lost catalog, which is empty afterwards."""
        return contextlib.nullcontext()

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan of any process began (seconds since the epoch), and how long it took (seconds)."""
        return self._lock.last_scan()

    def start(self) -> None:
        """Start the threads in this process; a second call has no effect."""
        if self._loops.value is None:
            self._loops.get()
            self._revive()

    def _make_loops(self) -> list[Loop]:
        """The threads of this process, not started yet."""
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
        """Start threads that are not running; gives whether all of them run."""
        if self._closing.is_set():
            return True
        # Try to start each of them, even when the one before it failed to start.
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
        """Keep the threads running, and release the lock when the scanning thread makes no progress."""
        self._revive()
        if self._pulse.is_patient():
            # A long step without progress was announced.
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
        """Note that a round succeeded or a long one progressed; the next beat may come ``patience`` seconds later."""
        self._pulse.beat(patience)
        self._touch()

    def _touch(self) -> None:
        # Followers accept the heartbeat until it is old; a lock that cannot be touched fails in the next round.
        with contextlib.suppress(OSError, ValueError):
            self._lock.touch()

    def _stale(self) -> str:
        """Why the data may be stale, '' when it is not; starts threads that ended."""
        self._revive()
        if not self._pulse.is_stale():
            return ""
        return "Changes of the packages are not being followed now. Try again in a minute."

    def _refuse_stale(self) -> None:
        """Raise Unavailable when no round succeeded for too long; starts threads that ended."""
        if reason := self._stale():
            raise Unavailable(reason)

    def _end(self, *wake: threading.Event) -> bool:
        """End the threads, and set these events, for which they may wait; gives whether this process had threads."""
        if self._loops.value is None:
            return False
        for event in (self._closing, *wake):
            event.set()
        for thread in self._threads:
            thread.join(timeout=10)
        return True

    def _give_up(self) -> None:
        """Release the leader lock, so that another process works for all."""
        self._lock.release()
        self._loops.forget()
