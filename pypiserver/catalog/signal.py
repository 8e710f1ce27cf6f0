"""A few shared bytes that become others with every change of a catalog, so that most requests need not ask it.

Asking SQLite costs 6 to 20 us and, worse, lets go of the interpreter's lock, which another thread then takes; looking
at mapped memory costs 0.2 us. The rules to keep: whoever changes the catalog says so after the commit; a signal is a
hint of limited age, because whoever was killed between the two said nothing; without one, everybody asks.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path

SIZE = 8


class Signal:
    """The signal in the file ``path``, shared with every process that maps it; None for one of this process alone."""

    def __init__(self, path: Path | None) -> None:
        self._bytes: mmap.mmap | bytearray | None = bytearray(SIZE) if path is None else _mapped(path)

    def value(self) -> bytes | None:
        """What it is now, None when the file cannot be used."""
        return None if self._bytes is None else bytes(self._bytes[:SIZE])

    def change(self) -> None:
        """Tell every process that the catalog has changed."""
        if self._bytes is not None:
            # Random, so that of two writers neither can put back what was there before.
            self._bytes[:SIZE] = os.urandom(SIZE)


def _mapped(path: Path) -> mmap.mmap | None:
    with contextlib.suppress(OSError, ValueError), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) < SIZE:
            file.write(os.urandom(SIZE))
            file.flush()
        return mmap.mmap(file.fileno(), SIZE)
    return None
