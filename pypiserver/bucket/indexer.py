"""Keeps the catalog of a bucket current while serving, which takes almost no work.

Every change goes through a server, and its row is committed before its answer. The bucket is listed only if the catalog
was never complete: then one process of all that share it lists the bucket, and the others wait.

**Invariants:** a catalog that is not complete, or whose bucket belongs to another catalog, is never served; a catalog
that fails is never replaced by another one, because it decides who owns a name; a failure of the store ends neither the
server nor this thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from ..backend.digester import Digester
from ..backend.protocols import Tell
from ..backend.service import BackgroundService, Parts
from ..catalog import FAILURES, CatalogReplaced
from ..catalog.leader_lock import LeaderLock
from ..errors import PypiServerError, Unavailable
from .catalog import BucketCatalog
from .ownership import BucketInUse, BucketOwnership
from .scanner import Reindexer

_LOG = logging.getLogger(__name__)
TICK_SECONDS = 0.5
# An operator writes a status into the bucket by hand; a check for one is one listing of few objects.
STATUS_SECONDS = 60.0
RETRY_SECONDS = 5.0
FIRST_SECONDS = 120.0
# A step that asks the store ends by the store's own time limits, or never.
PATIENCE_SECONDS = 300.0
READING = "The bucket is still being read."


class BucketIndexer(BackgroundService):
    """Keeps the catalog of a bucket current, as FolderIndexer does for folders. Constructing it starts nothing."""

    catalog: BucketCatalog

    def __init__(
        self,
        reindexer: Reindexer,
        digester: Digester,
        catalog: BucketCatalog,
        *,
        lock: LeaderLock,
        sole_use: BucketOwnership,
    ) -> None:
        self._sole_use = sole_use
        self._reindexer = reindexer
        self._digester = digester
        super().__init__(catalog, lock)

    def _reset(self) -> None:
        super()._reset()
        # Notified of each change of ``_complete`` and ``_failure``.
        self._news = threading.Condition()
        # The generation of the catalog that is complete; -1 for none.
        self._complete = -1
        self._failure = ""
        self._next_statuses = 0.0
        # Whether the last round failed unexpectedly: then the next one gets no extra time before it counts as late.
        self._is_failing = False

    def _parts(self) -> Parts:
        return {"bucket": self._run}

    def ensure_current(self) -> None:
        """Return when the catalog is complete; raises Unavailable if it is not and does not become so in time."""
        if self._loops.value is None:
            self.start()
        if self._is_complete:
            if time.monotonic() > self._pulse.until:
                self._refuse_stale()
            return
        with self._news:
            self._news.wait_for(lambda: self._is_complete or self._failure, FIRST_SECONDS)
        if not self._is_complete:
            raise Unavailable(self._failure or f"{READING} Try again in a minute.", public=not self._failure)

    def is_current(self) -> bool:
        """Whether :meth:`ensure_current` would return at once."""
        return self._loops.value is not None and self._is_complete and time.monotonic() <= self._pulse.until

    def state(self) -> PypiServerError | None:
        """Why no request can be answered yet, None if requests can be answered; never waits."""
        if self._loops.value is None:
            self.start()
        if not self._is_complete:
            failure = self._failure
            return Unavailable(failure) if failure else Unavailable(READING, public=True, kind="starting")
        stale = self._stale()
        return Unavailable(stale, kind="stale") if stale else None

    def close(self) -> None:
        """End the thread of this process and release the lock to another process."""
        if self._end():
            with contextlib.suppress(PypiServerError):
                self._sole_use.give_up()
            self._give_up()

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Do nothing: a command reads nothing from the bucket that it was not asked for."""

    @property
    def _is_complete(self) -> bool:
        """Whether the open catalog is the one that was found complete."""
        return self._complete == self.catalog.connections.generation

    def is_behind(self) -> bool:
        """False: an upload to the bucket has its row before its answer."""
        return False

    # -- the thread ----------------------------------------------------------------------------------------------

    def _begin_again(self, name: str) -> None:
        if name == "bucket":
            self._is_failing = True
            self._pulse.expect(0.0)
            self._next_statuses = 0.0
            self._settle("The bucket could not be read; the log says why. Try again in a minute.")

    def _get_on(self, *_: object) -> None:
        """Record progress: a step is done, or a part of it."""
        self._beat(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            if not self._is_failing:
                self._pulse.expect(PATIENCE_SECONDS)
            generation = self.catalog.connections.generation
            try:
                with self.catalog.connections.pinned(generation):
                    self._tick(generation)
                self._settle("")
                wait = TICK_SECONDS
            except FAILURES as error:
                wait = TICK_SECONDS
                self._settle(f"The catalog fails: {error}. Try again in a moment.")
                with contextlib.suppress(Unavailable):
                    self.recover(error, generation)
            except PypiServerError as error:
                # Two catalogs over one bucket would both decide who has a name.
                if isinstance(error, BucketInUse):
                    self._complete = -1
                self._settle(str(error))
                wait = TICK_SECONDS if isinstance(error, BucketInUse) else RETRY_SECONDS
            # A failure that is expected and logged still counts as a round.
            self._is_failing = False
            self._beat()
            self._closing.wait(wait)

    def _tick(self, generation: int) -> None:
        if self.catalog.connections.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")
        is_ours = self._lock.acquire()
        if is_ours:
            self._sole_use.keep()
        else:
            self._sole_use.look()
        if not self._is_complete and is_ours and not self.catalog.is_complete():
            began = time.time()
            self._reindexer.scan(progress=self._get_on)
            self._lock.say_ready(began, self.catalog.token())
        if not self._is_complete and self.catalog.is_complete():
            with self._news:
                self._complete = generation
                self._news.notify_all()
        if is_ours:
            self._keep_up()

    def _keep_up(self) -> None:
        """The work that one process does for all: statuses and pending files."""
        if time.monotonic() >= self._next_statuses:
            self._reindexer.refresh_statuses()
            self._next_statuses = time.monotonic() + STATUS_SECONDS
        while not self._closing.is_set() and self._digester.digest_some():
            self._get_on()

    def _settle(self, failure: str) -> None:
        if failure and failure != self._failure:
            _LOG.error("%s", failure)
        elif self._failure and not failure:
            _LOG.warning("The bucket and its catalog answer again.")
        with self._news:
            self._failure = failure
            self._news.notify_all()
