"""A WSGI application under granian's RSGI: ready responses are given where the request arrives, others by threads.

The application is asked with ``AT_ONCE`` first; if it would wait (see :mod:`..deferred`) it is asked again in a thread
of a pool, which answers as well. The event loop does what takes a client's time: bodies that arrive, files and blocks
that are sent.

**Invariants:** the application is the one that every other server calls, so addresses, rights and responses are the
same; the first thread never waits; a client that is slow, in either direction, holds a connection and no thread; every
request is answered once, a bug with 500, and a file that cannot be sent with 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import request_info
from ..deferred import (
    AT_ONCE,
    IS_OVERLOADED,
    IS_PUSHED,
    POSTPONES,
    RECEIVED,
    RESUMED,
    TO_DRAIN,
    Interrupted,
    Postponed,
    Waits,
    WantsBody,
)
from ..repeatable import REPEATS, STILL
from ..supervisor import say
from .answered import Answered
from .request_body import Incoming, receive
from .response_body import Sender, To, first_block, grows, ready, regular_file
from .response_memory import Response, ResponseMemory
from .thread_pool import Pool
from .transfers import Transfers
from .wsgi_environ import Environs, Head, content_length, head_of

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# A file up to this size is read by the thread that opened it, twice the block that granian reads of a larger one: that
# takes half the CPU.
SMALL_BYTES = 262_144
_OWN = {"wsgi.input": io.BytesIO()}
_PLAIN = ("Content-Type", "text/plain; charset=utf-8")
_FAILED = b"Something went wrong in the server; its log says what.\n"
_BUSY = b"The file cannot be sent right now. Try again in a moment.\n"
_RETRY = [_PLAIN, ("Retry-After", "2"), ("Cache-Control", "no-store")]


class Answer(NamedTuple):
    """The application's response.

    ``is_file`` says that the body is a file of the system, ``must_drain`` that the client must finish sending first.
    ``first`` is the first block of a growing body, if it was read.
    """

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]
    is_file: bool = False
    must_drain: bool = False
    first: bytes = b""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that is not answered yet; ``answered`` is called when it is."""

    scope: Any
    protocol: Any
    client: str
    began: int
    answered: Callable[[], object]


class Adapter:
    """Calls ``application`` for granian; ``threads`` requests with a body, and as many without, may wait at once."""

    def __init__(self, application: WSGI, *, threads: int, transfers: Transfers | None = None) -> None:
        self._application = application
        self._environs = Environs({**_OWN, "wsgi.file_wrapper": _unchanged})
        self._memory = ResponseMemory()
        self._pool = Pool(threads)
        # Requests with a body have threads of their own: however long their disk takes, pages wait for no upload.
        self._uploads = Pool(threads)
        self._transfers = Transfers() if transfers is None else transfers
        self._sender = Sender(self._pool, self._transfers)
        self._loop: asyncio.AbstractEventLoop | None = None
        # The loop's tasks; Python may forget a task that nothing refers to.
        self._tasks: set[asyncio.Task[None]] = set()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop on which bodies arrive and are sent; it does not run yet."""
        self._loop = loop

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the tasks that wait for connections; all requests are complete, and the loop no longer runs."""
        loop.run_until_complete(asyncio.gather(*self._sender.close(), return_exceptions=True))

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        self._loop = loop = asyncio.get_running_loop()
        answered = Answered(loop)
        self.answer(scope, protocol, answered=answered)
        if not answered.is_done:
            await answered.wait()

    def answer(self, scope: Any, protocol: Any, *, answered: Callable[[], object] = lambda: None) -> None:
        """Begin to answer one request; never waits, and raises nothing."""
        began, client = time.perf_counter_ns(), scope.client
        try:
            self._sender.begin(client, self._running())
            head = head_of(scope, client)
            known = self._memory.get(head)
            if known is not None and known.still():
                protocol.response_bytes(known.status, known.headers, known.body)
                answered()
                return
            request = _Request(scope, protocol, client, began, answered)
            environ = self._environs.of_head(head, scope.headers)
            length = content_length(environ)
            if length == 0 and head.method in ("GET", "HEAD") and self._answer_at_once(request, head, environ.copy()):
                return
            environ[request_info.BEGAN] = request.began
            environ[IS_PUSHED if length != 0 else POSTPONES] = True
            pool = self._pool if length == 0 else self._uploads
            if not pool.submit(self._answer_in_thread, request, environ):
                environ[IS_OVERLOADED] = True
                self._give(request, self._ask(environ))
        except BaseException as error:  # noqa: BLE001 - logged with its traceback
            self._fail(_Request(scope, protocol, client, began, answered), error)

    def _answer_at_once(self, request: _Request, head: Head, environ: dict[str, Any]) -> bool:
        """Answer if the response is ready; returns whether it is."""
        environ[AT_ONCE] = True
        if self._memory.is_wanted(head):
            environ[REPEATS] = True
        try:
            answer = self._ask(environ)
        except Waits:
            return False
        if STILL in environ and type(answer.body) is list:
            kept = Response(answer.status, answer.headers, b"".join(answer.body), environ[STILL])
            self._memory.keep(head, kept)
        self._give(request, answer)
        return True

    def _answer_in_thread(self, request: _Request, environ: dict[str, Any]) -> None:
        try:
            try:
                answer: Answer | WantsBody = self._ask_and_read(environ)
            except WantsBody as wanted:
                answer = wanted
            if isinstance(answer, WantsBody) or answer.must_drain:
                self._on_loop(request, self._with_body(request, content_length(environ), answer))
            else:
                self._give(request, answer)
        except Postponed as postponed:
            self._on_loop(request, self._later(request, postponed))
        except BaseException as error:  # noqa: BLE001 - logged with its traceback
            self._fail(request, error)

    def _ask_and_read(self, environ: dict[str, Any]) -> Answer:
        """The response, with the bytes of a small file, or the first block of a growing one."""
        answer = self._ask(environ)
        if not answer.must_drain and answer.is_file and (data := _small(answer.body)) is not None:
            return answer._replace(body=[data], is_file=False)
        return answer._replace(first=first_block(answer.body)) if grows(answer.body) else answer

    async def _later(self, request: _Request, postponed: Postponed) -> None:
        """Ask again, when what the request needs is ready; until then it holds no thread."""
        answer = None
        while answer is None:
            await ready(postponed.under_way, postponed.seconds)
            environ = self._environs.of(request.scope)
            environ |= {request_info.BEGAN: request.began, POSTPONES: True, RESUMED: postponed.under_way}
            try:
                answer = await self._pool.step(self._ask_and_read, environ)
            except Postponed as again:
                postponed = again
        await self._sent(request, answer)

    async def _with_body(self, request: _Request, length: int | None, answer: Answer | WantsBody) -> None:
        """Receive the body that a handler needs and ask again, or let a refused client finish sending."""
        incoming = Incoming(request.protocol, length)
        if isinstance(answer, WantsBody):
            answer = await self._received(request, incoming, answer)
        if answer.must_drain:
            await incoming.drain()
        self._give(request, answer)

    async def _received(self, request: _Request, incoming: Incoming, wanted: WantsBody) -> Answer:
        is_upload = request.scope.headers.get("content-type", "").startswith("multipart/")
        with contextlib.ExitStack() as stack:
            if is_upload:
                stack.enter_context(self._transfers.upload())
            return await self._asked_again(request, incoming, wanted)

    async def _asked_again(self, request: _Request, incoming: Incoming, wanted: WantsBody) -> Answer:
        try:
            await receive(incoming, wanted, self._uploads)
            environ = self._environs.of(request.scope)
            environ |= {request_info.BEGAN: request.began, IS_PUSHED: True, RECEIVED: wanted.receiver}
            return await self._uploads.step(self._ask, environ)
        finally:
            wanted.release()
            await self._uploads.step(wanted.receiver.discard)

    def _ask(self, environ: dict[str, Any]) -> Answer:
        began: list[Any] = [500, []]

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            began[:] = int(status[:3]), headers

        body = self._application(environ, start_response)
        return Answer(began[0], began[1], body, type(body) is not list and regular_file(body), TO_DRAIN in environ)

    def _give(self, request: _Request, answer: Answer) -> None:
        """Send the response, or hand it to the loop; may be called from any thread."""
        body: Any = answer.body
        if type(body) is not list:
            self._on_loop(request, self._sent(request, answer))
            return
        data = body[0] if len(body) == 1 else b"".join(body)
        request.protocol.response_bytes(answer.status, answer.headers, data)
        request.answered()

    async def _sent(self, request: _Request, answer: Answer) -> None:
        """Send the response on the loop."""
        body: Any = answer.body
        if type(body) is list:
            self._give(request, answer)
            return
        to = To(request.protocol, request.client, answer.status, answer.headers)
        if answer.is_file:
            file, start, length = body.section()
            self._sender.file(to, file, (start, start + length))
        else:
            await self._sender.blocks(to, body, answer.first)
        request.answered()

    def _on_loop(self, request: _Request, work: Coroutine[Any, Any, None]) -> None:
        """Do on the loop what takes a client's time; may be called from any thread."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                self._fail(request, error)

        def begin() -> None:
            task = asyncio.ensure_future(guarded())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._running().call_soon_threadsafe(begin)

    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "granian calls __rsgi_init__ first"  # noqa: S101
        return self._loop

    def _fail(self, request: _Request, error: BaseException) -> None:
        if not isinstance(error, Interrupted):
            say("request", error, "the client gets an error, or its connection ends")
        # RSGI ignores a second response.
        if isinstance(error, OSError):
            request.protocol.response_bytes(503, _RETRY, _BUSY)
        else:
            request.protocol.response_bytes(500, [_PLAIN], _FAILED)
        request.answered()


def _unchanged(body: Iterable[bytes], block_bytes: int = 0) -> Iterable[bytes]:
    """The ``wsgi.file_wrapper``: keeps a body that is a file as it is."""
    return body


def _small(body: Any) -> bytes | None:
    """The bytes of a small file, which is closed, None for a larger one; raises OSError if it became shorter."""
    if body.section()[2] > SMALL_BYTES:
        return None
    try:
        return b"".join(body)
    finally:
        body.close()
