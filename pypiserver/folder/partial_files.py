"""Which files may still be partial, in the middle of being copied, and which missing files may come back in a moment.

**Invariants:** only a file that changed within the last second is opened, once for each state it is seen in; after that
second it counts as settled, and digesting it tells whether it is truncated. A missing file may be about to come back
(rm, then cp): it counts as gone only when it is still missing two seconds later.
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
# A file without a recognizable end counts as settled once it has not changed for this many seconds.
SETTLE_SECONDS = 1.0
# A missing file counts as gone after this many seconds.
HOLD_SECONDS = 2.0
# With more files than this, those are dropped that vanished while they were copied and that no caller asks for again.
MANY = 1000
FORGET_SECONDS = 60.0


class _Seen(NamedTuple):
    """A file that may be partial: its state, since when, and what its bytes say (None: nothing)."""

    entry: StoredFile
    since: float
    is_whole: bool | None


class PartialFileTracker:
    """Remembers the files that may be partial; ``clock`` returns seconds since the epoch, as file times do."""

    def __init__(self, folders: Folders, clock: Callable[[], float]) -> None:
        self._folders = folders
        self._clock = clock
        self._seen: dict[Key, _Seen] = {}
        self._most = MANY
        self._closed: set[Key] = set()

    def note_closed(self, key: Key) -> None:
        """A watcher saw this file closed after writing: it is whole in this state."""
        self._closed.add(key)

    def forget_closed(self) -> None:
        """A full scan is done: earlier closing events prove nothing any more."""
        self._closed.clear()

    def has(self, entry: StoredFile, dist: FilenameParts, before: Identity | None) -> bool:
        """Whether the file may be partial, in the middle of being copied.

        Most formats mark their end, so a file that just changed is opened, once for each state it is seen in. A file
        without such a mark must have been closed by its writer (as the watcher reports). After a second without a
        change the file counts as settled; digesting it then tells whether it is truncated. ``before`` is the identity
        in its row.
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
        # The file's clock may be ahead of ours: then only the time since we first saw this state tells.
        if state.is_whole or is_closed or now - state.since >= SETTLE_SECONDS:
            self._seen.pop(key, None)
            return False
        self._seen[key] = state
        if len(self._seen) > self._most:
            self._seen = {each: seen for each, seen in self._seen.items() if now - seen.since < FORGET_SECONDS}
            # If all are young, this avoids looking through them again for each new one.
            self._most = max(MANY, 2 * len(self._seen))
        return True

    def _is_whole(self, entry: StoredFile, dist: FilenameParts) -> bool | None:
        try:
            file, _ = self._folders.open(entry.root, entry.path)
            with file:
                return is_whole(file, dist)
        except Exception:  # noqa: BLE001 - whatever an archive makes a library raise
            return True  # digesting it finds what is wrong


class Missing:
    """Remembers since when files with a row are missing; ``clock`` returns seconds, and is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Requests note missing files, too.
        self._lock = threading.Lock()
        # Since when, and the mark by which its row is held; in the order in which they were noticed.
        self._since: dict[Key, tuple[float, int]] = {}

    def __bool__(self) -> bool:
        """Whether any file is missing."""
        return bool(self._since)

    def note(self, key: Key) -> int:
        """Note that this file is missing from now on; returns the mark by which its row is to be held."""
        mark = time.time_ns()
        with self._lock:
            self._since.pop(key, None)
            self._since[key] = (self._clock(), mark)
            self._forget_old()
        return mark

    def is_gone(self, key: Key, mark: int) -> bool:
        """Whether this file has been missing long enough to be gone, since its row was held by this ``mark``.

        A row that another process holds, or held when it died, counts from now.
        """
        now = self._clock()
        with self._lock:
            since, known = self._since.get(key, (now, mark))
            if known != mark:
                # The file came back in between.
                self._since.pop(key)
                since = now
            self._since[key] = (since, mark)
            if now - since >= HOLD_SECONDS:
                del self._since[key]
                return True
            self._forget_old()
        return False

    def _forget_old(self) -> None:
        """Drop old ones: where another process scans, no call asks for them again."""
        now = self._clock()
        while now - self._since[first := next(iter(self._since))][0] >= FORGET_SECONDS:
            del self._since[first]

    def forget(self, key: Key) -> None:
        """The file is back, or has no row any more."""
        with self._lock:
            self._since.pop(key, None)

    def due(self) -> set[Key]:
        """Files to look at again: they are gone if they are still missing."""
        now = self._clock()
        with self._lock:
            return set(itertools.takewhile(lambda key: now - self._since[key][0] >= HOLD_SECONDS, self._since))
