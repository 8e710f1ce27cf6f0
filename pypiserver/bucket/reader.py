"""An object as a seekable file: archives, ranges and answers are read from it.

**Invariants:** the store gets no request before the first read, and nothing unwanted is fetched except a little after a
seek; sequential reads take few requests; a request that ends early (it has a time limit, and a slow client may use it
up) is sent again from where it ended, and two in a row that bring nothing are an error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from ..errors import NotFound, PypiServerError, Unavailable
from .object_store import ObjectStoreClient

BLOCK = 1 << 18
# Bytes requested after a seek; the directory of most wheels is smaller.
AHEAD = 1 << 16
# Bytes requested where reading continues.
WINDOW = 64 << 20
TRIES = 2


class ObjectFile(io.RawIOBase):
    """The object ``key`` of ``size`` bytes, opened for reading; reads raise OSError if the store fails."""

    def __init__(self, objects: ObjectStoreClient, key: str, size: int) -> None:
        super().__init__()
        self._objects = objects
        self._key = key
        self._size = size
        self._position = 0
        self._forget()

    def _forget(self) -> None:
        """Drop the request. ``_rest`` is data already received, which begins at ``_at``; ``_stop`` ends the request."""
        self._blocks: Iterator[bytes] = iter(())
        self._rest = b""
        self._at = self._stop = self._position
        self._ahead = AHEAD
        self._end = self._size

    def expect(self, start: int, length: int) -> None:
        """Request these bytes now, because they are read next; raises NotFound and Unavailable."""
        self._position = start
        self._forget()
        self._end = start + length
        self._ahead = WINDOW
        if length:
            self._ask(WINDOW)
            self._rest = next(self._blocks, b"")

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; sends no request to the store."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read the next bytes: maybe fewer than fit into ``buffer``, 0 only at the end."""
        data = self._some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Exactly ``size`` bytes, or all that are left: code that parses a header does not check the length it got."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted and (part := self._some(wanted)):
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """End the request that is running."""
        self._forget()
        super().close()

    def _some(self, wanted: int) -> bytes:
        """At least one of the next ``wanted`` bytes, none only at the end."""
        wanted = min(wanted, self._size - self._position)
        if wanted <= 0:
            return b""
        if self._at != self._position:
            self._forget()
        for attempt in range(TRIES):
            try:
                data = self._rest or self._more(wanted)
            except NotFound as error:
                raise OSError(str(error)) from error
            except PypiServerError as error:
                if attempt + 1 == TRIES:
                    raise OSError(str(error)) from error
                # Send another request, for the rest.
                self._blocks, self._rest, self._stop = iter(()), b"", self._at
                continue
            taken, self._rest = data[:wanted], data[wanted:]
            self._position += len(taken)
            self._at = self._position
            return taken
        return b""

    def _more(self, wanted: int) -> bytes:
        """The next block; raises Unavailable."""
        if self._at >= self._stop:
            self._ask(max(wanted, self._ahead))
            self._ahead = WINDOW
        data = next(self._blocks, b"")
        if not data:
            raise Unavailable(f"The object {self._key} ended {self._size - self._position} bytes early.")
        return data

    def _ask(self, length: int) -> None:
        self._stop = min(self._position + length, self._end)
        self._blocks = self._objects.read(self._key, self._position, self._stop, block=BLOCK)
