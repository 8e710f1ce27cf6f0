"""A query that many threads share: one of them runs it, and all use its answer for a moment.

A query of PostgreSQL costs a thread 60 us of work, and four times that with many threads, which all release the GIL and
wait for it again: three quarters of the cost of a page.

**Invariants:** an answer is used only by callers that ask within ``seconds`` of the moment when its query *began*, so
that a writer need only wait that long before it reports a change as done (a lease: Gray and Cheriton, 1989); one thread
at a time runs the query, and threads that wait meanwhile get its answer or its failure; every wait has a limit, and no
thread waits for a query of another one after two failures.
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
    """When the query last failed (``clock``), the message, and how often it has failed since its last success."""

    when: float
    words: str
    times: int


class CoalescedQuery(Generic[Answer]):
    """The answer of ``question``, at most ``seconds`` old; a thread waits for another one for ``patience`` seconds."""

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
        # Until when the last answer may be used, and that answer.
        self._known: tuple[float, Answer] | None = None
        self._failed: _Failure | None = None
        # One for each process: after a fork, a copied lock may be held by a thread that does not exist in the child.
        self._asking = PerProcess(threading.Lock)

    def ask(self) -> Answer:
        """The answer; raises CatalogError, and what the question raises."""
        arrived = self._clock()
        known = self._known
        if known is not None and arrived < known[0]:
            return known[1]
        asking, failed = self._asking.get(), self._failed
        if failed is not None and failed.times > 1:
            # Where packets are lost, each attempt takes seconds; only one thread at a time waits for it.
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

    def known(self) -> Answer | None:
        """The answer while it is trusted, None if the question must be asked."""
        known = self._known
        return known[1] if known is not None and self._clock() < known[0] else None

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
