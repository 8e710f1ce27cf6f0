"""One answer for many threads: that of a question one of them asks, believed for a moment.

A question to PostgreSQL costs a thread 60 us of work, and four times that with many threads, which all let go of the
interpreter's lock and wait for it again: three quarters of what a page costs. The rules to keep: an answer is for
whoever asks within ``seconds`` of the moment its question *began*, and for nobody who asks later, so that whoever
changes something need only wait so long before saying that it is done (a lease: Gray and Cheriton, 1989); one thread
asks at a time, and those who wait meanwhile get its answer, or its failure; nobody waits for ever, nor for a database
that has failed twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from ...process import PerProcess
from ..errors import CatalogError

Answer = TypeVar("Answer")


class _Failure(NamedTuple):
    """When a question failed, the words for it, and how often it has failed since it was last answered."""

    when: float
    words: str
    times: int


class CoalescedQuery(Generic[Answer]):
    """The answer to ``question``, no older than ``seconds``; ``patience`` is how many seconds to wait for others."""

    def __init__(
        self,
        question: Callable[[], Answer],
        *,
        seconds: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question = question
        self._seconds = seconds
        self._patience = patience
        self._clock = clock
        # Until when it is believed, and the last answer.
        self._known: tuple[float, Answer] | None = None
        self._failed: _Failure | None = None
        # What a fork copied may be held by a thread that it did not copy.
        self._asking = PerProcess(threading.Lock)

    def ask(self) -> Answer:
        """The answer; raises CatalogError, and what the question raises."""
        arrived = self._clock()
        known = self._known
        if known is not None and arrived < known[0]:
            return known[1]
        asking, failed = self._asking.get(), self._failed
        if failed is not None and failed.times > 1:
            # Where packets are lost each attempt takes seconds; one thread at a time has to wait for it.
            if not asking.acquire(blocking=False):
                raise CatalogError(failed.words)
        elif not asking.acquire(timeout=self._patience):
            raise CatalogError(f"the database gave no answer in {self._patience:.0f} seconds")
        try:
            known = self._known
            if known is not None and arrived < known[0]:
                return known[1]
            if self._failed is not None and arrived < self._failed.when:
                raise CatalogError(self._failed.words)
            return self._ask()
        finally:
            asking.release()

    def _ask(self) -> Answer:
        began = self._clock()
        try:
            answer = self._question()
        except CatalogError as error:
            times = 1 if self._failed is None else self._failed.times + 1
            self._failed = _Failure(self._clock(), str(error), times)
            raise
        self._known, self._failed = (began + self._seconds, answer), None
        return answer
