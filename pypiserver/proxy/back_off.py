"""When an index that failed may be asked again: after 10, 20, 40 ... 120 seconds, by one request at a time.

**Invariants:** while an index is down, at most one request at a time asks it, and all others are told so at once; one
page that fails says nothing about the others until several in a row have failed, so that no client can switch an index
off with the name of a broken project.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 120.0
# An index may ask for more patience than that, but not for a day.
MAX_RETRY_AFTER = 600.0
# The index counts as down when the pages of this many projects failed and none was answered meanwhile.
PAGES = 3


class BackOff:
    """Whether an index may be asked now; ``clock`` is in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._step = 0.0
        self._next = 0.0
        self._is_tried = False
        # Changes whenever the index is found down or up: what began before says nothing new.
        self._era = 0
        self._failed: set[str] = set()

    @property
    def is_down(self) -> bool:
        """Whether a request would be refused now; changes nothing."""
        return bool(self._step) and (self._is_tried or self._clock() < self._next)

    @property
    def wait(self) -> float:
        """Seconds until the next request may be sent, 0.0 if one may be sent now."""
        return max(0.0, self._next - self._clock()) if self._step else 0.0

    def begin(self) -> int | None:
        """Begin a request, whose end must be told with the returned number; None if it must not be sent."""
        with self._lock:
            if self._step:
                if self._is_tried or self._clock() < self._next:
                    return None
                self._is_tried = True
            return self._era

    def succeeded(self, began: int) -> None:
        """The index answered, whatever it said."""
        with self._lock:
            if self._step:
                self._era += 1
            self._step, self._is_tried = 0.0, False
            self._failed.clear()

    def failed(self, began: int, project: str, *, is_down: bool, retry_after: float = 0.0) -> None:
        """The request for this project failed; ``is_down`` if all others will fail too.

        ``retry_after`` is how many seconds the index asked for.
        """
        with self._lock:
            if began != self._era:
                return
            if not is_down and not self._step:
                self._failed.add(project)
                if len(self._failed) < PAGES:
                    return
            self._failed.clear()
            self._step = min(2 * self._step, LONGEST_SECONDS) if self._step else FIRST_SECONDS
            self._next = self._clock() + max(self._step, min(retry_after, MAX_RETRY_AFTER))
            self._is_tried = False
            self._era += 1

    def given_up(self, began: int) -> None:
        """The request was not sent after all, or failed for a reason of our own."""
        with self._lock:
            if began == self._era:
                self._is_tried = False
