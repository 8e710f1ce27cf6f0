"""Requests whose client waits for ``100 Continue`` before it sends the body (``Expect``, RFC 9110 section 10.1.1).

**Invariants:** a server calls the application itself, with a body that cannot be read yet; an answer made without
reading the body is the final answer, so there is one guard and one sentence; a read of the body raises BodyWantedError,
which nothing catches on its way to the server. HTTP/1.0 clients cannot wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

# True in the environ if the server sends "100 Continue" when the body is read, not before.
LATE_CONTINUE = "pypiserver.late_continue"
# True in the environ of a request that the application saw before, without its body.
ASKED = "pypiserver.asked"


class BodyWantedError(BaseException):
    """The application reads a body that was not sent yet. Not an Exception, because it is no failure of a handler."""


class UnsentBody:
    """The ``wsgi.input`` of a request whose client sends the body only when asked."""

    def read(self, size: int = -1) -> NoReturn:
        """Raise BodyWantedError, like the other ways to read."""
        raise BodyWantedError

    readline = readlines = read

    def __iter__(self) -> NoReturn:
        raise BodyWantedError


def is_waiting(environ: Mapping[str, Any]) -> bool:
    """Whether the client sends the body only after the server, when the body is read, says "100 Continue"."""
    return bool(environ.get(LATE_CONTINUE)) and environ.get("HTTP_EXPECT", "").strip().lower() == "100-continue"
