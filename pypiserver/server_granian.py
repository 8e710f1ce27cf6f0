"""granian, told by us how much a client may ask of it, and for how long.

It answers in worker processes of its own. The rules to keep: a worker ends with its parent, however that died; a
connection on which nothing moves is closed; what granian has to say goes to our log; SIGHUP makes workers read their
settings again, where granian would replace them and lose the connections that wait for them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .server_reload import Reloadable
from .servers import (
    BACKLOG,
    CONNECTIONS,
    GRACE_SECONDS,
    HEADER_BYTES,
    MakeApplication,
    Options,
    port_of,
    tell_when_it_accepts,
)

HEADER_MS = 10_000
# An upload or download that does not move for so long is ended.
STALLED_SECONDS = 60.0
LOOK_SECONDS = 5
# tcp_info of Linux: eight bytes of flags, then 32-bit fields, two of them milliseconds since data was sent or received.
_TCP_INFO = struct.Struct("8x 24I")
_LAST_SENT, _LAST_RECEIVED = 9, 11
_LOGGING = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def serve(make: MakeApplication, options: Options, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; raises ImportError where granian is not installed."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    host, port = str(listening.getsockname()[0]), port_of(listening)
    _let_workers_bind(listening)
    server = Granian(
        "pypiserver",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        blocking_threads=options.thread_count,
        backpressure=CONNECTIONS,
        backlog=BACKLOG,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS, max_buffer_size=HEADER_BYTES),
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=_LOGGING,
        ssl_cert=options.certificate,
        ssl_key=options.key,
        ssl_protocol_min=SSLProtocols.tls12,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_SECONDS,
    )
    tell_when_it_accepts(host, port, ready)
    reloads = multiprocessing.Value("i", 0)

    def reload(*_: object) -> None:
        reloads.value += 1

    server.signal_handler_reload = reload  # type: ignore[method-assign]
    server.serve(target_loader=functools.partial(_load, make, _Parent(os.getpid(), port, reloads)), wrap_loader=False)


def _let_workers_bind(listening: socket.socket) -> None:
    """Keep the port while each worker binds to it: on Linux granian's workers share it by SO_REUSEPORT.

    A socket that is bound and does not listen gets no connections, but nobody else can take its port.
    """
    if sys.platform == "linux":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    else:
        listening.close()


@dataclass(frozen=True)
class _Parent:
    """What a worker knows of its parent: its process id, the port, and how often it was told to reload."""

    pid: int
    port: int
    reloads: Any


def _load(make: MakeApplication, parent: _Parent) -> Callable[..., Iterable[bytes]]:
    """The application, in a worker."""
    application = Reloadable(make)
    threading.Thread(target=_look_after, args=(parent, application), name="pypiserver-worker", daemon=True).start()
    return _one_host(application)


def _one_host(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Refuse requests with two Host headers, which granian joins (RFC 9112 section 3.2)."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "," in environ.get("HTTP_HOST", ""):
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")])
            return [b"The request has more than one Host.\n"]
        return application(environ, start_response)

    return guarded


def _look_after(parent: _Parent, application: Reloadable) -> None:
    """End with the parent, end connections that do not move, and reload when the parent is told to."""
    reloads = parent.reloads.value
    for seconds in itertools.count(1):
        time.sleep(1.0)
        if reloads != parent.reloads.value:
            reloads = parent.reloads.value
            application.reload()
        if sys.platform != "win32" and os.getppid() != parent.pid:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_SECONDS)
            os._exit(1)
        if sys.platform == "linux" and seconds % LOOK_SECONDS == 0:
            end_stalled(parent.port)


def end_stalled(port: int, stalled_seconds: float = STALLED_SECONDS) -> int:
    """End this process's connections at ``port`` on which nothing moved for so long; gives their number (Linux).

    granian has a limit for the time a header may take, none for a body and none for a reader that does not read; each
    of these holds a thread.
    """
    ended = 0
    for connection in _connections(port):
        with connection, contextlib.suppress(OSError):
            values = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
            if min(values[_LAST_SENT], values[_LAST_RECEIVED]) >= stalled_seconds * 1000:
                connection.shutdown(socket.SHUT_RDWR)
                ended += 1
    return ended


def _connections(port: int) -> Iterator[socket.socket]:
    """A duplicate of each connected socket of this process whose own end is at ``port``."""
    for link in list(Path("/proc/self/fd").iterdir()):
        duplicate = None
        with contextlib.suppress(OSError, ValueError):
            if link.readlink().name.startswith("socket:"):
                duplicate = socket.socket(fileno=os.dup(int(link.name)))
                if _is_connection(duplicate, port):
                    yield duplicate
                    continue
        if duplicate is not None:
            duplicate.close()


def _is_connection(candidate: socket.socket, port: int) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6) or candidate.type != socket.SOCK_STREAM:
        return False
    if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    return port_of(candidate) == port
