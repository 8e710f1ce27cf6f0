"""A request's body as RSGI gives it: in blocks, on the event loop, no faster than its receiver takes them.

**Invariants:** the client is asked for nothing before a handler needs the body (RFC 9110 section 10.1.1: only then is
``100 Continue`` sent); at most two blocks of a body are in memory; a body that breaks off is never taken for a whole
one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..deferred import WantsBody
from ..errors import BadRequest, ContentTooLarge, PypiServerError
from .thread_pool import Pool

# The bytes passed on at once: a step in a thread costs 50 us.
BLOCK_BYTES = 262_144
# A client that is refused reads the response only if it may finish sending.
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0


class Incoming:
    """The body of one request; ``length`` is its Content-Length, None for a body in chunks."""

    def __init__(self, protocol: Any, length: int | None) -> None:
        self._protocol = protocol
        self._length = length
        self._blocks: Any = None
        self._is_over = length == 0
        self.received = 0
        self.is_cut = False

    async def read(self) -> bytes:
        """The next bytes, b"" at the end and where the body broke off (``is_cut``)."""
        if self._is_over:
            return b""
        if self._blocks is None:
            self._blocks = self._protocol.__aiter__()
        data: bytes = await self._blocks.__anext__()
        self.received += len(data)
        if not data:
            self._is_over = True
            self.is_cut = self._length is not None or await self._has_another()
        elif self._length is not None and self.received >= self._length:
            self._is_over = True
        return data

    async def _has_another(self) -> bool:
        """Whether the empty block was not the end: RSGI gives one for an error (or trailers) too, then another one."""
        try:
            await self._blocks.__anext__()
        except StopAsyncIteration:
            return False
        return True

    async def drain(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let the client finish sending, within limits."""
        until, most = clock() + DRAIN_SECONDS, self.received + DRAIN_BYTES
        while self.received < most and (left := until - clock()) > 0:
            try:
                if not await asyncio.wait_for(self.read(), left):
                    return
            except (asyncio.TimeoutError, StopAsyncIteration):
                self._is_over = True
                return


async def receive(incoming: Incoming, wanted: WantsBody, pool: Pool) -> None:
    """Pass a body to its receiver, one block in a thread while the next one arrives."""
    receiver = wanted.receiver
    fault: PypiServerError | None = None
    gathered = bytearray()
    taking: asyncio.Future[bool] | None = None
    try:
        while data := await incoming.read():
            gathered += data
            if incoming.received > wanted.most:
                fault = _too_large(wanted.most)
                break
            if len(gathered) < BLOCK_BYTES:
                continue
            if taking is not None and not await taking:
                break
            taking = asyncio.ensure_future(pool.step(receiver.take, bytes(gathered)))
            gathered = bytearray()
        if incoming.is_cut:
            fault = BadRequest("The connection ended in the middle of the request.")
    finally:
        if taking is not None:
            await taking
    await pool.step(_end, receiver, bytes(gathered), fault)


def _end(receiver: Any, rest: bytes, fault: PypiServerError | None) -> None:
    if rest and fault is None:
        receiver.take(rest)
    receiver.end(fault)


def _too_large(most: int) -> ContentTooLarge:
    return ContentTooLarge(f"The request has more than {most} bytes, the most that is taken here.")
