"""The access log: one line about each request, where the rest of the log goes.

``ADDRESS USER "METHOD PATH" STATUS BYTES MILLISECONDSms``, or the same values by name in JSON. The rules to keep: no
value from outside can look like another field, or like a line of its own (all of them are percent-encoded); the query
is left out, because tokens travel there. Lines are written many at once, past the machinery of ``logging``, which
costs as much as half an answer; a ``--log-conf`` file, or a program that uses the application, gets records of the
logger ``pypiserver.access``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import quote

from .log import ACCESS, line_handlers
from .observed import Exchange

_SAFE = "/:@!$&'()*+,;=~[]"


class AccessLog:
    """Writes a line for each exchange to the log's own handlers, or hands a record to others' handlers."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS)
        self._template = ("", 0, "")
        self._utc = (0, "")

    @staticmethod
    def is_wanted() -> bool:
        """Whether anybody would see the lines: the logger ``pypiserver.access`` at level INFO."""
        return logging.getLogger(ACCESS).isEnabledFor(logging.INFO)

    def observe(self, exchanges: Sequence[Exchange]) -> None:
        """Write their lines."""
        handlers = line_handlers()
        for handler in handlers:
            if handler.is_json:
                handler.write_lines(map(self._json, exchanges))
            else:
                handler.write_lines(self._text(handler.frmt, each) for each in exchanges)
        if any(handler not in handlers for handler in self._reached()):
            for each in exchanges:
                self._record(each)

    def close(self) -> None:
        """Nothing is held back."""

    def _reached(self) -> Iterator[logging.Handler]:
        """Every handler a record of ours gets to."""
        logger: logging.Logger | None = self._logger
        while logger is not None:
            yield from (each for each in logger.handlers if not isinstance(each, logging.NullHandler))
            logger = logger.parent if logger.propagate else None

    def _text(self, frmt: str, exchange: Exchange) -> str:
        second = int(exchange.when)
        if self._template[:2] != (frmt, second):
            self._template = (frmt, second, self._filled(frmt, second))
        msecs = f"{int((exchange.when - second) * 1000):03d}"
        return self._template[2].replace("\0", msecs).replace("\1", line(exchange))

    def _filled(self, frmt: str, second: int) -> str:
        """What all lines of a second have in common, with marks for milliseconds and message."""
        asctime = time.strftime(logging.Formatter.default_time_format, time.localtime(second)) + ",\0"
        like = vars(logging.LogRecord(ACCESS, logging.INFO, "", 0, "", None, None))
        return frmt % {**like, "asctime": asctime, "message": "\1", "created": second, "msecs": 0}

    def _json(self, exchange: Exchange) -> str:
        second = int(exchange.when)
        if self._utc[0] != second:
            self._utc = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        stamp = f"{self._utc[1]}.{int((exchange.when - second) * 1000):03d}Z"
        asked = _asked_json(exchange.address, exchange.user, exchange.method, exchange.path)
        answered = f'"status": {exchange.status}, "bytes": {exchange.sent}'
        return f'{{"time": "{stamp}", {asked}, {answered}, "milliseconds": {exchange.seconds * 1000:.1f}}}'

    def _record(self, exchange: Exchange) -> None:
        # Our own handlers have the line already.
        known = {"is_clean": True, "is_written": True}
        self._logger.info("%s", line(exchange), extra=known)


def line(exchange: Exchange) -> str:
    """The line about an exchange, without the time."""
    asked = _asked(exchange.address, exchange.user, exchange.method, exchange.path)
    return f"{asked} {exchange.status} {exchange.sent} {exchange.seconds * 1000:.1f}ms"


@lru_cache(maxsize=4096)
def _asked(address: str, user: str | None, method: str, path: str) -> str:
    return f'{word(address) or "-"} {word(user or "", "utf-8") or "-"} "{word(method)} {word(path)}"'


@lru_cache(maxsize=4096)
def _asked_json(address: str, user: str | None, method: str, path: str) -> str:
    like = {"level": "INFO", "logger": ACCESS, "address": address, "user": user}
    return json.dumps({**like, "method": word(method), "path": word(path)})[1:-1]


def word(text: str, encoding: str = "latin-1") -> str:
    """The text as one printable word of ASCII, percent-encoded like a path, and not endless.

    Servers hand over what clients send as bytes in latin-1 (PEP 3333).
    """
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return quote(data[:2048], safe=_SAFE)
