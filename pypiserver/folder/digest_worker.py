"""The thread that digests waiting files, in the one process that scans for all.

**Invariants:** it digests only while this process holds the leader lock; each process deletes what uploads left behind
once, when it first holds the lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..backend.digester import Digester
from ..catalog import FAILURES, Catalog
from ..catalog.leader_lock import LeaderLock
from ..errors import PypiServerError
from ..memory import give_back
from .partial_files import Key
from .storage import Folders

_LOG = logging.getLogger(__name__)
# After digesting this many files, unused memory is returned to the system.
MANY = 10_000


class DigestWorker:
    """Digests files when woken.

    ``recover`` is called with a failure of the catalog and the generation it came from, ``rouse`` when there are files
    for :meth:`take_changed`.
    """

    def __init__(
        self,
        digester: Digester,
        folders: Folders,
        catalog: Catalog,
        *,
        lock: LeaderLock,
        recover: Callable[[Exception, int], None],
        rouse: Callable[[], None],
    ) -> None:
        self._digester = digester
        self._folders = folders
        self._catalog = catalog
        self._lock = lock
        self._recover = recover
        self._rouse = rouse
        self._changed: set[Key] = set()
        self._changed_lock = threading.Lock()
        self._started = time.time()
        self._is_clean = False
        self.wake = threading.Event()

    def run(self, closing: threading.Event) -> None:
        """Work until ``closing`` is set, which needs one more wake."""
        while not closing.is_set():
            self.wake.wait()
            self.wake.clear()
            if not self._is_clean and self._lock.is_held():
                self._is_clean = True
                self._clean()
            generation = self._catalog.connections.generation
            try:
                self._digest_waiting(closing)
            except FAILURES as error:
                self._recover(error, generation)
            except PypiServerError:
                # A folder cannot be read. The scanner thread logs it, and wakes this one when the folder can be read
                # again.
                continue

    def _digest_waiting(self, closing: threading.Event) -> None:
        """Digest waiting files; then complete the list for people, because it shows what files contain."""
        total = 0
        while not closing.is_set() and self._lock.is_held():
            count = self._digester.digest_some(changed=self._note_changed)
            total += count
            if not count:
                self._catalog.listing.complete()
                break
        if total >= MANY:
            give_back()

    def take_changed(self) -> set[Key]:
        """Files that changed between a look and reading them, which causes no event (a time set after closing)."""
        with self._changed_lock:
            changed, self._changed = self._changed, set()
        return changed

    def _note_changed(self, keys: list[Key]) -> None:
        with self._changed_lock:
            self._changed.update(keys)
        self._rouse()

    def _clean(self) -> None:
        """Delete the temporary files of uploads that were killed before this process started."""
        removed = self._folders.remove_stale_parts(self._started)
        if removed:
            _LOG.warning("Removed %d temporary file(s) of uploads that never came to an end.", removed)
