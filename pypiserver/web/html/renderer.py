"""Rendering each description once, in another process, while pages show plain text.

**Invariants:** a request waits at most ``WAIT_SECONDS``, counted from the first request for that description, so a slow
one delays one reader once; one description is rendered at a time, at most ``MAX_JOBS`` wait, and a request beyond that
gets plain text at once; results and failures are cached by digest in separate caches, bounded in bytes, so that neither
evicts the other; nothing runs before the first description, and a forked process starts with an empty queue.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ...bounded_cache import BoundedCache
from ...process import PerProcess
from .renderer_process import RenderProcess
from .renderer_worker import Answer, Kind, Outcome

_LOG = logging.getLogger(__name__)
# An ordinary description takes 10 ms, and 200 ms if the process has to be started.
WAIT_SECONDS = 0.3
MAX_JOBS = 16
# The process, 40 MB, ends after this time without a request.
IDLE_SECONDS = 20.0
# Retry after this time if the failure was not the description's fault.
RETRY_SECONDS = 60.0
# One result takes less than a sixteenth of it.
MAX_RESULT_BYTES = 24 << 20
MAX_FAILURE_BYTES = 1 << 20
# Memory of one cache entry without its HTML.
_ENTRY_BYTES = 300


@dataclass(slots=True, eq=False)
class _Job:
    """A description that waits or is being rendered; ``asked`` is the time of the first request (time.monotonic)."""

    kind: Kind
    text: bytes
    asked: float
    done: threading.Event = field(default_factory=threading.Event)


class Renderer:
    """Renders the descriptions of one application; ``process`` creates the rendering process. Close it.

    ``wait`` and ``idle`` are seconds: the longest wait of a request, and the idle time before the process ends.
    """

    def __init__(
        self,
        *,
        wait: float = WAIT_SECONDS,
        idle: float = IDLE_SECONDS,
        process: Callable[[], RenderProcess] = RenderProcess,
    ) -> None:
        self.wait_seconds = wait
        self._idle = idle
        self._make_process = process
        self._queue = PerProcess(self._empty_queue)

    def _empty_queue(self) -> _Queue:
        return _Queue(self._idle, self._make_process)

    def render(self, kind: Kind, text: str) -> Answer | None:
        """The outcome for a description: HTML in UTF-8, or the reason for none; None while it is unknown."""
        queue = self._queue.get()
        data = text.encode("utf-8", "replace")
        key = hashlib.sha256(bytes([kind]) + data).digest()
        known = queue.known(key)
        if known is not None:
            return known
        job = queue.enqueue(key, kind, data)
        if job is None:
            return None
        job.done.wait(max(0.0, job.asked + self.wait_seconds - time.monotonic()))
        return queue.known(key)

    def close(self) -> None:
        """End the thread and the process, and empty the caches; a later request starts them again."""
        queue = self._queue.forget()
        if queue is not None:
            queue.close()


class _Queue:
    """The jobs of one server process, the outcomes of earlier ones, and the thread that works while there are any."""

    def __init__(self, idle: float, process: Callable[[], RenderProcess]) -> None:
        self._idle = idle
        self._make_process = process
        self._results: BoundedCache[bytes, Answer] = BoundedCache(MAX_RESULT_BYTES)
        self._failures: BoundedCache[bytes, tuple[Outcome, float]] = BoundedCache(MAX_FAILURE_BYTES)
        self._jobs: OrderedDict[bytes, _Job] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process: RenderProcess | None = None
        self._is_closed = False

    def known(self, key: bytes) -> Answer | None:
        """The cached outcome, None if there is none or it should be retried."""
        found = self._results.get(key)
        if found is not None:
            return found
        failed = self._failures.get(key)
        return (failed[0], b"") if failed is not None and time.monotonic() < failed[1] else None

    def enqueue(self, key: bytes, kind: Kind, data: bytes) -> _Job | None:
        """The job for this description, shared by all its requests; None when the queue is full or closed."""
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                if self._is_closed or len(self._jobs) >= MAX_JOBS:
                    return None
                job = self._jobs[key] = _Job(kind, data, time.monotonic())
                if self.known(key) is not None:
                    # Finished between the lookup and the lock.
                    del self._jobs[key]
                    job.done.set()
                    return job
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._changed.notify()
            return job

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="pypiserver-renderer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # Too many threads, or the interpreter is shutting down: the next request tries again.
            _LOG.warning("Descriptions are shown as plain text, because no thread can be started: %s.", error)
            return
        self._thread = thread

    def close(self) -> None:
        """End the thread and abort its job."""
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify()
            thread, process = self._thread, self._process
        if process is not None:
            process.abort()
        if thread is not None:
            thread.join(10)

    def _work(self) -> None:
        """Render until the queue has been idle for a while; after any exception, the next request can start again."""
        try:
            with contextlib.closing(self._make_process()) as process:
                self._process = process
                while (found := self._next()) is not None:
                    key, job = found
                    try:
                        self._keep(key, self._rendered(process, job))
                    finally:
                        with self._changed:
                            self._jobs.pop(key, None)
                        job.done.set()
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _next(self) -> tuple[bytes, _Job] | None:
        """The oldest job; it stays in the queue while it is rendered, so that it is not started twice."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed, self._idle)
            if self._is_closed or not self._jobs:
                # Under the lock, so that the next request sees that it must start a thread.
                self._thread = None
                return None
            return next(iter(self._jobs.items()))

    @staticmethod
    def _rendered(process: RenderProcess, job: _Job) -> Answer:
        try:
            return process.render(job.kind, job.text)
        except Exception as error:  # noqa: BLE001 - the thread must survive
            _LOG.warning("Descriptions are shown as plain text for a minute, because rendering failed: %r.", error)
            process.close()
            return Outcome.CRASHED, b""

    def _keep(self, key: bytes, answer: Answer) -> None:
        outcome, html = answer
        if outcome is Outcome.HTML:
            self._results.put(key, answer, size=len(html) + _ENTRY_BYTES)
            return
        retry = outcome >= Outcome.MISSING
        until = time.monotonic() + RETRY_SECONDS if retry else float("inf")
        self._failures.put(key, (outcome, until), size=_ENTRY_BYTES)
        level = logging.WARNING if outcome in (Outcome.CRASHED, Outcome.STALLED) else logging.INFO
        _LOG.log(level, "A description is shown as plain text: rendering it ended with %s.", outcome.name)
