"""Whether a file may have changed since it was looked at: one question to the kernel for all files of this process.

A ``stat`` of a file takes two microseconds, and a request may need three: of the files of passwords, tokens and rights.
The kernel's queue of changes (inotify) tells of all of them in half of one.

**Invariants:** an event is in the queue before the call that changed a file returns, so the next request knows; every
folder and link on the way to a file is watched, as a change of any of them makes it another file; what cannot be
watched with certainty is looked at for each request; even a watched file is looked at once in a second, because changes
by mmap, and mounts that hide it, make no event.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..backend import inotify
from ..backend.inotify import Inotify
from ..backend.mounts import is_local
from ..process import PerProcess

LOOK_SECONDS = 1.0
# What cannot be watched is tried again after this many seconds.
AGAIN_SECONDS = 10.0
# Folders and files that one process watches.
MOST = 1000
_MOST_LINKS = 40
_GONE = inotify.DELETED_SELF | inotify.MOVED_SELF | inotify.ATTRIBUTES
_ENTRIES = inotify.CREATED | inotify.MOVED_TO | inotify.MOVED_FROM | inotify.DELETED | _GONE
_BYTES = inotify.MODIFIED | _GONE
_UNCERTAIN = inotify.OVERFLOWED | inotify.UNMOUNTED | inotify.IGNORED
# So that no count of one watch is that of another, such as of the process before a fork.
_STARTS = itertools.count(1)
_SPAN = 1 << 40


class FileWatch:
    """The events of all paths that are followed. Raises OSError where the system has none."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._readable = select.epoll()
        self._readable.register(self._inotify.fileno(), select.EPOLLIN)
        self._count = next(_STARTS) * _SPAN
        # The entries that matter, by the number of their folder; '' is the folder or file itself.
        self._entries: dict[int, set[str]] = {}
        self._lock = threading.Lock()
        self._is_reading = False
        self._poll = self._readable.poll

    def count(self) -> int:
        """A number that is another one whenever something happened to a path that was followed before."""
        # Once the queue is empty again, the thread that emptied it may not have counted yet.
        if self._poll(0, 1) or self._is_reading:
            self._read()
        return self._count

    def follow(self, path: str) -> bool:
        """Watch everything on the way to this absolute path; False if that is not possible with certainty."""
        try:
            with self._lock:
                return self._follow(path)
        except OSError:
            return False

    def _read(self) -> None:
        with self._lock:
            self._is_reading = True
            try:
                events = self._inotify.read()
                if any(self._matters(event) for event in events):
                    self._count += 1
            except OSError:
                self._count += 1
            finally:
                self._is_reading = False

    def _matters(self, event: inotify.Event) -> bool:
        if event.mask & inotify.IGNORED:
            self._entries.pop(event.folder, None)
        return bool(event.mask & _UNCERTAIN) or event.name in self._entries.get(event.folder, ())

    def _follow(self, path: str) -> bool:
        at, waiting, links = "/", path.split("/")[::-1], 0
        known: set[tuple[int, int]] = set()
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                at = os.path.dirname(at)  # noqa: PTH120
                continue
            # The folder first: what becomes of the entry after it was read is an event.
            if not self._add(at, _ENTRIES, name, known):
                return False
            entry = os.path.join(at, name)  # noqa: PTH118
            target = None
            with contextlib.suppress(OSError):
                target = os.readlink(entry)  # noqa: PTH115
            if target is None:
                at = entry
                continue
            links += 1
            if links > _MOST_LINKS:
                return False
            at = "/" if target.startswith("/") else at
            waiting += target.split("/")[::-1]
        return self._add(at, _BYTES, "", known)

    def _add(self, path: str, mask: int, name: str, known: set[tuple[int, int]]) -> bool:
        """Watch one folder or file; ``known`` are the file systems that were found good on the way."""
        if len(self._entries) >= MOST:
            return False
        system = (os.stat(path).st_dev, mask)  # noqa: PTH116
        if system not in known:
            if not is_local(Path(path), is_folder=mask == _ENTRIES):
                return False
            known.add(system)
        self._entries.setdefault(self._inotify.watch_for(path, mask), {""}).add(name)
        return True


def _begin() -> FileWatch | None:
    try:
        return FileWatch()
    except (OSError, AttributeError):
        return None


class _Ours:
    """The watch of a process; None where the system has none."""

    def __init__(self) -> None:
        self.watch = _begin()


_ours = PerProcess(_Ours)


class Followed:
    """A path that is followed from the first look at it. ``clock`` gives monotonic seconds.

    A look takes :meth:`mark` first, and is good while :meth:`is_same` says so.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._is_absolute = os.path.isabs(path)  # noqa: PTH117
        self._look_at = 0.0
        self._try_at = clock()

    def is_same(self, mark: int) -> bool:
        """Whether nothing happened to the file since that mark was taken; False if that is not known."""
        ours = _ours.value
        return (
            mark > 0
            and ours is not None
            and ours.watch is not None
            and ours.watch.count() == mark
            and self._clock() < self._look_at
        )

    def mark(self) -> int:
        """What to pass to :meth:`is_same` after the look that follows; 0 if every request has to look."""
        now = self._clock()
        if not self._is_absolute or now < self._try_at:
            return 0
        watch = _ours.get().watch
        if watch is not None:
            mark = watch.count()
            if watch.follow(self._path):
                self._look_at = now + LOOK_SECONDS
                return mark
        self._try_at = now + AGAIN_SECONDS
        return 0
