"""Authentication against the htpasswd file or a callable, and the actions that need it (RFC 7617).

**Invariants:** every failure denies access; no password is stored, logged or compared in plain text; correct passwords
are cached for a while, because clients send them with each of hundreds of requests; every failed login takes the same
number of hash checks, for unknown users too.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Forbidden, PypiServerError, Unauthorized, Unavailable
from .password_hashes import PasswordHash, decoys_of, fits, read_entry, without

Auther = Callable[[str, str], bool]

_LOG = logging.getLogger(__name__)
# By path: the digest of the last content that the log was warned about, and the files with plain-text passwords.
_TOLD: dict[str, bytes] = {}
_TOLD_OF_PLAIN: set[str] = set()
REMEMBER = 512
REMEMBER_SECONDS = 600.0
# An editor that replaces the file may leave a gap without one.
GRACE_SECONDS = 5.0
WAIT_SECONDS = 5.0
# A second change within the resolution of the file system's times leaves the file's identity unchanged.
SETTLE_SECONDS = 2.0
# This many logins may wait for each running check: a waiting one holds a thread that others need.
WAITING = 4
_BUSY = "Too many passwords are being checked right now. Try again in a moment."
# A larger file is refused as a whole: one cut within a line would accept half of a password.
MAX_FILE = 16 * 1024 * 1024
# A failed login takes one check for each scheme and cost in the file, up to this many, the costliest first.
DECOYS = 8
MAX_HEADER = 8192


@dataclass(frozen=True, slots=True)
class _Table:
    """One version of the password file: its identity, its entries, and MACs of the correct passwords seen since.

    ``digest`` is the SHA-256 of its bytes; ``is_settled`` says that any further change will change the identity. A
    failed login is checked against ``decoys``. ``logins`` has the user and time of whole headers that were correct.
    """

    identity: tuple[int, ...]
    digest: bytes = b""
    is_settled: bool = False
    entries: dict[str, PasswordHash] = field(default_factory=dict)
    decoys: tuple[PasswordHash, ...] = ()
    remembered: dict[bytes, float] = field(default_factory=dict)
    logins: dict[bytes, tuple[str, float]] = field(default_factory=dict)


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
        # Using a Path costs more than the stat.
        self._name = str(path)
        self._clock = clock
        self._table = _Table(())
        self._key = secrets.token_bytes(32)
        at_once = slow_checks or os.cpu_count() or 1
        self._slow = threading.BoundedSemaphore(at_once)
        self._waiting = threading.BoundedSemaphore(at_once * (1 + WAITING))
        self._unreadable_since: float | None = None
        self._missing: set[str] = set()

    def check(self) -> None:
        """Raise ConfigError unless the file can be read."""
        try:
            self._read()
        except OSError as error:
            advice = f"Make one with: pypi-server passwd {self.path} USER"
            with contextlib.suppress(OSError, AttributeError):
                if isinstance(error, PermissionError):
                    owner, ours = self.path.stat().st_uid, os.geteuid()
                    advice = f"It belongs to user {owner}, and the server runs as user {ours}: "
                    advice += "run it as that one, or let this one read it."
            raise ConfigError(
                f"The password file {self.path} cannot be read: {error.strerror or error}. {advice}",
                kind="unreadable",
                setting="password_file",
                value=self.path,
            ) from error

    def __call__(self, user: str, password: str) -> bool:
        """Whether the password is the user's; raises Unavailable when too many slow checks are waiting."""
        if "\0" in password or "\0" in user:
            return False
        table = self._current()
        entry = table.entries.get(user)
        stored = entry.stored if entry is not None else ""
        mac = hmac.digest(self._key, b"\0".join((user.encode(), password.encode(), stored.encode())), hashlib.sha256)
        now = self._clock()
        if now - table.remembered.get(mac, -REMEMBER_SECONDS) < REMEMBER_SECONDS:
            return True
        if not self._verify(entry, table.decoys, password):
            return False
        _make_room(table.remembered)
        table.remembered[mac] = now
        return True

    def login(self, authorization: str) -> str | None:
        """The user of an Authorization header, None for a wrong password; raises Unauthorized and Unavailable.

        A recent correct header is recognized by a digest of all of it, which takes a quarter of the time.
        """
        # If the file changes during the check, the result belongs to this table and not to the new one.
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
            raise Unavailable(_BUSY, public=True)
        try:
            if not self._slow.acquire(timeout=WAIT_SECONDS):
                raise Unavailable(_BUSY, public=True)
            try:
                yield
            finally:
                self._slow.release()
        finally:
            self._waiting.release()

    def _current(self) -> _Table:
        # The stat takes two microseconds, and a changed file counts from the next request on.
        try:
            if not self._table.is_settled or _identity(os.stat(self._name)) != self._table.identity:  # noqa: PTH116
                self._read()
            self._unreadable_since = None
        except OSError as error:
            now = self._clock()
            if self._unreadable_since is None:
                self._unreadable_since = now
                _LOG.error("The password file %s cannot be read: %s.", self.path, error.strerror or error)
            if now - self._unreadable_since >= GRACE_SECONDS:
                return _Table(())
        return self._table

    def _read(self) -> None:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_FILE >> 20} MiB")
        identity = _identity(status)
        digest = hashlib.sha256(data).digest()
        now = time.time()
        is_settled = all(abs(now - when) > SETTLE_SECONDS for when in (status.st_mtime, status.st_ctime))
        if digest == self._table.digest:
            self._table = replace(self._table, identity=identity, is_settled=is_settled)
            return
        # Commands and reloads read the same file with other objects.
        is_told = _TOLD.get(self._name) == digest
        _TOLD[self._name] = digest
        if os.name != "nt" and not is_told and status.st_mode & 0o022:
            _LOG.warning("The password file %s can be changed by others than its owner; use chmod go-w.", self.path)
        entries: dict[str, PasswordHash] = {}
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
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
        if self._name not in _TOLD_OF_PLAIN and any(entry.scheme == "plain" for entry in entries.values()):
            _TOLD_OF_PLAIN.add(self._name)
            _LOG.warning(
                "The password file %s has plain-text passwords; replace them with pypi-server passwd.", self.path
            )
        self._table = _Table(identity, digest, is_settled, entries, decoys_of(entries.values(), DECOYS))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Attributes that change with the file, even if its size stays and its time is set back (ctime)."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _make_room(remembered: dict[bytes, Any]) -> None:
    while len(remembered) >= REMEMBER:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):
            del remembered[next(iter(remembered))]


class Access:
    """The guard: ``protected`` actions need a login; ``auther`` checks passwords (None: every login is refused)."""

    def __init__(self, auther: Auther | None, protected: Collection[str]) -> None:
        self._auther = auther
        self._protected = frozenset(protected)

    def is_protected(self, action: str) -> bool:
        """Whether the action needs a login."""
        return action in self._protected

    def is_refused(self, action: str) -> bool:
        """Whether the action is refused to everyone: it needs a login, and nothing can check one."""
        return action in self._protected and self._auther is None

    def check(self, action: str, authorization: str | None) -> str | None:
        """The user who may do this, None for an open action.

        Raises Unauthorized for missing, malformed or wrong credentials, Forbidden for an action refused to everyone.
        """
        if action not in self._protected:
            return None
        if self._auther is None:
            raise Forbidden(
                f"The action {action!r} is refused to everyone: it is protected, and the server has no password file. "
                "The operator can set one with -P FILE."
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
            # Foreign code: no error in it may grant access or show a traceback to a client.
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
        # Clients built on requests send latin-1 if the text allows it.
        text = data.decode("latin-1")
    user, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise Unauthorized("The credentials cannot be read: they are not of the form user:password.")
    return user, password
