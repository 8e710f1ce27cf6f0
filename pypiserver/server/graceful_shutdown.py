"""How a server is told to end: it may say "not ready" for a while first, and it says what it then waits for.

**Invariants:** during that while only the answer about readiness changes, so that load balancers stop sending
requests; a second SIGTERM ends it. Once the server ends, an interrupt (Ctrl-C) ends it at once; a second SIGTERM does
not, because some programs send each signal twice. All processes of a server learn of it from the one that got the
signal. The application takes no part: a server puts the state into the environ of each request.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..supervisor import once
from .transfers import Transfers

_LOG = logging.getLogger("pypiserver.server")
ENVIRON_KEY = "pypiserver.server.graceful_shutdown"
_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_Handler = Callable[..., Any]
_SERVES, _DRAINS, _ENDS, _CUT = range(4)


@dataclass(frozen=True, slots=True)
class GracefulShutdown:
    """The seconds between SIGTERM and the end; 0 ends at once. Can be handed to workers as they start."""

    seconds: int
    transfers: Transfers = field(default_factory=Transfers)
    # Shared by all processes; a single byte needs no lock.
    _state: Any = field(default_factory=lambda: multiprocessing.RawValue("b", 0))

    @property
    def has_begun(self) -> bool:
        """Whether the server was told to end."""
        return int(self._state.value) != _SERVES

    @property
    def is_cut(self) -> bool:
        """Whether the server was told to end at once."""
        return int(self._state.value) == _CUT

    def before(self, end: _Handler, at_once: Callable[[], object]) -> _Handler:
        """A signal handler that lets ``seconds`` pass after the first SIGTERM before it calls ``end``.

        An interrupt after that calls ``at_once()``.
        """

        def handle(*arguments: Any) -> Any:
            number = arguments[0] if arguments else 0
            if self._state.value >= _ENDS and number == signal.SIGINT:
                self._state.value = _CUT
                return at_once()
            if self.seconds and not self.has_begun and number == signal.SIGTERM and self._drain():
                return None
            self._state.value = max(self._state.value, _ENDS)
            return end(*arguments)

        return handle

    def _drain(self) -> bool:
        """Let the seconds pass in a thread, then signal this process again; False if there can be no thread."""
        self._state.value = _DRAINS
        pid = os.getpid()

        def wait() -> None:
            data = {"event": "draining", "seconds": self.seconds}
            _LOG.info("The server was told to end; for %d seconds it only says so.", self.seconds, extra={"data": data})
            time.sleep(self.seconds)
            os.kill(pid, signal.SIGTERM)

        return once("drain", wait)

    def told_to(self, application: _Wsgi) -> _Wsgi:
        """The application, with the state of the shutdown in the environ of each request."""
        if not self.seconds:
            return application

        def telling(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ[ENVIRON_KEY] = self.has_begun
            return application(environ, start_response)

        return telling
