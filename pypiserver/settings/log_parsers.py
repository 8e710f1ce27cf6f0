"""Parsers of settings about the log: its stream and the formats of its lines.

**Invariants:** those of :mod:`parsers`; a format that is accepted formats a record without an error.
"""

from __future__ import annotations

import logging
import sys

from .parsers import one_of, text

LOG_STREAMS = ("stderr", "stdout", "none")


def log_stream(value: object) -> str:
    """One word of ``LOG_STREAMS``; from Python also ``sys.stdout`` or ``sys.stderr`` itself."""
    if hasattr(value, "write"):
        found = [name for name in ("stdout", "stderr") if value in (getattr(sys, name), getattr(sys, f"__{name}__"))]
        if not found:
            choices = ", ".join(LOG_STREAMS)
            raise ValueError(f"only the streams sys.stdout and sys.stderr are allowed; give one of {choices}")
        return found[0]
    return str(one_of(LOG_STREAMS, "log stream")(value))


class _AnyField(dict[str, object]):
    """A request, response or error for trying out a format string."""

    def __missing__(self, key: str) -> object:
        return 200 if key == "status_code" else ""


def line_format(value: object) -> str:
    """A ``%(name)s`` format string for lines about requests; an empty one writes no line."""
    try:
        text(value) % _AnyField()
    except (ValueError, TypeError, KeyError) as fault:
        raise ValueError(f"{value!r} is not a format string ({fault}); give %(name)s fields, or '%s' alone") from None
    return text(value)


def record_format(value: object) -> str:
    """A format string over the fields of ``logging.LogRecord``."""
    try:
        record = logging.LogRecord("pypiserver", logging.INFO, "", 0, "", None, None)
        logging.Formatter(text(value)).format(record)
    except (ValueError, TypeError, KeyError) as fault:
        known = "give fields of logging.LogRecord such as %(message)s"
        raise ValueError(f"{value!r} is not a format string for log records ({fault}); {known}") from None
    return text(value)
