"""Threads of the process that serves: begun by whoever needs them first, once in each process, and ended.

The rules to keep: nothing runs before that, so that a server may fork with an application it has made; what was forked
from a process with threads begins anew.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from .catalog.lease import Lease
from .scanlock import ScanLock

Parts = Mapping[str, Callable[[], None]]


class Background(ABC):
    """What both watches are made on: threads that end together, and the lock by which one process works for all."""

    def __init__(self, lock: ScanLock | Lease) -> None:
        self._lock = lock
        self._start_lock = threading.Lock()
        self._recover_lock = threading.Lock()
        self._pid = -1
        self._reset()

    def _reset(self) -> None:
        """Know nothing of what another process did."""
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def _parts(self) -> Parts:
        """Called as this process begins: what is to run, by the name of its thread."""

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan began (seconds since the epoch) and how long it took, in whichever process it was."""
        return self._lock.last_scan()

    def start(self) -> None:
        """Start the threads in this process; a second call does nothing."""
        with self._start_lock:
            if self._pid == os.getpid():
                return
            self._reset()
            self._lock.forget()
            self._pid = os.getpid()
            for name, target in self._parts().items():
                thread = threading.Thread(target=target, name=f"pypiserver-{name}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _end(self, *wake: threading.Event) -> bool:
        """End the threads, which may wait for these events too; gives whether this process had any."""
        if self._pid != os.getpid():
            return False
        for event in (self._closing, *wake):
            event.set()
        for thread in self._threads:
            thread.join(timeout=10)
        return True

    def _give_up(self) -> None:
        """Let another process work for all."""
        self._lock.release()
        self._pid = -1
