"""The audit log: one JSON line for every change of what is served, appended to a file that only :mod:`uploaders` reads.

**Invariants:** a change that cannot be recorded is refused before it begins; if recording fails after the change (the
disk became full in between), the error log gets the whole line. The file is opened for each line, so it can be moved
at any time; a line is one write in append mode, so lines of several processes never mix.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from ..backend.hashing import sha256_of_stream
from ..errors import Unavailable

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a file: ``action`` is upload, yank, unyank, delete or restore, ``file`` its path in its folder.

    ``sha256`` is the digest of the file's bytes; ``reason`` is the reason of a yank.
    """

    action: str
    file: str
    sha256: str
    reason: str = ""


class AuditLog:
    """Appends changes to the file at ``path``. ``clock`` returns seconds since the epoch."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock

    def check(self, *, makes: bool = True) -> None:
        """Raise Unavailable unless a line can be written now; without ``makes`` a missing file is not made."""
        try:
            if makes or self.path.exists():
                os.close(self._open())
            elif not os.access(self.path.parent, os.W_OK | os.X_OK):
                why = errno.EACCES if self.path.parent.exists() else errno.ENOENT
                raise OSError(why, os.strerror(why))
        except OSError as error:
            raise Unavailable(
                f"The audit log {self.path} cannot be written ({error.strerror or error}), so nothing was changed; "
                "name a file in a folder this user may write to with --audit-log.",
                public="The audit log cannot be written, so nothing was changed; the server's log says why.",
            ) from error

    def write(self, change: Change, *, user: str | None, address: str | None, token: str = "") -> None:
        """Append the line of a change that was done; ``address`` is None for a change by the command line.

        ``token`` is the id of the token by which the user logged in.
        """
        what = {"token": token} if token else {}
        what |= {"action": change.action, "file": change.file, "sha256": change.sha256}
        if change.action == "yank":
            what["reason"] = change.reason
        self.append(what, user=user, address=address)

    def append(self, what: Mapping[str, str], *, user: str | None, address: str | None) -> None:
        """Append the line of anything that was done: who did it, and ``what``."""
        time = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
        who = {"time": time.replace("+00:00", "Z"), "user": user, "address": address}
        line = json.dumps({**who, **what})
        try:
            descriptor = self._open()
            try:
                os.write(descriptor, f"{line}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = error.strerror or error
            _LOG.critical("The audit log %s cannot be written (%s); it lacks this line: %s", self.path, reason, line)

    def _open(self) -> int:
        # Other users must not read it: it says who did what.
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def local_user() -> str:
    """The user of this process: the name, or the number if the user has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.geteuid()) if hasattr(os, "geteuid") else "unknown"


@contextlib.contextmanager
def recorded(log: AuditLog | None, change: Change, *, read: Callable[[], BinaryIO], user: str) -> Iterator[None]:
    """Wrap a change by the command line: refuse it if it cannot be recorded, or record it once it is done.

    ``read`` opens the file, and is used if its ``sha256`` is not known (''). Raises Unavailable.
    """
    if log is None:
        yield
        return
    log.check()
    change = replace(change, sha256=change.sha256 or sha256_of_stream(read()))
    yield
    log.write(change, user=user, address=None)
