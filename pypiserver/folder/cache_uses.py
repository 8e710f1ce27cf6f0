"""When each file of a cache was last given to a client, in minutes, in one small file that all processes share.

``CACHE/.uses`` has twelve bytes for each file: eight of a hash of its key, four of the minute since 1970.

**Invariants:** noting a use takes no call of the system and no hash, but once in a minute; the file is bounded; one
that is lost or damaged counts as empty, and then a file was used when it came.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterable

from ..backend.cache_store import Key
from ..backend.name_lock import claimed
from ..errors import PypiServerError
from ..supervisor import once
from .cache_tree import CacheTree

_LOG = logging.getLogger(__name__)
_NAME = ".uses"
_ENTRY = struct.Struct("<8sI")
WRITE_SECONDS = 60.0
# Files; 12 MB.
MOST = 1_000_000
# In memory until they are written.
MOST_NEW = 10_000


class Uses:
    """The uses of a cache's files; ``clock`` returns seconds since the epoch."""

    def __init__(self, tree: CacheTree, clock: Callable[[], float] = time.time) -> None:
        self._tree = tree
        self._clock = clock
        self._new: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._noting = threading.Lock()
        self._written = clock()
        self._is_writing = False

    def note(self, key: Key) -> None:
        """Note a use now; never raises."""
        now = self._clock()
        with self._noting:
            self._new[key] = int(now // 60)
            is_due = now - self._written >= WRITE_SECONDS or len(self._new) >= MOST_NEW
            if not is_due or self._is_writing:
                return
            self._is_writing = True
        if not once("cache-uses", self.write):
            self._is_writing = False

    def write(self) -> None:
        """Write what is only in memory; what cannot be written is dropped, with a line in the log."""
        with self._lock:
            with self._noting:
                noted = self._new.copy()
            new = {_id(key): minute for key, minute in noted.items()}
            try:
                if new:
                    self._change(lambda known: known | {each: max(new[each], known.get(each, 0)) for each in new})
            except (OSError, PypiServerError) as error:
                _LOG.warning("When files of the cache were used cannot be written: %s", error)
            with self._noting:
                self._new = {key: minute for key, minute in self._new.items() if noted.get(key) != minute}
                self._written, self._is_writing = self._clock(), False

    def all(self) -> _Times:
        """When each file was last used."""
        with self._noting:
            new = self._new.copy()
        known = self._read()
        for key, minute in new.items():
            known[_id(key)] = max(minute, known.get(_id(key), 0))
        return _Times(known)

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget the uses of all other files."""
        ids = set(map(_id, keys))
        with contextlib.suppress(OSError, PypiServerError):
            self._change(lambda known: {each: minute for each, minute in known.items() if each in ids})

    def _change(self, change: Callable[[dict[bytes, int]], dict[bytes, int]]) -> None:
        with claimed(self._tree.root / _NAME):
            entries = change(self._read())
            if len(entries) > MOST:
                entries = dict(sorted(entries.items(), key=lambda entry: -entry[1])[:MOST])
            self._tree.write("", _NAME, b"".join(_ENTRY.pack(*entry) for entry in entries.items()))

    def _read(self) -> dict[bytes, int]:
        data = self._tree.read("", _NAME, MOST * _ENTRY.size) or b""
        return dict(_ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]))


class _Times:
    """Seconds since the epoch by key."""

    def __init__(self, minutes: dict[bytes, int]) -> None:
        self._minutes = minutes

    def get(self, key: Key) -> float:
        """When the file was last used, 0 if that is not known."""
        return self._minutes.get(_id(key), 0) * 60.0


def _id(key: Key) -> bytes:
    return hashlib.blake2b("/".join(key).encode("utf-8", "surrogateescape"), digest_size=8).digest()
