"""``run``, or no command: serve the folders or the bucket."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..._version import __version__
from ...settings.config import Config
from ..options import ALL_SETTINGS, HELP, ROOTS
from ..roots import prepare_roots
from ..subcommand import Subcommand

if TYPE_CHECKING:
    from ...server.contract import OnReady
    from ..banner import StartupInfo

_LOG = logging.getLogger("pypiserver.server")
# How long the end of a server waits for the thread that tells of its start.
TELL_SECONDS = 5.0


class Lifetime:
    """Logs that the server has started, then that it has ended: in this order, or neither of them.

    The start is told by a thread, which may come late: the server may have ended before.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._telling = threading.Lock()
        self._has_started = False
        self._has_ended = False

    def starting(self, tell: OnReady) -> OnReady:
        """``tell``, unless the server has ended."""

        def ready(server: str, port: int) -> None:
            with self._telling:
                if not self._has_ended:
                    self._has_started = True
                    tell(server, port)

        return ready

    def end(self) -> None:
        """Log the end, after the start: if that cannot be written, as to a full pipe, wait some seconds for it."""
        # A worker that was forked from the serving process runs this too.
        if os.getpid() != self.pid:
            return
        was_told = self._telling.acquire(timeout=TELL_SECONDS)
        try:
            self._has_ended = True
            if self._has_started:
                data = {"event": "end", "version": __version__, "pid": self.pid}
                _LOG.info("pypiserver has ended.", extra={"data": data})
        finally:
            if was_told:
                self._telling.release()


@dataclass(frozen=True, slots=True)
class Run:
    """Serve the folders; ``file`` is the configuration file that was read.

    ``reread`` reads the same command line, the environment and the file again for a reload.
    """

    config: Config
    file: Path | None = field(default=None, compare=False)
    reread: Callable[[], Config] | None = field(default=None, compare=False)

    def run(self, out: TextIO, err: TextIO) -> int:
        """Serve until a signal ends it."""
        from ...observability import logging_setup, metrics
        from ...server import process_signals, run
        from ...server.pid_file import pid_file
        from ..serving import close_all

        config = self.config
        run.prepare(config.server)
        prepare_roots(config)
        logging_setup.configure(config)
        with contextlib.ExitStack() as stack:
            stack.enter_context(process_signals.ended_by_sigterm())
            stack.enter_context(pid_file(config.pid_file))
            if config.counts_metrics:
                # Before any import of prometheus_client; every worker inherits it.
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pypiserver-metrics-"))
                os.environ[metrics.FOLDER] = folder
                stack.callback(os.environ.pop, metrics.FOLDER)
            # Closing writes the counts that are still in memory, and ends the threads of a server that could not start.
            stack.callback(close_all)
            self._serve(out, err, stack)
        return 0

    def _serve(self, out: TextIO, err: TextIO, stack: contextlib.ExitStack) -> None:
        from ...server import run
        from ...terminal import has_color, is_terminal
        from ..banner import as_data, render
        from ..server_options import server_options
        from ..serving import Serving

        config = self.config
        facts = self._prepare(err, stack)
        lifetime = Lifetime()

        def say_start(server: str, port: int) -> None:
            now = facts(server, port)
            is_text = config.log_format != "json" or config.log_stream == "none"
            # Serve even if standard output is closed or full.
            with contextlib.suppress(OSError, ValueError):
                out.write(render(config, now) if is_text else "")
                out.flush()
            address, listens = now.url(config), now.listens_on(config)
            message = "pypiserver %s is serving at %s (%s, process %d)."
            address += f", and listens on {listens}" if listens else ""
            shown: dict[str, object] = {"is_shown": is_terminal(out) or has_color(out)}
            if not is_text:
                own = {"event": "start", "version": __version__, "pid": lifetime.pid}
                shown["data"] = {**own, **as_data(config, now)}
            _LOG.info(message, __version__, address, server, lifetime.pid, extra=shown)

        stack.callback(lifetime.end)
        serving = Serving(config, self.reread or functools.partial(_same, config))
        options = server_options(config)
        run.run(serving, options, on_ready=lifetime.starting(say_start), on_reload=serving.reload)

    def _prepare(self, err: TextIO, stack: contextlib.ExitStack) -> Callable[[str, int], StartupInfo]:
        """Check everything before a port is opened; returns a function that makes the values of the banner."""
        from ...access.htpasswd_file import users_in
        from ...memory import give_back
        from ...observability import logging_setup
        from ...observability.metrics import listening
        from ..banner import StartupInfo, elsewhere, warnings
        from ..progress import progress
        from ..serving import load_application

        config = self.config
        application = load_application(config)
        application.check()
        with progress("reading the packages", err) as tell:
            files, where = application.survey(progress=tell)
        storage_fault = application.storage_fault()
        damaged, unread = application.damaged(), application.unread()
        application.close()
        # Before workers are forked.
        give_back()
        users = len(users_in(config.htpasswd)) if config.htpasswd else None
        found = warnings(config, users)
        metrics_port = None
        if config.metrics_address is not None and application.metrics is not None:
            host, port = config.metrics_address
            metrics_port = stack.enter_context(listening(host, port, application.metric_families))
        return lambda server, port: StartupInfo(
            server,
            port,
            files,
            where,
            damaged,
            metrics_port,
            storage_fault,
            config_file=self.file and self.file.absolute(),
            log_conf=config.log_conf or logging_setup.found_conf(config),
            users=users,
            elsewhere=elsewhere(config, port),
            warnings=found,
            unread=unread,
        )


def _same(config: Config) -> Config:
    return config


COMMAND = Subcommand(
    "run",
    "Serve the folders; the same as no command.",
    Run,
    (ROOTS,),
    (*ALL_SETTINGS, *HELP),
    examples=(
        ("run -p 8080 ~/packages", "the same as without 'run'"),
        ("run --config /etc/pypiserver.toml", "with the settings of a file"),
    ),
)
