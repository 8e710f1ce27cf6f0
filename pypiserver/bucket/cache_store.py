"""Files and pages of other indexes for servers on several machines: bytes in the bucket, the rest in PostgreSQL.

``cache/files/<2>/<2>/<sha256>/<filename>`` are the bytes; a row says which index, project and name they are for.
``cache/sidecars/<upstream>/<project>/<filename><suffix>`` are sidecars. Pages are rows (see :mod:`.cache_tables`). If
the tables are dropped, everything is fetched again.

**Invariants:** a row is written after its bytes and removed before them, so it never names bytes that are not there;
the bytes under a key never change; one process of all machines fetches and keeps a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, cast

from ..backend.cache_store import FollowedFile, GrowingFile, KeptEntry, KeptFile, Key, SignStored
from ..errors import NotFound
from .cache_tables import CacheTables, Row
from .cache_uses import TableUses
from .cached_file import BucketGrowing
from .object_store import ObjectStoreClient
from .reader import ObjectFile
from .storage import path_of

FILES = "cache/files/"
SIDECARS = "cache/sidecars/"
_YANKED = ".yanked"
_SUFFIXES = (".metadata", ".provenance", ".asc")
# A machine that fetches a file ends its fetch when it gets no further, and its lock ends with it: the others wait, and
# read the file from the bucket. A fetch tries three times; pip gives up after some 75 s without a byte.
_FETCH_SECONDS = 8.0
_POLL_SECONDS = (0.05, 0.25)
_PRUNER = 0


class BucketCache:
    """A CacheStore in a bucket and the database at ``address``; constructing it opens nothing.

    ``clock`` returns seconds since the epoch; ``patience`` is how many seconds :meth:`sole_fetcher` waits.
    """

    def __init__(
        self,
        objects: ObjectStoreClient,
        address: str,
        *,
        clock: Callable[[], float] = time.time,
        patience: float = _FETCH_SECONDS,
    ) -> None:
        self._objects = objects
        self._patience = patience
        self._tables = CacheTables(address, clock=clock)
        self._uses = TableUses(self._tables, clock)

    def claim(self, indexes: Mapping[str, str]) -> None:
        """Note the address of each index by name; raises ConfigError if the cache has what another one offered."""
        self._tables.claim(indexes)

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, key: Key) -> KeptFile | None:
        """A kept file, None if there is none; nothing is asked of the bucket before the first read."""
        row = self._tables.file(key)
        if row is None:
            return None
        path = path_of(row.sha256, key.filename)
        stream = cast(BinaryIO, ObjectFile(self._objects, FILES + path, row.size))
        return KeptFile(stream, row.size, row.mtime_ns, row.sha256, stored=path)

    @property
    def sign(self) -> SignStored | None:
        """What gives a signed address, see :meth:`ObjectStoreClient.sign`; None if the store has none."""
        return self._sign if self._objects.can_sign else None

    def _sign(self, path: str, seconds: int, since: int) -> str:
        return self._objects.sign(FILES + path, seconds, since)

    def begin(self, key: Key, size: int | None) -> GrowingFile:
        """Begin to keep a file, on the local disk."""

        def publish(stream: BinaryIO, size: int, sha256: str, mtime_ns: int, sidecars: Mapping[str, bytes]) -> None:
            for suffix, data in sidecars.items():
                if suffix != _YANKED:
                    self._objects.put(_sidecar(key, suffix), data)
            self._objects.put(FILES + path_of(sha256, key.filename), stream)
            reason = sidecars.get(_YANKED)
            self._tables.put_file(key, Row(sha256, size, mtime_ns, None if reason is None else _text(reason)))

        return BucketGrowing(publish)

    def remove(self, key: Key) -> int:
        """Delete a kept file and its sidecars; returns the bytes that became free."""
        removed = self._tables.remove_file(key)
        if removed is None:
            return 0
        row, is_shared = removed
        keys = [] if is_shared else [FILES + path_of(row.sha256, key.filename)]
        self._objects.delete([*keys, *(_sidecar(key, suffix) for suffix in _SUFFIXES)])
        return 0 if is_shared else row.size

    def entries(self) -> Iterator[KeptEntry]:
        """Every kept file."""
        self._uses.write()
        return self._tables.entries()

    def note_use(self, key: Key) -> None:
        """Note that a client got a file."""
        self._uses.note(key)

    # -- sidecars ------------------------------------------------------------------------------------------------

    def sidecar(self, key: Key, suffix: str) -> bytes | None:
        """A sidecar of a file, which may be kept without the file."""
        if suffix == _YANKED:
            row = self._tables.file(key)
            return None if row is None or row.yanked is None else row.yanked.encode()
        with contextlib.suppress(NotFound):
            return self._objects.get(_sidecar(key, suffix))
        return None

    def put_sidecar(self, key: Key, suffix: str, data: bytes) -> None:
        """Keep a sidecar, in place of an older one."""
        if suffix == _YANKED:
            self._tables.yank(key, _text(data))
        else:
            self._objects.put(_sidecar(key, suffix), data)

    def remove_sidecar(self, key: Key, suffix: str) -> None:
        """Remove a sidecar; does nothing when it is missing."""
        if suffix == _YANKED:
            self._tables.yank(key, None)
        else:
            self._objects.delete([_sidecar(key, suffix)])

    def kept_yanks(self, upstream: str, project: str) -> Mapping[str, str | None]:
        """The kept files of a project, each with the reason of its yank, None if it is not yanked."""
        return self._tables.yanks(upstream, project)

    # -- pages ---------------------------------------------------------------------------------------------------

    def page(self, upstream: str, project: str) -> bytes | None:
        """The kept page of a project."""
        return self._tables.page(upstream, project)

    def put_page(self, upstream: str, project: str, data: bytes) -> None:
        """Keep a page, in place of an older one."""
        self._tables.put_page(upstream, project, data)

    def remove_page(self, upstream: str, project: str) -> int:
        """Delete a kept page; returns the bytes that became free."""
        return self._tables.remove_page(upstream, project)

    def pages(self) -> Iterator[tuple[str, str]]:
        """(upstream, project) of every kept page."""
        return self._tables.pages()

    def other_bytes(self) -> int:
        """The bytes of pages and of sidecars."""
        return self._tables.page_bytes() + sum(each.size for each in self._objects.list(SIDECARS))

    # -- one of several processes ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sole_fetcher(self, key: Key) -> Iterator[bool]:
        """Whether this process is the one that fetches the file for all machines; waits for another one.

        It does not wait for a fetch of this process: who is not served by that one needs a fetch of its own.
        """
        number = int.from_bytes(hashlib.sha256("/".join(key).encode()).digest()[:8], "big", signed=True)
        until = time.monotonic() + self._patience
        pause, longest = _POLL_SECONDS
        while not (is_ours := self._tables.lock(number)):
            if self._tables.holds(number) or time.monotonic() >= until:
                break
            time.sleep(pause)
            pause = min(2 * pause, longest)
        with self._held(number, is_ours):
            yield is_ours

    def follow(self, key: Key) -> contextlib.AbstractContextManager[FollowedFile | None]:
        """None: the bytes that another machine has are on its disk."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def sole_pruner(self) -> Iterator[bool]:
        """Whether this process is the one that makes room."""
        is_ours = self._tables.lock(_PRUNER)
        with self._held(_PRUNER, is_ours):
            yield is_ours

    @contextlib.contextmanager
    def _held(self, number: int, is_ours: bool) -> Iterator[None]:
        try:
            yield
        finally:
            if is_ours:
                self._tables.unlock(number)

    def close(self) -> None:
        """Write the uses that are only in memory, and close the connection."""
        self._uses.write()
        self._tables.close()


def _sidecar(key: Key, suffix: str) -> str:
    return f"{SIDECARS}{key.upstream}/{key.project}/{key.filename}{suffix}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
