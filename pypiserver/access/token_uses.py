"""When each token was used last, in hours: noted in memory by requests, written down every ten minutes by a thread.

**Invariants:** a request writes nothing; where it cannot be written down, the log says so once, and
logins continue.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from ..errors import Unavailable
from ..process import PerProcess
from ..supervisor import Loop

EVERY_SECONDS = 600.0
HOUR = 3600
# More tokens than this are noted again from nothing; each takes 150 bytes.
MOST = 200_000
_FOR_GOOD = {errno.EACCES, errno.EPERM, errno.EROFS}
_LOG = logging.getLogger(__name__)


class _Notes:
    """The notes of one process: the last hour of each token, and those that are not written down yet."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.hours: dict[str, int] = {}
        self.new: dict[str, int] = {}
        self.closing = threading.Event()
        self.loop = Loop("token-uses", work, closing=self.closing)


class TokenUses:
    """Notes the last use of each token, and hands them to ``save`` (hours as seconds since the epoch).

    ``clock`` gives seconds since the epoch. Constructing it starts nothing; the first use of a token does.
    """

    def __init__(
        self,
        save: Callable[[Mapping[str, int]], object],
        *,
        clock: Callable[[], float] = time.time,
        every: float = EVERY_SECONDS,
    ) -> None:
        self._save = save
        self._clock = clock
        self._every = every
        self._is_off = False
        self._ours = PerProcess(lambda: _Notes(self._work))

    def note(self, token_id: str, now: float) -> None:
        """Note that a token was used now."""
        ours = self._ours.value
        hour = int(now) // HOUR
        if ours is None or ours.hours.get(token_id) != hour:
            self._note(token_id, hour)

    def flush(self) -> None:
        """Write down what is new."""
        ours = self._ours.value
        if ours is None or not ours.new or self._is_off:
            return
        new, ours.new = ours.new, {}
        try:
            self._save(new)
        except (OSError, Unavailable) as error:
            if isinstance(error, OSError) and error.errno in _FOR_GOOD:
                self._is_off = True
                _LOG.info("When tokens are used is not written down: %s.", error.strerror or error)
                return
            # Requests may have noted newer hours meanwhile.
            ours.new = {**new, **ours.new}
            _LOG.warning("When tokens are used cannot be written down now: %s.", error)

    def close(self) -> None:
        """End the thread, and write down what is new."""
        ours = self._ours.value
        if ours is not None:
            ours.closing.set()
            self.flush()

    def _note(self, token_id: str, hour: int) -> None:
        if self._is_off:
            return
        ours = self._ours.get()
        if len(ours.hours) >= MOST:
            ours.hours = {}
        ours.hours[token_id] = hour
        ours.new[token_id] = hour * HOUR
        ours.loop.start()

    def _work(self) -> None:
        ours = self._ours.get()
        while not ours.closing.wait(self._every):
            self.flush()


def shown_hour(seconds: int) -> str:
    """``2026-11-30T16Z``: an hour in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%HZ")


def read_hour(text: str) -> int:
    """The seconds since the epoch of an hour; raises ValueError."""
    return int(datetime.strptime(text, "%Y-%m-%dT%HZ").replace(tzinfo=timezone.utc).timestamp())
