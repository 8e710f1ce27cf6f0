"""An upload on its way to an object store: first to the local disk, hashed while it is written.

**Invariants:** memory use does not depend on the file's size; the temporary file has no name (the system deletes it
with its process), so it leaves nothing behind; nothing is in the store before it is checked.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..backend.hashing import HashingWriter
from ..backend.os_calls import refusal
from ..backend.stored_file import StoredFile
from ..errors import PypiServerError

# Uploads a spooled file: takes its name, its sidecars and the file itself, and returns its entry.
Publish = Callable[[str, Mapping[str, bytes], "Spooled"], StoredFile]


class Spooled(HashingWriter):
    """A file that is being uploaded, in the system's temporary folder (``TMPDIR``)."""

    def __init__(self, publish: Publish, *, digests: Sequence[str]) -> None:
        super().__init__(digests)
        self._publish = publish

    def open(self) -> Spooled:
        """Create the file; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._file = tempfile.TemporaryFile(prefix="pypiserver-")  # noqa: SIM115 - discard() closes it
        except OSError as error:
            raise _refusal(error) from error
        return self

    def write(self, data: bytes) -> int:
        """Append bytes; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._opened().write(data)
        except OSError as error:
            raise _refusal(error) from error
        return self._take(data)

    def reader(self) -> BinaryIO:
        """The written bytes, from the start; open one reader at a time, because readers share a position."""
        file = self._opened()
        try:
            file.flush()
            again = os.fdopen(os.dup(file.fileno()), "rb")
        except OSError as error:
            raise _refusal(error) from error
        again.seek(0)
        return again

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> StoredFile:
        """Put the file into the store with its ``sidecars``.

        The local file stays until :meth:`discard`, so that it can be put again. ``overwrite`` has no effect: the key
        belongs to these bytes alone, and the catalog decides who owns the name.
        """
        return self._publish(filename, sidecars, self)

    def discard(self) -> None:
        """Delete the file; a second call does nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _refusal(error: OSError) -> PypiServerError:
    return refusal(error, Path(tempfile.tempdir or "/tmp"))  # noqa: S108 - to be named
