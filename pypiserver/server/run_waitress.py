"""waitress, hardened: our limits, no request with ambiguous framing, and an end that loses no upload.

waitress reads a whole request before it calls the application, so slow uploads hold no thread; it spools their bytes
to the temporary folder, which needs room for the largest upload.

**Invariants:** if a client waits for ``100 Continue``, the application is called before that, without the body; an
answer that it gives then is the answer.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from ..deferred import Interrupted
from ..supervisor import once
from .accepting import accepting_many
from .contract import BACKLOG, GRACE_SECONDS, OUTLASTED, Hooks, MakeApplication, Options, say_cut, say_ending
from .expect_continue import ASKED, LATE_CONTINUE, BodyWantedError, UnsentBody
from .graceful_shutdown import GracefulShutdown
from .process_signals import ends_with_terminal
from .reload import ReloadableApp
from .transfers import UnderWay

_LOG = logging.getLogger(__name__)
# Bytes of a form's other fields: the limit of waitress is for the whole body.
FORM_BYTES = 32 << 20
# If one of these headers is repeated, or two of them come together, two programs may see two different requests.
_ONCE = (b"content-length", b"transfer-encoding", b"content-type", b"host")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# A client reads a refusal only after it has sent its body, so the body is read and dropped; in seconds.
LINGER_SECONDS = 10.0
LINGER_BYTES = 64 << 20


class GuardedParser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses requests that waitress 3.0 accepts: both a length and a transfer coding, or repeated framing headers."""

    # Whether the application was called without the body, and wants it.
    is_asked = False

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header; raises ParsingError, which becomes 400 and closes the connection."""
        if b"\r\n " in header_plus or b"\r\n\t" in header_plus:
            # Two programs may read such a line as two different headers (RFC 9112 section 5.2).
            raise ParsingError("A header is continued on another line")
        names = Counter(line.partition(b":")[0].strip().lower() for line in header_plus.split(b"\r\n")[1:])
        if names[b"content-length"] and names[b"transfer-encoding"]:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")
        for name in _ONCE:
            if names[name] > 1:
                raise ParsingError(f"The header {name.decode()} comes twice")
        super().parse_header(header_plus)


class _Question(GuardedParser):
    """A request without its body, which its client sends only when told to."""

    def __init__(self, request: GuardedParser) -> None:
        self.__dict__.update(vars(request))
        self.request = request
        self.body_rcv = None


class _Answering(WSGITask):  # type: ignore[misc]
    """A request that the application may have seen already."""

    def get_environment(self) -> dict[str, Any]:
        """The environ (PEP 3333)."""
        environ: dict[str, Any] = super().get_environment()
        environ[ASKED] = self.request.is_asked
        return environ

    def service(self) -> None:
        """Answer, and break the connection after a body that ends early: the log says why already."""
        try:
            super().service()
        except Interrupted:
            self.close_on_finish = True


class _Asking(WSGITask):  # type: ignore[misc]
    """Calls the application before the body comes; the answer closes the connection, unless the body is wanted."""

    is_wanted = False

    def execute(self) -> None:
        """Call the application."""
        request = self.request.request
        with self.channel.requests_lock:
            # A request whose client did not wait is read as usual.
            self.is_wanted = request.completed or request.body_bytes_received > 0
        if not self.is_wanted:
            environ = self.get_environment()
            environ |= {"wsgi.input": UnsentBody(), LATE_CONTINUE: True}
            if request.chunked:
                # waitress removes this header, because it decodes the chunks.
                environ["HTTP_TRANSFER_ENCODING"] = "chunked"
            self.set_close_on_finish()
            try:
                super().execute()
            except BodyWantedError:
                self.close_on_finish = False
                self.is_wanted = request.is_asked = True
        if self.is_wanted and not request.completed:
            # Written as a task's output: outside of a task, the main thread may be sending at the same time.
            self.channel.write_soon(CONTINUE)

    def finish(self) -> None:
        """End the answer, if there is one."""
        if not self.is_wanted:
            super().finish()
            self.channel.lingers = True


def can_ask() -> bool:
    """Whether waitress has the internal parts that are needed to call the application before the body."""
    parts = {
        HTTPChannel: ("send_continue", "close_when_flushed", "total_outbufs_len", "_flush_exception", "_flush_some"),
        HTTPRequestParser: ("completed", "expect_continue", "body_bytes_received", "body_rcv", "chunked"),
        WSGITask: ("execute", "finish", "get_environment", "set_close_on_finish"),
    }
    return all(hasattr(kind, name) for kind, names in parts.items() for name in names)


class GuardedChannel(HTTPChannel):  # type: ignore[misc]
    """A connection whose requests are read by the guarded parser."""

    parser_class = GuardedParser
    # Whether the client may still send a body that is not read; the deadline for that, and the bytes dropped.
    lingers = False
    close_when_flushed = False
    linger_until = 0.0
    lingered = 0

    @staticmethod
    def task_class(channel: GuardedChannel, request: GuardedParser) -> WSGITask:
        """The class of the task that answers a request."""
        return (_Asking if isinstance(request, _Question) else _Answering)(channel, request)

    def send_continue(self) -> None:
        """Ask the application whether the client may send its body; called with ``requests_lock`` held.

        waitress calls this when a header is complete and no earlier request is in progress.
        """
        request = self.request
        if not _CAN_ASK:
            super().send_continue()
            return
        request.expect_continue = False
        # A request without a body, or with a fault, is complete; waitress would wait for the rest of it.
        if not request.completed:
            self.requests.append(_Question(request))
            self.server.add_task(self)

    def handle_write(self) -> None:
        """Send pending output; after a refusal, keep reading from the client a while longer."""
        if not (self.lingers and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and not self.will_close:
            self.close_when_flushed = False
            self.linger_until = time.monotonic() + LINGER_SECONDS
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def readable(self) -> bool:
        """Whether to read from the client."""
        return bool(self.linger_until) or bool(super().readable())

    def handle_read(self) -> None:
        """Read, or drop what a refused client sends."""
        if not self.linger_until:
            super().handle_read()
            return
        try:
            # The end of the client's data closes the channel.
            self.lingered += len(self.recv(self.adj.recv_bytes))
        except OSError:
            self.handle_close()
        if self.lingered > LINGER_BYTES or time.monotonic() > self.linger_until:
            self.handle_close()

    @property
    def is_sending(self) -> bool:
        """Whether a client is receiving an answer."""
        return bool(self.total_outbufs_len)

    @property
    def is_uploading(self) -> bool:
        """Whether a form is being received or processed: waitress reads it before the application is called."""
        requests = [*self.requests, *([self.request] if self.request is not None else [])]
        return any(each.headers.get("CONTENT_TYPE", "").startswith("multipart/") for each in requests)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received, processed or answered."""
        receiving = self.request is not None and (self.request.header_plus or self.request.headers_finished)
        return bool(receiving or self.requests or self.total_outbufs_len)


_CAN_ASK = can_ask()


def serve(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT; then accept no more, and give requests in progress eight seconds to end."""
    application = ReloadableApp(make)
    drain = GracefulShutdown(options.drain_seconds)
    listening.listen(BACKLOG)
    server = create_server(
        drain.told_to(application),
        sockets=[listening],
        threads=options.thread_count,
        connection_limit=options.connections,
        # select() is limited to 1,024 connections.
        asyncore_use_poll=True,
        channel_timeout=options.stall_seconds,
        cleanup_interval=min(10, options.stall_seconds),
        max_request_header_size=options.header_bytes,
        max_request_body_size=options.max_upload_size + FORM_BYTES,
        channel_request_lookahead=0,
        # Our own setting says which proxy to trust (web.proxy).
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
        ident=None,
    )
    server.channel_class = GuardedChannel
    server.handle_accept = accepting_many(server, options.connections)
    ending, cutting = threading.Event(), threading.Event()

    def at_once() -> None:
        cutting.set()
        server.pull_trigger()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()
        server.pull_trigger()

    handle = drain.before(end, at_once)
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if sys.platform != "win32":
        # In a thread, because connections must not wait for it.
        again = end if ends_with_terminal() else lambda *_: once("reload", application.reload)
        signal.signal(signal.SIGHUP, again)
    hooks.ready()
    while not ending.is_set():
        _turn(server)
    say_ending(_under_way(server))
    # The map keeps the channels; without the server in it no new connection is accepted.
    wasyncore.dispatcher.close(server)
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until and server.active_channels and not cutting.is_set():
        for channel in list(server.active_channels.values()):
            if not channel.is_busy:
                channel.handle_close()
        _turn(server)
    if cutting.is_set():
        say_cut()
        return
    if any(channel.is_busy for channel in server.active_channels.values()):
        _LOG.warning("%s", OUTLASTED)
    server.task_dispatcher.shutdown()


def _under_way(server: Any) -> UnderWay:
    channels = list(server.active_channels.values())
    uploads = sum(channel.is_uploading for channel in channels)
    return UnderWay(uploads, sum(channel.is_sending and not channel.is_uploading for channel in channels))


def _turn(server: Any) -> None:
    wasyncore.loop(timeout=0.5, map=server._map, use_poll=True, count=1)
