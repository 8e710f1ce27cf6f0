"""A list about projects of other indexes while the server runs: its lines as they are now.

**Invariants:** a change counts within a second, but not while the file is being written, when it would deny less; a
file that stays missing or unreadable is an outage, never a list without lines; at the start a line that cannot be used
is an error, later it is logged.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..access.live_file import GRACE_SECONDS, Content, LiveFile, identity_of
from ..errors import ConfigError, Mistake, Unavailable
from .list_text import MAX_BYTES, ListKind, ListLines, ListText, read_list

_LOG = logging.getLogger(__name__)
_FAULTS_SHOWN = 20
# A look costs 2 us.
LOOK_SECONDS = 0.25
# A file that changed this long ago is not being written.
REST_SECONDS = 0.2
# A file that is changed again and again is read after this time all the same.
MOST_SECONDS = GRACE_SECONDS
SETTINGS = {"allow": "allow", "allow-projects": "allow_projects", "deny-projects": "deny_projects"}


@dataclass(frozen=True, slots=True)
class ListVersion:
    """The lines of a version of a file; ``digest`` is equal for equal bytes."""

    lines: ListLines
    digest: str


class ListFile:
    """The list of a kind in the file at ``path``; the clocks give monotonic seconds, and seconds since the epoch."""

    def __init__(
        self,
        path: Path,
        kind: ListKind,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.kind = kind
        self._clock = clock
        self._wall = wall
        self._file: LiveFile[ListVersion] = LiveFile(
            path, self._parse, what=f"list of --{kind}", max_bytes=MAX_BYTES, clock=clock
        )
        self._lock = threading.Lock()
        self._version: ListVersion | None = None
        self._identity: tuple[int, ...] = ()
        self._look_at = self._looked_at = 0.0
        # The identity that another look must find again, and since when there is one that was not read.
        self._changing: tuple[int, ...] = ()
        self._changing_since = 0.0

    @property
    def fresh_until(self) -> float:
        """When the file is looked at again (monotonic seconds)."""
        return self._look_at

    def current(self) -> ListVersion:
        """The list as it is now; raises Unavailable when the file could not be read for some seconds."""
        version, now = self._version, self._clock()
        if version is not None and now < self._look_at:
            return version
        if not self._lock.acquire(blocking=version is None):
            # Another thread reads it. If that takes long, the disk hangs.
            if version is None or now - self._looked_at > GRACE_SECONDS:
                raise self._outage()
            return version
        try:
            return self._looked(now)
        finally:
            self._lock.release()

    def known(self) -> ListVersion | None:
        """The list, if it needs no read now; None otherwise."""
        version, now = self._version, self._clock()
        if version is not None and now < self._look_at:
            return version
        found = self._file.known()
        if found is None or found is not version:
            return None
        self._look_at, self._looked_at = now + LOOK_SECONDS, now
        return found

    def check(self) -> ListText:
        """What the file says; raises ConfigError when it cannot be read, or has lines that cannot be used."""
        setting = SETTINGS[self.kind]
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            hint = "; an empty file is a list without lines" if isinstance(error, FileNotFoundError) else ""
            raise ConfigError(
                f"The list {self.path} of --{self.kind} cannot be read: {error.strerror or error}{hint}.",
                kind="unreadable",
                setting=setting,
                value=self.path,
            ) from error
        if len(data) > MAX_BYTES:
            raise ConfigError(
                f"The list {self.path} of --{self.kind} is larger than {MAX_BYTES >> 20} MiB.",
                kind="too-large",
                setting=setting,
                value=self.path,
            )
        text = read_list(data, self.kind)
        if text.faults:
            raise ConfigError.of(
                Mistake(f"The list {self.path} of --{self.kind}: {each}.", "line", setting, each.number)
                for each in text.faults[:_FAULTS_SHOWN]
            )
        return text

    def _looked(self, now: float) -> ListVersion:
        """Look at the file, and read it if it changed and rests."""
        before = self._seen()
        if self._version is not None and before and before != self._identity and not self._rests(before, now):
            self._look_at, self._looked_at = now + REST_SECONDS, now
            return self._version
        found = self._file.current()
        if found is None:
            raise self._outage()
        is_late = bool(self._changing) and now - self._changing_since >= MOST_SECONDS
        if self._version is None or is_late or self._seen() == before:
            self._version, self._identity, self._changing = found, before, ()
            self._look_at = now + LOOK_SECONDS
        # Otherwise it was changed while it was read: look again at the next request.
        self._looked_at = now
        return self._version

    def _rests(self, identity: tuple[int, ...], now: float) -> bool:
        if not self._changing:
            self._changing_since = now
        is_same, self._changing = self._changing == identity, identity
        # The last two are the times of the last changes, by the clock of the file system.
        age = self._wall() - max(identity[-2:]) / 1e9
        return is_same or age >= REST_SECONDS or now - self._changing_since >= MOST_SECONDS

    def _seen(self) -> tuple[int, ...]:
        try:
            return identity_of(os.stat(self.path))  # noqa: PTH116 - as in live_file
        except OSError:
            return ()

    def _outage(self) -> Unavailable:
        return Unavailable(
            f"The list {self.path} of --{self.kind} cannot be read; nothing of other indexes is given out.",
            public=f"The server cannot read now which packages of other indexes it gives out (--{self.kind}). "
            "Try again in a moment; its log says more.",
            kind="list",
        )

    def _parse(self, content: Content) -> ListVersion:
        if not content.is_told and content.mode & 0o022 and os.name != "nt":
            _LOG.warning("The list %s can be changed by others than its owner; use chmod go-w.", self.path)
        text = read_list(content.data, self.kind)
        if not content.is_told:
            for fault in text.faults[:_FAULTS_SHOWN]:
                _LOG.error("The list %s of --%s: %s.", self.path, self.kind, fault)
            if len(text.faults) > _FAULTS_SHOWN:
                _LOG.error("The list %s: %d more such lines.", self.path, len(text.faults) - _FAULTS_SHOWN)
        return ListVersion(text.lines, hashlib.sha256(content.data).hexdigest()[:16])
