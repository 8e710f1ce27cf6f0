"""How a coroutine of the event loop learns that its request is answered, by whatever thread.

**Invariants:** the coroutine resumes exactly once; a request that is answered before anyone waits costs no future.
"""

from __future__ import annotations

import asyncio


class Answered:
    """Tells a coroutine, on ``loop``, that its request is answered; called once, in any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Future[None] | None = None
        self.is_done = False

    def __call__(self) -> None:
        """Let the coroutine resume."""
        # Each side writes its own half first and then reads the other's, so one of them always sees both.
        self.is_done = True
        if self._waiting is not None:
            self._loop.call_soon_threadsafe(_end, self._waiting)

    async def wait(self) -> None:
        """Return once the request is answered."""
        self._waiting = self._loop.create_future()
        if not self.is_done:
            await self._waiting


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
