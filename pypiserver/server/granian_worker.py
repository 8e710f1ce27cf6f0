"""The application in a worker of granian, which ends with its parent.

**Invariants:** a worker ends with its parent, however the parent died; at SIGHUP it reads its settings again (granian
would replace it and lose the connections that wait for it).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import process_signals
from .contract import GRACE_SECONDS, IS_ON_LOOP, MakeApplication, Options
from .expect_continue import LATE_CONTINUE
from .graceful_shutdown import GracefulShutdown
from .granian_scheduler import answer_directly
from .open_files import raise_descriptors
from .reload import ReloadFlag
from .rsgi import Adapter
from .slow_clients import watch
from .wsgi_environ import HIDDEN

# mallopt(3): how many arenas the C library may make.
_M_ARENA_MAX = -8


@dataclass(frozen=True)
class Parent:
    """What a worker knows of its parent: process id, port, how to serve, and the signals' shared state."""

    pid: int
    port: int
    options: Options
    reloads: ReloadFlag
    drain: GracefulShutdown


def load(make: MakeApplication, parent: Parent) -> Callable[..., Iterable[bytes]] | Adapter:
    """The application, in a worker."""
    _use_one_arena()
    raise_descriptors()
    process_signals.begin_worker()

    def each_second() -> None:
        _end_with(parent.pid)
        process_signals.wake_main_thread()

    application = parent.reloads.followed_by(make, each_second=each_second)
    options, transfers = parent.options, parent.drain.transfers
    # Clients that do not read block others when they hold the threads, or the connections.
    crowd = options.connections if IS_ON_LOOP else options.thread_count
    watch(parent.port, options.stall_seconds, threads=crowd)
    if not IS_ON_LOOP:
        return one_host(parent.drain.told_to(transfers.counted(application)))
    # The adapter counts: the application has answered long before a client has sent or received everything.
    guarded = one_host(parent.drain.told_to(application))
    return answer_directly(Adapter(guarded, threads=options.thread_count, transfers=transfers))


def one_host(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Refuse requests with two Host headers, which granian joins (RFC 9112 section 3.2), or with a hidden address."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "," in environ.get("HTTP_HOST", ""):
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")])
            return [b"The request has more than one Host.\n"]
        if HIDDEN in environ:
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")])
            return [b"Host or a forwarding header is not ASCII.\n"]
        # hyper sends "100 Continue" when the body is read; an HTTP/1.0 client never waits for it.
        environ[LATE_CONTINUE] = environ.get("SERVER_PROTOCOL") != "HTTP/1.0"
        return application(environ, start_response)

    return guarded


def _use_one_arena() -> None:
    """Let all threads use the memory that any of them freed, where the C library is glibc.

    With an arena for each thread, pages and uploads that were answered leave some 20 MB that no other thread can use.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended."""
    if sys.platform != "win32" and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)
