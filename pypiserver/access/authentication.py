"""Authentication: the user of an Authorization header (RFC 7617), by the password file or a check that is not ours.

**Invariants:** a failure of what checks passwords is Unavailable, never Unauthorized, and logs in only those who were
right in the last five minutes; requests with the same header cause one check; no request waits without a limit.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import copy
import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import PypiServerError, Unauthorized, Unavailable
from .foreign_check import HUNG_SECONDS, ForeignCheck
from .login_memory import Login, LoginMemory
from .password_file import BUSY, WAIT_SECONDS, HtpasswdFile, Table
from .principal import Principal

MAX_HEADER = 8192
# A right login is checked again after this many seconds; one of the password file also when the file changes.
FILE_SECONDS = 600.0
FOREIGN_SECONDS = 60.0
# A login that a foreign check confirmed this many seconds ago stays right while that check fails.
OUTAGE_SECONDS = 300.0
# A request waits this many seconds for an answer, and one of a user who was right lately for a shorter time.
CALL_SECONDS = 10.0
KNOWN_SECONDS = 1.0
_WRONG = "The user name or the password is wrong."
_NO_FILE = Table()


class Tokens(Protocol):
    """Tells whose token a request has."""

    def identify(self, authorization: str, mac: bytes) -> Principal | None:
        """The owner of the token, None for credentials that are no token of ours; raises Unauthorized.

        The header is remembered as ``mac``.
        """

    def known(self, mac: bytes, table: Table | None) -> Principal | None:
        """The owner of a remembered token, None if that cannot be told without waiting.

        ``table`` is the password file as it is now, None if it must be read first.
        """

    def close(self) -> None:
        """Write down what was noted."""


@dataclass(slots=True, eq=False)
class _Flight:
    """A check that runs since ``began``, for all requests with one header; no principal and no error: it was wrong."""

    began: float
    done: threading.Event = field(default_factory=threading.Event)
    principal: Principal | None = None
    error: PypiServerError | None = None

    def result(self) -> Principal:
        """Who it is, once it is done; raises Unauthorized, or what the check raised."""
        if self.error is not None:
            raise copy.copy(self.error)
        if self.principal is None:
            raise Unauthorized(_WRONG)
        return self.principal


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A login that has to be checked, with the version of the password file that its request saw."""

    mac: bytes
    table: Table
    user: str
    password: str = field(repr=False)

    @property
    def key(self) -> tuple[bytes, int]:
        """What other requests must have in common with this one to share its check."""
        return self.mac, self.table.version


class Authenticator:
    """Who sends a request: by ``tokens``, by the password ``file``, or by a ``foreign`` check, in this order.

    A user whom the password file has is checked there only, and all others by ``foreign``. At most ``waiting`` requests
    wait at once for a slow check or a foreign one, their own or that of another request. ``clock`` gives monotonic
    seconds.
    """

    def __init__(
        self,
        file: HtpasswdFile | None = None,
        foreign: ForeignCheck | None = None,
        *,
        tokens: Tokens | None = None,
        waiting: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._foreign = foreign
        self._tokens = tokens
        self._clock = clock
        self._memory = LoginMemory()
        self._flights: dict[tuple[bytes, int], _Flight] = {}
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(waiting)

    def identify(self, authorization: str) -> Principal:
        """The user of an Authorization header.

        Raises Unauthorized for credentials that are wrong or cannot be read, Unavailable if they cannot be checked.
        """
        mac = self._memory.mac(authorization)
        login = self._memory.right(mac)
        if login is None and self._tokens is not None:
            owner = self._tokens.identify(authorization, mac)
            if owner is not None:
                return owner
        # If the file changes during the check, the result belongs to this table and not to the new one.
        table, now = self._file.current() if self._file is not None else _NO_FILE, self._clock()
        if login is not None:
            if _is_fresh(login, table, now):
                return login.principal
            # What was a password may count as a token only since the file changed.
            owner = self._tokens.identify(authorization, mac) if self._tokens is not None else None
            if owner is not None:
                return owner
        if self._memory.is_wrong(mac, table.version, now):
            raise Unauthorized(_WRONG)
        attempt = _Attempt(mac, table, *parse_basic(authorization))
        if self._file is not None and (self._foreign is None or attempt.user in table.entries):
            return self._by_file(self._file, attempt)
        if self._foreign is None:
            raise Unauthorized(_WRONG)
        if login is None or not _is_usable(login, table, now):
            return self._by_foreign(self._foreign, attempt)
        return self._again(self._foreign, attempt, login)

    def known(self, authorization: str) -> Principal | None:
        """The user of a header that was right lately, None for any other; reads no file, and checks nothing."""
        mac = self._memory.mac(authorization)
        login = self._memory.right(mac)
        table = self._file.known() if self._file is not None else _NO_FILE
        if login is None:
            return self._tokens.known(mac, table) if self._tokens is not None else None
        return login.principal if table is not None and _is_fresh(login, table, self._clock()) else None

    def close(self) -> None:
        """Let tokens write down what they noted."""
        if self._tokens is not None:
            self._tokens.close()

    def _by_file(self, file: HtpasswdFile, attempt: _Attempt) -> Principal:
        # All that wait count together, for their own check or that of another request: each holds a thread.
        with self._patience() if attempt.table.is_slow else contextlib.nullcontext():
            flight, is_first = self._join(attempt)
            if is_first:
                user = attempt.user
                check = functools.partial(file.is_right, attempt.table, user, attempt.password)
                self._run(flight, attempt, lambda: Principal(user) if check() else None, is_foreign=False)
            elif not flight.done.wait(WAIT_SECONDS):
                raise Unavailable(BUSY, public=True)
        return flight.result()

    def _by_foreign(self, foreign: ForeignCheck, attempt: _Attempt, *, is_known: bool = False) -> Principal:
        # One request of each known user waits, and not for long: a flood of others must not keep it out.
        with contextlib.nullcontext() if is_known else self._patience():
            flight, is_first = self._join(attempt)
            seconds = KNOWN_SECONDS if is_known else CALL_SECONDS
            if is_first:
                check = functools.partial(foreign.principal, attempt.user, attempt.password)
                work = functools.partial(self._run, flight, attempt, check, is_foreign=True)
                if not foreign.start(work, timeout=KNOWN_SECONDS if is_known else WAIT_SECONDS):
                    flight.error = Unavailable(BUSY, public=True)
                    self._finish(flight, attempt, is_foreign=True)
            else:
                seconds += flight.began - self._clock()
            if not flight.done.wait(max(0.0, seconds)):
                raise foreign.late()
        return flight.result()

    def _again(self, foreign: ForeignCheck, attempt: _Attempt, login: Login) -> Principal:
        """Check a user again who was right lately: only a wrong password ends that login, a failure does not."""
        # Of hundreds of requests only one waits for the answer.
        if attempt.key in self._flights or self._memory.has_failed(attempt.mac, self._clock()):
            return login.principal
        try:
            return self._by_foreign(foreign, attempt, is_known=True)
        except Unavailable:
            self._memory.add_failed(attempt.mac, self._clock())
            return login.principal

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """For a block that waits for something; raises Unavailable if too many requests wait already."""
        if not self._waiting.acquire(blocking=False):
            raise Unavailable(BUSY, public=True)
        try:
            yield
        finally:
            self._waiting.release()

    def _join(self, attempt: _Attempt) -> tuple[_Flight, bool]:
        """The check of this header that runs, or a new one; and whether this request must make it."""
        now = self._clock()
        with self._lock:
            flight = self._flights.get(attempt.key)
            if flight is not None and now - flight.began < HUNG_SECONDS:
                return flight, False
            flight = _Flight(now)
            # Another request may have ended its check just before this one took the lock.
            login = self._memory.right(attempt.mac)
            if login is not None and _is_fresh(login, attempt.table, now):
                flight.principal = login.principal
            elif not self._memory.is_wrong(attempt.mac, attempt.table.version, now):
                self._flights[attempt.key] = flight
                return flight, True
            flight.done.set()
            return flight, False

    def _run(
        self, flight: _Flight, attempt: _Attempt, check: Callable[[], Principal | None], *, is_foreign: bool
    ) -> None:
        try:
            flight.principal = check()
        except PypiServerError as error:
            flight.error = error
        except BaseException as error:
            flight.error = Unavailable(repr(error))
            raise
        finally:
            self._finish(flight, attempt, is_foreign=is_foreign)

    def _finish(self, flight: _Flight, attempt: _Attempt, *, is_foreign: bool) -> None:
        """Remember the answer of the check, and give it to all who wait for it."""
        principal, version = flight.principal, attempt.table.version
        with self._lock:
            # One that hung has no say once another one began, which may know better.
            if self._flights.get(attempt.key) is flight:
                if principal is not None:
                    login = Login(principal, attempt.user, version, flight.began, is_foreign)
                    self._memory.add_right(attempt.mac, login)
                elif flight.error is None:
                    self._memory.add_wrong(attempt.mac, version, self._clock())
                del self._flights[attempt.key]
        flight.done.set()


def _is_fresh(login: Login, table: Table, now: float) -> bool:
    """Whether the login needs no check."""
    age = now - login.confirmed
    if not login.is_foreign:
        return login.version == table.version and age < FILE_SECONDS
    return age < FOREIGN_SECONDS and (login.version == table.version or login.user not in table.entries)


def _is_usable(login: Login, table: Table, now: float) -> bool:
    """Whether the login stays right if it cannot be checked."""
    return login.is_foreign and now - login.confirmed < OUTAGE_SECONDS and login.user not in table.entries


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
