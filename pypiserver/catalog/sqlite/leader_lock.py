"""The leader lock of processes on one machine that share a SQLite catalog.

**Invariants:** the lock is an advisory lock on a small file, so it ends with its process, even when the process
crashes; the file's text is the holder's state: ``scanning``, ``ready`` with the start and duration of its last scan and
the catalog it filled (``Catalog.token``), or ``outage`` with the fault of the folders; the file's modification time is
a heartbeat, which shows that the holder's rounds succeed or that a long scan makes progress.

A holder whose rounds fail gives way. A process that is stopped as a whole keeps the lock, because the kernel holds it,
and followers see that its heartbeat is old.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from ...errors import Unavailable
from ..leader_lock import LeaderLock

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: BinaryIO) -> None:
        """Lock an open file until it is closed; raises OSError when another process has the lock."""
        # One byte far behind the text, because on Windows other processes cannot read a locked byte.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def try_lock(file: BinaryIO) -> None:
        """Lock an open file until it is closed; raises OSError when another process has the lock."""
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


ALIVE_SECONDS = 5.0
# The least seconds between two heartbeats, each of which is a system call.
HEARTBEAT_SECONDS = 0.4


def leads_to(path: Path, file: BinaryIO) -> bool:
    """Whether a path still names the open file: a lock on a deleted file excludes no other process."""
    if sys.platform == "win32":  # where an open file cannot be deleted
        return True
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


class FileLeaderLock(LeaderLock):
    """The leader lock in the file ``path``; None where no other process shares the catalog: the lock is always held."""

    spans_machines = False

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        # The last state of ours, which is read where there is no file.
        self._told = ""
        # By time.monotonic(): when the lock may be taken again after give_way(), and when the next heartbeat is due.
        self._not_before = 0.0
        self._next_touch = 0.0

    def acquire(self) -> bool:
        """Take the lock if it is free; True when this process has it.

        Raises Unavailable when the lock's file cannot be opened.
        """
        if self.path is None or self._file is not None:
            return True
        if time.monotonic() < self._not_before:
            return False
        try:
            file = self.path.open("a+b")
        except OSError as error:
            raise Unavailable(
                f"The lock file {self.path} cannot be opened ({error.strerror}); it must be writable."
            ) from error
        try:
            try_lock(file)
            is_ours = leads_to(self.path, file)
        except OSError:
            is_ours = False
        except BaseException:
            file.close()
            raise
        if not is_ours:
            file.close()
            return False
        file.seek(0)
        self._found = file.read(100).decode("ascii", "replace")
        self._file = file
        self._say("scanning" if not self.was_ready_just_now() else self._found)
        return True

    def is_held(self) -> bool:
        """Whether this process has the lock."""
        return self.path is None or self._file is not None

    def is_alive(self) -> bool:
        """Whether the holder's rounds succeed: its heartbeat is recent."""
        if self.path is None:
            return True
        try:
            return abs(time.time() - self.path.stat().st_mtime) < ALIVE_SECONDS
        except OSError:
            return False

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether the holder is alive and has completed a scan into this catalog, or into any."""
        return self.path is None or (self.is_alive() and super().is_ready(catalog))

    def say_outage(self, reason: str) -> None:
        """Report to the others that the folders cannot be read, and why."""
        if self._file is not None:
            super().say_outage(reason)

    def touch(self) -> None:
        """Renew the heartbeat: a round succeeded, or a long one makes progress. Raises OSError."""
        file, now = self._file, time.monotonic()
        if file is not None and self.path is not None and now >= self._next_touch:
            self._next_touch = now + HEARTBEAT_SECONDS
            os.utime(file.fileno() if os.utime in os.supports_fd else self.path)
            if not leads_to(self.path, file):
                # The file was deleted: its lock excludes no other process, and no other process can read its text.
                self.release()

    def give_way(self, seconds: float) -> bool:
        """Release the lock and leave it to others for this many seconds; False where no other process shares it."""
        if self.path is None or self._file is None:
            return False
        self._not_before = time.monotonic() + seconds
        self.release()
        return True

    def release(self) -> None:
        """Release the lock, so that another process can take it at once."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def forget(self) -> None:
        """Forget the parent's lock, after a fork."""
        self.release()
        self._found, self._not_before = "", 0.0

    def _said(self) -> str:
        try:
            return self._told if self.path is None else self.path.read_text("utf-8", "replace")
        except OSError:
            return ""

    def _say(self, said: str) -> None:
        self._told = said
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(said.encode("utf-8", "replace"))
            self._file.flush()
