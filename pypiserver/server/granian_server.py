"""granian, set up with our limits, and with our main loop for its workers.

**Invariants:** an idle connection is closed; granian's messages go to our log; SIGHUP makes workers read their settings
again (granian would replace them and lose the connections that wait for them).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ..supervisor import once
from . import process_signals
from .contract import BACKLOG, GRACE_SECONDS, IS_ON_LOOP, Hooks, say_cut, say_ending, tell_when_it_accepts
from .granian_supervision import SHORT_SECONDS, News, end, kill, supervise
from .granian_worker import Parent

HEADER_MS = 10_000
# granian's own threads that read files for clients, block by block. A body that comes from another machine makes its
# thread wait as long as that does, and then every client needs one; they exist only while they are needed.
READERS = 16
_LOGGING = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


class SupervisedGranian(Granian):  # type: ignore[misc,valid-type]
    """granian at ``host``, as ``parent`` says; ``hooks`` are called in this process."""

    def __init__(self, host: str, parent: Parent, hooks: Hooks) -> None:
        options = parent.options
        self._news = News()
        logging.getLogger("_granian").addFilter(self._news.is_news)
        super().__init__(
            "pypiserver",
            address=host,
            port=parent.port,
            interface=Interfaces.RSGI if IS_ON_LOOP else Interfaces.WSGI,
            workers=options.workers,
            blocking_threads=1 if IS_ON_LOOP else options.thread_count,
            runtime_blocking_threads=options.connections if options.reads_elsewhere else READERS,
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
        self._parent = parent
        self._hooks = hooks
        self._has_served = threading.Event()
        self._react_to_signals(self.signal_handler_interrupt)

    def _react_to_signals(self, interrupt: Callable[..., Any]) -> None:
        """Set granian's handlers of SIGHUP, SIGTERM and SIGINT."""
        # In a thread, because the signal may arrive during a write to the log, which the reload reopens.
        self.signal_handler_reload = (
            interrupt if process_signals.ends_with_terminal() else lambda *_: once("reload", self._reload)
        )
        self.signal_handler_interrupt = self._parent.drain.before(interrupt, lambda: kill(self.wrks))

    def _reload(self) -> None:
        self._hooks.reload()
        self._parent.reloads.tell()

    def _accepts(self) -> None:
        self._has_served.set()
        self._hooks.ready()

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        # After all workers are forked: a lock that another thread holds at the fork stays locked in the worker.
        tell_when_it_accepts(self.bind_addr, self.bind_port, self._accepts)
        supervise(self, lambda dead: self._respawn_workers(dead, spawn_target, target_loader), self._has_served)
        if self.interrupt_signal:
            say_ending(self._parent.drain.transfers.count())

    def _spawn_workers(self, *arguments: Any) -> None:
        with process_signals.held():
            super()._spawn_workers(*arguments)

    def _respawn_workers(self, *arguments: Any, **more: Any) -> None:
        with process_signals.held():
            super()._respawn_workers(*arguments, **more)

    def _stop_workers(self) -> None:
        self._news.note_end()
        end(self.wrks)
        if self._parent.drain.is_cut:
            say_cut()
        # A worker that still runs has used up its time.
        self.workers_kill_timeout = SHORT_SECONDS
        super()._stop_workers()
