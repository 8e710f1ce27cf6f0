"""The rounds of the thread that scans: what it does in each, and when the next one is due.

**Invariants:** one process scans for all that share a catalog, and another takes over when it dies, hangs, or its
rounds fail; a watcher only makes a change visible sooner; a damaged or missing catalog is built again, one that is
locked, full or unreadable is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from ..backend.digester import Digester
from ..backend.service import BackgroundService, Parts
from ..catalog import FAILURES, Catalog, CatalogReplaced
from ..catalog.leader_lock import LeaderLock
from ..catalog.sqlite.leader_lock import ALIVE_SECONDS
from ..errors import CatalogUnavailable, PypiServerError, Unavailable
from .digest_worker import DigestWorker
from .fs_events import Watcher
from .partial_files import Key
from .refresher import PATIENCE_SECONDS
from .scanner import FolderScanner

_LOG = logging.getLogger(__name__)
TICK_SECONDS = 0.5
# With a watcher a full rescan is only the safety net; without one, and on network file systems, it is how changes are
# found.
RESCAN_SECONDS = 10.0
POLL_SECONDS = 1.0
SHORT_SECONDS = 0.02
RETRY_UNREADABLE_SECONDS = 60.0
# An upload has its name some milliseconds before its row; a scanner that looks in between does all of its work again.
UPLOAD_SECONDS = 0.05


class ScanThread(BackgroundService):
    """Runs ``sync`` and ``digester`` in the background of the serving process.

    ``lock`` decides which of several processes does so. Constructing it starts nothing.
    """

    def __init__(
        self, sync: FolderScanner, digester: Digester, catalog: Catalog, *, lock: LeaderLock, events: bool = True
    ) -> None:
        self.sync = sync.telling(self._get_on)
        self.digester = digester
        self._use_events = events
        self._scanning_thread = 0
        super().__init__(catalog, lock)

    def _reset(self) -> None:
        super()._reset()
        self._ready = threading.Event()
        self._wake = threading.Event()
        self._watcher = Watcher(self.sync.folders, self._wake)
        self._digesting = DigestWorker(
            self.digester,
            self.sync.folders,
            self.catalog,
            lock=self._lock,
            recover=self._recover_quietly,
            rouse=self._wake.set,
        )
        self._failure: PypiServerError | None = None
        self._next_scan = 0.0
        self._next_retry = 0.0
        self._growing: set[Key] = set()
        self._must_scan = False
        # Generations of the catalog: the one of this round, the one fully scanned, the one that can be answered from,
        # and the one in which this process became the scanner. Another catalog may replace it at any moment, in any
        # thread, and then none of the four is its own.
        self._round = self._scanned = self.catalog.connections.generation
        self._settled = self._begun = -1
        self._is_away = False

    def _parts(self) -> Parts:
        self.sync.roots.note()
        return {"sync": self._run, "digest": lambda: self._digesting.run(self._closing)}

    def _is_settled(self) -> bool:
        """Whether a round has decided that the open catalog can answer, or why it cannot."""
        return self._ready.is_set() and self._settled == self.catalog.connections.generation

    @contextlib.contextmanager
    def _replacing(self) -> Iterator[None]:
        # Until it is built again it is empty, which must not look like an index without projects: no request is
        # answered before a full scan.
        self._ready.clear()
        self._next_scan = 0.0
        yield
        self._wake.set()

    def _begin_again(self, name: str) -> None:
        if name == "digest":
            self._digesting.wake.set()
        if name != "sync":
            return
        # The events are lost, too.
        self._must_scan, self._next_scan, self._growing = True, 0.0, set()
        if not self._ready.is_set():
            self._settle(Unavailable("The package folders could not be read; the log says why. Try again in a minute."))

    def _get_on(self, patience: float = 0.0) -> None:
        """Record the progress of a scan; one before the thread runs, for the command line, is not of a round."""
        if threading.get_ident() == self._scanning_thread:
            self._beat(patience)

    def _run(self) -> None:
        self._scanning_thread = threading.get_ident()
        while not self._closing.is_set():
            self._wake.clear()
            generation = self._round = self.catalog.connections.generation
            try:
                with self.catalog.connections.pinned(generation):
                    wait = self._tick()
            except FAILURES as error:
                wait = self._recover_in_round(error, generation)
            except (PypiServerError, OSError) as error:
                # The events are lost: everything must be looked at.
                self._settle(error if isinstance(error, PypiServerError) else Unavailable(f"{error}."))
                self._next_scan = 0.0
                wait = POLL_SECONDS
            self._wake.wait(wait)

    def _recover_in_round(self, error: Exception, generation: int) -> float:
        """Continue after a round in which the catalog failed; returns the seconds until the next one."""
        try:
            self.recover(error, generation)
        except CatalogUnavailable:
            return self._note_away(error)
        # If the failure is not SQLite's and has no recovery, the next round reports it.
        is_same = generation == self.catalog.connections.generation
        return self._note_away(error) if is_same else 0.0

    def _note_away(self, error: Exception) -> float:
        """Note that the catalog cannot be read or written; returns the seconds until the next attempt.

        A query finds out itself, perhaps sooner, that the database is back; but there are no queries before the first
        scan, and a file that is not found is not reported as absent (``is_behind``).
        """
        if not self._ready.is_set():
            self._settle(Unavailable(f"The catalog fails: {error}. Try again in a moment."))
        elif not self._is_away:
            _LOG.error("The catalog %s fails: %s", self.catalog.connections.place(), error)
        self._is_away = True
        # Events received meanwhile are lost.
        self._next_scan = 0.0
        return POLL_SECONDS

    def _tick(self) -> float:
        """One round; returns the seconds until the next one is due."""
        if self.catalog.connections.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")
        self.sync.presence.follow()
        if not self._lock.acquire():
            return self._follow()
        if self._begun != self._round:
            self._begun = self._round
            self._begin()
        is_due = time.monotonic() >= self._next_scan or self._watcher.take_overflow()
        have_roots_changed = self.sync.roots.have_changed()
        if is_due or have_roots_changed:
            self._scan(is_other_tree=have_roots_changed)
        else:
            # No event tells that a root was unmounted or became inaccessible; until that is noticed, a project not
            # known yet would be redirected to the fallback.
            self.sync.folders.check()
            self._refresh()
        self._beat()
        if self._growing:
            return 0.1
        return max(0.0, min(TICK_SECONDS, self._next_scan - time.monotonic()))

    def _begin(self) -> None:
        """Become the scanner; a catalog that is current may be served at once."""
        started = time.time()
        token = self.catalog.token()
        is_current = False
        # A catalog that replaced another one may be an old copy, for which the folders' times prove nothing.
        if not self._must_scan and self._scanned == self._round:
            # Checked first, because the process that made the catalog ready a moment ago has looked at every folder.
            was_ready = self._lock.was_ready_just_now(token) and self.catalog.was_scanned()
            if was_ready or self.sync.is_current():
                self.sync.refresh_statuses()
                self._lock.say_ready(started, token)
                self._settle(None)
            is_current = self.sync.is_current()
        if self._use_events and not self._watcher.is_running():
            # To watch a large tree, reading it takes seconds.
            self._beat(PATIENCE_SECONDS)
            self._watcher.start()
            self._beat()
        self._next_scan = time.monotonic() + POLL_SECONDS if is_current else 0.0

    def _follow(self) -> float:
        """Another process scans; check that it does, and that our own roots can be read."""
        if self._begun >= 0:
            self._begun = -1
            self._watcher.stop()
        if outage := self._lock.outage():
            self._settle(Unavailable(outage))
            return TICK_SECONDS
        if self._lock.is_alive():
            # Its heartbeat may already be this old.
            self._pulse.beat(-ALIVE_SECONDS)
        # A finished scan proves nothing about a catalog that replaced another one since.
        if not self._lock.is_ready(self.catalog.token()) or not self.catalog.was_scanned():
            return TICK_SECONDS if self._is_settled() else SHORT_SECONDS
        self._must_scan, self._scanned = False, self._round
        try:
            self.sync.folders.check()
        except PypiServerError as error:
            self._settle(error)
        else:
            self._settle(None)
        return TICK_SECONDS

    def _scan(self, *, is_other_tree: bool = False) -> None:
        began = time.monotonic()
        started = time.time()
        if began >= self._next_retry:
            self.catalog.retry_unreadable()
            self._next_retry = began + RETRY_UNREADABLE_SECONDS
        self._watcher.take()
        if self._scanned != self._round:
            self.catalog.outrun()
        else:
            self.catalog.refuse_changed()
        try:
            self._growing = self.sync.scan()
        except PypiServerError as error:
            self._lock.say_outage(str(error))
            self._settle(error)
            self._next_scan = time.monotonic() + POLL_SECONDS
            return
        if is_other_tree and self._watcher.is_running():
            # The watcher still watches the old folder, wherever that is now.
            self._watcher.start()
        elif self._use_events:
            self._watcher.revive()
        took = time.monotonic() - began
        token = self.catalog.token()
        self._must_scan, self._scanned = False, self._round
        self._lock.say_ready(started, token)
        self._settle(None)
        self._digesting.wake.set()
        if self._watcher.hears_everything() and not self.sync.roots.have_shared_mounts():
            pause = max(RESCAN_SECONDS, 20 * took)
        else:
            pause = min(RESCAN_SECONDS, max(POLL_SECONDS, 5 * took))
        self._next_scan = time.monotonic() + pause

    def _refresh(self) -> None:
        changes = self._watcher.take()
        if changes.has_uploads and changes.files:
            self._closing.wait(UPLOAD_SECONDS)
        for key in changes.closed:
            self.sync.growing.note_closed(key)
        keys = changes.files | self._growing | self.sync.missing.due() | self._digesting.take_changed()
        if changes.statuses:
            self.sync.refresh_statuses()
        if keys:
            self._growing = self.sync.refresh(sorted(keys), may_delete=True)
            self._digesting.wake.set()

    def _settle(self, failure: PypiServerError | None) -> None:
        if failure is not None and str(failure) != str(self._failure or ""):
            _LOG.error("%s", failure)
        elif failure is None and self._is_away:
            _LOG.warning("The catalog %s answers again.", self.catalog.connections.place())
        elif failure is None and self._failure is not None:
            _LOG.warning("The package folders can be read again.")
        self._is_away = False
        self._failure = failure
        self._settled = self._round
        self._ready.set()

    def _recover_quietly(self, error: Exception, generation: int) -> None:
        # The next round of the scanner thread meets a lasting failure, and reports it.
        with contextlib.suppress(CatalogUnavailable):
            self.recover(error, generation)
