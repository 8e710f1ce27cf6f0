"""The size of the cache: when it is over its limit, the files that were not used for longest go first, pages last.

**Invariants:** a file that is read or fetched stays; one process at a time makes room; what cannot be deleted is
passed over. The size is added up from storage, so it is right after any crash and with any number of processes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ..backend.cache_store import CacheStore, KeptEntry
from ..errors import PypiServerError

_LOG = logging.getLogger(__name__)
# Of the limit: making room goes down to this, so that not each file has the folder read.
LOW_WATER = 0.95
# The size is added up again after this many seconds, because other processes add to it.
COUNT_SECONDS = 300.0
# And for those who only want to know.
SIZE_SECONDS = 60.0
# A file is not deleted this many seconds after it was last used: uses are noted in minutes.
YOUNG_SECONDS = 120.0
# Where nothing could be deleted, the next file does not have all folders read again before this time has passed.
AGAIN_SECONDS = 10.0


class Report(NamedTuple):
    """What the cache has: numbers, and bytes of files and of everything else."""

    files: int
    file_bytes: int
    pages: int
    other_bytes: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.file_bytes + self.other_bytes


class Pruned(NamedTuple):
    """What was deleted."""

    files: int
    pages: int
    bytes: int


class Space:
    """Keeps the cache below ``limit`` bytes (None: no limit); ``clock`` returns seconds since the epoch."""

    def __init__(self, store: CacheStore, limit: int | None, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._size: int | None = None
        self._counted = 0.0
        self._again_at = 0.0

    def has_room(self, size: int | None) -> bool:
        """Whether a file of this size is worth keeping: one larger than the limit is only passed on."""
        return self._limit is None or size is None or size <= self._limit

    def note(self, size: int) -> None:
        """A file of this size was kept: make room if that is too much. For the thread that fetched it."""
        if self._limit is None or not self._lock.acquire(blocking=False):
            return
        try:
            now = self._clock()
            if self._size is None or now - self._counted > COUNT_SECONDS:
                self._size, self._counted = self.report().total, now
            else:
                self._size += size
            if self._size > self._limit and now >= self._again_at:
                freed = self.prune(int(self._limit * LOW_WATER), young=YOUNG_SECONDS)
                self._size -= freed.bytes
                if freed.bytes:
                    self._counted = now
                else:
                    self._again_at = now + AGAIN_SECONDS
        except (OSError, PypiServerError) as error:
            _LOG.warning("The cache cannot be made smaller: %s", error)
        finally:
            self._lock.release()

    def size(self) -> int:
        """All bytes of the cache, as they were at most SIZE_SECONDS ago; raises Unavailable."""
        with self._lock:
            now = self._clock()
            if self._size is None or not 0 <= now - self._counted <= SIZE_SECONDS:
                self._size, self._counted = self.report().total, now
            return self._size

    def report(self) -> Report:
        """What the cache has now; reads all of its folders."""
        files = size = 0
        for entry in self._store.entries():
            files += 1
            size += entry.size
        return Report(files, size, sum(1 for _ in self._store.pages()), self._store.other_bytes())

    def prune(self, to_bytes: int, *, young: float = 0.0) -> Pruned:
        """Delete files, and then pages, until the cache has at most ``to_bytes``.

        Nothing is deleted that was used in the last ``young`` seconds, or is in use, or by two processes at once.
        """
        with self._store.sole_pruner() as is_ours:
            return self._prune(to_bytes, young) if is_ours else Pruned(0, 0, 0)

    def _prune(self, to_bytes: int, young: float) -> Pruned:
        entries = sorted(self._store.entries(), key=_last_use)
        size = sum(entry.size for entry in entries) + self._store.other_bytes()
        files = pages = freed = 0
        for entry in entries:
            if size - freed <= to_bytes or entry.used > self._clock() - young:
                break
            gone = self._store.remove(entry.key)
            files += bool(gone)
            freed += gone
        # A page that has a kept file is needed to find it.
        needed = {(entry.key.upstream, entry.key.project) for entry in self._store.entries()}
        for page in self._store.pages():
            if size - freed <= to_bytes:
                break
            if page not in needed:
                gone = self._store.remove_page(*page)
                pages += bool(gone)
                freed += gone
        if files or pages:
            _LOG.info("%d files and %d pages of the cache were deleted (%d bytes).", files, pages, freed)
        return Pruned(files, pages, freed)


def _last_use(entry: KeptEntry) -> float:
    return entry.used
