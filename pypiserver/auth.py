"""Who may do what: the htpasswd file, any callable, and which actions need either.

The rules to keep: whatever is wrong closes the door; a password is never kept, logged or compared in plain text; right
passwords are remembered for a while, because clients send them with each of hundreds of requests; who is unknown costs
as much time as who is known.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError, Forbidden, PypiServerError, Unauthorized, Unavailable
from .htpasswd import Entry, fits, read_entry

Auther = Callable[[str, str], bool]

_LOG = logging.getLogger(__name__)
REMEMBER = 512
REMEMBER_SECONDS = 600.0
# An editor that replaces the file may leave a moment without one.
GRACE_SECONDS = 5.0
WAIT_SECONDS = 5.0
# Within the time that a file system can tell apart, a file may change again and look the same.
SETTLE_SECONDS = 2.0
# For each check that runs so many may wait: each of them holds a thread that others need.
WAITING = 4
_BUSY = "Too many passwords are being checked right now. Try again in a moment."
MAX_FILE = 16 * 1024 * 1024
MAX_HEADER = 8192


@dataclass(frozen=True, slots=True)
class _Table:
    """The password file as it was read: its identity, its entries, and the right passwords seen since, as MACs.

    ``digest`` is that of its bytes; ``is_settled`` says that another change will give it another identity.
    ``logins`` has the user and the time of whole headers that were right.
    """

    identity: tuple[int, int, int]
    digest: bytes = b""
    is_settled: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    remembered: dict[bytes, float] = field(default_factory=dict)
    logins: dict[bytes, tuple[str, float]] = field(default_factory=dict)


class HtpasswdFile:
    """Checks passwords against the htpasswd file at ``path``, which is read again whenever it changes.

    ``slow_checks`` of them run at once (None: one for each processor). ``clock`` gives seconds that never go back;
    ``look_seconds`` is how long what was read is believed without a look.
    """

    def __init__(
        self,
        path: Path,
        *,
        slow_checks: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        look_seconds: float = 0.0,
    ) -> None:
        self.path = path
        self._clock = clock
        self._look_seconds = look_seconds
        self._believed_until = float("-inf")
        self._table = _Table((0, 0, -1))
        self._key = secrets.token_bytes(32)
        at_once = slow_checks or os.cpu_count() or 1
        self._slow = threading.BoundedSemaphore(at_once)
        self._waiting = threading.BoundedSemaphore(at_once * (1 + WAITING))
        self._unreadable_since: float | None = None
        self._warned_of_plain = False

    def check(self) -> None:
        """Raise ConfigError unless the file can be read."""
        try:
            self._read()
        except OSError as error:
            raise ConfigError(
                f"The password file {self.path} cannot be read: {error.strerror or error}. "
                f"Make one with: pypi-server passwd {self.path} USER"
            ) from error

    def __call__(self, user: str, password: str) -> bool:
        """Whether the password is the user's; raises Unavailable while too many slow checks are waiting."""
        if "\0" in password or "\0" in user:
            return False
        table = self._current()
        entry = table.entries.get(user)
        if entry is None:
            self._waste_time(table, password)
            return False
        mac = hmac.digest(
            self._key, b"\0".join((user.encode(), password.encode(), entry.stored.encode())), hashlib.sha256
        )
        now = self._clock()
        if now - table.remembered.get(mac, -REMEMBER_SECONDS) < REMEMBER_SECONDS:
            return True
        if not self._verify(entry, password):
            return False
        _make_room(table.remembered)
        table.remembered[mac] = now
        return True

    def login(self, authorization: str) -> str | None:
        """The user of an Authorization header, None for a wrong password; raises Unauthorized and Unavailable.

        A header that was right of late is known by a digest of all of it, which takes a quarter of the time.
        """
        # What is read while the password is checked has a table of its own, to which this one says nothing.
        table = self._current()
        digest = hashlib.blake2s(authorization.encode("utf-8", "surrogatepass"), key=self._key).digest()
        known, now = table.logins.get(digest), self._clock()
        if known is not None and now - known[1] < REMEMBER_SECONDS:
            return known[0]
        user, password = parse_basic(authorization)
        if not self(user, password):
            return None
        _make_room(table.logins)
        table.logins[digest] = user, now
        return user

    def _verify(self, entry: Entry, password: str) -> bool:
        if not entry.is_slow:
            return fits(entry, password)
        if not self._waiting.acquire(blocking=False):
            raise Unavailable(_BUSY, public=True)
        try:
            if not self._slow.acquire(timeout=WAIT_SECONDS):
                raise Unavailable(_BUSY, public=True)
            try:
                return fits(entry, password)
            finally:
                self._slow.release()
        finally:
            self._waiting.release()

    def _waste_time(self, table: _Table, password: str) -> None:
        """Check the password against the costliest entry, so that time does not tell which users there are."""
        costliest = max(table.entries.values(), key=lambda entry: entry.milliseconds, default=None)
        if costliest is not None:
            self._verify(costliest, password)

    def _current(self) -> _Table:
        # A look lets other threads in between, which costs more than the look: a quarter of what a page costs.
        now = self._clock()
        if now < self._believed_until:
            return self._table
        try:
            status = self.path.stat()
            identity = (status.st_ino, status.st_size, status.st_mtime_ns)
            if not self._table.is_settled or identity != self._table.identity:
                self._read()
            self._unreadable_since = None
            self._believed_until = now + self._look_seconds
        except OSError as error:
            if self._unreadable_since is None:
                self._unreadable_since = now
                _LOG.error("The password file %s cannot be read: %s.", self.path, error.strerror or error)
            if now - self._unreadable_since >= GRACE_SECONDS:
                return _Table((0, 0, -1))
        return self._table

    def _read(self) -> None:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_FILE)
        identity = (status.st_ino, status.st_size, status.st_mtime_ns)
        digest = hashlib.sha256(data).digest()
        is_settled = abs(time.time() - status.st_mtime) > SETTLE_SECONDS
        if digest == self._table.digest:
            self._table = replace(self._table, identity=identity, is_settled=is_settled)
            return
        if os.name != "nt" and status.st_mode & 0o022:
            _LOG.warning("The password file %s can be changed by others than its owner; use chmod go-w.", self.path)
        entries: dict[str, Entry] = {}
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            user, colon, stored = line.strip().partition(":")
            try:
                if not user or not colon:
                    raise ValueError("it is not of the form USER:HASH")
                entries[user] = read_entry(stored)
            except ValueError as error:
                _LOG.warning("Line %d of the password file %s is skipped: %s.", number, self.path, error)
        if not self._warned_of_plain and any(entry.scheme == "plain" for entry in entries.values()):
            self._warned_of_plain = True
            _LOG.warning(
                "The password file %s has plain-text passwords; replace them with pypi-server passwd.", self.path
            )
        self._table = _Table(identity, digest, is_settled, entries)


def _make_room(remembered: dict[bytes, Any]) -> None:
    while len(remembered) >= REMEMBER:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):
            del remembered[next(iter(remembered))]


class Access:
    """The guard: ``protected`` are the actions that need a login, ``auther`` knows the passwords (None: nobody)."""

    def __init__(self, auther: Auther | None, protected: Collection[str]) -> None:
        self._auther = auther
        self._protected = frozenset(protected)

    def is_protected(self, action: str) -> bool:
        """Whether the action needs a login."""
        return action in self._protected

    def is_refused(self, action: str) -> bool:
        """Whether nobody may do it: it needs a login, and nobody has one."""
        return action in self._protected and self._auther is None

    def check(self, action: str, authorization: str | None) -> str | None:
        """Let the request pass, giving its user, None for an open action.

        Raises Unauthorized for missing, unreadable or wrong credentials, Forbidden when nobody may.
        """
        if action not in self._protected:
            return None
        if self._auther is None:
            raise Forbidden(
                f"Nobody may do this here: {action!r} is protected, and the server has no password file. "
                "Its operator can give one with -P FILE."
            )
        if authorization is None:
            raise Unauthorized(f"The action {action!r} needs a user name and a password.")
        user = self._login(self._auther, authorization)
        if user is None:
            raise Unauthorized("The user name or the password is wrong.")
        return user

    def _login(self, auther: Auther, authorization: str) -> str | None:
        try:
            if isinstance(auther, HtpasswdFile):
                return auther.login(authorization)
            user, password = parse_basic(authorization)
            return user if auther(user, password) else None
        except PypiServerError:
            raise
        except Exception:  # noqa: BLE001 - logged with its traceback
            # Somebody else's code: whatever goes wrong in it must not open the door, nor show a traceback to a client.
            _LOG.exception("The auther failed; the request is refused.")
            return None


def parse_basic(authorization: str) -> tuple[str, str]:
    """User and password of an Authorization header (RFC 7617); raises Unauthorized for anything else."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or len(authorization) > MAX_HEADER:
        raise Unauthorized("The credentials cannot be read; send them as HTTP Basic authentication.")
    try:
        data = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Unauthorized("The credentials cannot be read: they are not base64.") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Clients built on requests send latin-1 where they can.
        text = data.decode("latin-1")
    user, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise Unauthorized("The credentials cannot be read: they are not of the form user:password.")
    return user, password
