"""Our own log handlers: they take records like any other, and ready lines many at once; and lines in JSON.

The rules to keep: a file is opened anew when it was moved away; a log that cannot be written is no reason not to
serve.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

# Follows a rotated file; Windows cannot move an open file, and has no inodes to compare.
_FileHandler = logging.FileHandler if os.name == "nt" else logging.handlers.WatchedFileHandler


# Without its argument, as it cannot be subscripted before Python 3.11.
class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to a stream; ``frmt`` is the format-string of a line, ``is_json`` says that lines are JSON instead."""

    frmt = "%(message)s"
    is_json = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, unless its line came by ``write_lines``."""
        return False if getattr(record, "is_written", False) else bool(super().handle(record))

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
    """Appends to a file, which is opened anew when it was moved away."""

    def __init__(self, path: Path) -> None:
        _FileHandler.__init__(self, path, encoding="utf-8", errors="backslashreplace")

    def ready_stream(self) -> TextIO:
        """The file of that name, opened when it is not open, or no longer the one that was opened."""
        if isinstance(self, logging.handlers.WatchedFileHandler):
            self.reopenIfNeeded()
        if self.stream is None:
            self.stream = self._open()
        stream: TextIO = self.stream
        return stream


class JsonLines(logging.Formatter):
    """One JSON object for each record, in ASCII: time (UTC), level, logger, message, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of the record."""
        values = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if trace:
            values["traceback"] = trace
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        return json.dumps({"time": time.replace("+00:00", "Z"), **values})
