"""The logins of netrc: the file that the variable NETRC names, or the user's own, read again when it changes.

**Invariants:** a change counts from the next request; an unreadable file counts as missing, as in pip and requests: the
message for the resulting 401 names netrc.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import time
from collections.abc import Callable, Mapping

Login = tuple[str, str]
# What a change of the file changes.
_Identity = tuple[int, int, int, int]
# File systems are too coarse to tell two changes apart that come one after the other.
SETTLED_SECONDS = 2.0


class NetrcFile:
    """The logins that ``environ`` leads to; ``now`` is in seconds since the epoch. Threads can share it."""

    def __init__(self, environ: Mapping[str, str] = os.environ, *, now: Callable[[], float] = time.time) -> None:
        named = environ.get("NETRC")
        self._paths = [os.path.expanduser(place) for place in ([named] if named else ["~/.netrc", "~/_netrc"])]  # noqa: PTH111 - may be no path
        self._now = now
        self._known: dict[str, tuple[_Identity, netrc.netrc | None]] = {}

    def login(self, host: str) -> Login | None:
        """The entry for this host."""
        for path in self._paths:
            entries = self._entries(path)
            if entries is not None and (found := entries.authenticators(host)):
                return found[0] or found[1] or "", found[2] or ""
        return None

    def _entries(self, path: str) -> netrc.netrc | None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path takes twice as long
        except (OSError, ValueError):
            return None
        identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        entries = None
        with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeError):
            entries = netrc.netrc(path)
        if self._now() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS:
            self._known[path] = identity, entries
        return entries


def login_for(host: str) -> Login | None:
    """The entry for this host, of the file as it is now."""
    return NetrcFile().login(host)
