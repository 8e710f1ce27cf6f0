"""A file of another index on its way into a bucket: on the local disk, read while it grows, put when it is whole.

**Invariants:** the local file has no name, so the system deletes it with its process; nothing is in the bucket before
it is checked.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ..backend.cache_store import Progress
from ..backend.os_calls import refusal
from ..backend.written_bytes import WrittenBytes
from ..errors import PypiServerError

# Puts the bytes of a stream under this digest, with its upload time (nanoseconds) and its sidecars.
Publish = Callable[[BinaryIO, int, str, int, Mapping[str, bytes]], object]


class BucketGrowing:
    """A GrowingFile in the system's temporary folder (``TMPDIR``)."""

    def __init__(self, publish: Publish) -> None:
        self.size = 0
        self._publish = publish
        # Its readers may be done long after the fetch, so the last of them closes it.
        self._file = _opened()
        self._seeking = threading.Lock()

    def tell(self, progress: Progress | None) -> None:
        """Do nothing: no other process can read it."""

    def write(self, data: bytes) -> int:
        """Append bytes; raises StorageFull, Forbidden or Unavailable."""
        try:
            with self._seeking:
                self._file.seek(self.size)
                self._file.write(data)
                self._file.flush()
        except OSError as error:
            raise _refusal(error) from error
        self.size += len(data)
        return len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes that were written."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, offset)
        with self._seeking:
            self._file.seek(offset)
            return self._file.read(count)

    def stream(self) -> BinaryIO:
        """The bytes that were written, with a position of their own where the system can."""
        return io.BufferedReader(WrittenBytes(self))

    def publish(self, mtime_ns: int, sidecars: Mapping[str, bytes], *, sha256: str) -> None:
        """Put it into the bucket; raises Forbidden or Unavailable."""
        with self.stream() as stream:
            self._publish(stream, self.size, sha256, mtime_ns, sidecars)

    def discard(self) -> None:
        """Do nothing: the file has no name, and lives until its last reader lets go of it."""

    def __del__(self) -> None:
        # Not made if there was no place for it.
        if hasattr(self, "_file"):
            self._file.close()


def _opened() -> BinaryIO:
    try:
        return tempfile.TemporaryFile(prefix="pypiserver-")
    except OSError as error:
        raise _refusal(error) from error


def _refusal(error: OSError) -> PypiServerError:
    return refusal(error, Path(tempfile.gettempdir()))
