"""When each file of a cache was last given to a client, on its way into the table that all machines share.

**Invariants:** noting a use asks nothing; what is in memory is bounded, and written once in a minute by a thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..backend.cache_store import Key
from ..errors import PypiServerError
from ..supervisor import once
from .cache_tables import CacheTables

_LOG = logging.getLogger(__name__)
WRITE_SECONDS = 60.0
# In memory until they are written; more are dropped.
MOST_NEW = 10_000


class TableUses:
    """The uses of a cache's files; ``clock`` returns seconds since the epoch."""

    def __init__(self, tables: CacheTables, clock: Callable[[], float]) -> None:
        self._tables = tables
        self._clock = clock
        self._new: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._written = clock()
        self._is_writing = False

    def note(self, key: Key) -> None:
        """Note a use now; never raises."""
        now = self._clock()
        with self._lock:
            if len(self._new) < MOST_NEW or key in self._new:
                self._new[key] = int(now)
            if self._is_writing or (now - self._written < WRITE_SECONDS and len(self._new) < MOST_NEW):
                return
            self._is_writing = True
        if not once("cache-uses", self.write):
            self._is_writing = False

    def write(self) -> None:
        """Write what is only in memory; what cannot be written is dropped, with a line in the log."""
        with self._lock:
            new, self._new = self._new, {}
        try:
            if new:
                self._tables.add_uses(sorted(new.items()))
        except PypiServerError as error:
            _LOG.warning("When files of the cache were used cannot be written: %s", error)
        finally:
            self._written, self._is_writing = self._clock(), False
