"""granian, with our limits on how much a client may send, and for how long. It serves in worker processes.

**Invariants:** a worker ends with its parent, however the parent died; a dead worker is replaced, however often one
dies (granian itself ends at the second death within five seconds); an idle connection is closed; granian's messages go
to our log; SIGHUP makes workers read their settings again (granian would replace them and lose the connections that
wait for them).
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..supervisor import once
from . import process_signals
from .contract import (
    BACKLOG,
    GRACE_SECONDS,
    OUTLASTED,
    Hooks,
    MakeApplication,
    Options,
    port_of,
    say_ending,
    tell_when_it_accepts,
)
from .expect_continue import LATE_CONTINUE
from .graceful_shutdown import GracefulShutdown
from .reload import ReloadFlag
from .slow_clients import watch

HEADER_MS = 10_000
# Seconds between checks of the workers, in addition to the deaths that granian reports.
LOOK_SECONDS = 1.0
SHORT_SECONDS = 0.001
# Seconds. A worker that lived shorter than the first is replaced after a pause, which doubles up to the last.
LIVED_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
# This many deaths of workers before any of them served mean that they cannot serve.
ATTEMPTS = 3
_LOG = logging.getLogger(__name__)
# A setting of granian's allocator (jemalloc), read when granian is imported. With an arena for each few threads, other
# threads cannot use the memory that one thread freed: sixty large answers leave 40 MB, with one arena 15. Equally fast.
_ALLOCATOR = ("_RJEM_MALLOC_CONF", "narenas:1")
_LOGGING = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def serve(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT; raises ImportError if granian is not installed."""
    os.environ.setdefault(*_ALLOCATOR)
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    news = News()
    logging.getLogger("_granian").addFilter(news.is_news)
    host, port = str(listening.getsockname()[0]), port_of(listening)
    _let_workers_bind(listening)
    has_served = threading.Event()

    def accepts() -> None:
        has_served.set()
        hooks.ready()

    class Supervising(Granian):  # type: ignore[misc,valid-type]
        """granian with our main loop."""

        def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
            # After all workers are forked: a lock that another thread holds at the fork stays locked in the worker.
            tell_when_it_accepts(host, port, accepts)
            supervise(self, lambda dead: self._respawn_workers(dead, spawn_target, target_loader), has_served)

        def _spawn_workers(self, *arguments: Any) -> None:
            with process_signals.held():
                super()._spawn_workers(*arguments)

        def _respawn_workers(self, *arguments: Any, **more: Any) -> None:
            with process_signals.held():
                super()._respawn_workers(*arguments, **more)

        def _stop_workers(self) -> None:
            news.note_end()
            end(self.wrks)
            # A worker that still runs has used up its time.
            self.workers_kill_timeout = SHORT_SECONDS
            super()._stop_workers()

    server = Supervising(
        "pypiserver",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        blocking_threads=options.thread_count,
        backpressure=options.connections,
        backlog=BACKLOG,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS, max_buffer_size=options.header_bytes),
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=_LOGGING,
        ssl_cert=options.certificate,
        ssl_key=options.key,
        ssl_protocol_min=SSLProtocols.tls12,
        workers_kill_timeout=GRACE_SECONDS,
    )

    reloads = ReloadFlag()

    def reload() -> None:
        hooks.reload()
        reloads.tell()

    # In a thread, because the signal may arrive during a write to the log, which the reload reopens.
    server.signal_handler_reload = (
        server.signal_handler_interrupt if process_signals.ends_with_terminal() else lambda *_: once("reload", reload)
    )
    drain = GracefulShutdown(options.drain_seconds)
    server.signal_handler_interrupt = drain.before(server.signal_handler_interrupt)
    parent = _Parent(os.getpid(), port, reloads, options.stall_seconds, options.thread_count, drain)
    server.serve(target_loader=functools.partial(_load, make, parent), wrap_loader=False)


def supervise(
    server: Any,
    replace: Callable[[list[int]], object],
    has_served: threading.Event,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Granian's main loop: replace dead workers until a signal to end, then return.

    ``server`` is a Granian whose workers run; ``replace`` restarts the workers of these numbers. A worker that died
    soon after its start is replaced after a pause, so that a loop of deaths does not use up a core. If workers die
    before any of them has served, it returns, because they cannot serve.
    """
    pause, failed = 0.0, 0
    began = [time.monotonic()] * len(server.wrks)
    while not server.interrupt_signal:
        server.main_loop_interrupt.wait(LOOK_SECONDS)
        server.main_loop_interrupt.clear()
        dead = [number for number, worker in enumerate(server.wrks) if not worker.is_alive()]
        if server.interrupt_signal or not dead:
            continue
        failed += 1
        if not has_served.is_set() and failed >= ATTEMPTS:
            _LOG.error("The workers die as they start; the server ends.")
            return
        lived = min(time.monotonic() - began[number] for number in dead)
        pause = 0.0 if lived >= LIVED_SECONDS else min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * pause))
        _LOG.error("%d of the workers died; they are replaced%s.", len(dead), f" in {pause:.1f} s" if pause else "")
        until = time.monotonic() + pause
        while time.monotonic() < until and not server.interrupt_signal:
            sleep(0.05)
        if not server.interrupt_signal:
            # The server fails only if no worker can start, not if one died.
            server.interrupt_children.clear()
            replace(dead)
            for number in dead:
                began[number] = time.monotonic()
    # A worker that got the signal too, as all processes of a service may, is no failure.
    server.interrupt_children.clear()
    say_ending()


def end(workers: Iterable[Any], *, clock: Callable[[], float] = time.monotonic) -> None:
    """Tell granian's workers to end, and return when all have ended or GRACE_SECONDS passed.

    A thread of granian also waits for each worker. If that thread learns of the end first, ``join`` returns at once,
    and the worker counts as alive until the thread runs again: granian would ask a millisecond later, and take the
    worker for one that refuses to end.
    """
    workers = list(workers)
    for worker in workers:
        worker.terminate()
    until = clock() + GRACE_SECONDS
    for worker in workers:
        while worker.is_alive() and (left := until - clock()) > 0:
            worker.join(left)
            time.sleep(SHORT_SECONDS)


class News:
    """Filters granian's messages for the operator; ``clock`` returns seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("inf")

    def note_end(self) -> None:
        """Record that the workers are told to end now."""
        self._until = self._clock() + GRACE_SECONDS

    def is_news(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; granian's warning about many threads is dropped, because slow clients need them.

        We log in our own words that a worker is killed because a transfer outlasts its time; the end of a worker within
        that time is not logged.
        """
        said = record.getMessage()
        if "refused to gracefully stop" in said:
            record.msg, record.args = OUTLASTED, None
            return self._clock() >= self._until
        return "spawning up to" not in said


def _let_workers_bind(listening: socket.socket) -> None:
    """Keep the port while each worker binds to it: on Linux granian's workers share it by SO_REUSEPORT.

    A socket that is bound but does not listen gets no connections, and no other program can take its port.
    """
    if sys.platform == "linux":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    else:
        listening.close()


@dataclass(frozen=True)
class _Parent:
    """What a worker knows of its parent: process id, port and patience, and the signals' shared state."""

    pid: int
    port: int
    reloads: ReloadFlag
    stall_seconds: int
    threads: int
    drain: GracefulShutdown


def _load(make: MakeApplication, parent: _Parent) -> Callable[..., Iterable[bytes]]:
    """The application, in a worker."""
    process_signals.begin_worker()

    def each_second() -> None:
        _end_with(parent.pid)
        process_signals.wake_main_thread()

    application = parent.reloads.followed_by(make, each_second=each_second)
    watch(parent.port, parent.stall_seconds, threads=parent.threads)
    return _one_host(parent.drain.told_to(application))


def _one_host(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Refuse requests with two Host headers, which granian joins (RFC 9112 section 3.2)."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "," in environ.get("HTTP_HOST", ""):
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")])
            return [b"The request has more than one Host.\n"]
        # hyper sends "100 Continue" when the body is read; an HTTP/1.0 client never waits for it.
        environ[LATE_CONTINUE] = environ.get("SERVER_PROTOCOL") != "HTTP/1.0"
        return application(environ, start_response)

    return guarded


def _end_with(parent: int) -> None:
    """End this process when its parent has ended."""
    if sys.platform != "win32" and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)
