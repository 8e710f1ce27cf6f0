"""How a handler tells a server with an event loop that it must wait: for a thread, or for the request's body.

The server asks the application with ``AT_ONCE`` in the environ. A handler that must wait (for SQL, a file, a check of a
password, or a lock held over any of these) raises :class:`Waits`, and the server asks again in a thread. With
``IS_PUSHED`` in the environ the body cannot be read: a handler that needs it raises :class:`WantsBody` with a receiver.
The server passes the body to the receiver in blocks, and asks once more with the receiver as ``RECEIVED``.

With ``POSTPONES`` in the environ no thread need wait for what is under way already (a file on its way from another
index): a handler raises :class:`Postponed`, and the server asks again with it as ``RESUMED``. A body that is still
growing has ``when_ready`` itself; the server waits for that before it takes the next block.

**Invariants:** nothing is done or noted before one of these is raised, so a request can be asked again; neither is an
``Exception``, so no handler takes it for a failure; a server that sets neither key never gets one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from .errors import PypiServerError

AT_ONCE = "pypiserver.at_once"  # True: nothing may wait
IS_PUSHED = "pypiserver.is_pushed"  # True: the server receives the body, and passes it on in blocks
RECEIVED = "pypiserver.received"  # Receiver: it has the whole body
IS_OVERLOADED = "pypiserver.is_overloaded"  # True: too many requests are waiting
POSTPONES = "pypiserver.postpones"  # True: the server waits for what is under way, and asks again
RESUMED = "pypiserver.resumed"  # UnderWay: what the request waited for; it is ready, or took too long
TO_DRAIN = "pypiserver.to_drain"  # True: the client is refused; let it finish sending


class Waits(BaseException):
    """The response is not ready: ask again in a thread."""


class Receiver(Protocol):
    """Takes a body in blocks, in one thread at a time."""

    def take(self, data: bytes, /) -> bool:
        """Take the next block; returns whether more of the body is needed. Raises nothing of :mod:`.errors`."""

    def end(self, fault: PypiServerError | None, /) -> None:
        """The body has ended: whole, or with this fault."""

    def discard(self) -> None:
        """Drop what was kept, unless it was taken over; a second call has no effect."""


class WantsBody(BaseException):
    """A handler needs the body, up to ``most`` bytes of it; ``release`` frees the place held for it."""

    def __init__(self, receiver: Receiver, most: int) -> None:
        super().__init__()
        self.receiver = receiver
        self.most = most
        self.release: Callable[[], object] = _nothing


class UnderWay(Protocol):
    """Work of another thread that several requests may wait for."""

    def when_ready(self, call: Callable[[], object], /) -> None:
        """Call this once, from any thread, when no one would wait any more; now if that is so already."""


class Postponed(BaseException):
    """The response needs something that is under way: ask again when it is ready, at the latest in ``seconds``."""

    def __init__(self, under_way: UnderWay, seconds: float) -> None:
        super().__init__()
        self.under_way = under_way
        self.seconds = seconds


class Interrupted(ConnectionResetError):  # noqa: N818 - no bug of ours
    """A body ends early because its source failed, which the log says already: break the connection.

    Servers that know nothing of it (gunicorn, wsgiref) take it for the end of the connection, and log no traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errno.ECONNRESET, message)


def _nothing() -> None:
    """No place was held."""
