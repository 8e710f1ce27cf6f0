"""The kernel's queue of names that appear in folders (inotify, Linux), read on demand.

watchdog reads such a queue in a thread and delivers events some time later; here the caller reads the queue, so no
event is still on its way.

**Invariants:** an event is in the queue before the call that caused it returns (inotify(7)); reading never waits; on
systems other than Linux the constructor raises OSError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import NamedTuple

CREATED, MOVED_TO = 0x100, 0x80
MODIFIED, ATTRIBUTES, MOVED_FROM, DELETED = 0x2, 0x4, 0x40, 0x200
DELETED_SELF, MOVED_SELF = 0x400, 0x800
UNMOUNTED, OVERFLOWED, IGNORED = 0x2000, 0x4000, 0x8000
IS_FOLDER = 0x4000_0000
_ONLY_FOLDERS, _NO_LINKS, _WITH_OTHERS = 0x0100_0000, 0x0200_0000, 0x2000_0000
_APPEARED = CREATED | MOVED_TO | _ONLY_FOLDERS
_GONE = DELETED_SELF | MOVED_SELF
# wd, mask, cookie, length of the name with its padding.
_HEAD = struct.Struct("iIII")
_READ_BYTES = 256 * 1024


class Event(NamedTuple):
    """An event of a watched folder: about the entry ``name``, or about the folder itself (no name)."""

    folder: int
    mask: int
    name: str


class Inotify:
    """One queue of events. Raises OSError where the system has none, or allows no more."""

    def __init__(self) -> None:
        self._fd = -1
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            begin = self._libc.inotify_init1
        except (AttributeError, TypeError, OSError) as error:
            raise OSError(errno.ENOSYS, "there is no inotify here") from error
        self._fd = begin(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            self._fail()

    def watch(self, folder: str, *, itself: bool = False) -> int:
        """Report names that appear in a folder from now on; with ``itself`` also its own deletion or move.

        Returns the number by which events name the folder; the same folder has the same number. Raises OSError.
        """
        return self.watch_for(folder, _APPEARED | (_GONE if itself else 0))

    def watch_for(self, path: str, mask: int) -> int:
        """Report these events of a file or folder too, in addition to earlier ones; as :meth:`watch`.

        A folder may be watched twice, because one of two roots may be inside the other. Links are not followed.
        """
        wanted = mask | _NO_LINKS | _WITH_OTHERS
        number: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), wanted)
        if number < 0:
            self._fail()
        return number

    def fileno(self) -> int:
        """The descriptor, which is readable while there are events."""
        return self._fd

    def read(self) -> list[Event]:
        """All events since the last call."""
        events: list[Event] = []
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return events
            at = 0
            while at < len(data):
                folder, mask, _, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                events.append(Event(folder, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
                at += length
            if len(data) < _READ_BYTES // 2:
                # The queue is empty: later events are for the next call.
                return events

    def is_empty(self) -> bool:
        """Whether nothing is in the queue; False where that cannot be told. Takes nothing out of it."""
        import fcntl
        import termios

        fd, waiting = self._fd, bytearray(4)
        try:
            fcntl.ioctl(fd, termios.FIONREAD, waiting)
        except (OSError, ValueError):
            return False
        # A queue that was closed meanwhile may have left its number to another file.
        return not any(waiting) and fd == self._fd

    def close(self) -> None:
        """Close the queue; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @staticmethod
    def _fail() -> None:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
