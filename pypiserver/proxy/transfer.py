"""A file on its way from another index: what is there, what may be read of it, and who reads.

Its bytes are in a growing file. Where that cannot be written (the disk is full), they stay in memory until all readers
took them, and the fetch waits for the slowest reader.

**Invariants:** until the file is checked, its last HELD_BYTES are given to no reader, so no one ever has a whole wrong
file; a file whose hash or length is not known is given only when it is whole. Memory is bounded by WINDOW_BYTES.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..backend.cache_store import GrowingFile, Progress
from ..deferred import Interrupted
from ..errors import PypiServerError, StorageFull, Unavailable
from .lanes import Waiters, wait_for

HELD_BYTES = 65_536
WINDOW_BYTES = 1 << 20
# What a pipe takes at once: of a larger block the rest would wait in memory, for each of fifty clients.
BLOCK_BYTES = 65_536


class Readable(Protocol):
    """Where the bytes of a transfer are."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes that are there."""


class Transfer:
    """A file that is being fetched; one thread writes, any number read.

    ``expected`` is the sha256 by which it is checked, '' if that is not known before it is whole. ``patience`` is how
    many seconds the fetch waits for a reader, and a reader for the next byte.
    """

    def __init__(self, *, expected: str, patience: float) -> None:
        self.total: int | None = None
        self.written = 0
        self.available = 0
        self.is_whole = False
        self.sha256 = ""
        self.mtime_ns: int | None = None
        self.error: PypiServerError | None = None
        self.patience = patience
        self._expected = expected
        self._is_held = not expected
        self._waiters = Waiters()
        self._source: Readable | None = None
        self._growing: GrowingFile | None = None
        # Of what is in memory: the blocks, and the first byte of them; None while all is in the file.
        self._memory: deque[bytes] = deque()
        self._base: int | None = None
        self._readers: weakref.WeakKeyDictionary[Body, int] = weakref.WeakKeyDictionary()
        self._room = threading.Condition()

    # -- for the thread that fetches -------------------------------------------------------------------------------

    def begin(self, growing: GrowingFile | None, total: int | None) -> None:
        """The index responded; without a growing file all is in memory."""
        self._source = self._growing = growing
        self.total = total
        if growing is None:
            self._to_memory()

    def add(self, data: bytes) -> PypiServerError | None:
        """Take the next bytes; returns why they could not be written, the first time.

        Raises that error if the file can be given only when it is whole.
        """
        trouble = None
        if self._base is None and self._growing is not None:
            try:
                self._growing.write(data)
            except PypiServerError as error:
                trouble = error
                self._to_memory()
        if self._base is not None:
            if self._is_held or self.total is None:
                raise trouble or StorageFull("It can be kept nowhere until it is checked.")
            self._keep(data)
        self.written += len(data)
        self._advance()
        return trouble

    def finish(self, sha256: str, mtime_ns: int | None) -> None:
        """It is whole, and right."""
        self.sha256, self.mtime_ns, self.total, self.is_whole = sha256, mtime_ns, self.written, True
        self._advance()

    def finish_from(self, source: Readable, total: int, sha256: str, mtime_ns: int) -> None:
        """It is here already, or by now."""
        self._source, self._base, self.written = source, None, total
        self.finish(sha256, mtime_ns)

    def follow(self, source: Readable, progress: Progress, sha256: str) -> None:
        """Another process writes it, and is this far."""
        self._source, self.written, self.total = source, progress.available, progress.total
        if progress.is_whole:
            self.sha256, self.is_whole = sha256, True
        self.available = progress.available
        self._waiters.tell()

    def fail(self, error: PypiServerError) -> None:
        """It will not be whole."""
        # A copy refers to no frame, so that the file is closed as soon as no one reads it.
        self.error = copy.copy(error)
        self._waiters.tell()

    @property
    def is_in_memory(self) -> bool:
        """Whether the file is not kept."""
        return self._base is not None

    def _advance(self) -> None:
        if self.is_whole:
            self.available = self.written
        elif not self._is_held and self.total is not None:
            self.available = max(self.available, min(self.written, self.total - HELD_BYTES))
        if self._growing is not None and self._base is None:
            self._growing.tell(Progress(self.available, self.total, self.is_whole, self._expected))
        self._waiters.tell()

    def _to_memory(self) -> None:
        self._base = self.written
        if self._growing is not None:
            # Other processes see that it ends here; our readers still read what is in it.
            self._growing.tell(None)
            self._growing.discard()

    def _keep(self, data: bytes) -> None:
        with self._room:
            if not self._room.wait_for(lambda: self._has_room(len(data)), self.patience):
                # Those who took nothing for that long are left behind.
                slowest = min(self._readers.values(), default=-1)
                for reader in [each for each, at in list(self._readers.items()) if at == slowest]:
                    del self._readers[reader]
                if not self._readers:
                    raise StorageFull("No reader is left, and it cannot be kept.")
                self._has_room(len(data))
            self._memory.append(data)

    def _has_room(self, more: int) -> bool:
        assert self._base is not None  # noqa: S101
        lowest = min(self._readers.values(), default=self._base)
        while self._memory and self._base + len(self._memory[0]) <= lowest:
            self._base += len(self._memory.popleft())
        return self.written + more - self._base <= WINDOW_BYTES

    # -- for those who read ----------------------------------------------------------------------------------------

    def can_begin(self, start: int) -> bool:
        """Whether a new reader can have everything from this byte on."""
        return self.error is None and (self._base is None or self._source is not None or start >= self._base)

    def body(self, start: int, length: int, done: Callable[[], object] = lambda: None) -> Body:
        """A reader of ``length`` bytes from ``start``; ``done`` is called when it is closed."""
        body = Body(self, start, length, done)
        with self._room:
            self._readers[body] = start
        return body

    def when_ready(self, call: Callable[[], object]) -> None:
        """As of :class:`..deferred.UnderWay`: its length is known and the first byte is there, or it failed."""
        self.when(0, call)

    def check(self) -> None:
        """Raise why nothing of it can be given, or that it takes too long; after :meth:`when_ready`."""
        if self.error is not None:
            raise copy.copy(self.error)
        if not self.is_ready(0):
            raise Unavailable(
                "Another index takes too long to send a file.",
                public="The index that has this file takes too long to send it. Try again in a moment.",
                kind="slow",
            )

    def when(self, offset: int, call: Callable[[], object]) -> None:
        """Call when the byte at ``offset`` may be read, or will never be."""
        self._waiters.when(lambda: self.is_ready(offset), call)

    def is_ready(self, offset: int) -> bool:
        """Whether the byte at ``offset`` may be read, or will never be."""
        return self.available > offset or self.is_whole or self.error is not None

    def read(self, reader: Body, offset: int, count: int) -> bytes:
        """At most ``count`` bytes from ``offset`` on, as many as may be read now."""
        count = min(count, self.available - offset)
        base = self._base
        if base is None or (self._source is not None and offset < self._disk_end()):
            count = count if base is None else min(count, self._disk_end() - offset)
            data = self._source.read_at(offset, count) if self._source is not None else b""
        else:
            data = self._from_memory(offset, count)
        if not data and count > 0:
            raise Interrupted("The reader was too slow for a file that cannot be kept.")
        if base is not None:
            with self._room:
                if reader in self._readers:
                    self._readers[reader] = offset + len(data)
                self._room.notify_all()
        return data

    def leave(self, reader: Body) -> None:
        """The reader reads no more."""
        with self._room:
            self._readers.pop(reader, None)
            self._room.notify_all()

    def _disk_end(self) -> int:
        return self._growing.size if self._growing is not None else 0

    def _from_memory(self, offset: int, count: int) -> bytes:
        with self._room:
            at = self._base or 0
            for block in self._memory:
                if at <= offset < at + len(block):
                    return block[offset - at : offset - at + count]
                at += len(block)
        return b""


class Body:
    """A response body that may still grow: an iterator of blocks."""

    def __init__(self, transfer: Transfer, start: int, length: int, done: Callable[[], object]) -> None:
        self._transfer = transfer
        self._at = start
        self._end = start + length
        self._done: Callable[[], object] | None = done

    def when_ready(self, call: Callable[[], object]) -> None:
        """As of :class:`..deferred.UnderWay`."""
        if self._at >= self._end:
            call()
        else:
            self._transfer.when(self._at, call)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        transfer = self._transfer
        if self._at >= self._end:
            raise StopIteration
        while not transfer.is_ready(self._at):
            before = transfer.written
            # Longer than the fetch waits for another reader.
            if not wait_for(self.when_ready, 2 * transfer.patience) and transfer.written == before:
                break
        if transfer.available <= self._at:
            raise Interrupted("The file ended early, because the index that has it failed.")
        data = transfer.read(self, self._at, min(BLOCK_BYTES, self._end - self._at))
        self._at += len(data)
        return data

    def close(self) -> None:
        """Read no more; further calls do nothing."""
        done, self._done = self._done, None
        if done is not None:
            self._transfer.leave(self)
            done()
