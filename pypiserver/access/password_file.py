"""The password file: its users, and whether a password is right (RFC 7617).

**Invariants:** every failure denies access; no password is stored, logged or compared in plain text; every failed login
takes the same number of hash checks, for unknown users too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, Unavailable
from .live_file import Content, LiveFile
from .password_hashes import PasswordHash, decoys_of, fits, read_entry, without

_LOG = logging.getLogger(__name__)
# The paths of files with plain-text passwords that the log was warned about.
_TOLD_OF_PLAIN: set[str] = set()
WAIT_SECONDS = 5.0
# This many logins may wait for each running check: a waiting one holds a thread that others need.
WAITING = 4
BUSY = "Too many passwords are being checked right now. Try again in a moment."
_UNREADABLE = "Passwords cannot be checked right now: the server cannot read its password file. Try again in a moment."
_VERSIONS = itertools.count(1)
# A failed login takes one check for each scheme and cost in the file, up to this many, the costliest first.
DECOYS = 8


@dataclass(frozen=True, slots=True)
class Table:
    """One version of the password file: its entries, and a number that no other version has (0: there is no file).

    A failed login is checked against ``decoys``.
    """

    version: int = 0
    entries: Mapping[str, PasswordHash] = field(default_factory=dict)
    decoys: tuple[PasswordHash, ...] = ()

    @property
    def is_slow(self) -> bool:
        """Whether a failed login takes a slow check."""
        return any(each.is_slow for each in self.decoys)


class HtpasswdFile:
    """Checks passwords against the htpasswd file at ``path``, and reads the file again when it changes.

    At most ``slow_checks`` slow hashes are verified at once (None: one for each processor). ``clock`` gives monotonic
    seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        slow_checks: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._file = LiveFile(path, self._parse, what="password file", clock=clock)
        at_once = slow_checks or os.cpu_count() or 1
        self._slow = threading.BoundedSemaphore(at_once)
        self._waiting = threading.BoundedSemaphore(at_once * (1 + WAITING))
        self._missing: set[str] = set()

    def check(self) -> None:
        """Raise ConfigError unless the file can be read."""
        try:
            self._file.read()
        except OSError as error:
            raise ConfigError(
                f"The password file {self.path} cannot be read: {error.strerror or error}. {_advice(self.path, error)}",
                kind="unreadable",
                setting="password_file",
                value=self.path,
            ) from error

    def has_user(self, user: str) -> bool:
        """Whether the file has this user now; raises Unavailable when it cannot be read."""
        return user in self.current().entries

    def __call__(self, user: str, password: str) -> bool:
        """Whether the password is the user's; raises Unavailable when too many slow checks are waiting."""
        return self.is_right(self.current(), user, password)

    def current(self) -> Table:
        """The file as it is now; raises Unavailable when it could not be read for five seconds."""
        table = self._file.current()
        if table is None:
            raise Unavailable(f"The password file {self.path} cannot be read.", public=_UNREADABLE, kind="login")
        return table

    def known(self) -> Table | None:
        """The file as it is now, None if it must be read first."""
        return self._file.known()

    def is_right(self, table: Table, user: str, password: str) -> bool:
        """Whether the password is the user's in this version; raises Unavailable when too many slow checks wait."""
        if "\0" in password or "\0" in user:
            return False
        return self._verify(table.entries.get(user), table.decoys, password)

    def _verify(self, entry: PasswordHash | None, decoys: tuple[PasswordHash, ...], password: str) -> bool:
        """Whether the password matches the user's entry; if not, check the decoys too.

        The user's own entry replaces the decoy of the same cost, so the time shows neither which users exist nor what
        their hashes cost.
        """
        if entry is not None and not entry.is_slow and self._fits(entry, password):
            return True
        others = without(decoys, entry)
        with self._turn(any(each.is_slow for each in (*others, entry) if each is not None)):
            if entry is not None and entry.is_slow and self._fits(entry, password):
                return True
            for other in others:
                self._fits(other, password)
        return False

    def _fits(self, entry: PasswordHash, password: str) -> bool:
        try:
            return fits(entry, password)
        except ConfigError as error:
            # A hash whose library is missing fails like a wrong password.
            if entry.scheme not in self._missing:
                self._missing.add(entry.scheme)
                _LOG.error("%s", error)
            return False

    @contextlib.contextmanager
    def _turn(self, is_slow: bool) -> Iterator[None]:
        """Wait until a slow check may run; raises Unavailable when too many wait, or the wait takes too long."""
        if not is_slow:
            yield
            return
        if not self._waiting.acquire(blocking=False):
            raise Unavailable(BUSY, public=True)
        try:
            if not self._slow.acquire(timeout=WAIT_SECONDS):
                raise Unavailable(BUSY, public=True)
            try:
                yield
            finally:
                self._slow.release()
        finally:
            self._waiting.release()

    def _parse(self, content: Content) -> Table:
        is_told = content.is_told
        if os.name != "nt" and not is_told and content.mode & 0o022:
            _LOG.warning("The password file %s can be changed by others than its owner; use chmod go-w.", self.path)
        entries: dict[str, PasswordHash] = {}
        for number, line in enumerate(content.data.decode("utf-8", "replace").splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            user, colon, stored = line.strip().partition(":")
            try:
                if not user or not colon:
                    raise ValueError("it is not of the form USER:HASH")
                entries[user] = read_entry(stored)
            except ValueError as error:
                if not is_told:
                    _LOG.warning("Line %d of the password file %s is skipped: %s.", number, self.path, error)
        path = str(self.path)
        if path not in _TOLD_OF_PLAIN and any(entry.scheme == "plain" for entry in entries.values()):
            _TOLD_OF_PLAIN.add(path)
            _LOG.warning(
                "The password file %s has plain-text passwords; replace them with pypi-server passwd.", self.path
            )
        return Table(next(_VERSIONS), entries, decoys_of(entries.values(), DECOYS))


def _advice(path: Path, error: OSError) -> str:
    """What to do about a password file that cannot be read at the start."""
    if isinstance(error, FileNotFoundError):
        return f"Make one with: pypi-server passwd {path} USER"
    if isinstance(error, IsADirectoryError):
        return "Name a file."
    if isinstance(error, PermissionError):
        with contextlib.suppress(OSError, AttributeError):
            owner, ours = path.stat().st_uid, os.geteuid()
            if owner == ours:
                return f"Let its owner read it: chmod u+r {path}"
            return (
                f"It belongs to user {owner}, and the server runs as user {ours}: run it as that one, or let this one "
                "read it."
            )
    return "Name another one, or mend it."
