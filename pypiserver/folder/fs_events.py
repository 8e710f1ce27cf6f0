"""File system events, as hints for the scanner: a thin front of watchdog.

**Invariants:** events are collected as keys of files to look at, or as "look at everything"; no file is read here. A
watcher that cannot run logs it once, and the periodic scan continues alone; so it does where only some changes are
reported, or a thread of watchdog ended. The events of hidden files of uploads, some ten for each, wake no thread; a
name that is not text (not UTF-8) is left to the scan, which logs that it is skipped.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..allowed_names import allowed_in_a_path
from ..backend.mounts import is_shared
from ..backend.os_calls import PART
from ..distributions.truncation import COMPANIONS
from ..native_names import text_of
from ..supervisor import say
from .storage import Folders

_LOG = logging.getLogger(__name__)
MANY = 1000
# Seconds until a watcher that lost a thread restarts; each time twice as many, because it reads all folders again.
REVIVE_SECONDS = 5.0
LONGEST_REVIVE_SECONDS = 600.0
# Reading a file is also an event: each download would cost the watcher's threads as much as ours.
_KINDS = [
    *("FileCreatedEvent", "FileMovedEvent", "FileDeletedEvent", "FileClosedEvent"),
    *("DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent"),
]
if sys.platform != "linux":
    # Where closing a file is no event, each write may be the last one.
    _KINDS.append("FileModifiedEvent")
# Linux reports a file without a name as "#" and a number.
_OURS = re.compile(rf"{PART.pattern}|#\d+")


@dataclass(slots=True)
class Changes:
    """Changes since the last call: files to look at, and files closed by their writer.

    ``has_uploads`` says that servers stored uploads meanwhile, this one or others.
    """

    files: set[tuple[int, str]] = field(default_factory=set)
    closed: set[tuple[int, str]] = field(default_factory=set)
    statuses: bool = False
    has_uploads: bool = False

    def is_nothing(self) -> bool:
        """Whether there is nothing to look at."""
        return not (self.files or self.statuses)


class Watcher:
    """Collects file system events below the roots of ``folders`` and sets ``wake`` when there are any."""

    def __init__(self, folders: Folders, wake: threading.Event) -> None:
        self._folders = folders
        self._wake = wake
        self._lock = threading.Lock()
        self._changes = Changes()
        self._overflow = False
        self._observer: Any = None
        # The threads of watchdog that deliver events.
        self._threads: list[threading.Thread] = []
        self._has_said = False
        self._pause = REVIVE_SECONDS
        self._next_revival = 0.0

    def start(self) -> None:
        """Start watching, or start again; where that is impossible, log it once and continue without events."""
        self.stop()
        observer = None
        try:
            from watchdog import events
            from watchdog.observers import Observer

            # watchdog 7 warns about a folder that appears together with one below it, but still watches both.
            warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
            handler = events.FileSystemEventHandler()
            handler.on_any_event = self._note  # type: ignore[method-assign]
            observer = Observer()
            for root in self._folders.roots:
                observer.schedule(
                    handler, str(root), recursive=True, event_filter=[getattr(events, each) for each in _KINDS]
                )
            observer.start()
        except Exception as error:  # noqa: BLE001 - it logs this, and continues without
            if not self._has_said:
                _LOG.warning("Changes in the folders cannot be watched (%s); they are looked for every second.", error)
            self._has_said = True
            _end(observer)
            return
        self._observer = observer
        self._threads = [observer, *observer.emitters, *_readers()]

    def stop(self) -> None:
        """Stop watching; does not raise."""
        observer, self._observer, self._threads = self._observer, None, []
        _end(observer)

    def is_running(self) -> bool:
        """Whether events are being collected."""
        return self._observer is not None and all(thread.is_alive() for thread in self._threads)

    def revive(self) -> None:
        """Start again when a thread ended, after longer pauses each time; then everything must be looked at."""
        now = time.monotonic()
        if self._observer is None or self.is_running() or now < self._next_revival:
            return
        _LOG.error("The folders are no longer watched, as a thread ended unexpectedly; watching begins again.")
        self._next_revival = now + self._pause
        self._pause = min(LONGEST_REVIVE_SECONDS, 2 * self._pause)
        self.start()
        with self._lock:
            self._overflow = True

    def hears_everything(self) -> bool:
        """Whether every change is an event; changes that other machines make to a shared folder are not."""
        return self.is_running() and not any(map(is_shared, self._folders.roots))

    def take(self) -> Changes:
        """Changes since the last call."""
        with self._lock:
            changes, self._changes = self._changes, Changes()
        return changes

    def take_overflow(self) -> bool:
        """Whether events were too many, or about whole folders, so that everything must be looked at."""
        with self._lock:
            overflow, self._overflow = self._overflow, False
        return overflow

    def _note(self, event: Any) -> None:
        """Note an event; an exception would end watchdog's thread, so an unreadable event means "everything"."""
        with self._lock:
            try:
                for name in (event.src_path, getattr(event, "dest_path", "")):
                    if name:
                        self._note_name(os.fsdecode(name), event)
                self._overflow = self._overflow or len(self._changes.files) > MANY
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                say("events", error, "everything is looked at")
                self._overflow = True
            is_news = self._overflow or not self._changes.is_nothing()
        if is_news:
            self._wake.set()

    def _note_name(self, name: str, event: Any) -> None:
        # Most events are of this kind, and a Path costs more than all other steps.
        if _OURS.fullmatch(os.path.basename(name)) and not event.is_directory:  # noqa: PTH119
            self._changes.has_uploads = True
        else:
            self._note_path(Path(name), event)

    def _note_path(self, path: Path, event: Any) -> None:
        for number, root in enumerate(self._folders.roots):
            try:
                relative = path.relative_to(root)
            except ValueError:
                continue
            if not relative.parts:
                self._overflow = True
            elif relative.parts[0] == ".status":
                self._changes.statuses = True
            elif not any(part.startswith(".") for part in relative.parts):
                self._note_key((number, text_of(relative.as_posix())), event)

    def _note_key(self, key: tuple[int, str], event: Any) -> None:
        if event.is_directory:
            self._overflow = True
            return
        if not allowed_in_a_path(key[1]):
            return
        if event.event_type in ("closed", "moved"):
            self._changes.closed.add(key)
        if key[1].endswith(COMPANIONS):
            key = (key[0], key[1].rpartition(".")[0])
        self._changes.files.add(key)


def _end(observer: Any) -> None:
    """End an observer, however much of it started; one that failed may fail at this, too."""
    if observer is not None:
        try:
            observer.stop()
            if observer.is_alive():
                observer.join(timeout=5)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            say("events", error, "the folders are watched no longer")


def _readers() -> list[threading.Thread]:
    """The threads that all observers of watchdog share: since watchdog 7 one thread reads the system's events."""
    from watchdog.observers.api import EventDispatcher, EventEmitter
    from watchdog.utils import BaseThread

    return [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, BaseThread) and not isinstance(thread, EventDispatcher | EventEmitter)
    ]
