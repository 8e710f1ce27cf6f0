"""What was written of a growing file, as a stream: for code that reads archives.

**Invariants:** the stream has a position of its own, so it disturbs neither the writer nor other readers.
"""

from __future__ import annotations

import io
import os

from .cache_store import GrowingFile


class WrittenBytes(io.RawIOBase):
    """All that was written, from the start."""

    def __init__(self, file: GrowingFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read the next bytes; 0 only at the end of what is there."""
        data = self._file.read_at(self._at, min(len(buffer), max(0, self._file.size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
