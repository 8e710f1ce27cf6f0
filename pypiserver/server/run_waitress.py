"""waitress, hardened: limits of ours, requests whose framing is ambiguous refused, an end that loses no upload.

waitress reads a whole request before it asks the application, so slow uploads hold no thread; their bytes are spooled
to the temporary folder meanwhile, which needs room for the largest upload.
"""

from __future__ import annotations

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

from ..supervisor import once
from .contract import BACKLOG, GRACE_SECONDS, OUTLASTED, Hooks, MakeApplication, Options, say_ending
from .graceful_shutdown import Drain
from .process_signals import ends_with_terminal
from .reload import Reloadable

_LOG = logging.getLogger(__name__)
# What a form may have besides its file: the limit of waitress is about the whole body.
FORM_BYTES = 32 << 20
# A header of these that comes twice, or two of them together, lets two programs see two different requests.
_ONCE = (b"content-length", b"transfer-encoding", b"content-type", b"host")


class GuardedParser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses what waitress 3.0 takes: a length and a transfer coding together, and doubled headers about framing."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header; raises ParsingError, which becomes 400 and the end of the connection."""
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


class GuardedChannel(HTTPChannel):  # type: ignore[misc]
    """A connection whose requests are read by the guarded parser."""

    parser_class = GuardedParser

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received, worked on or answered."""
        receiving = self.request is not None and (self.request.header_plus or self.request.headers_finished)
        return bool(receiving or self.requests or self.total_outbufs_len)


def serve(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT; then accept no more, and give what runs eight seconds to end."""
    application = Reloadable(make)
    drain = Drain(options.drain_seconds)
    listening.listen(BACKLOG)
    server = create_server(
        drain.told_to(application),
        sockets=[listening],
        threads=options.thread_count,
        connection_limit=options.connections,
        # select() ends at 1,024 connections.
        asyncore_use_poll=True,
        channel_timeout=options.stall_seconds,
        cleanup_interval=min(10, options.stall_seconds),
        max_request_header_size=options.header_bytes,
        max_request_body_size=options.max_upload_size + FORM_BYTES,
        channel_request_lookahead=0,
        # Which proxy is believed is our own setting (web.proxy).
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
        ident=None,
    )
    server.channel_class = GuardedChannel
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()
        server.pull_trigger()

    signal.signal(signal.SIGTERM, drain.before(end))
    signal.signal(signal.SIGINT, end)
    if sys.platform != "win32":
        # In a thread, as connections must not wait for it.
        again = end if ends_with_terminal() else lambda *_: once("reload", application.reload)
        signal.signal(signal.SIGHUP, again)
    hooks.ready()
    while not ending.is_set():
        _turn(server)
    say_ending()
    # The map keeps the channels; without the server in it nobody new is accepted.
    wasyncore.dispatcher.close(server)
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until and server.active_channels:
        for channel in list(server.active_channels.values()):
            if not channel.is_busy:
                channel.handle_close()
        _turn(server)
    if any(channel.is_busy for channel in server.active_channels.values()):
        _LOG.warning("%s", OUTLASTED)
    server.task_dispatcher.shutdown()


def _turn(server: Any) -> None:
    wasyncore.loop(timeout=0.5, map=server._map, use_poll=True, count=1)
