"""Threads for requests that wait, with a bounded queue: the server refuses a request that finds the queue full.

**Invariants:** a step of a request that was begun is never refused, because other limits bound these (places for
bodies, connections); no thread starts while one is free, and none ends before the process does.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..supervisor import Loop

Result = TypeVar("Result")
Work = tuple[Callable[..., object], tuple[Any, ...]]
# The requests that may wait for each thread.
WAITING_EACH = 32


class Pool:
    """At most ``threads`` threads, and a queue of ``waiting_each`` requests for each of them.

    ``concurrent.futures`` takes 15 us more for each request, a tenth of the cost of a small file.
    """

    def __init__(self, threads: int, *, waiting_each: int = WAITING_EACH) -> None:
        self._most = threads
        self._waiting = threads * waiting_each
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._threads: list[Loop] = []
        # Threads that wait for work, or are about to.
        self.idle = 0
        self._counting = threading.Lock()
        self._starting = threading.Lock()

    def submit(self, work: Callable[..., object], *arguments: Any) -> bool:
        """Run a request's work, which raises nothing, in a thread; returns whether the queue has a place for it.

        May be called from any thread; never waits.
        """
        if self._queue.qsize() >= self._waiting:
            return False
        self._put(work, arguments)
        return True

    async def step(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run the next part of a request in a thread; for the event loop. Raises what the work raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def do() -> None:
            try:
                result = work(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised in the coroutine that waits
                loop.call_soon_threadsafe(_fail, done, error)
            else:
                loop.call_soon_threadsafe(_finish, done, result)

        self._put(do, ())
        return await done

    def _put(self, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._queue.put((work, arguments))
        self._start_if_short()

    def _start_if_short(self) -> None:
        if len(self._threads) < self._most and self._queue.qsize() > self.idle:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if len(self._threads) < self._most:
                thread = Loop(f"request-{len(self._threads)}", self._run)
                # If no thread can start, the running ones do the work, and the next request tries again.
                if thread.start():
                    self._threads.append(thread)

    def _run(self) -> None:
        while True:
            with self._counting:
                self.idle += 1
            work, arguments = self._queue.get()
            with self._counting:
                self.idle -= 1
            # Work that came since this thread was woken counted on it.
            self._start_if_short()
            work(*arguments)
            # Not kept while this thread waits for the next request: a request holds files, and blocks of a body.
            del work, arguments


def _finish(done: asyncio.Future[Result], result: Result) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
