"""The bytes of a large file on their way to a client: an iterator, or a file for a ``wsgi.file_wrapper``.

**Invariants:** the announced number of bytes is sent, or the connection breaks; memory is bounded whatever the client
does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import BinaryIO

# Measured with granian: blocks of 64 KiB reach 1.2 GB/s, blocks of 256 KiB 2.0 GB/s, larger ones no more. A gigabyte in
# blocks of 1 MiB costs 0.2 s of CPU, in blocks of 256 KiB 0.3 s, so clients that read fast get larger blocks. Other
# clients do not, because each client keeps two or three blocks in memory.
BLOCK_BYTES = 262_144
LARGEST_BLOCK_BYTES = 1_048_576
FAST_BYTES_PER_SECOND = 50_000_000


class Blocks:
    """An iterator over ``length`` bytes of ``file``, which is positioned at ``start``; raises OSError if fewer remain.

    ``clock`` returns seconds.
    """

    def __init__(self, file: BinaryIO, start: int, length: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._position = 0
        self._clock = clock
        self._block = BLOCK_BYTES
        self._given = 0.0

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> bytes:
        now = self._clock()
        is_fast = (now - self._given) * FAST_BYTES_PER_SECOND < self._block
        self._block = min(2 * self._block, LARGEST_BLOCK_BYTES) if is_fast else BLOCK_BYTES
        data = self._take(self._block)
        if not data:
            raise StopIteration
        self._given = now
        return data

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        self._file.close()

    def section(self) -> tuple[BinaryIO, int, int]:
        """The file, and the first byte and the number of bytes that are sent of it."""
        return self._file, self._start, self._length

    def _take(self, count: int) -> bytes:
        wanted = min(count, self._length - self._position)
        if wanted <= 0:
            return b""
        data = self._file.read(wanted)
        if not data:
            raise OSError(f"The file ended {self._length - self._position} bytes early; it was changed while sent.")
        self._position += len(data)
        return data


class FileSection(Blocks):
    """The same bytes as a seekable file of exactly ``length`` bytes, for a ``wsgi.file_wrapper``.

    It ends at the announced length, not where the file ends now: waitress measures a file by seeking to its end, would
    announce a shortened file as a whole one, and waits without a timeout for bytes that ``read`` does not return.
    """

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes (all, if negative); b"" only at the announced end, OSError if the file is shorter."""
        return self._take(self._length if size < 0 else size)

    def seekable(self) -> bool:
        """True: waitress sends a file that is not seekable from a thread of its own."""
        return True

    def tell(self) -> int:
        """The position within the section."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the section; returns the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        position = base + offset
        self._file.seek(self._start + position)
        self._position = position
        return position


class WholeFile(FileSection):
    """A section that is the whole file: it has a descriptor, so a server may let the system copy it (``sendfile``)."""

    def fileno(self) -> int:
        """The descriptor of the file, positioned at its start."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file; raises OSError if the system copied it and it is shorter than announced.

        gunicorn does not check how much ``sendfile`` sent, and would send the next response on the same connection.
        """
        if self._file.closed:
            return
        try:
            size_now = os.fstat(self._file.fileno()).st_size
        finally:
            self._file.close()
        if size_now < self._length:
            raise OSError(f"The file ended {self._length - size_now} bytes early; it was changed while sent.")
