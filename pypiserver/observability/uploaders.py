"""The user who uploaded each file, according to the audit log.

**Invariants:** each read starts where the last one ended, and reads the last :data:`MAX_READ` bytes at most; memory is
bounded; a line that is no record, or a log that cannot be read, means that the user is unknown.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from ..bounded_cache import BoundedCache

# Bytes; a line has 300.
MAX_READ = 4 << 20
MAX_BYTES = 4 << 20
MAX_USER = 200


class Uploaders:
    """Users by the sha256 of the uploaded bytes, from the audit log at ``path``; a lookup of a user reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: BoundedCache[str, str] = BoundedCache(MAX_BYTES)
        self._lock = threading.Lock()
        # Which file was read, and how many bytes of it.
        self._read = (-1, 0)

    def of(self, sha256: str) -> str:
        """The user who uploaded these bytes last, '' if unknown."""
        # A call during a read returns what is known already.
        if self._lock.acquire(blocking=False):
            try:
                self._read_on()
            except OSError:
                pass
            finally:
                self._lock.release()
        return self._users.get(sha256) or ""

    def _read_on(self) -> None:
        with self._path.open("rb") as log:
            found = os.fstat(log.fileno())
            inode, at = self._read
            if inode != found.st_ino or found.st_size < at:
                at = 0
            if found.st_size == at:
                return
            at = max(at, found.st_size - MAX_READ)
            log.seek(at)
            # A line that is being written has no end yet.
            whole = log.read(MAX_READ).rpartition(b"\n")[0]
        for line in whole.splitlines():
            self._note(line)
        self._read = (found.st_ino, at + len(whole) + 1 if whole else at)

    def _note(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(record, dict) or record.get("action") != "upload":
            return
        user, sha256 = record.get("user"), record.get("sha256")
        if isinstance(user, str) and isinstance(sha256, str):
            self._users.put(sha256, user[:MAX_USER], size=len(user[:MAX_USER]))
