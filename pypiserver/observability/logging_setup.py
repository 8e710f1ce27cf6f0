"""Logging: where lines go, and the format of the lines about a request, its response and its error.

**Invariants:** a value from outside never starts a separate line (control characters are escaped, tracebacks are
indented), and no password, token or cookie is written, whatever the format asks for. Only the command line calls
``configure``; a program that uses the application sets up logging itself. While lines about requests are off, ``wrap``
costs nothing: it returns the application itself. The access log is in ``access_log``.
"""

from __future__ import annotations

import configparser
import io
import logging
import logging.config
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import ConfigError
from ..request_info import EXCEPTION
from ..server.contract import SERVER
from ..server.expect_continue import ASKED
from ..settings.config import Config, default_of
from ..settings.discovered_files import objection
from ..terminal import has_color, is_terminal
from ..text import cut, printable
from .log_handlers import FileLineHandler, JsonLines, LineHandler, ShortLines

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

REQUESTS = "pypiserver.requests"  # the logger of the lines about requests; they have level INFO
ACCESS = "pypiserver.access"  # the logger of the access log; it has one line of level INFO for each request
LONGEST_VALUE = 4096  # characters of a header, a path or another part of a request
LONGEST_LINE = 2048  # characters of a line; the data of a package or a request may have megabytes
LONGEST_TRACEBACK = 64 * 1024
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
_SECRET_NAME = re.compile(r"AUTH(?!ENTICATE|_TYPE)|COOKIE|TOKEN|PASSW|SECRET|API_?KEY|CREDENTIAL", re.IGNORECASE)
# Each is linear in the length of the text: repetitions are bounded, or cannot start within their own match.
_SECRETS = (
    (re.compile(r"(?<=//)[^/@\s]+@"), "***@"),
    (re.compile(r"((?:token|passw|secret)[\w-]{0,40}(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    # For the signed addresses of a bucket, at which any client gets the file: S3, GCS and Azure, also quoted once more.
    (re.compile(r"((?:signature|credential|accesskeyid|accessid)(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"((?:[?&;]|%26|%3F)sig(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b((?i:Basic|Bearer))\s{1,9}(?=\S{0,99}[A-Z0-9=+])[\w+/=.~-]{8,}"), r"\1 ***"),
)
_ADDRESSES = ("location", "content-location", "x-store-url", "x-accel-redirect", "x-sendfile")
# Some servers add the environment of the process to that of the request; '%s' shows only the request's variables.
_OF_REQUEST = re.compile(
    r"(HTTP|REQUEST|SERVER|REMOTE|CONTENT)_[A-Z0-9_]+|SCRIPT_NAME|PATH_INFO|QUERY_STRING|wsgi\.url_scheme"
)


def redacted(text: str) -> str:
    """The text without the passwords and tokens that are recognizable by their form."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def clean(text: str, longest: int = LONGEST_LINE) -> str:
    """One line of at most ``longest`` characters without secrets; unprintable characters are escaped."""
    # The text that marks a secret may follow it, beyond the end of the line.
    text = text[: 4 * longest]
    # Twice: an unprintable character inside a secret may separate it from the text that marks it as one.
    return cut(redacted(printable(redacted(text))), longest)


class CleanLines(logging.Filter):
    """Makes each record one clean line, and indents the lines of its traceback, so none can be forged.

    It is a filter of handlers and runs before any formatter, also one from ``--log-conf``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; every record passes."""
        # Lines about requests are already clean, and may contain the line ends of the format itself.
        if not getattr(record, "is_clean", False):
            record.msg, record.args, record.is_clean = clean(record.getMessage()), None, True
            if record.exc_info and not record.exc_text:
                lines = logging.Formatter().formatException(record.exc_info)[-LONGEST_TRACEBACK:].split("\n")
                record.exc_text = "\n".join("    " + clean(line) for line in lines)
            if record.stack_info:
                record.stack_info = "\n".join("    " + clean(line) for line in record.stack_info.split("\n"))
        return True


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
    return Path(os.path.abspath(_DEFAULT_CONF))  # noqa: PTH100 - resolve() would follow links


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


class Fields(Mapping[str, object]):
    """The fields that a format-string can select: its own, then those of the request's environ; unknown ones are empty.

    Every text comes out clean. ``str()`` shows all fields, for the format ``%s``.
    """

    def __init__(self, environ: Environ, own: Mapping[str, object]) -> None:
        self._environ = environ
        self._own = own

    def __getitem__(self, key: str) -> object:
        value = self._own.get(key, self._environ.get(key, ""))
        if value and _SECRET_NAME.search(key):
            return "***"
        return value if isinstance(value, int) else clean(str(value), LONGEST_VALUE)

    def __iter__(self) -> Iterator[str]:
        """Its own fields, then the variables that describe the request (PEP 3333)."""
        yield from self._own
        yield from sorted(key for key in self._environ if _OF_REQUEST.fullmatch(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __str__(self) -> str:
        return "{" + ", ".join(f"{clean(key)!r}: {self[key]!r}" for key in self) + "}"

    __repr__ = __str__


def request_fields(environ: Environ) -> Fields:
    """The fields of a request, by the names of its environ; ``bottle.request`` is its method and URL."""
    server = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    path = quote((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace"))
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    url = f"{environ.get('wsgi.url_scheme', 'http')}://{environ.get('HTTP_HOST') or server}{path}{query}"
    return Fields(environ, {"bottle.request": f"<LocalRequest: {environ.get('REQUEST_METHOD', 'GET')} {url}>"})


def response_fields(environ: Environ, status: str, headers: Iterable[tuple[str, str]]) -> Fields:
    """The fields of a response: ``status``, ``status_code``, ``headers``, each header (``content_type``)."""
    return Fields(environ, _response(status, headers))


def error_fields(environ: Environ, response: tuple[str, Iterable[tuple[str, str]]], body: object) -> Fields:
    """The fields of an error response: also its ``body``, ``exception`` and ``traceback``."""
    fault = environ.get(EXCEPTION)
    trace = "".join(traceback.format_exception(fault)) if isinstance(fault, BaseException) else ""
    words = b"".join(body).decode("utf-8", "replace") if isinstance(body, list | tuple) else ""
    shown = repr(fault) if isinstance(fault, BaseException) else ""
    own = {"body": words.strip(), "exception": shown, "traceback": trace.rstrip("\n")}
    return Fields(environ, {**_response(*response), **own})


def _response(status: str, headers: Iterable[tuple[str, str]]) -> dict[str, object]:
    listed = [(name, _shown(name, value)) for name, value in headers]
    code = int(status[:3]) if re.match(r"[0-9]{3}", status) else 0
    own: dict[str, object] = {name.lower().replace("-", "_"): value for name, value in listed}
    return {**own, "status": status, "status_line": status, "status_code": code, "headers": listed}


def _shown(name: str, value: str) -> str:
    """The value of a response's header; an address loses its query, which may authorize a download."""
    if _SECRET_NAME.search(name):
        return "***"
    address, mark, _ = value.partition("?")
    return f"{address}?***" if mark and name.lower() in _ADDRESSES else value


def wrap(application: Application, *, request_format: str, response_format: str, error_format: str) -> Application:
    """The application with a line for each request, response and error; the application itself if no line is wanted.

    An empty format leaves its line out. Whether lines are wanted is decided once, here: the level of the logger
    ``pypiserver.requests`` is INFO or lower.
    """
    logger = logging.getLogger(REQUESTS)
    if not logger.isEnabledFor(logging.INFO) or not (request_format or response_format or error_format):
        return application

    def write(form: str, fields: Fields) -> None:
        if form:
            logger.info("%s", (form % fields).rstrip(), extra={"is_clean": True})

    def logged(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get(ASKED):
            write(request_format, request_fields(environ))
        last: tuple[str, Iterable[tuple[str, str]]] = ("", ())

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal last
            last = (status, headers)
            write(response_format, response_fields(environ, status, headers))
            return start_response(status, headers, *exc_info)

        try:
            body = application(environ, start)
        except Exception as fault:
            environ[EXCEPTION] = fault
            write(error_format, error_fields(environ, last, ()))
            raise
        if last[0][:1] in {"4", "5"}:
            write(error_format, error_fields(environ, last, body))
        return body

    return logged
