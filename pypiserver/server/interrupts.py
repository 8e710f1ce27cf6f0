"""When a server of bottle's gets the KeyboardInterrupt that ends it: between two requests, and not within one.

Python raises an exception of a signal handler wherever the main thread is. Within a request the server, or its event
loop, takes it for a failure of the application: it is lost, or logged with a traceback, and the client gets a 500.

**Invariants:** an interrupt that was postponed comes when the request, or the step of the loop, is done; a second one
does not wait for that; a signal handler takes no lock.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .green_threads import Postpone, postponed_by_eventlet, postponed_by_gevent

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer


class Interrupts:
    """Raises KeyboardInterrupt in the main thread, now or soon. ``postpone`` knows the server's event loop."""

    def __init__(self, postpone: Postpone) -> None:
        self._postpone = postpone
        self._is_due = False
        self._is_in_request = False

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt, or let it come soon; to be called in a signal handler."""
        is_again, self._is_due = self._is_due, True
        if (self._is_in_request and not is_again) or self._postpone(is_again):
            return
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Around a request that the main thread answers: an interrupt comes after it."""
        self._is_in_request = True
        try:
            yield
        finally:
            self._is_in_request = False
        if self._is_due:
            raise KeyboardInterrupt

    def wsgiref_server(self) -> type[WSGIServer]:
        """A server of wsgiref, which answers one request after the other."""
        from wsgiref.simple_server import WSGIServer

        interrupts = self

        class Server(WSGIServer):
            """Is not interrupted within a request."""

            def process_request(self, request: Any, client_address: Any) -> None:
                with interrupts.request():
                    super().process_request(request, client_address)

        return Server


def interrupts_of(server: str) -> Interrupts:
    """How the server of this name is interrupted; to be called in the main thread, before it serves."""
    return Interrupts(_LOOPS.get(server, _now)())


def _fire() -> None:
    raise KeyboardInterrupt


def _now() -> Postpone:
    return lambda is_again: False


def _asyncio() -> Postpone:
    """A task that gets it keeps it, and asyncio says that it was never retrieved; a callback leaves ``run_forever``."""

    def postpone(is_again: bool) -> bool:
        # It may be in the middle of its import, or not run yet, or be closed, or not come back from a step.
        with contextlib.suppress(KeyError, AttributeError, RuntimeError):
            if not is_again:
                sys.modules["asyncio"].get_running_loop().call_soon_threadsafe(_fire)
                return True
        return False

    return postpone


# Others answer in threads (cheroot, paste), or have handlers of their own (twisted).
_LOOPS: Mapping[str, Callable[[], Postpone]] = {
    **dict.fromkeys(("aiohttp", "uvloop", "tornado"), _asyncio),
    "gevent": postponed_by_gevent,
    "eventlet": postponed_by_eventlet,
}
