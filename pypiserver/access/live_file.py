"""A text file whose changes count from the next request: the files of passwords, rights and tokens.

**Invariants:** the value is always that of one read of the whole file; a file that cannot be read keeps its last value
for some seconds, as an editor that replaces it may leave a gap without one, and so does one that was just cut to
nothing; no file is read beyond its limit.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from .file_watch import Followed

Value = TypeVar("Value")

_LOG = logging.getLogger(__name__)
# By path: the digest of the last content that the log was warned about.
_TOLD: dict[str, bytes] = {}
# An editor that replaces the file may leave a gap without one.
GRACE_SECONDS = 5.0
# A second change within the resolution of the file system's times leaves the file's identity unchanged.
SETTLE_SECONDS = 2.0
# Until it is settled, a file of more bytes than LARGE is read again once in this many seconds, and not for each
# request, unless its identity changes.
LARGE = 1024 * 1024
AGAIN_SECONDS = 0.5
# A larger file is refused as a whole: one cut within a line would say something else.
MAX_FILE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What a file contains: its bytes, its ``mode``, and whether the log was already warned about these bytes.

    Commands and reloads read the same file with other objects.
    """

    data: bytes
    mode: int = 0
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class _Version(Generic[Value]):
    """One version of a file: its identity, the SHA-256 of its bytes, and its value.

    ``is_settled`` says that any further change will change the identity, ``has_text`` that the file was not empty.
    """

    identity: tuple[int, ...]
    digest: bytes
    is_settled: bool
    has_text: bool
    value: Value


class LiveFile(Generic[Value]):
    """The value of the file at ``path``, which ``parse`` makes of its content; read again when the file changes.

    ``what`` names it in messages, such as ``"password file"``. With ``whole_lines``, the last line of a file that is
    still being written counts only once it ends, or the file has not changed for two seconds. ``clock`` gives monotonic
    seconds.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[Content], Value],
        *,
        what: str,
        whole_lines: bool = False,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        # Using a Path costs more than the stat.
        self._name = str(path)
        self._parse = parse
        self._what = what
        self._whole_lines = whole_lines
        self._max_bytes = max_bytes
        self._clock = clock
        self._followed = Followed(self._name, clock=clock)
        # A settled version, and the mark of the last look that found it.
        self._looked: tuple[int, _Version[Value]] | None = None
        self._version: _Version[Value] | None = None
        self._unreadable_since: float | None = None
        self._read_again_at = clock()

    def current(self) -> Value | None:
        """The value of the file as it is now; None once it could not be read for five seconds, or never could."""
        looked = self._looked
        if looked is not None and self._followed.is_same(looked[0]):
            return looked[1].value
        mark = self._followed.mark()
        version = self._version
        try:
            status = os.stat(self._name)
            if (
                version is None
                or identity_of(status) != version.identity
                or (not version.is_settled and self._clock() >= self._read_again_at)
            ):
                version = self._read()
            self._looked = (mark, version) if mark and version.is_settled else None
            if self._unreadable_since is not None:
                self._unreadable_since = None
        except OSError as error:
            now = self._clock()
            if self._unreadable_since is None:
                self._unreadable_since = now
                _LOG.error("The %s %s cannot be read: %s.", self._what, self.path, error.strerror or error)
            if version is None or now - self._unreadable_since >= GRACE_SECONDS:
                return None
        return version.value

    def known(self) -> Value | None:
        """The value, if one look at the file says that it is the current one; None otherwise, without a read."""
        looked, version = self._looked, self._version
        if looked is not None and self._followed.is_same(looked[0]):
            return looked[1].value
        if version is None or not version.is_settled:
            return None
        mark = self._followed.mark()
        try:
            is_same = identity_of(os.stat(self._name)) == version.identity
        except OSError:
            return None
        self._looked = (mark, version) if mark and is_same else None
        return version.value if is_same else None

    def read(self) -> Value:
        """Read the file now, and return its value; raises OSError."""
        return self._read().value

    def _read(self) -> _Version[Value]:
        limit = MAX_FILE if self._max_bytes is None else self._max_bytes
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit >> 20} MiB")
        self._read_again_at = self._clock() + (AGAIN_SECONDS if len(data) > LARGE else 0.0)
        before, now = self._version, time.time()
        is_settled = all(abs(now - when) > SETTLE_SECONDS for when in (status.st_mtime, status.st_ctime))
        is_cut = before is not None and before.has_text and not data and _is_same_file(status, before.identity)
        if before is not None and is_cut and not is_settled:
            # As by "cat > FILE", which is about to write it. One that took its place is empty on purpose.
            return replace(before, is_settled=False)
        if self._whole_lines and before is not None and not is_settled:
            data = data[: data.rfind(b"\n") + 1]
        identity, digest = identity_of(status), hashlib.sha256(data).digest()
        if before is not None and digest == before.digest:
            version = replace(before, identity=identity, is_settled=is_settled)
        else:
            is_told = _TOLD.get(self._name) == digest
            _TOLD[self._name] = digest
            value = self._parse(Content(data, status.st_mode, is_told))
            version = _Version(identity, digest, is_settled, bool(data), value)
        self._version = version
        return version


def _is_same_file(status: os.stat_result, identity: tuple[int, ...]) -> bool:
    return identity_of(status)[:2] == identity[:2]


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Attributes that change with the file, even if its size stays and its time is set back (ctime)."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
