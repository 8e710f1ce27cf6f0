"""The lock by which processes that share a catalog agree on one scanner.

It is an advisory lock on a small file, so it ends with its process, however that dies. The file's text says how far
its holder is: ``scanning``, ``ready`` with the time its last scan began, how long that took and the catalog it filled
(``Catalog.token``), or ``outage`` with what is wrong with the folders. Its modification time is a heartbeat: the
holder's rounds succeed, or a long scan gets on. A holder that notices that they do not gives way; a process that is
stopped as a whole keeps the lock, as the kernel has it, and those who follow see that its heartbeat is old.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from ...errors import Unavailable
from ..leader_lock import FRESH_SECONDS, catalog_in, scan_in

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: BinaryIO) -> None:
        """Take the lock on an open file, which ends with it; raises OSError when another process has it."""
        # One byte far behind the text, because a locked byte cannot be read by others on Windows.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def try_lock(file: BinaryIO) -> None:
        """Take the lock on an open file, which ends with it; raises OSError when another process has it."""
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


ALIVE_SECONDS = 5.0
# A heartbeat is a call of the system; nobody needs more of them.
HEARTBEAT_SECONDS = 0.4


def leads_to(path: Path, file: BinaryIO) -> bool:
    """Whether a path still leads to an open file: a lock on one that was deleted keeps nobody out."""
    if sys.platform == "win32":  # where nobody deletes an open file
        return True
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


class FileLeaderLock:
    """The scan lock in the file ``path``; with None nobody shares, and the lock is always ours."""

    spans_machines = False

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._found = ""
        self._said = ""
        # By time.monotonic(): when it may be taken again after it was given away, and the next heartbeat.
        self._not_before = 0.0
        self._next_touch = 0.0

    def acquire(self) -> bool:
        """Take the lock if it is free; True when it is ours. Raises Unavailable when its file cannot be opened."""
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
        self._write("scanning" if not self.was_ready_just_now() else self._found)
        return True

    def is_held(self) -> bool:
        """Whether the lock is ours."""
        return self.path is None or self._file is not None

    def was_ready_just_now(self, catalog: str | None = None) -> bool:
        """Whether the holder before us began its last scan less than two seconds ago, into this catalog, or any."""
        found = scan_in(self._found)
        is_fresh = found is not None and 0 <= time.time() - found[0] < FRESH_SECONDS
        return is_fresh and catalog in (None, catalog_in(self._found))

    def is_alive(self) -> bool:
        """Whether rounds of the process that holds the lock succeed: its heartbeat is young."""
        if self.path is None:
            return True
        try:
            return abs(time.time() - self.path.stat().st_mtime) < ALIVE_SECONDS
        except OSError:
            return False

    def is_ready(self, catalog: str | None = None) -> bool:
        """Whether the process that holds the lock is alive and has scanned into this catalog, or into any."""
        if self.path is None:
            return True
        try:
            said = self.path.read_text("ascii", "replace")
        except OSError:
            return False
        return self.is_alive() and said.startswith("ready") and catalog in (None, catalog_in(said))

    def outage(self) -> str:
        """What keeps the process that holds the lock from reading the folders; empty when nothing does."""
        if self.path is None:
            return ""
        try:
            word, _, reason = self.path.read_text("utf-8", "replace").partition(" ")
        except OSError:
            return ""
        return reason if word == "outage" else ""

    def say_outage(self, reason: str) -> None:
        """Tell the others that the folders cannot be read, and why."""
        if self._file is not None:
            self._write(f"outage {reason}")

    def say_ready(self, started: float, catalog: str = "") -> None:
        """Tell the others that a scan into ``catalog`` that began at ``started`` (seconds since the epoch) is done."""
        self._said = f"ready {started:.3f} {time.time() - started:.3f} {catalog}"
        if self._file is not None:
            self._write(self._said)

    def last_scan(self) -> tuple[float, float] | None:
        """When the last scan of any process began (seconds since the epoch) and how long it took, if that is known."""
        if self.path is None:
            return scan_in(self._said)
        try:
            return scan_in(self.path.read_text("ascii", "replace"))
        except OSError:
            return None

    def touch(self) -> None:
        """Tell the others that a round succeeded, or that a long one gets on."""
        file, now = self._file, time.monotonic()
        if file is not None and self.path is not None and now >= self._next_touch:
            self._next_touch = now + HEARTBEAT_SECONDS
            os.utime(file.fileno() if os.utime in os.supports_fd else self.path)
            if not leads_to(self.path, file):
                # Somebody deleted it: the lock on it keeps nobody out, and nobody hears what it says.
                self.release()

    def give_way(self, seconds: float) -> bool:
        """Give the lock up and leave it to others for so long; False where nobody shares it."""
        if self.path is None or self._file is None:
            return False
        self._not_before = time.monotonic() + seconds
        self.release()
        return True

    def release(self) -> None:
        """Give the lock up."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def forget(self) -> None:
        """After a fork: the parent's lock is not ours."""
        self.release()
        self._found, self._not_before = "", 0.0

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(text.encode("utf-8", "replace"))
            self._file.flush()
