"""One thread does for many callers what each of them would do: look at a slow disk, read a queue.

**Invariants:** a caller gets the result of a round that began after its call; one round runs at a time, and all calls
meanwhile share the next one; no caller waits longer than ``patience`` for others.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import Unavailable
from ..process import process_id

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 5.0


class Rounds(Generic[Answer]):
    """Rounds of ``work``; ``patience`` is how many seconds to wait for other threads. Constructing it does nothing."""

    def __init__(self, work: Callable[[], Answer], *, patience: float = PATIENCE_SECONDS) -> None:
        self._work = work
        self._patience = patience
        self._pid = process_id()
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._begun = self._ended = 0
        self._answer: Answer | None = None
        self._failure: Exception | None = None

    def ask(self) -> Answer:
        """The result of a round that begins now or later; raises what ``work`` raises.

        Raises Unavailable when other threads take longer than ``patience``.
        """
        if self._pid != process_id():
            # A lock that a fork copied may be held by a thread that it did not copy.
            self._reset()
            self._pid = process_id()
        with self._changed:
            mine = self._begun + 1
            until = 0.0
            while self._begun != self._ended:
                until = until or time.monotonic() + self._patience
                self._changed.wait(max(0.0, until - time.monotonic()))
                if self._ended >= mine:
                    return self._told()
                if self._begun != self._ended and time.monotonic() >= until:
                    raise Unavailable("The package folders answer slowly. Try again in a moment.", kind="slow")
            self._begun = mine = self._begun + 1
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = self._work()
        except BaseException as error:
            failure = error
            raise
        finally:
            with self._changed:
                self._answer = answer
                self._failure = failure if failure is None or isinstance(failure, Exception) else Unavailable("Ended.")
                self._ended = mine
                self._changed.notify_all()
        return answer

    def _told(self) -> Answer:
        if self._failure is not None:
            # Each thread raises a copy: a traceback cannot be shared.
            raise copy.copy(self._failure) from self._failure
        return self._answer  # type: ignore[return-value]
