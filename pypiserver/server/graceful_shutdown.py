"""Says "not ready" for a while before a server ends, so that load balancers stop sending requests to it.

**Invariants:** only the answer about readiness changes, every other request is answered as before; a second SIGTERM
ends at once; all processes of a server learn of it from the one that got the signal. The application takes no part: a
server puts the state into the environ of each request.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..supervisor import once

ENVIRON_KEY = "pypiserver.server.graceful_shutdown"
_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class GracefulShutdown:
    """The seconds between SIGTERM and the end; 0 ends at once. Can be handed to workers as they start."""

    seconds: int
    # Shared by all processes; a single byte needs no lock.
    _begun: Any = field(default_factory=lambda: multiprocessing.RawValue("b", 0))

    @property
    def has_begun(self) -> bool:
        """Whether the server was told to end."""
        return bool(self._begun.value)

    def before(self, end: _Handler) -> _Handler:
        """A signal handler that lets ``seconds`` pass after the first SIGTERM before it calls ``end``."""
        if not self.seconds:
            return end

        def handle(*arguments: Any) -> Any:
            if self.has_begun or not arguments or arguments[0] != signal.SIGTERM:
                return end(*arguments)
            self._begun.value = 1
            # The second signal, which this process sends itself, ends it.
            pid = os.getpid()

            def wait() -> None:
                time.sleep(self.seconds)
                os.kill(pid, signal.SIGTERM)

            # Without a thread it cannot wait.
            return None if once("drain", wait) else end(*arguments)

        return handle

    def told_to(self, application: _Wsgi) -> _Wsgi:
        """The application, with the state of the shutdown in the environ of each request."""
        if not self.seconds:
            return application

        def telling(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ[ENVIRON_KEY] = self.has_begun
            return application(environ, start_response)

        return telling
