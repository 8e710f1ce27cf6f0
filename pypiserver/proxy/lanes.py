"""Threads that ask other indexes: a number of them for each index, and a number of requests that wait for them.

**Invariants:** a slow index holds its own threads and no others; no thread exists before there is work,
and one that has none left ends after a second; work that finds all places taken is refused at once.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import PypiServerError, Unavailable
from ..supervisor import once, say

Value = TypeVar("Value")
Work = Callable[[], object]
# Whether its time has come, and what is called then.
_Waiter = tuple[Callable[[], bool], Callable[[], object]]
LINGER_SECONDS = 1.0


class Lanes:
    """``most`` threads for each lane (an index), and ``waiting`` pieces of work that wait for them.

    A thread without work is there for ``linger`` more seconds: beginning one takes longer than many questions do.
    """

    def __init__(self, most: int, *, waiting: int = 256, linger: float = LINGER_SECONDS) -> None:
        self._most = most
        self._waiting = waiting
        self._linger = linger
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()

    def run(self, lane: str, work: Work) -> None:
        """Do the work in a thread, at once or when one is free; raises Unavailable if too much waits already."""
        with self._lock:
            here = self._lanes.setdefault(lane, _Lane(threading.Condition(self._lock)))
            free = here.starting + here.idle - len(here.queue)
            if free > 0 or here.threads >= self._most:
                if free <= -self._waiting:
                    raise Unavailable(
                        f"Too many requests to the index {lane} are under way or wait ({here.threads} and "
                        f"{len(here.queue)}).",
                        public=f"Too much is being fetched from the index {lane} right now. Try again in a moment.",
                        kind="too-many",
                    )
                here.queue.append(work)
                here.has_work.notify()
                return
            here.threads += 1
            here.starting += 1
            # Not an argument of the thread, which would keep it, and what it refers to, as long as it lives.
            here.queue.append(work)
        if not once(f"fetch-{lane}", partial(self._run, here, lane)):
            with self._lock:
                here.threads -= 1
                here.starting -= 1
                if work not in here.queue:
                    return
                here.queue.remove(work)
            raise Unavailable("No thread can be started to ask another index.", kind="too-many")

    def _run(self, here: _Lane, lane: str) -> None:
        with self._lock:
            here.starting -= 1
            work = here.next(self._linger)
        while work is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                say(f"fetch-{lane}", error, "the requests that wait for it fail")
            # What it refers to must not live on while there is nothing to do.
            work = None
            with self._lock:
                work = here.next(self._linger)


class _Lane:
    """The threads that work for an index, ``starting`` and ``idle`` ones without work, and what waits for them."""

    def __init__(self, has_work: threading.Condition) -> None:
        self.has_work = has_work
        self.threads = 0
        self.starting = 0
        self.idle = 0
        self.queue: deque[Work] = deque()

    def next(self, seconds: float) -> Work | None:
        """Work for the thread that asks, which ends if there is none for some seconds; with the lock held."""
        if not self.queue:
            self.idle += 1
            self.has_work.wait_for(lambda: bool(self.queue), seconds)
            self.idle -= 1
        if self.queue:
            return self.queue.popleft()
        self.threads -= 1
        return None


class Waiters:
    """Who waits for something that another thread does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._calls: list[_Waiter] = []

    def when(self, is_ready: Callable[[], bool], call: Callable[[], object]) -> None:
        """Call once ``is_ready`` is true, at once if it is so already."""
        with self.lock:
            if not is_ready():
                self._calls.append((is_ready, call))
                return
        call()

    def tell(self) -> None:
        """Something changed: call those whose time has come. The lock must not be held."""
        if not self._calls:
            return
        with self.lock:
            due: list[_Waiter] = []
            waiting: list[_Waiter] = []
            for each in self._calls:
                (due if each[0]() else waiting).append(each)
            self._calls = waiting
        for _, call in due:
            call()


def wait_for(when_ready: Callable[[Callable[[], object]], object], seconds: float) -> bool:
    """Wait in this thread until something is ready; returns whether it is."""
    done = threading.Event()
    when_ready(done.set)
    return done.wait(seconds)


class Job(Generic[Value]):
    """A small result that another thread makes; it has one, or an error."""

    def __init__(self) -> None:
        self._waiters = Waiters()
        self._value: Value | None = None
        self._error: PypiServerError | None = None
        self.is_done = False

    def run(self, make: Callable[[], Value]) -> None:
        """Make the result; raises nothing of :mod:`..errors`."""
        try:
            self._value = make()
        except PypiServerError as error:
            self._error = error
        except BaseException:
            self._error = Unavailable("Asking another index failed unexpectedly.")
            raise
        finally:
            self.is_done = True
            self._waiters.tell()

    def when_ready(self, call: Callable[[], object]) -> None:
        """As of :class:`..deferred.UnderWay`."""
        self._waiters.when(lambda: self.is_done, call)

    def result(self) -> Value:
        """The result; raises the error, and Unavailable if there is none yet."""
        if self._error is not None:
            raise copy.copy(self._error)
        if not self.is_done:
            raise Unavailable(
                "Another index takes too long to respond.",
                public="Another index takes too long to respond. Try again in a moment.",
                kind="slow",
            )
        return self._value  # type: ignore[return-value]


class Jobs:
    """Results that threads of ``lanes`` make, each once for all who want it at the same time."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, Job[Any]] = {}

    def begin(self, key: Hashable, lane: str, make: Callable[[], Value]) -> Job[Value]:
        """The result under this key, which a thread makes from now on; raises Unavailable if too much waits."""
        with self._lock:
            job: Job[Value] | None = self._jobs.get(key)
            if job is None:
                job = Job()
                self._lanes.run(lane, partial(self._run, key, job, make))
                self._jobs[key] = job
        return job

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._jobs

    def _run(self, key: Hashable, job: Job[Any], make: Callable[[], Any]) -> None:
        try:
            job.run(make)
        finally:
            with self._lock:
                self._jobs.pop(key, None)
