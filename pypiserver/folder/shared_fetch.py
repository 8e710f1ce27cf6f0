"""One fetch for all processes of a host: who does it, and how far it is, so that the others read what is there.

``CACHE/<upstream>/.fetching/<digest of the file>`` is locked by the process that fetches, and names the growing file.

**Invariants:** the lock ends with its process; a record is believed only if its checksum fits; a file that is followed
is the one that the record names, opened without following a link.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..backend.cache_store import FollowedFile, Key, Progress
from ..backend.name_lock import is_named, lock, unlock
from ..backend.os_calls import PART
from ..errors import PypiServerError
from ..native_names import native
from .cache_tree import FETCHING, CacheTree, path_of

# Bytes that may be read, all bytes (or UNKNOWN), whether it is whole, the name of the growing file, and its sha256.
_FORMAT = struct.Struct("<QQ?64s64s")
_CHECKSUM = struct.Struct("<I")
_LENGTH = _FORMAT.size + _CHECKSUM.size
_UNKNOWN = 2**64 - 1
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Record:
    """The record of a fetch of ours, in a locked file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._name = b""

    def begin(self, path: str) -> None:
        """Name the growing file."""
        self._name = path.rpartition("/")[2].encode()
        self.write(Progress())

    def write(self, progress: Progress | None) -> None:
        """Say how far it is, None for given up."""
        if progress is None:
            self._name, progress = b"", Progress()
        total = _UNKNOWN if progress.total is None else progress.total
        data = _FORMAT.pack(progress.available, total, progress.is_whole, self._name, progress.expected.encode())
        # The others then wait for its end.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, data + _CHECKSUM.pack(zlib.crc32(data)), 0)


class _Followed:
    """A file that another process fetches."""

    def __init__(self, tree: CacheTree, key: Key, descriptor: int, path: Path) -> None:
        self._tree = tree
        self._key = key
        self._descriptor = descriptor
        self._path = path
        self._file = -1
        self._last: Progress | None = Progress()

    def progress(self) -> Progress | None:
        """How far it is; None if the process gave it up, or is gone."""
        # The lock first: what the process wrote before it let go of the lock is seen then.
        is_over = self._is_over()
        data = os.pread(self._descriptor, _LENGTH, 0)
        body, checksum = data[: _FORMAT.size], data[_FORMAT.size :]
        if len(data) == _LENGTH and checksum == _CHECKSUM.pack(zlib.crc32(body)):
            available, total, is_whole, name, sha256 = _FORMAT.unpack(body)
            if self._file >= 0 and not name.rstrip(b"\0"):
                return None
            if self._file < 0 and not self._open(name.rstrip(b"\0").decode("ascii", "replace")):
                available, is_whole = 0, False
            expected = sha256.rstrip(b"\0").decode("ascii", "replace")
            self._last = Progress(available, None if total == _UNKNOWN else total, is_whole, expected)
        if is_over and not (self._last is not None and self._last.is_whole):
            return None
        return self._last

    def _is_over(self) -> bool:
        try:
            # Only a shared lock, so that no process takes us for the one that fetches.
            if not lock(self._descriptor, wait=False, is_shared=True):
                return False
        except OSError:
            return False
        unlock(self._descriptor)
        return True

    def _open(self, name: str) -> bool:
        if not PART.fullmatch(name):
            return False
        with contextlib.suppress(OSError, PypiServerError), self._tree.held(_folder(self._key)) as held:
            self._file = os.open(held / name, _READ)
            return True
        return False

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes that are available."""
        return os.pread(self._file, count, offset)

    def __del__(self) -> None:
        # Readers may outlive the fetch.
        if self._file >= 0:
            os.close(self._file)


class SharedFetches:
    """The fetches of all processes that share a cache."""

    def __init__(self, tree: CacheTree) -> None:
        self._tree = tree
        self._ours: dict[Key, Record] = {}
        self._lock = threading.Lock()

    def record(self, key: Key) -> Record | None:
        """The record of a fetch of ours, None where there are no locks."""
        return self._ours.get(key)

    @contextlib.contextmanager
    def sole(self, key: Key) -> Iterator[bool]:
        """Whether this is the only fetch of the file; where files cannot be locked, each process fetches for itself."""
        with self._locked(f"{key.upstream}/{FETCHING}", _name(key)) as descriptor:
            if descriptor is None:
                yield False
                return
            if descriptor < 0:
                yield True
                return
            self._remove_left(key, descriptor)
            self._ours[key] = Record(descriptor)
            try:
                yield True
            finally:
                del self._ours[key]

    @contextlib.contextmanager
    def follow(self, key: Key) -> Iterator[FollowedFile | None]:
        """The fetch of another process, None if there is none."""
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(self._tree.held(f"{key.upstream}/{FETCHING}"))
                path = held / _name(key)
                descriptor = os.open(path, _READ)
            except (OSError, PypiServerError, AttributeError):
                yield None
                return
            stack.callback(os.close, descriptor)
            yield _Followed(self._tree, key, descriptor, path) if hasattr(os, "pread") else None

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether no other process holds this name; never waits."""
        with self._locked("", name) as descriptor:
            yield descriptor is not None

    @contextlib.contextmanager
    def _locked(self, folder: str, name: str) -> Iterator[int | None]:
        """An open, locked file; None if another process has the lock, -1 where there are no locks."""
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(self._tree.held(folder, make=True)) / name
                descriptor = self._lock_file(path)
            except (OSError, PypiServerError):
                yield -1
                return
            if descriptor is None:
                yield None
                return
            try:
                yield descriptor
            finally:
                # Still locked: who waits for this file sees that it has no name any more.
                with contextlib.suppress(OSError):
                    path.unlink()
                os.close(descriptor)

    @staticmethod
    def _lock_file(path: Path) -> int | None:
        while True:
            descriptor = os.open(path, _OPEN, 0o600)
            try:
                if not lock(descriptor, wait=False):
                    os.close(descriptor)
                    return None
                if is_named(descriptor, path):
                    return descriptor
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _remove_left(self, key: Key, descriptor: int) -> None:
        """Delete the growing file of a process that died."""
        data = os.pread(descriptor, _LENGTH, 0) if hasattr(os, "pread") else b""
        if len(data) == _LENGTH:
            name = _FORMAT.unpack(data[: _FORMAT.size])[3].rstrip(b"\0").decode("ascii", "replace")
            if PART.fullmatch(name):
                self._tree.unlink(_folder(key), name)
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)


def _folder(key: Key) -> str:
    return path_of(key).rpartition("/")[0]


def _name(key: Key) -> str:
    return hashlib.sha256(native(path_of(key)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
