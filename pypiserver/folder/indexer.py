"""Keeping the catalog current while serving: the threads, the watcher and the lock that picks one scanner.

**Invariants:** nothing starts before the first request (or an explicit start) in the process that serves; one process
scans for all that share a catalog, and another takes over when it dies, hangs, or its rounds fail; a watcher only makes
a change visible sooner; a damaged or missing catalog is built again, one that is locked, full or unreadable is tried
again, and until then a project it does not know is an outage, not absent; when no round has succeeded for too long, the
catalog counts as stale, and requests are told so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from ..backend.digester import Digester
from ..backend.protocols import Tell
from ..backend.service import BackgroundService, Parts
from ..catalog import FAILURES, Catalog, CatalogReplaced
from ..catalog.leader_lock import LeaderLock
from ..catalog.sqlite.leader_lock import ALIVE_SECONDS
from ..errors import CatalogUnavailable, PypiServerError, Unavailable
from .digest_worker import DigestWorker
from .fs_events import Watcher
from .partial_files import Key
from .scanner import PATIENCE_SECONDS, FolderScanner

_LOG = logging.getLogger(__name__)
TICK_SECONDS = 0.5
# With a watcher a full rescan is only the safety net; without one, and on network file systems, it is how changes are
# found.
RESCAN_SECONDS = 10.0
POLL_SECONDS = 1.0
FIRST_SCAN_SECONDS = 120.0
# Seconds between the checks of a waiting request whether the scan makes progress.
LOOK_SECONDS = 1.0
SHORT_SECONDS = 0.02
RETRY_UNREADABLE_SECONDS = 60.0
# An upload has its name some milliseconds before its row; a scanner that looks in between does all of its work again.
UPLOAD_SECONDS = 0.05


class FolderIndexer(BackgroundService):
    """Runs ``sync`` and ``digester`` in the background of the serving process.

    ``lock`` decides which of several processes does so. Constructing it starts nothing; :meth:`ensure_current` starts
    what is missing and returns once the first scan is done.
    """

    def __init__(
        self, sync: FolderScanner, digester: Digester, catalog: Catalog, *, lock: LeaderLock, events: bool = True
    ) -> None:
        self.sync = sync
        self.digester = digester
        self.catalog = catalog
        self._use_events = events
        self._scanning_thread = 0
        super().__init__(lock)
        sync.get_on = self._get_on
        digester.told_changed = self._note_changed

    def _reset(self) -> None:
        super()._reset()
        self._ready = threading.Event()
        self._wake = threading.Event()
        self._watcher = Watcher(self.sync.folders, self._wake)
        self._digesting = DigestWorker(
            self.digester, self.sync.folders, self.catalog, lock=self._lock, recover=self._recover_quietly
        )
        self._failure: PypiServerError | None = None
        self._next_scan = 0.0
        self._next_retry = 0.0
        self._growing: set[Key] = set()
        self._changed: set[Key] = set()
        self._changed_lock = threading.Lock()
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

    # -- for requests --------------------------------------------------------------------------------------------

    def ensure_current(self) -> None:
        """Return when the catalog reflects storage; raises Unavailable while a folder cannot be read."""
        if self._loops.value is None:
            self.start()
        if self._settled != self.catalog.connections.generation or not self._ready.is_set():
            self._wait_for_first_scan()
        failure = self._failure
        if failure is not None:
            raise Unavailable(str(failure))
        if time.monotonic() > self._pulse.until:
            self._refuse_stale()

    def _wait_for_first_scan(self) -> None:
        """Return once the first scan is done; raises Unavailable when the scan makes no progress or takes too long."""
        until, next_look = time.monotonic() + FIRST_SCAN_SECONDS, time.monotonic() + LOOK_SECONDS
        while not self._is_settled():
            if self._ready.is_set():
                # The scan was of an earlier catalog.
                self._closing.wait(SHORT_SECONDS)
            else:
                self._ready.wait(LOOK_SECONDS)
            now = time.monotonic()
            if now > next_look:
                next_look = now + LOOK_SECONDS
                if now > until or self._stale():
                    raise Unavailable(
                        "The package folders are still being read. Try again in a minute.", kind="starting"
                    )

    def _is_settled(self) -> bool:
        """Whether a round has decided that the open catalog can answer, or why it cannot."""
        return self._ready.is_set() and self._settled == self.catalog.connections.generation

    def _refuse_stale(self) -> None:
        if self._is_away and self._stale():
            raise CatalogUnavailable("The catalog fails. Try again in a moment.")
        super()._refuse_stale()

    def state(self) -> PypiServerError | None:
        """Why no request can be answered yet, None when it can be; starts missing threads, and never waits."""
        if self._loops.value is None:
            self.start()
        if not self._is_settled():
            return Unavailable("The package folders are still being read.", public=True, kind="starting")
        if self._failure is not None:
            return self._failure
        stale = self._stale()
        return Unavailable(stale, kind="stale") if stale else None

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Bring the catalog up to date without starting a thread: for the command line, before it serves.

        ``progress`` is called with the number of files found. When another process already keeps the catalog current,
        this waits for it instead.
        """
        try:
            self._scan_once(progress)
        except (CatalogUnavailable, *FAILURES) as error:
            cause = error.__cause__ or error
            raise Unavailable(f"The catalog {self.catalog.connections.place()} fails: {cause}.") from error

    def _scan_once(self, progress: Tell | None) -> None:
        deadline = time.monotonic() + FIRST_SCAN_SECONDS
        while not self._lock.acquire():
            if self._lock.is_ready(self.catalog.token()):
                return
            if outage := self._lock.outage():
                raise Unavailable(outage)
            if time.monotonic() > deadline:
                raise Unavailable("Another process is still reading the package folders. Try again in a minute.")
            time.sleep(0.05)
        started = time.time()
        try:
            self._with_recovery(progress)
            self._lock.say_ready(started, self.catalog.token())
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the threads of this process and release the leader lock to another one."""
        if self._end(self._wake, self._digesting.wake):
            self._watcher.stop()
            self.sync.presence.close()
            self._give_up()

    def recover(self, error: Exception, generation: int) -> None:
        """Build a damaged or missing catalog again; raises CatalogUnavailable when the caller has to wait for it.

        ``generation`` is that of the connections that failed: if they were replaced since, there is nothing to do.
        """
        with self._recover_lock:
            if generation == self.catalog.connections.generation:
                self._recover(error)

    def _recover(self, error: Exception) -> None:
        connections = self.catalog.connections
        if connections.is_lost(error):
            # Until it is built again it is empty, which must not look like an index without projects.
            self._start_over()
            try:
                connections.recover(error)
            except FAILURES as failure:
                # Its folder is missing or not accessible: the next attempt looks for the file of that name.
                raise CatalogUnavailable(f"The catalog fails: {failure}. Try again in a moment.") from failure
            self._wake.set()
        elif connections.is_disposable:
            raise CatalogUnavailable(f"The catalog fails: {error}. Try again in a moment.") from error

    def _start_over(self) -> None:
        """Answer no request before a full scan."""
        self._ready.clear()
        self._next_scan = 0.0

    def is_behind(self) -> bool:
        """Whether the last round could not write what it saw: a file without a row may still exist."""
        return self._is_away or self._must_scan or self._scanned != self.catalog.connections.generation

    # -- the scanner thread --------------------------------------------------------------------------------------

    def _begin_again(self, name: str) -> None:
        if name == "digest":
            self._digesting.wake.set()
        if name != "sync":
            return
        # The events are lost, too.
        self._must_scan = True
        self._next_scan = 0.0
        self._growing = set()
        if not self._ready.is_set():
            self._settle(Unavailable("The package folders could not be read; the log says why. Try again in a minute."))

    def _get_on(self, patience: float = 0.0) -> None:
        """Record the progress of a scan; requests also look at single files, which is not progress."""
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
        keys = changes.files | self._growing | self.sync.missing.due() | self._take_changed()
        if changes.statuses:
            self.sync.refresh_statuses()
        if keys:
            self._growing = self.sync.refresh(sorted(keys), may_delete=True)
            self._digesting.wake.set()

    def _note_changed(self, keys: list[Key]) -> None:
        """Note files that changed between a look and reading them, which causes no event (a time set after closing)."""
        with self._changed_lock:
            self._changed.update(keys)
        self._wake.set()

    def _take_changed(self) -> set[Key]:
        with self._changed_lock:
            changed, self._changed = self._changed, set()
        return changed

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

    def _with_recovery(self, progress: Tell | None) -> None:
        connections = self.catalog.connections
        generation = connections.generation
        try:
            with connections.pinned(generation):
                if self.sync.is_current():
                    self.sync.refresh_statuses()
                else:
                    self.sync.scan(progress=progress, quiet=True)
        except FAILURES as error:
            self.recover(error, generation)
            with connections.pinned(connections.generation):
                self.sync.scan(progress=progress, quiet=True)

    def _recover_quietly(self, error: Exception, generation: int) -> None:
        # The next round of the scanner thread meets a lasting failure, and reports it.
        with contextlib.suppress(CatalogUnavailable):
            self.recover(error, generation)
