"""An upload on its way to an object store: on the local disk first, hashed while it is written.

The rules to keep: memory stays the same however large a file is; a file without a name (the system deletes it with
its process) leaves nothing behind; nothing of it is in the store before it was checked.
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

# What a spooled file becomes: its name, what stands beside it, and the file itself give an entry.
Publish = Callable[[str, Mapping[str, bytes], "Spooled"], StoredFile]


class Spooled(HashingWriter):
    """A file that is being uploaded, in the system's temporary folder (``TMPDIR``)."""

    def __init__(self, publish: Publish, *, digests: Sequence[str]) -> None:
        super().__init__(digests)
        self._publish = publish
        self._file: BinaryIO | None = None

    def open(self) -> Spooled:
        """Create the file; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._file = tempfile.TemporaryFile(prefix="pypiserver-")  # noqa: SIM115 - discard() closes it
        except OSError as error:
            raise _refusal(error) from error
        return self

    def write(self, data: bytes) -> int:
        """Take the next bytes; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._opened().write(data)
        except OSError as error:
            raise _refusal(error) from error
        return self._take(data)

    def reader(self) -> BinaryIO:
        """What was written, from its start; one reader at a time, as they share a position."""
        file = self._opened()
        try:
            file.flush()
            again = os.fdopen(os.dup(file.fileno()), "rb")
        except OSError as error:
            raise _refusal(error) from error
        again.seek(0)
        return again

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> StoredFile:
        """Put the file into the store with ``sidecars`` beside it.

        The file stays here until :meth:`discard`, so that it can be put once more. ``overwrite`` decides nothing: its
        key is its own, and the catalog judges about the name.
        """
        return self._publish(filename, sidecars, self)

    def discard(self) -> None:
        """Delete the file; a second time nothing happens."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        assert self._file is not None, "open() comes first"  # noqa: S101 - a bug of ours, not of a client
        return self._file


def _refusal(error: OSError) -> PypiServerError:
    return refusal(error, Path(tempfile.tempdir or "/tmp"))  # noqa: S108 - to be named
