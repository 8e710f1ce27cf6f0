"""The settings of what is recorded: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import log_parsers, parsers, path_parsers
from .setting import setting

LOG_FORMATS = ("text", "json")

row = partial(setting, group="Logging")


@dataclass(frozen=True)
class LoggingSettings:
    """The log and its formats, the records of requests, changes and downloads."""

    verbosity: int = row(
        0, parse=parsers.whole_number(0), flags=("-v", "--verbose"), action="count",
        default_text="warnings, and a line for each request", aliases=("verbose",),
        help="Log more: -v what the server does, -vv debug messages, -vvv those of other libraries too.",
    )
    log_conf: Path | None = row(
        None, parse=path_parsers.path, flags=("--log-conf",), metavar="FILE",
        default_text="log.conf in the working directory, if no other user can have put it there",
        help="Configure logging from this file, in the format of Python's logging.config.fileConfig.",
    )
    log_file: Path | None = row(
        None, parse=path_parsers.path, flags=("--log-file",), metavar="FILE",
        help="Write the log to this file too.",
    )
    log_stream: str = row(
        "stderr", parse=log_parsers.log_stream, flags=("--log-stream",), metavar="STREAM",
        choices=log_parsers.LOG_STREAMS, help="Write the log to stdout, stderr or none.",
    )
    log_format: str = row(
        "text", parse=parsers.one_of(LOG_FORMATS, "log format"), flags=("--log-format",), metavar="FORMAT",
        choices=LOG_FORMATS, help="Write log lines as text, formatted by --log-frmt, or as JSON.",
    )
    access_log: bool = row(
        True, parse=parsers.boolean, flags=("--access-log",), metavar="on|off", default_text="on",
        help="Log a line for each request: address, user, method and path, status, bytes, milliseconds.",
    )
    audit_log: Path | None = row(
        None, parse=path_parsers.path, flags=("--audit-log",), metavar="FILE",
        help="Append a JSON line to this file for every upload, delete, yank and unyank; changes are refused while "
        "the file cannot be written.",
    )
    stats: Path | None = row(
        None, parse=path_parsers.path, flags=("--stats",), metavar="FILE",
        help="Count downloads per day, project, version and client in this file; records no user and no address.",
    )
    log_frmt: str = row(
        "%(asctime)s|%(name)s|%(levelname)s|%(thread)d|%(message)s",
        parse=log_parsers.record_format, flags=("--log-frmt",), metavar="FORMAT",
        help="Format string of log lines (fields of logging.LogRecord).",
    )
    log_req_frmt: str = row(
        "%(bottle.request)s", parse=log_parsers.line_format, flags=("--log-req-frmt",), metavar="FORMAT",
        help="Format string of the line for a request; '%s' shows every property.",
    )
    log_res_frmt: str = row(
        "%(status)s", parse=log_parsers.line_format, flags=("--log-res-frmt",), metavar="FORMAT",
        help="Format string of the line for a response; '%s' shows every property.",
    )
    log_err_frmt: str = row(
        "%(body)s: %(exception)s \n%(traceback)s", parse=log_parsers.line_format, flags=("--log-err-frmt",),
        metavar="FORMAT", help="Format string of the line for an error; '%s' shows every property.",
    )
