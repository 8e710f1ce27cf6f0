"""``pypi-server``: parse the command line, set up logging, do it, and exit; the only place that exits.

Exit statuses: 0 done, 1 the answer is "no" (updates found, faults found), 2 a mistake or a failure, said in one
sentence on standard error.
"""

from __future__ import annotations

import atexit
import contextlib
import getpass
import io
import logging
import multiprocessing.util
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._version import __version__
from .cli import parser
from .errors import PypiServerError
from .settings.config import FIXED_AT_START, Config
from .text import printable

_LOG = logging.getLogger("pypiserver.main")
# Those made in this process, as long as anybody has them.
_APPLICATIONS: weakref.WeakSet[Any] = weakref.WeakSet()
_SERVER = logging.getLogger("pypiserver.server")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pypi-server`` with these arguments (default: those of the process) and give its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _open_closed_streams()
    _let_odd_names_pass()
    try:
        command = parser.parse(arguments, os.environ)
        return _DO[type(command)](command)
    except PypiServerError as error:
        sys.stderr.write(f"pypi-server: {error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # What was named on the way here is a file, whatever went wrong with it.
        named = f" ({printable(os.fsdecode(error.filename))})" if isinstance(error.filename, str | bytes) else ""
        sys.stderr.write(f"pypi-server: This cannot be done: {error.strerror or error}{named}.\n")
        return 2


def _let_odd_names_pass() -> None:
    """Paths may have bytes that are no text, which must not stop who wants to say something about them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            # As they are, for the next program; where that encoding has no such characters at all, as escapes.
            stream.reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "backslashreplace")


def _open_closed_streams() -> None:
    """Let what was closed before the start (``>&-``) be read and written like nothing, and no file get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def load_application(config: Config, argv: Sequence[str] | None = None, again: bool = False) -> Any:
    """The application for one worker process.

    ``argv`` are the arguments that ``config`` was read from: they, the environment and the file are read again. When
    they cannot be used now, a new worker takes ``config``, and a reload (``again``) raises ConfigError.
    """
    from .factory import Application
    from .observability import logging_setup

    if argv is not None:
        try:
            config = _usable(_reread(config, argv))
        except PypiServerError as error:
            if again:
                raise
            _LOG.error("A worker starts with the settings of before: %s", error)
    logging_setup.configure(config)
    application = Application(config)
    # What is not yet written is written when the process ends; multiprocessing, as granian uses it, has its own end.
    # A worker may have had many applications by then.
    _APPLICATIONS.add(application)
    known = weakref.ref(application)
    atexit.register(_close, known)
    multiprocessing.util.Finalize(None, _close, (known,), exitpriority=1)
    return application


class Serving:
    """Makes applications at work: they read what is new in the folders without waiting for the first request.

    It is handed to workers, also to those that are spawned. The process that starts them keeps it current.
    """

    def __init__(self, config: Config, argv: Sequence[str]) -> None:
        self._config = config
        self._argv = argv

    def __call__(self, again: bool = False) -> Any:
        """The application of the worker that calls."""
        application = load_application(self._config, self._argv, again)
        application.start()
        return application

    def reload(self) -> None:
        """Remember the settings of now for workers to come, and log where they say; none that cannot be used."""
        from .observability import logging_setup

        with contextlib.suppress(PypiServerError):  # every worker says why
            config = _usable(_reread(self._config, self._argv, say=False))
            logging_setup.configure(config)
            self._config = config


def _usable(config: Config) -> Config:
    """These settings; raises ConfigError when no application can be made of them."""
    from .factory import Application

    Application(config).check()
    return config


def _close(known: Callable[[], Any]) -> None:
    application = known()
    if application is not None:
        application.close()


def _close_all() -> None:
    """Close what this process made, while there still is what that writes to."""
    for application in list(_APPLICATIONS):
        application.close()


def _reread(config: Config, argv: Sequence[str], *, say: bool = True) -> Config:
    """The settings as they are now, but those that a running server cannot change; raises ConfigError."""
    command = parser.parse(argv, os.environ)
    if not isinstance(command, parser.Run):
        return config
    now = command.config
    parser.prepare_roots(now)
    fixed = [name for name in FIXED_AT_START if getattr(now, name) != getattr(config, name)]
    if fixed and say:
        _LOG.warning("Changing %s needs a restart; everything else was read again.", ", ".join(fixed))
    return replace(now, **{name: getattr(config, name) for name in FIXED_AT_START})


def _run(command: parser.Run) -> int:
    from .observability import logging_setup, metrics
    from .server import process_signals, run
    from .server.pid_file import pid_file

    config = command.config
    run.prepare(config.server)
    parser.prepare_roots(config)
    logging_setup.configure(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(process_signals.ended_by_sigterm())
        stack.enter_context(pid_file(config.pid_file))
        if config.counts_metrics:
            # Before anybody imports prometheus_client, and inherited by every worker.
            os.environ[metrics.FOLDER] = stack.enter_context(tempfile.TemporaryDirectory(prefix="pypiserver-metrics-"))
            stack.callback(os.environ.pop, metrics.FOLDER)
            # Ending writes what is not yet counted.
            stack.callback(_close_all)
        _serve(command, stack)
    return 0


def _serve(command: parser.Run, stack: contextlib.ExitStack) -> None:
    from .cli.banner import Facts, render
    from .cli.progress import progress
    from .memory import give_back
    from .observability import logging_setup
    from .observability.metrics import listening
    from .server import contract, run

    config = command.config
    application = load_application(config)
    application.check()
    with progress("reading the packages", sys.stderr) as tell:
        files, where = application.survey(progress=tell)
    storage_fault = application.storage_fault()
    damaged = application.damaged()
    application.close()
    # Before workers are forked from it.
    give_back()
    metrics_port = None
    if config.metrics_address is not None and application.metrics is not None:
        host, port = config.metrics_address
        metrics_port = stack.enter_context(listening(host, port, application.metric_families))
    options = contract.Options(
        server=config.server,
        host=config.host,
        port=config.port,
        workers=config.workers,
        threads=config.threads,
        certificate=config.certificate,
        key=config.key,
        max_upload_size=config.max_upload_size,
        connections=config.max_connections,
        header_bytes=config.max_header_size,
        stall_seconds=config.stall_timeout,
        drain_seconds=config.drain_seconds,
        tells_names_apart=config.believes_address,
    )
    serving = Serving(config, command.argv)

    def ready(server: str, port: int) -> None:
        has_served.set()
        facts = Facts(
            server, port, files, where, damaged, metrics_port, storage_fault,
            config_file=command.file and command.file.absolute(),
            log_conf=config.log_conf or logging_setup.found_conf(config),
        )  # fmt: skip
        _say(render(config, facts))
        address, listens = facts.url(config), facts.listens_on(config)
        address += f", and listens on {listens}" if listens else ""
        _SERVER.info("pypiserver %s is serving at %s (%s, process %d).", __version__, address, server, pid)

    pid, has_served = os.getpid(), threading.Event()

    def end() -> None:
        # A worker that was forked from the process that serves passes here too.
        if has_served.is_set() and os.getpid() == pid:
            _SERVER.info("pypiserver has ended.")

    stack.callback(end)
    run.run(serving, options, on_ready=ready, on_reload=serving.reload)


def _say(text: str) -> None:
    # A closed or full standard output is no reason not to serve.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _update(command: parser.Update) -> int:
    from .cli.manage_folder import update
    from .observability import logging_setup

    parser.prepare_roots(command.config)
    logging_setup.configure(command.config)
    return update(command, out=sys.stdout, err=sys.stderr)


def _manage(command: Any) -> int:
    from .cli import manage_folder

    if isinstance(command, parser.Check | parser.Reindex | parser.Collect | parser.Copy):
        from .observability import logging_setup

        if isinstance(command, parser.Check):
            parser.prepare_roots(command.config)
        logging_setup.configure(command.config)
    return manage_folder.run(command, out=sys.stdout, err=sys.stderr)


def _passwd(command: parser.Passwd) -> int:
    from .access.htpasswd_file import set_password
    from .cli import output

    try:
        password = _asked_password(command.user)
    except (EOFError, KeyboardInterrupt) as end:
        # The cursor is behind the question.
        sys.stderr.write("\npypi-server: No password was given; nothing was changed.\n")
        return 130 if isinstance(end, KeyboardInterrupt) else 2
    except UnicodeDecodeError as error:
        raise PypiServerError(f"The password cannot be read as {error.encoding}; nothing was changed.") from error
    created = set_password(command.file, command.user, password)
    if command.json:
        output.write_json({"file": str(command.file), "user": command.user, "added": created}, sys.stdout)
        return 0
    _say(f"{'Added' if created else 'Changed'} the password of {command.user} in {command.file}.\n")
    return 0


def _asked_password(user: str) -> str:
    """The password, asked for twice on a terminal, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {user}: ")
    if getpass.getpass("The same again: ") != password:
        raise PypiServerError("The two passwords differ; nothing was changed.")
    return password


def _config(command: parser.Configuration) -> int:
    from .cli import show_config

    return show_config.run(command, out=sys.stdout, err=sys.stderr)


def _recipe(command: parser.Recipe) -> int:
    from .cli.deploy_files import render

    _say(render(command.kind, command.config, command.given))
    return 0


def _completion(command: parser.Completion) -> int:
    from .cli.completion import completion_script

    _say(completion_script(command.shell))
    return 0


def _help(command: parser.Help) -> int:
    _say(command.text)
    return 0


def _version(command: parser.Version) -> int:
    _say(f"pypi-server {__version__}\n")
    return 0


_DO: dict[type, Callable[[Any], int]] = {
    parser.Run: _run,
    parser.Update: _update,
    parser.Passwd: _passwd,
    parser.Completion: _completion,
    parser.Configuration: _config,
    parser.Recipe: _recipe,
    parser.Help: _help,
    parser.Version: _version,
    parser.Yank: _manage,
    parser.Unyank: _manage,
    parser.Delete: _manage,
    parser.Restore: _manage,
    parser.Check: _manage,
    parser.Stats: _manage,
    parser.Reindex: _manage,
    parser.Collect: _manage,
    parser.Copy: _manage,
}

if __name__ == "__main__":
    sys.exit(main())
