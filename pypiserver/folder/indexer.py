"""Keeping the catalog current, as those see it who ask it: requests, and commands before they serve.

**Invariants:** nothing starts before the first request (or an explicit start) in the process that serves; until the
catalog is filled, a project it does not know is an outage, not absent; when no round has succeeded for too long, the
catalog counts as stale, and requests are told so.
"""

from __future__ import annotations

import time

from ..backend.protocols import Tell
from ..catalog import FAILURES
from ..errors import CatalogUnavailable, PypiServerError, Unavailable
from .scan_thread import SHORT_SECONDS, ScanThread

FIRST_SCAN_SECONDS = 120.0
# Seconds between the checks of a waiting request whether the scan makes progress.
LOOK_SECONDS = 1.0


class FolderIndexer(ScanThread):
    """A catalog kept current by threads that :meth:`ensure_current` starts; it returns once the first scan is done."""

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

    def is_current(self) -> bool:
        """Whether :meth:`ensure_current` would return at once."""
        return (
            self._loops.value is not None
            and self._settled == self.catalog.connections.generation
            and self._ready.is_set()
            and self._failure is None
            and time.monotonic() <= self._pulse.until
        )

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

    def is_behind(self) -> bool:
        """Whether the last round could not write what it saw: a file without a row may still exist."""
        return self._is_away or self._must_scan or self._scanned != self.catalog.connections.generation

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
