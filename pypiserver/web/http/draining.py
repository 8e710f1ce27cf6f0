"""Letting a client that is refused finish sending: it reads the response only after it sends its whole body.

**Invariants:** at most DRAIN_BYTES are read, for at most DRAIN_SECONDS; nothing is read from a client that waits for
"100 Continue", as it sends no body then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ...deferred import TO_DRAIN
from ...errors import PypiServerError
from ...server.expect_continue import is_waiting
from ...server.request_body import DRAIN_BYTES, DRAIN_SECONDS
from .request_body import Body


def drain(body: Body, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Read what a refused client still sends, within bounds, so that it reads the response."""
    until = clock() + DRAIN_SECONDS
    left = DRAIN_BYTES
    try:
        while left > 0 and clock() < until and (data := body.read(min(left, 256 * 1024))):
            left -= len(data)
    except (PypiServerError, OSError):
        return


def drain_body(environ: dict[str, Any]) -> None:
    """Drain a request whose body is still unread; do nothing for a client that waits for "100 Continue" before it
    sends.
    """
    if is_waiting(environ):
        return
    with contextlib.suppress(PypiServerError):
        let_finish(environ, Body(environ, 1 << 62))


def let_finish(environ: dict[str, Any], body: Body) -> None:
    """Drain ``body``; where the server receives bodies, tell it to do so."""
    if body.is_pushed:
        environ[TO_DRAIN] = True
    else:
        drain(body)
