"""An object as a file that can be read from any place: what archives, ranges and answers are read from.

Nothing is asked of the store before the first read, and nothing that is not wanted is fetched but for a little after a
jump. What is read one after the other comes from few requests; one that ends early (its time is limited, and a slow
client holds it up) is made again from where it ended, and two in turn that bring nothing are an error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from ..errors import NotFound, PypiServerError, Unavailable
from .object_store import ObjectStoreClient

BLOCK = 1 << 18
# So much is asked for after a jump; the directory of most wheels is smaller.
AHEAD = 1 << 16
# So much where reading goes on.
WINDOW = 64 << 20
TRIES = 2


class ObjectFile(io.RawIOBase):
    """The object ``key`` of ``size`` bytes, opened for reading; reads raise OSError when the store fails."""

    def __init__(self, objects: ObjectStoreClient, key: str, size: int) -> None:
        super().__init__()
        self._objects = objects
        self._key = key
        self._size = size
        self._position = 0
        self._forget()

    def _forget(self) -> None:
        """No request runs: what it brought (``_rest``) begins at ``_at``, and it goes up to ``_stop``."""
        self._blocks: Iterator[bytes] = iter(())
        self._rest = b""
        self._at = self._stop = self._position
        self._ahead = AHEAD
        self._end = self._size

    def expect(self, start: int, length: int) -> None:
        """Ask for these bytes now, since they are what will be read; raises NotFound and Unavailable."""
        self._position = start
        self._forget()
        self._end = start + length
        self._ahead = WINDOW
        if length:
            self._ask(WINDOW)
            self._rest = next(self._blocks, b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position in the file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is asked of the store by that."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read what comes next: less than there is room for at times, nothing only at the end."""
        data = self._some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or all that are left: whoever reads a header does not look how many came."""
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
        """Some of the bytes at the position, none only at the end."""
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
                # Another request, for the rest.
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
