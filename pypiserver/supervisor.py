"""Our threads: an exception in a loop is logged, and the loop continues; a failure of work that runs once is logged.

**Invariants:** a thread ends only when told to; a repeated failure is logged once in ten minutes, and the pause after
it grows, up to a second; a thread that ended all the same is noticed by a flag that a request reads at no cost, and is
started again.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
import traceback
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
# After a failure a loop waits for this many seconds, then twice as long, up to a second.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
# A loop that ran for this many seconds before it failed starts with the first pause again.
SETTLED_SECONDS = 10.0
SAY_AGAIN_SECONDS = 600.0
KINDS = 64
# Without a successful round for this many seconds our data count as stale: twice the time in which a new file appears.
STALE_SECONDS = 15.0
# Before that, another process gets the lock, because it may do better.
LATE_SECONDS = 10.0

_said: dict[tuple[str, str, str, int], float] = {}


def _nothing(*_: object) -> None:
    """Do nothing: the default for both callbacks."""


def say(name: str, error: BaseException, then: str) -> None:
    """Log the exception that ended a round of the thread ``name``, with its traceback; each kind once in ten minutes.

    Raises nothing, because logging may fail for the same reason (memory).
    """
    with contextlib.suppress(Exception):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ("", 0)
        kind, now = (name, type(error).__name__, *where), time.monotonic()
        if now - _said.get(kind, -SAY_AGAIN_SECONDS) < SAY_AGAIN_SECONDS:
            return
        if len(_said) >= KINDS:
            _said.clear()
        _said[kind] = now
        _LOG.error("The thread %s failed unexpectedly; %s.", name, then, exc_info=error)


class Loop:
    """A thread that runs ``work`` until that returns, or until ``closing``; after an exception it runs it again.

    ``failed`` is called with each exception, and ``ended`` if the thread ends unexpectedly. Constructing it starts
    nothing.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        *,
        closing: threading.Event | None = None,
        failed: Callable[[Exception], object] = _nothing,
        ended: Callable[[], object] = _nothing,
    ) -> None:
        self.name = name
        self._work = work
        self._closing = threading.Event() if closing is None else closing
        self._failed = failed
        self._ended = ended
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_done = False

    def start(self) -> bool:
        """Start the thread, or restart one that ended; returns whether it runs. If it could not start, call again."""
        if self.is_alive():
            return True
        with self._starting:
            if self.is_alive():
                return True
            if self._thread is not None and not self._closing.is_set():
                _LOG.error("The thread %s ended unexpectedly; it is begun again.", self.name)
            thread = threading.Thread(target=self._run, name=f"pypiserver-{self.name}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                say(self.name, error, "it is begun later")
                return False
            self._thread = thread
            return True

    def is_alive(self) -> bool:
        """Whether the thread runs, or has done all its work."""
        return self._is_done or (self._thread is not None and self._thread.is_alive())

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread to end; ``timeout`` is in seconds."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._closing.is_set():
                began = time.monotonic()
                try:
                    self._work()
                    break
                except Exception as error:  # noqa: BLE001 - logged with its traceback
                    say(self.name, error, "it continues in a moment")
                    self._tell(error)
                    # Release what the frames hold: a connection within a transaction would block all others, and the
                    # frames of Python 3.11 refer to themselves.
                    traceback.clear_frames(error.__traceback__)
                    gc.collect()
                if time.monotonic() - began > SETTLED_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                self._closing.wait(pause)
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            self._is_done = True
        finally:
            if not self._is_done:
                self._ended()

    def _tell(self, error: Exception) -> None:
        try:
            self._failed(error)
        except Exception as another:  # noqa: BLE001 - logged with its traceback
            say(self.name, another, "it continues in a moment")


def once(name: str, work: Callable[[], object]) -> bool:
    """Do some work in a thread of its own; its exception is logged. Returns whether a thread was available."""

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            say(name, error, "what it was about to do is not done")

    try:
        threading.Thread(target=run, name=f"pypiserver-{name}", daemon=True).start()
    except (RuntimeError, MemoryError) as error:
        say(name, error, "what it was about to do is not done")
        return False
    return True


class Pulse:
    """When a loop last made progress. ``until`` (by ``clock``) is when its data become stale."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._patience = 0.0
        self.until = self._last + STALE_SECONDS

    def beat(self, patience: float = 0.0) -> None:
        """Record that a round succeeded, or a long one progressed; the next step may take ``patience`` seconds more."""
        self._last, self._patience = self._clock(), patience
        self.until = self._last + STALE_SECONDS + patience

    def expect(self, patience: float) -> None:
        """The current step may take ``patience`` seconds more, counted from the last beat."""
        self._patience = patience
        self.restore()

    def call(self) -> None:
        """Make code that compares the time with ``until`` check the loop now."""
        self.until = 0.0

    def restore(self) -> None:
        """Undo :meth:`call`."""
        self.until = self._last + STALE_SECONDS + self._patience

    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last

    def is_late(self) -> bool:
        """Whether another process should take over."""
        return self.age() > LATE_SECONDS + self._patience

    def is_stale(self) -> bool:
        """Whether our data count as stale."""
        return self.age() > STALE_SECONDS + self._patience

    def is_patient(self) -> bool:
        """Whether a step that was announced as long is running, within its time."""
        return self._patience > 0 and not self.is_late()
