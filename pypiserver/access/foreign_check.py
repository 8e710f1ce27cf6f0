"""A check of passwords that is not ours: the function ``auther=``, or a plug-in of ``--auth``; it may hang or fail.

**Invariants:** each call runs in a thread of its own, at most ``at_once`` of them, so a directory that hangs holds no
request; a call that fails is Unavailable and never a refusal; no call gets an empty password, which LDAP takes for an
anonymous login (RFC 4513 section 5.1.2).
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import Unauthorized, Unavailable
from ..supervisor import once
from .principal import Principal

# Of user and password: True or a Principal for a right password, False or None for a wrong one.
Check = Callable[[str, str], object]

_LOG = logging.getLogger(__name__)
CALLS = 8
# A call that has not returned after this many seconds leaves its place to another one, and its thread is left alone:
# a directory that works again is asked again. At most this many such threads for each place.
HUNG_SECONDS = 60.0
HUNG_THREADS = 4
SAY_AGAIN_SECONDS = 600.0
_KINDS = 16
MAX_NAME = 255
FAILED = "Passwords cannot be checked right now. Try again in a moment; the server's log says more."


class ForeignCheck:
    """Calls ``check``, at most ``at_once`` times at once (None: 8); ``name`` is what the log calls it.

    A check that ``is_strict`` must return True, False, None or a Principal; of another one any true value is a login.
    """

    def __init__(
        self,
        check: Check,
        name: str,
        *,
        is_strict: bool = False,
        at_once: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._name = name
        self._is_strict = is_strict
        self._at_once = at_once or CALLS
        self._clock = clock
        self._changed = threading.Condition()
        # When each call began.
        self._running: dict[object, float] = {}
        self._said: dict[str, float] = {}

    def start(self, work: Callable[[], object], *, timeout: float) -> bool:
        """Run ``work``, a call of :meth:`principal`, in a thread; False if no place is free for ``timeout`` seconds."""
        place = object()
        with self._changed:
            if not self._changed.wait_for(self._has_place, timeout):
                return False
            self._running[place] = self._clock()

        def run() -> None:
            try:
                work()
            finally:
                self._leave(place)

        if once("login", run):
            return True
        self._leave(place)
        return False

    def principal(self, user: str, password: str) -> Principal | None:
        """Who logs in, None for a wrong password; raises Unavailable when the check fails."""
        if not password or (self._is_strict and not user):
            return None
        try:
            return self._read(user, self._check(user, password))
        except Unauthorized:
            return None
        except BaseException as error:
            # SystemExit too: it would end the thread only, and leave those who wait without an answer.
            self._say(error)
            raise Unavailable(f"{self._name} failed: {error!r}.", public=FAILED, kind="login") from error

    def late(self) -> Unavailable:
        """What to raise for a call that does not answer in time."""
        error = Unavailable(f"{self._name} does not answer.", public=FAILED, kind="login")
        self._say(error)
        return error

    def _read(self, user: str, answer: object) -> Principal | None:
        if isinstance(answer, Principal):
            if not answer.name or not answer.name.isprintable() or len(answer.name) > MAX_NAME:
                raise ValueError(f"it returned a Principal whose name is {answer.name!r}")
            # Whatever its author passed.
            groups: Any = answer.groups
            if isinstance(groups, str) or not all(isinstance(group, str) for group in groups):
                raise ValueError(f"it returned a Principal whose groups are {groups!r}")
            return replace(answer, groups=frozenset(groups))
        if inspect.isawaitable(answer):
            # It would be a true value for every password.
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError("it is asynchronous; write it with def in place of async def")
        if self._is_strict and answer is not None and not isinstance(answer, bool):
            raise TypeError(f"it returned {type(answer).__name__} in place of True, False or a pypiserver.Principal")
        return Principal(user) if answer else None

    def _has_place(self) -> bool:
        now, running = self._clock(), self._running
        is_hung = sum(now - began >= HUNG_SECONDS for began in running.values())
        return len(running) - is_hung < self._at_once and is_hung < self._at_once * HUNG_THREADS

    def _leave(self, place: object) -> None:
        with self._changed:
            del self._running[place]
            self._changed.notify()

    def _say(self, error: BaseException) -> None:
        """Log a failure with its traceback; each kind once in ten minutes."""
        kind, now = type(error).__name__, self._clock()
        if now - self._said.get(kind, -SAY_AGAIN_SECONDS) < SAY_AGAIN_SECONDS:
            return
        if len(self._said) >= _KINDS:
            self._said.clear()
        self._said[kind] = now
        _LOG.error(
            "%s failed; users who logged in during the last five minutes stay logged in, other logins get 503.",
            self._name,
            exc_info=error,
        )
