"""granian's way from a request to the application, shortened: a ready response is made without its event loop.

**Invariants:** a part of granian that is not public is replaced only in versions that the tests run with; with every
other version granian's own way is used.
"""

from __future__ import annotations

from typing import Any

from .rsgi import Adapter

# The version of granian whose scheduler is known (see answer_directly).
KNOWN = ["2", "8"]


def answer_directly(adapter: Adapter) -> Adapter:
    """In a worker: let the thread in which granian hands a request over answer it, if the response is ready.

    granian would pass the request on to the event loop, and a page would take twice the CPU. This replaces a part of
    granian that is not public, so it is done for the versions that the tests run with (``KNOWN``); with every other
    version the loop answers.
    """
    import granian

    if granian.__version__.split(".")[:2] != KNOWN:
        return adapter
    from granian._granian import CallbackScheduler
    from granian.server import mp

    server: Any = mp

    class Scheduler(CallbackScheduler):
        """Hands no request to the loop."""

        __slots__ = ()

        def __init__(self, *arguments: Any) -> None:
            super().__init__()
            self._schedule_fn = lambda watcher: adapter.answer(watcher.scope, watcher.proto)

    server._new_cbscheduler = lambda loop, callback, impl_asyncio=False: Scheduler(loop, callback, None, None, None)
    return adapter
