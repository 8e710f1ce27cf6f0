"""gunicorn, with our limits on how much a client may send, and for how long. It forks workers.

**Invariants:** the application is made in the worker that serves; gunicorn's messages go to our log; SIGHUP makes
workers read their settings again (gunicorn would replace them by workers that may be unable to start); a client that
waits for ``100 Continue`` gets it when the application reads the body (gunicorn would send it before).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from ..supervisor import say
from . import process_signals
from .contract import BACKLOG, GRACE_SECONDS, OUTLASTED, Hooks, MakeApplication, Options, port_of, say_cut, say_ending
from .expect_continue import LATE_CONTINUE
from .graceful_shutdown import GracefulShutdown
from .reload import ReloadableApp, ReloadFlag
from .slow_clients import watch

_LOG = logging.getLogger(__name__)
LINE_BYTES = 8190  # gunicorn allows no more
# A client reads a refusal only after it has sent its body, so the body is read and dropped: for this many seconds,
# unless the client is silent, and by a few threads at most.
LINGER_SECONDS = 10.0
SILENT_SECONDS = 1.0
LINGERING = 8


class GunicornLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's messages to our log, in the parent and in workers."""

    def setup(self, cfg: Any) -> None:
        """Set up none of gunicorn's own handlers."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's parent process: its workers miss no signal, and it logs its end in our words."""

    def spawn_worker(self) -> Any:
        """Start a worker with SIGTERM blocked; the worker unblocks it once it has a handler."""
        with process_signals.held():
            return super().spawn_worker()

    def stop(self, graceful: bool = True) -> None:
        """End the workers."""
        say_ending(self.app.shutdown.transfers.count())
        super().stop(graceful)
        if self.app.shutdown.is_cut:
            say_cut()

    def end_at_once(self) -> None:
        """Kill the workers; may be called in a signal handler."""
        # gunicorn reports the workers it kills as killed by the kernel.
        self.log.error_log.setLevel(logging.CRITICAL)
        super().kill_workers(signal.SIGKILL)

    def kill_workers(self, sig: int) -> None:
        """Send a signal to all workers."""
        if sig == signal.SIGKILL and self.WORKERS:
            _LOG.warning("%s", OUTLASTED)
            # gunicorn reports the workers it kills as killed by the kernel.
            self.log.error_log.setLevel(logging.CRITICAL)
        super().kill_workers(sig)


class LateContinue:
    """A body that the client sends only when the first read asks for it; until then an answer closes the connection."""

    def __init__(self, request: Any, connection: socket.socket) -> None:
        self._request = request
        self._body = request.body
        self._connection = connection
        self._must_close = request.must_close
        self.is_begun = False
        request.must_close = True
        request._expected_100_continue = False

    @classmethod
    def of(cls, request: Any, connection: socket.socket) -> LateContinue | None:
        """Replace the body of a request whose client waits; None if it does not, or if gunicorn decides by itself."""
        if not (getattr(request, "_expected_100_continue", False) and hasattr(request, "must_close")):
            return None
        if getattr(getattr(request.body, "reader", None), "length", 1) == 0:
            request._expected_100_continue = False
            return None
        request.body = cls(request, connection)
        return request.body  # type: ignore[no-any-return]

    def _begin(self) -> Any:
        if not self.is_begun:
            self.is_begun = True
            self._request.must_close = self._must_close
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._body

    def read(self, size: int | None = None) -> bytes:
        """Up to ``size`` bytes."""
        return bytes(self._begin().read(size))

    def readline(self, size: int | None = None) -> bytes:
        """Up to the end of a line."""
        return bytes(self._begin().readline(size))

    def readlines(self, size: int | None = None) -> list[bytes]:
        """All lines."""
        return list(self._begin().readlines(size))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._begin())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class LateWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker, in which waiting clients send their bodies when these are read."""

    _lingering = threading.BoundedSemaphore(LINGERING)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; returns whether the connection may be used again."""
        late = LateContinue.of(req, conn.sock)
        again = super().handle_request(req, conn)
        if late is not None and not late.is_begun and self._lingering.acquire(blocking=False):
            try:
                _linger(conn.sock)
            finally:
                self._lingering.release()
        return again


def _linger(connection: socket.socket) -> None:
    """Close our half of the connection, and read until the client closes its half, or a time limit passes."""
    until = time.monotonic() + LINGER_SECONDS
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(SILENT_SECONDS)
        while connection.recv(65536) and time.monotonic() < until:
            pass


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with these settings, without configuration files or a command line of its own."""

    def __init__(self, application: Any, settings: Mapping[str, Any], shutdown: GracefulShutdown) -> None:
        self._application = shutdown.told_to(shutdown.transfers.counted(application))
        self._settings = settings
        self.shutdown = shutdown
        super().__init__()

    def load_config(self) -> None:
        """Copy the settings into gunicorn's."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)
        # gunicorn 25 and later open a control socket, by default in the home directory, which may be read-only.
        if "control_socket_disable" in self.cfg.settings:
            self.cfg.set("control_socket_disable", True)

    def run(self) -> None:
        """Serve until the end; leaves by SystemExit."""
        _Arbiter(self).run()

    def load(self) -> Any:
        """The application."""
        return self._application


class _Later:
    """An application that is made in the process that serves: gunicorn's worker."""

    def __init__(self, make: MakeApplication, reloads: ReloadFlag, started: Callable[[], object]) -> None:
        self._make = make
        self._reloads = reloads
        self._started = started
        self._made: ReloadableApp | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[LATE_CONTINUE] = isinstance(environ["wsgi.input"], LateContinue)
        return self.get()(environ, start_response)

    def get(self) -> ReloadableApp:
        """The application of this process."""
        with self._lock:
            if self._made is None:
                self._made = self._reloads.followed_by(self._make)
                self._started()
        return self._made


def serve(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT; raises ImportError if gunicorn is not installed."""
    port = port_of(listening)
    listening.listen(BACKLOG)
    reloads = ReloadFlag()
    application = _Later(make, reloads, lambda: watch(port, options.stall_seconds, threads=options.thread_count))

    def reload() -> None:
        # An exception in gunicorn's main loop would end it and all of its workers.
        try:
            hooks.reload()
            reloads.tell()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            say("reload", error, "nothing was reloaded")

    drain = GracefulShutdown(options.drain_seconds)
    ends_with_terminal = process_signals.ends_with_terminal()

    def ready(arbiter: Any) -> None:
        # gunicorn's own Ctrl-C gives requests no time, and kills workers that have idle connections.
        arbiter.handle_int = arbiter.handle_term
        arbiter.handle_hup = arbiter.handle_term if ends_with_terminal else reload
        handle = drain.before(arbiter.signal, arbiter.end_at_once)
        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
        hooks.ready()

    def begin(worker: Any) -> None:
        process_signals.let_sigterm_in()
        application.get()

    settings: dict[str, Any] = {
        # From here on gunicorn owns the socket and closes it.
        "bind": f"fd://{listening.detach()}",
        "workers": options.workers,
        # Its plain workers answer one connection at a time: an idle one would block them.
        "worker_class": LateWorker,
        "threads": options.thread_count,
        "worker_connections": options.connections,
        "limit_request_line": min(options.header_bytes, LINE_BYTES),
        "limit_request_field_size": min(options.header_bytes, LINE_BYTES),
        "keepalive": 10,
        "timeout": 60,
        "graceful_timeout": GRACE_SECONDS,
        # By default any local process may set SCRIPT_NAME by a header; our own setting says which proxy to trust.
        "forwarder_headers": "",
        "logger_class": GunicornLogger,
        "when_ready": ready,
        "post_worker_init": begin,
        "post_request": _end_unread,
    }
    if options.certificate:
        settings |= {"certfile": str(options.certificate), "keyfile": str(options.key)}
    _Server(application, settings, drain).run()


def _end_unread(worker: Any, request: Any, environ: Mapping[str, Any], response: Any) -> None:
    """Keep gunicorn from waiting for the rest of a body that the application does not read."""
    if environ.get("pypiserver.unread"):
        with contextlib.suppress(OSError):
            environ["gunicorn.socket"].shutdown(socket.SHUT_RD)
