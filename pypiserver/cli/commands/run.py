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
    from ..banner import StartupInfo

_LOG = logging.getLogger("pypiserver.server")


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
        pid, has_served = os.getpid(), threading.Event()

        def ready(server: str, port: int) -> None:
            has_served.set()
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
                shown["data"] = {"event": "start", "version": __version__, "pid": pid, **as_data(config, now)}
            _LOG.info(message, __version__, address, server, pid, extra=shown)

        def end() -> None:
            # A worker that was forked from the serving process runs this too.
            if has_served.is_set() and os.getpid() == pid:
                data = {"event": "end", "version": __version__, "pid": pid}
                _LOG.info("pypiserver has ended.", extra={"data": data})

        stack.callback(end)
        serving = Serving(config, self.reread or functools.partial(_same, config))
        run.run(serving, server_options(config), on_ready=ready, on_reload=serving.reload)

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
