"""Our log handlers: they take records like any other handler, and batches of ready lines; and the formatters of lines.

**Invariants:** a file that was moved is reopened; a log that cannot be written does not stop the server.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from ..terminal import colored, uncolored

# Follows a rotated file; Windows cannot move an open file, and has no inodes to compare.
_FileHandler = logging.FileHandler if os.name == "nt" else logging.handlers.WatchedFileHandler


# Each writes the lines that ended before now and wait for their batch, so that lines are in the order of time.
EARLIER: list[Callable[[], object]] = []


# Without its type argument, because Python 3.10 cannot subscript it.
class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to a stream; ``frmt`` is the format-string of a line, ``is_json`` says that lines are JSON instead.

    ``is_terminal`` says that a user reads the lines: they are short; ``is_colored`` says that they are in colors.
    """

    frmt = "%(message)s"
    is_json = False
    is_terminal = False
    is_colored = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, unless ``write_lines`` wrote its line, or the user of the terminal has read the same."""
        is_known = getattr(record, "is_written", False) or (self.is_terminal and getattr(record, "is_shown", False))
        if is_known:
            return False
        for write_waiting in list(EARLIER):
            write_waiting()
        return bool(super().handle(record))

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write these lines at once; they must be clean."""
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            self.ready_stream().write(self.terminator.join((*lines, "")))
            self.flush()

    def ready_stream(self) -> TextIO:
        """The stream to write to."""
        stream: TextIO = self.stream
        return stream


class FileLineHandler(LineHandler, _FileHandler):  # type: ignore[misc, valid-type]
    """Appends to a file, which is reopened after it was moved."""

    def __init__(self, path: Path) -> None:
        _FileHandler.__init__(self, path, encoding="utf-8", errors="backslashreplace")

    def ready_stream(self) -> TextIO:
        """The file of that name, reopened if it is closed or no longer the same file."""
        if isinstance(self, logging.handlers.WatchedFileHandler):
            self.reopenIfNeeded()
        if self.stream is None:
            self.stream = self._open()
        stream: TextIO = self.stream
        return stream


class ShortLines(logging.Formatter):
    """A record for a terminal: the time of day, the level in color if it is a problem, and the message."""

    def __init__(self, *, is_colored: bool) -> None:
        super().__init__()
        self._is_colored = is_colored

    def format(self, record: logging.LogRecord) -> str:
        """The lines of the record."""
        clock = self.formatTime(record, "%H:%M:%S")
        color = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
        level = colored(f"{record.levelname.lower()}:", color) + " " if color else ""
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        text = f"{colored(clock, 'dim')}  {level}{record.getMessage()}" + (f"\n{trace}" if trace else "")
        return text if self._is_colored else uncolored(text)


class JsonLines(logging.Formatter):
    """One JSON object for each record, in ASCII: time (UTC), level, logger, message, its ``data``, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of the record."""
        values = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        values |= getattr(record, "data", {})
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if trace:
            values["traceback"] = trace
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        return json.dumps({"time": time.replace("+00:00", "Z"), **values})
