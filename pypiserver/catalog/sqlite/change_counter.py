"""A few shared bytes that change with every change of a catalog, so that most requests need no query.

A query of SQLite costs 6 to 20 us and, worse, releases the GIL, which another thread then takes; reading eight bytes of
an open file costs 1 us. The file is not mapped: a process that reads mapped memory dies when another program truncates
the file (SIGBUS).

**Invariants:** a writer changes the bytes after its commit; an unchanged value is a hint of limited age, because a
writer may be killed between the two; without a usable file, every process queries the catalog.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = 8
# Seconds between two attempts to open a file that cannot be used.
AGAIN_SECONDS = 0.5


class ChangeCounter:
    """The bytes in the file ``path``, shared with all processes that open it; None for bytes of this process alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bytes: mmap.mmap | bytearray = bytearray(SIZE)
        # Reads the file into ``_bytes``, and gives how many bytes there were; None where ``_bytes`` is shared itself.
        self._read: Callable[[], int] | None = None
        self._file: _Descriptor | None = None
        self._opening = threading.Lock()
        self._next_try = 0.0
        if path is not None:
            self._open(path)

    def value(self) -> bytes | None:
        """The bytes now, None when the file cannot be used."""
        read = self._read
        if read is not None and read() != SIZE:
            self._opened_again()
            return None
        return bytes(self._bytes)

    def change(self) -> None:
        """Change the bytes, which tells every process that the catalog has changed."""
        # Random, so that of two writers neither can restore the earlier value.
        value = os.urandom(SIZE)
        file = self._file
        if file is None:
            if self._read is None:
                self._bytes[:SIZE] = value
            else:
                self._opened_again()
        elif sys.platform != "win32":
            try:
                os.pwrite(file.number, value, 0)
                if os.fstat(file.number).st_nlink:
                    return
                # The file was deleted: processes that have it open then read too few bytes, and open the new one.
                os.ftruncate(file.number, 0)
            except OSError:
                pass
            # The file was deleted, or cannot be written; other processes may have opened a new file of that name.
            self._next_try = 0.0
            self._opened_again()

    def _opened_again(self) -> None:
        """Open the file again, unless that was tried a moment ago; the value until now is not known."""
        with self._opening:
            if self._path is not None and time.monotonic() >= self._next_try:
                self._next_try = time.monotonic() + AGAIN_SECONDS
                self._open(self._path)

    def _open(self, path: Path) -> None:
        self._read = _unusable
        with contextlib.suppress(OSError, ValueError):
            if sys.platform == "win32":
                # On Windows, a mapped file cannot be truncated.
                with path.open("a+b") as file:
                    _fill(file.fileno())
                    self._bytes = mmap.mmap(file.fileno(), SIZE)
                self._read, self._file = None, None
            else:
                opened = _Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
                _fill(opened.number)
                self._read, self._file = _reader(opened, self._bytes), opened


class _Descriptor:
    """An open file, closed when the last reference to it is gone, so never while a thread reads it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        with contextlib.suppress(OSError):
            close(self.number)


def _unusable() -> int:
    return 0


def _fill(descriptor: int) -> None:
    """Give a new or truncated file random bytes, which make every process query the catalog."""
    if os.fstat(descriptor).st_size < SIZE:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, os.urandom(SIZE))


def _reader(file: _Descriptor, into: Any) -> Callable[[], int]:
    """A function that reads the first bytes of the file into ``into``, and gives how many there were.

    It calls the system without releasing the GIL, which other threads would take: with eight threads ``os.pread`` costs
    three times as much.
    """
    try:
        library = ctypes.PyDLL(None)
        call = getattr(library, "pread64", None) or library.pread
        call.restype = ctypes.c_ssize_t
        target = (ctypes.c_char * SIZE).from_buffer(into)
        # Made once, because making these values for each call costs as much as the call.
        number, size, start = ctypes.c_int(file.number), ctypes.c_size_t(SIZE), ctypes.c_int64(0)
        address = ctypes.c_void_p(ctypes.addressof(target))
    except (OSError, AttributeError, TypeError):

        def read() -> int:
            with contextlib.suppress(OSError):
                found = os.pread(file.number, SIZE, 0)
                if len(found) == SIZE:
                    into[:] = found
                return len(found)
            return 0

        return read
    # The ChangeCounter holds the references that keep the file and the bytes alive.
    return functools.partial(call, number, address, size, start)
