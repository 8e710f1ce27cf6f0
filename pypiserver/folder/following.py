"""The journal of a large tree in this process: the first question starts it, and a lost event restarts it.

**Invariants:** it starts in a thread of its own, for which requests wait a bounded time; where it cannot start, it is
not tried again for a while, and no names are reported; a journal copied by a fork is not used.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable
from functools import partial

from ..errors import Unavailable
from ..process import process_id
from ..supervisor import once
from .journal import Journal, Key, LostError, Rows
from .rounds import Rounds
from .storage import Folders

_LOG = logging.getLogger(__name__)
# Seconds a request waits for a journal to start.
BEGIN_SECONDS = 2.0
# Seconds after a failed start until the next attempt.
RETRY_SECONDS = 60.0
# The same after a failure that may pass, such as one of the catalog: each attempt looks through the whole tree.
PAUSE_SECONDS = 5.0
# How often a file that keeps moving is looked for.
MOVES = 4


class Following:
    """Reports which names appeared in ``folders``; constructing it starts nothing."""

    def __init__(self, folders: Folders, rows: Rows) -> None:
        self._folders = folders
        self._rows = rows
        self._lock = threading.Lock()
        self._pid = process_id()
        self._journal: Journal | None = None
        self._beginning: threading.Event | None = None
        self._retry = 0.0
        self._is_closing = False
        self._reading = Rounds(self._read)

    def told(self, projects: Collection[str], is_named: Callable[[Key], bool]) -> list[Key] | None:
        """The files of these projects that may have no row yet; None where there is no journal.

        Raises Unavailable while the journal is starting, and for a file that keeps moving.
        """
        for _ in range(MOVES):
            if self._begun() is None:
                return None
            journal = self._reading.ask()
            if journal is None:
                continue
            noted = journal.of(projects)
            gone = [each for each in noted if not is_named(each[0])]
            if not gone:
                return [key for key, _ in noted]
            # A file that is gone may have moved: the journal noted its new name before we looked for the old one.
            journal.forget(gone)
        raise Unavailable("The package folders are changing right now. Try again in a moment.", kind="changing")

    def mark(self) -> Hashable | None:
        """As :meth:`Journal.mark`; None where there is no journal."""
        journal = self._journal
        return journal.mark() if journal is not None and self._pid == process_id() else None

    def follow(self) -> None:
        """Read all events, and forget names that have a row; does nothing before the first question."""
        if self._journal is not None and self._pid == process_id():
            journal = None
            # A thread that is reading it now does the same.
            with contextlib.suppress(Unavailable):
                journal = self._reading.ask()
            if journal is not None:
                journal.sweep()

    def close(self) -> None:
        """Stop following until the next question."""
        self._is_closing = True
        with contextlib.suppress(Unavailable):
            self._reading.ask()
        self._is_closing = False

    def _begun(self) -> Journal | None:
        """The journal, once it has started; None where it cannot start."""
        journal = self._journal
        if journal is not None and self._pid == process_id():
            return journal
        with self._lock:
            if self._pid != process_id():
                self._pid, self._beginning, self._retry = process_id(), None, 0.0
                self._drop(self._journal)
            beginning = self._beginning
            if beginning is None:
                if self._journal is not None or time.monotonic() < self._retry:
                    return self._journal
                beginning = self._beginning = threading.Event()
                if not once("journal", partial(self._begin, beginning)):
                    self._beginning = None
                    return None
        if not beginning.wait(BEGIN_SECONDS):
            raise Unavailable(
                "The package folders are still being looked through. Try again in a moment.", kind="starting"
            )
        return self._journal

    def _begin(self, beginning: threading.Event) -> None:
        journal = Journal(self._folders, self._rows)
        try:
            journal.begin()
            self._journal = journal
        except (OSError, LostError) as error:
            self._retry = time.monotonic() + RETRY_SECONDS
            _LOG.info("What is moved into a folder is told by watching alone: %s", error)
        finally:
            if self._journal is not journal:
                self._retry = max(self._retry, time.monotonic() + PAUSE_SECONDS)
                journal.close()
            self._beginning = None
            beginning.set()

    def _read(self) -> Journal | None:
        """The journal with all events up to now; None when it lost some."""
        journal = self._journal
        if journal is None or self._is_closing:
            self._drop(journal)
            return None
        try:
            journal.read()
        except LostError as error:
            _LOG.info("The folders are looked through again: %s", error)
            self._retry = 0.0
            self._drop(journal)
            return None
        return journal

    def _drop(self, journal: Journal | None) -> None:
        if journal is not None:
            self._journal = None
            journal.close()
