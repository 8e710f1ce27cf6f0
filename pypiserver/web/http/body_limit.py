"""How many request bodies are read at once, so that clients who send slowly, or never, leave threads for all others.

A server without buffers of its own (granian, gunicorn) gives each body a thread for as long as it takes. The rules to
keep: whoever finds no place is told so at once, and nothing of the body is read; those who are refused anyway have
places of their own, so that strangers cannot keep out those who may upload.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ...errors import Unavailable
from ..api.upload import drain_body

# Set in the environ of a request whose body nobody reads: its connection cannot be used for another one.
UNREAD = "pypiserver.unread"


class BodyLimiter:
    """Places for ``bodies`` bodies that are wanted, and for a quarter as many that are only read out of politeness."""

    def __init__(self, bodies: int) -> None:
        self._wanted = threading.BoundedSemaphore(bodies)
        self._refused = threading.BoundedSemaphore(max(1, bodies // 4))

    @contextlib.contextmanager
    def reading(self, environ: dict[str, Any]) -> Iterator[None]:
        """Hold a place for a body that is wanted; raises Unavailable when there is none."""
        if not self._wanted.acquire(blocking=False):
            environ[UNREAD] = True
            raise Unavailable("Too many uploads are being received right now. Try again in a moment.", public=True)
        try:
            yield
        finally:
            self._wanted.release()

    def drain(self, environ: dict[str, Any]) -> None:
        """Read what a refused client still sends, so that it gets to see why; not while many others are refused."""
        if not self._refused.acquire(blocking=False):
            environ[UNREAD] = True
            return
        try:
            drain_body(environ)
        finally:
            self._refused.release()
