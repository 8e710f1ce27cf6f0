"""Which files may still be in the middle of being copied, and which may come back in a moment.

The rules to keep: only a file that changed within the last second is opened, once for each state it is seen in; after
that second it counts as settled, and digesting it says whether it is cut off. A file that vanished may be on its way
back (rm, then cp): it counts as gone only when it is still missing two seconds later.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ..backend.stored_file import StoredFile
from ..distributions.filename import FilenameParts
from ..distributions.truncation import is_whole
from ..model import Identity
from .storage import Folders

Key = tuple[int, str]
# A file that does not show its end counts as settled once it has not changed for so many seconds.
SETTLE_SECONDS = 1.0
# A file that vanished is gone once it was missing for so many seconds.
HOLD_SECONDS = 2.0
# More are looked through for those that went while they were copied, and that nobody asks for any more.
MANY = 1000
FORGET_SECONDS = 60.0


class _Seen(NamedTuple):
    """A file that may still be copied: how it was seen, since when, and what its bytes say (None: nothing)."""

    entry: StoredFile
    since: float
    is_whole: bool | None


class PartialFileTracker:
    """Remembers the files that may still be growing; ``clock`` is in seconds since the epoch, as file times are."""

    def __init__(self, folders: Folders, clock: Callable[[], float]) -> None:
        self._folders = folders
        self._clock = clock
        self._seen: dict[Key, _Seen] = {}
        self._most = MANY
        self._closed: set[Key] = set()

    def note_closed(self, key: Key) -> None:
        """A watcher saw this file closed after writing: it is whole as it is."""
        self._closed.add(key)

    def forget_closed(self) -> None:
        """Everything was looked at: what was closed before that tells nothing any more."""
        self._closed.clear()

    def has(self, entry: StoredFile, dist: FilenameParts, before: Identity | None) -> bool:
        """Whether the file may still be in the middle of being copied.

        Most formats mark their end, so a file that just changed is asked, once for each state it is seen in. One that
        does not tell must have been closed by its writer (as the watcher says). After a second without a change the
        file counts as settled; digesting it then says whether it is cut off. ``before`` is the identity in its row.
        """
        if before is not None and entry.identity.is_same(before):
            return False
        key = (entry.root, entry.path)
        now = self._clock()
        age = now - entry.mtime_ns / 1e9
        if age >= SETTLE_SECONDS:
            self._seen.pop(key, None)
            return False
        state = self._seen.get(key)
        if state is None or state.entry != entry:
            state = _Seen(entry, now, self._is_whole(entry, dist))
        is_closed = key in self._closed and state.is_whole is None
        # The file's clock may be ahead of ours: then only watching it tells.
        if state.is_whole or is_closed or now - state.since >= SETTLE_SECONDS:
            self._seen.pop(key, None)
            return False
        self._seen[key] = state
        if len(self._seen) > self._most:
            self._seen = {each: seen for each, seen in self._seen.items() if now - seen.since < FORGET_SECONDS}
            # Of many that all are young no more than each of them is looked through once more.
            self._most = max(MANY, 2 * len(self._seen))
        return True

    def _is_whole(self, entry: StoredFile, dist: FilenameParts) -> bool | None:
        try:
            file, _ = self._folders.open(entry.root, entry.path)
            with file:
                return is_whole(file, dist)
        except Exception:  # noqa: BLE001 - whatever an archive makes a library raise
            return True  # digesting it will say what is wrong


class Missing:
    """Remembers since when files are missing that have a row; ``clock`` is in seconds, and never set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Requests find files missing, too.
        self._lock = threading.Lock()
        # Since when, and by which mark its row is held; the one that was noticed first comes first.
        self._since: dict[Key, tuple[float, int]] = {}

    def __bool__(self) -> bool:
        """Whether any file is missing."""
        return bool(self._since)

    def note(self, key: Key) -> int:
        """This file is missing from now on; gives the mark by which its row is to be held."""
        mark = time.time_ns()
        with self._lock:
            self._since.pop(key, None)
            self._since[key] = (self._clock(), mark)
            self._forget_old()
        return mark

    def is_gone(self, key: Key, mark: int) -> bool:
        """Whether this file is missing for so long that it is gone, since its row was held by this ``mark``.

        A row that another process holds, or held when it died, counts from now.
        """
        now = self._clock()
        with self._lock:
            since, known = self._since.get(key, (now, mark))
            if known != mark:
                # It was back meanwhile.
                self._since.pop(key)
                since = now
            self._since[key] = (since, mark)
            if now - since >= HOLD_SECONDS:
                del self._since[key]
                return True
            self._forget_old()
        return False

    def _forget_old(self) -> None:
        """Where another process scans, nobody comes back to them."""
        now = self._clock()
        while now - self._since[first := next(iter(self._since))][0] >= FORGET_SECONDS:
            del self._since[first]

    def forget(self, key: Key) -> None:
        """It is back, or has no row any more."""
        with self._lock:
            self._since.pop(key, None)

    def due(self) -> set[Key]:
        """Those to look at again, as they are gone if they are still missing."""
        now = self._clock()
        with self._lock:
            return set(itertools.takewhile(lambda key: now - self._since[key][0] >= HOLD_SECONDS, self._since))
