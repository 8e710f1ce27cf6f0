"""How many request bodies are read at once, so that clients that send slowly, or never, leave threads for all others.

A server without buffers of its own (granian, gunicorn) keeps a thread busy for each body until the body ends.

**Invariants:** a client that finds no place is told at once, and nothing of its body is read; bodies of requests that
are refused anyway have places of their own, so that strangers cannot keep out users who may upload.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...deferred import RECEIVED, WantsBody
from ...errors import Unavailable
from .draining import drain_body

# Set in the environ of a request whose body is not read: its connection cannot serve another request.
UNREAD = "pypiserver.unread"


class BodyLimiter:
    """Places for ``bodies`` bodies of accepted requests, and a quarter as many for bodies of refused ones."""

    def __init__(self, bodies: int) -> None:
        self._wanted = threading.BoundedSemaphore(bodies)
        self._refused = threading.BoundedSemaphore(max(1, bodies // 4))

    @contextlib.contextmanager
    def reading(self, environ: dict[str, Any]) -> Iterator[None]:
        """Hold a place for the body of an accepted request; raises Unavailable when all places are taken."""
        if RECEIVED in environ:
            # The server received the body, and holds the place.
            yield
            return
        if not self._wanted.acquire(blocking=False):
            environ[UNREAD] = True
            raise Unavailable("Too many uploads are being received right now. Try again in a moment.", public=True)
        release: Callable[[], object] = self._wanted.release
        try:
            yield
        except WantsBody as wanted:
            wanted.release, release = release, _nothing
            raise
        finally:
            release()

    def drain(self, environ: dict[str, Any]) -> None:
        """Read what a refused client still sends, so that it reads the refusal; not while many others are refused."""
        if not self._refused.acquire(blocking=False):
            environ[UNREAD] = True
            return
        try:
            drain_body(environ)
        finally:
            self._refused.release()


def _nothing() -> None:
    """The place is freed by the server, which holds it now."""
