"""Logging: where lines go, and at which levels.

**Invariants:** every handler gets the filter that makes each record one clean line. Only the command line calls
``configure``; a program that uses the application sets up logging itself. The access log is in ``access_log``.
"""

from __future__ import annotations

import configparser
import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError
from ..native_names import absolute
from ..server.contract import SERVER
from ..settings.config import Config, default_of
from ..settings.discovered_files import objection
from ..terminal import has_color, is_terminal
from ..text import printable
from .clean_lines import CleanLines
from .log_handlers import FileLineHandler, JsonLines, LineHandler, ShortLines

ACCESS = "pypiserver.access"  # the logger of the access log; it has one line of level INFO for each request
_OURS = "pypiserver-log-"
_DEFAULT_CONF = Path("log.conf")
_LOG = logging.getLogger(__name__)
_warned: list[str] = []
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_CONF_FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    RuntimeError,
    SyntaxError,
    configparser.Error,
)


def configure(config: Config) -> None:
    """Send the log where the settings say; another call replaces what the previous one set up.

    Levels by ``-v``: warnings, then requests, then debugging, then the same for other libraries. A ``--log-conf`` file,
    or ``log.conf`` in the working directory, decides instead of the stream and the levels; ``log.conf`` only if no
    other user can have put it there. Raises ConfigError for a file that cannot be read, parsed or written.
    """
    root = logging.getLogger()
    conf = config.log_conf or found_conf(config)
    before = [each for each in root.handlers if (each.name or "").startswith(_OURS)]
    # Errors occur here, before anything is changed.
    handlers = list(_handlers(config, with_stream=conf is None))
    if conf is not None:
        _read_conf(conf)
    for old in before:
        root.removeHandler(old)
        old.close()
    if conf is None or config.verbosity:
        root.setLevel(logging.DEBUG if config.verbosity >= len(_LEVELS) else logging.WARNING)
        logging.getLogger("pypiserver").setLevel(_LEVELS[min(config.verbosity, len(_LEVELS) - 1)])
    for handler in handlers:
        handler.setFormatter(_formatter(config, handler))
        if isinstance(handler, LineHandler):
            handler.frmt, handler.is_json = config.log_frmt, config.log_format == "json"
            handler.is_terminal, handler.is_colored = _is_watched(config, handler), _has_color(handler)
        root.addHandler(handler)
    is_read = conf is not None or any(isinstance(each, LineHandler) for each in handlers)
    logging.getLogger(SERVER).setLevel(logging.INFO)
    logging.getLogger(ACCESS).setLevel(logging.INFO if config.access_log and is_read else logging.CRITICAL)
    for handler in _all_handlers():
        if not any(isinstance(each, CleanLines) for each in handler.filters):
            handler.addFilter(CleanLines())
    if config.log_conf is None:
        _warn_of_strange(config)


def _is_watched(config: Config, handler: logging.Handler) -> bool:
    """Whether lines go to a terminal, and no setting chose their format."""
    is_ours = config.log_format == "text" and config.log_frmt == default_of("log_frmt")
    return is_ours and type(handler) is LineHandler and (is_terminal(handler.stream) or has_color(handler.stream))


def _has_color(handler: logging.Handler) -> bool:
    return type(handler) is LineHandler and has_color(handler.stream)


def _formatter(config: Config, handler: logging.Handler) -> logging.Formatter:
    if config.log_format == "json":
        return JsonLines()
    if _is_watched(config, handler):
        return ShortLines(is_colored=_has_color(handler))
    return logging.Formatter(config.log_frmt)


def found_conf(config: Config) -> Path | None:
    """The absolute path of ``log.conf`` in the working directory, if it is read because no file is named."""
    if config.log_conf is not None or not _DEFAULT_CONF.is_file() or objection(_DEFAULT_CONF, config.roots):
        return None
    return absolute(_DEFAULT_CONF)


def _warn_of_strange(config: Config) -> None:
    """Warn once that a ``log.conf`` is not read; no error, because unlike other settings it affects the log only."""
    why = objection(_DEFAULT_CONF, config.roots) if _DEFAULT_CONF.is_file() else ""
    if why and not _warned:
        _warned.append(why)
        _LOG.warning(
            "log.conf in the working directory is not read, because %s; name it with --log-conf if it is meant.", why
        )


def check(config: Config) -> None:
    """Raise ConfigError for a ``--log-conf`` that cannot be read or parsed; sets up nothing."""
    conf = config.log_conf or found_conf(config)
    if conf is not None:
        _read_conf(conf, applies=False)


def _read_conf(path: Path, *, applies: bool = True) -> None:
    try:
        parser = configparser.ConfigParser()
        with path.open(encoding="utf-8") as stream:
            parser.read_file(stream, source=str(path))
        for section in ("loggers", "handlers", "formatters"):
            parser.get(section, "keys")
        if applies:
            logging.config.fileConfig(parser, disable_existing_loggers=False)
    except _CONF_FAULTS as fault:
        what = fault.strerror if isinstance(fault, OSError) and fault.strerror else f"{type(fault).__name__}: {fault}"
        raise ConfigError(
            f"The logging configuration {str(path)!r} cannot be used ({printable(what)}); "
            "correct it, or name another one with --log-conf.",
            kind="unusable",
            setting="log_conf",
            value=path,
        ) from fault


def _handlers(config: Config, *, with_stream: bool) -> Iterator[logging.Handler]:
    """The handlers that the settings ask for, with names by which a later call finds them."""
    if with_stream:
        stream = {"stdout": sys.stdout, "stderr": sys.stderr}.get(config.log_stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        # Without any handler, logging would write warnings to stderr.
        handler: logging.Handler = logging.NullHandler() if stream is None else LineHandler(stream)
        handler.set_name(_OURS + "stream")
        yield handler
    if config.log_file is not None:
        try:
            handler = FileLineHandler(config.log_file)
        except OSError as fault:
            raise ConfigError(
                f"The log file {str(config.log_file)!r} cannot be written ({fault.strerror}); "
                "name a file in a folder this user may write to with --log-file.",
                kind="unwritable",
                setting="log_file",
                value=config.log_file,
            ) from fault
        handler.set_name(_OURS + "file")
        yield handler


def line_handlers() -> list[LineHandler]:
    """The handlers that ``configure`` set up and that write somewhere."""
    return [each for each in logging.getLogger().handlers if isinstance(each, LineHandler)]


def _all_handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.Logger.manager.loggerDict)]
    return list(dict.fromkeys(handler for logger in loggers for handler in logger.handlers))
