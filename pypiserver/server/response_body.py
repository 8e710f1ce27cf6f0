"""Response bodies too large for one block, on their way to a client by RSGI: files of the system, and pipes.

granian opens a file by its path and reads a block when the client has taken the last one, so a slow client holds no
thread. The path is that of a descriptor of ours (``/proc/self/fd/N``), so the file sent is the file that was opened,
whatever its name leads to by now. Every other body goes through a pipe, which holds 64 KiB: its writer waits for the
client, where RSGI's own streams take any number of bytes.

**Invariants:** granian does not tell when it has opened a path, so a descriptor is kept until the next request on the
same connection, or its end; its number is used only for response bodies ever after, so a path that is opened too late
leads to nothing else. granian answers 404 for a path that it cannot open, so a body is refused while it can still be
(OSError) when few descriptors are left. Every body has a Content-Length: one that ends early breaks the connection. All
of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from ..deferred import UnderWay
from .open_files import most_descriptors
from .thread_pool import Pool
from .transfers import Transfers

# Free numbers wait for this many others before they are used again.
SPARE = 64
# A descriptor is refused when fewer than this many are left for connections and for granian's own, at most a quarter.
RESERVED = 256


class To(NamedTuple):
    """The client of a response: RSGI's protocol, the address of the connection; and the response's head."""

    protocol: Any
    client: str
    status: int
    headers: list[tuple[str, str]]


class Descriptors:
    """Descriptor numbers that are for files to send, and for nothing else; ``most`` is the limit of the process."""

    def __init__(self, most: int | None = None) -> None:
        self._free: deque[int] = deque()
        self._nothing = -1
        most = most_descriptors() if most is None else most
        self._end = most - min(RESERVED, most // 4)

    def hold(self, descriptor: int) -> int:
        """Another number for an open file; raises OSError if no more are available."""
        if len(self._free) > SPARE:
            number = self._free.popleft()
            os.dup2(descriptor, number, inheritable=False)
            return number
        # The lowest free number, so it says how many are in use.
        number = os.dup(descriptor)
        if number >= self._end:
            os.close(number)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return number

    def free(self, number: int) -> None:
        """Let go of the file; from now on the number is that of an empty file."""
        if self._nothing < 0:
            self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(self._nothing, number, inheritable=False)
        self._free.append(number)


class Sender:
    """Sends bodies; there is one for each process."""

    def __init__(self, pool: Pool, transfers: Transfers) -> None:
        self._pool = pool
        self._transfers = transfers
        self._descriptors = Descriptors()
        # By connection: the number of the descriptor that is sent, and the task that waits for the connection's end.
        self._held: dict[str, int] = {}
        self._watched: dict[str, asyncio.Task[None]] = {}

    def begin(self, client: str, loop: asyncio.AbstractEventLoop) -> None:
        """Note a request on this connection: its last response is complete. May be called from any thread."""
        if client in self._held:
            loop.call_soon_threadsafe(self._release, client)

    def _release(self, client: str) -> None:
        if (number := self._held.pop(client, -1)) >= 0:
            self._descriptors.free(number)
            self._transfers.note_download(-1)

    def file(self, to: To, file: BinaryIO, span: tuple[int, int]) -> None:
        """Send the bytes from ``span[0]`` up to ``span[1]`` of an open file, and close it; raises OSError before."""
        with contextlib.closing(file):
            path = self._hold(to, file.fileno())
        to.protocol.response_file_range(to.status, to.headers, path, *span)

    async def blocks(self, to: To, body: Iterable[bytes], first: bytes = b"") -> None:
        """Send blocks that a thread gives, each when the client has taken the one before; raises OSError before.

        ``first`` is the first of them if a thread has given it. While a growing body has no next block, no thread waits
        for it.
        """
        try:
            reading, writing = os.pipe()
            try:
                try:
                    path = self._hold(to, reading)
                finally:
                    os.close(reading)
                os.set_blocking(writing, False)
                to.protocol.response_file(to.status, to.headers, path)
                blocks = iter(body)
                block: bytes | None = first
                while block is not None and await _write(writing, block):
                    if grows(body):
                        await ready(body)  # type: ignore[arg-type]
                    block = await self._pool.step(_next, blocks)
            finally:
                os.close(writing)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                await self._pool.step(close)

    def _hold(self, to: To, descriptor: int) -> str:
        # Two connections may have one name: a client can connect from one port to two of our addresses.
        self._release(to.client)
        number = self._held[to.client] = self._descriptors.hold(descriptor)
        self._transfers.note_download(1)
        if to.client not in self._watched:
            self._watched[to.client] = asyncio.ensure_future(self._watch(to.protocol, to.client))
        return f"/proc/self/fd/{number}"

    def close(self) -> list[asyncio.Task[None]]:
        """Stop waiting for the ends of connections; returns the tasks that are about to end."""
        watching = list(self._watched.values())
        for task in watching:
            task.cancel()
        return watching

    async def _watch(self, protocol: Any, client: str) -> None:
        try:
            await protocol.client_disconnect()
        finally:
            del self._watched[client]
            self._release(client)


def regular_file(body: Any) -> bool:
    """Whether a body is of a file that granian can open again."""
    try:
        return stat.S_ISREG(os.fstat(body.section()[0].fileno()).st_mode)
    except (AttributeError, OSError):
        return False


def grows(body: Any) -> bool:
    """Whether a body may have to wait for its next block."""
    return getattr(body, "when_ready", None) is not None


def first_block(body: Any) -> bytes:
    """The first block of a growing body, b"" if that is not there yet; raises OSError, and closes the body then."""
    is_there: list[bool] = []
    try:
        body.when_ready(lambda: is_there.append(True))
        return next(iter(body), b"") if is_there else b""
    except BaseException:
        body.close()
        raise


def _next(blocks: Iterator[bytes]) -> bytes | None:
    return next(blocks, None)


async def _write(descriptor: int, block: bytes) -> bool:
    """Write the whole block as fast as the reader takes it; returns False if there is no reader."""
    left = memoryview(block)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            await _writable(descriptor)
        except BrokenPipeError:
            return False
    return True


async def ready(under_way: UnderWay, seconds: float | None = None) -> None:
    """Return when no one would wait for this work any more, at the latest after ``seconds``."""
    loop, here = asyncio.get_running_loop(), threading.get_ident()
    done: asyncio.Future[None] = loop.create_future()

    def call() -> None:
        if threading.get_ident() == here:
            _set(done)
            return
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, done)

    # Without asyncio.wait_for, which makes a task of its own for each client of a file.
    timer = None if seconds is None else loop.call_later(seconds, _set, done)
    try:
        under_way.when_ready(call)
        await done
    finally:
        if timer is not None:
            timer.cancel()


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    is_ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _set, is_ready)
    try:
        await is_ready
    finally:
        loop.remove_writer(descriptor)
