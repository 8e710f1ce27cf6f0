"""Staged uploads: no client ever sees half a file, and no upload loses another one's file.

Bytes go to a temporary file in the folder of the final file; it has no name, or a hidden one where the file system
requires a name. Then ``fsync``; ``link`` to the final name, which is exclusive over threads, processes and hosts;
``fsync`` of the folder.

**Invariants:** a failure leaves the folder as it was; a link at a name we write to is never followed; temporary files
are recognized by their name and age alone.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..backend.hashing import HashingWriter
from ..backend.name_lock import is_named, lock, open_locked
from ..backend.os_calls import OPERATIONS, PART, Operations, refusal
from ..backend.stored_file import StoredFile, entry_of
from ..errors import Conflict
from ..native_names import native
from .atomic import place
from .safe_open import held_folder
from .tmpfile import open_unnamed

# The default size, passed explicitly because finding it out costs a system call.
BUFFER = io.DEFAULT_BUFFER_SIZE
# A file of up to this many bytes is read back at once.
SMALL = 1 << 18
# Where locks do not tell whether a temporary file is still being written: no upload pauses for this many seconds.
UNLOCKED_SECONDS = 86_400.0


class Staged(HashingWriter):
    """A file that is being uploaded, hidden until :meth:`publish`, deleted by :meth:`discard`."""

    def __init__(
        self, root: Path, directory: str, *, digests: Sequence[str], operations: Operations = OPERATIONS
    ) -> None:
        super().__init__(digests)
        self._root = root
        self._directory = directory
        # The first is for messages; the second leads to no other folder while this file is open.
        self._folder = self._held = root / directory if directory else root
        self._holding = contextlib.ExitStack()
        self._operations = operations
        # None while the file has no name.
        self._path: Path | None = None

    def open(self) -> Staged:
        """Create the temporary file; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._held = self._holding.enter_context(held_folder(self._root, self._directory))
            descriptor = open_unnamed(self._held, self._operations, known_as=self._folder)
            if descriptor is None:
                self._path, descriptor = open_locked(self._held, self._operations)
        except OSError as error:
            self._holding.close()
            raise refusal(error, self._folder) from error
        except BaseException:
            self._holding.close()
            raise
        self._file = os.fdopen(descriptor, "wb", BUFFER)
        return self

    def write(self, data: bytes) -> int:
        """Write the next bytes; raises StorageFull, Forbidden or Unavailable."""
        file = self._opened()
        try:
            self._operations.write(file, data)
        except OSError as error:
            raise refusal(error, self._folder) from error
        return self._take(data)

    def reader(self) -> BinaryIO:
        """The bytes written, from the start; one reader at a time, after the last write."""
        file = self._opened()
        try:
            file.flush()
            raw = io.FileIO(file.fileno(), closefd=False)
            raw.seek(0)
            # Reading an archive seeks back and forth in it, which takes thirty system calls.
            return io.BytesIO(raw.read(self.size)) if self.size <= SMALL else io.BufferedReader(raw, BUFFER)
        except OSError as error:
            raise refusal(error, self._folder) from error

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> StoredFile:
        """Make the file durable and visible as ``filename``, with ``sidecars`` (by suffix): all or nothing.

        Raises Conflict when a file of that name exists and ``overwrite`` is off. A replaced file loses its signature
        and attestations, which are about other bytes; a yank is about the release, and stays.
        """
        file = self._opened()
        target = self._held / native(filename)
        try:
            file.flush()
            self._operations.fsync(file.fileno())
            status = os.fstat(file.fileno())
            if os.name == "nt":  # Windows cannot rename an open file
                file.close()
            # It stays open, and so locked, until it has its name: the cleanup takes a closed file for an abandoned one.
            temporary = file.fileno() if self._path is None else self._path
            place(temporary, target, sidecars, overwrite=overwrite, operations=self._operations)
            if os.name != "nt":
                status = self._named(status, target)
        except FileExistsError as error:
            raise Conflict(f"The file {filename} already exists.") from error
        except OSError as error:
            raise refusal(error, self._folder) from error
        finally:
            self.discard()
        return entry_of(0, f"{self._directory}/{filename}" if self._directory else filename, status)

    def _named(self, status: os.stat_result, target: Path) -> os.stat_result:
        """The status of the file now: getting a name changes its ctime."""
        try:
            return os.fstat(self._opened().fileno())
        except OSError:
            # FUSE may look for the hidden name. Without a current status, the file is read again later.
            with contextlib.suppress(OSError):
                now = target.lstat()
                if os.path.samestat(status, now) and status.st_mtime_ns == now.st_mtime_ns:
                    return now
            return status

    def discard(self) -> None:
        """Delete the temporary file; does nothing after :meth:`publish`, or a second time."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
        self._holding.close()


def remove_stale(root: Path, before: float) -> int:
    """Delete the abandoned temporary files below ``root``; returns their number.

    A file is abandoned if it was not touched since ``before`` (seconds since the epoch) and its lock is free, because
    the lock ends with the process that wrote the file. Hidden folders and links are not entered.
    """
    removed = 0
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        for path in [Path(folder, name) for name in files if PART.fullmatch(name)]:
            with contextlib.suppress(OSError):
                removed += _remove_if_stale(path, before)
    return removed


def _remove_if_stale(path: Path, before: float) -> bool:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        # The ctime counts too: a file that was set aside keeps its old modification time.
        touched = max(status.st_mtime, status.st_ctime)
        try:
            is_free = touched < before and lock(descriptor, wait=False)
        except OSError:
            is_free = touched < before - UNLOCKED_SECONDS
        # We still hold the lock: a process that waits for a claim sees that the file has no name any more, and by now
        # another file may have the name.
        if not is_free or not is_named(descriptor, path):
            return False
        if os.name == "nt":
            os.close(descriptor)
            descriptor = -1
        path.unlink()
        return True
    finally:
        if descriptor >= 0:
            os.close(descriptor)
