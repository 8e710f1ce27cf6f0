"""What the parent process does about granian's workers: it replaces dead ones, ends all, and says so in our words.

**Invariants:** a dead worker is replaced, however often one dies (granian itself ends at the second death within five
seconds), unless none can serve; a worker that ends within its time is not reported.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from .contract import GRACE_SECONDS, OUTLASTED

# Seconds between checks of the workers, in addition to the deaths that granian reports.
LOOK_SECONDS = 1.0
SHORT_SECONDS = 0.001
# Seconds. A worker that lived shorter than the first is replaced after a pause, which doubles up to the last.
LIVED_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
# This many deaths of workers before any of them served mean that they cannot serve.
ATTEMPTS = 3
_LOG = logging.getLogger(__name__)


def supervise(
    server: Any,
    replace: Callable[[list[int]], object],
    has_served: threading.Event,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Granian's main loop: replace dead workers until a signal to end, then return.

    ``server`` is a Granian whose workers run; ``replace`` restarts the workers of these numbers. A worker that died
    soon after its start is replaced after a pause, so that a loop of deaths does not use up a core. If workers die
    before any of them has served, it returns, because they cannot serve.
    """
    pause, failed = 0.0, 0
    began = [time.monotonic()] * len(server.wrks)
    while not server.interrupt_signal:
        server.main_loop_interrupt.wait(LOOK_SECONDS)
        server.main_loop_interrupt.clear()
        dead = [number for number, worker in enumerate(server.wrks) if not worker.is_alive()]
        if server.interrupt_signal or not dead:
            continue
        failed += 1
        if not has_served.is_set() and failed >= ATTEMPTS:
            _LOG.error("The workers die as they start; the server ends.")
            return
        lived = min(time.monotonic() - began[number] for number in dead)
        pause = 0.0 if lived >= LIVED_SECONDS else min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * pause))
        _LOG.error("%d of the workers died; they are replaced%s.", len(dead), f" in {pause:.1f} s" if pause else "")
        until = time.monotonic() + pause
        while time.monotonic() < until and not server.interrupt_signal:
            sleep(0.05)
        if not server.interrupt_signal:
            # The server fails only if no worker can start, not if one died.
            server.interrupt_children.clear()
            replace(dead)
            for number in dead:
                began[number] = time.monotonic()
    # A worker that got the signal too, as all processes of a service may, is no failure.
    server.interrupt_children.clear()


def end(workers: Iterable[Any], *, clock: Callable[[], float] = time.monotonic) -> None:
    """Tell granian's workers to end, and return when all have ended or GRACE_SECONDS passed.

    A thread of granian also waits for each worker. If that thread learns of the end first, ``join`` returns at once,
    and the worker counts as alive until the thread runs again: granian would ask a millisecond later, and take the
    worker for one that refuses to end.
    """
    workers = list(workers)
    for worker in workers:
        worker.terminate()
    until = clock() + GRACE_SECONDS
    for worker in workers:
        while worker.is_alive() and (left := until - clock()) > 0:
            worker.join(left)
            time.sleep(SHORT_SECONDS)


def kill(workers: Iterable[Any]) -> None:
    """End granian's workers without waiting for their requests; may be called in a signal handler."""
    for worker in workers:
        with contextlib.suppress(OSError, ValueError):
            worker.kill()


class News:
    """Filters granian's messages for the operator; ``clock`` returns seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("inf")

    def note_end(self) -> None:
        """Record that the workers are told to end now."""
        self._until = self._clock() + GRACE_SECONDS

    def is_news(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; granian's warning about many threads is dropped, because slow clients need them.

        We log in our own words that a worker is killed because a transfer outlasts its time; the end of a worker within
        that time is not logged.
        """
        said = record.getMessage()
        if "refused to gracefully stop" in said:
            record.msg, record.args = OUTLASTED, None
            return self._clock() >= self._until
        return "spawning up to" not in said
