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
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import quote

from .log import ACCESS, line_handlers
from .observed import Exchange

_SAFE = "/:@!$&'()*+,;=~[]"
# To format a number takes as long as all the rest of a line.
_MSECS = tuple(f"{number:03d}" for number in range(1000))


class AccessLog:
    """Writes a line for each exchange to the log's own handlers, or hands a record to others' handlers."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS)

    @staticmethod
    def is_wanted() -> bool:
        """Whether anybody would see the lines: the logger ``pypiserver.access`` at level INFO."""
        return logging.getLogger(ACCESS).isEnabledFor(logging.INFO)

    def observe(self, exchanges: Sequence[Exchange]) -> None:
        """Write their lines."""
        handlers = line_handlers()
        for handler in handlers:
            handler.write_lines(json_lines(exchanges) if handler.is_json else text_lines(exchanges, handler.frmt))
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

    def _record(self, exchange: Exchange) -> None:
        # Our own handlers have the line already.
        known = {"is_clean": True, "is_written": True}
        self._logger.info("%s", line(exchange), extra=known)


def line(exchange: Exchange) -> str:
    """The line about an exchange, without the time."""
    _, seconds, method, path, status, sent, address, user = exchange[:8]
    return f"{_answered(address, user, method, path, status, sent)} {seconds * 1000:.1f}ms"


def text_lines(exchanges: Iterable[Exchange], frmt: str) -> Iterator[str]:
    """Their lines in the format-string of a log."""
    last, template = -1, ""
    for exchange in exchanges:
        when = exchange.when
        second = int(when)
        if second != last:
            last, template = second, _filled(frmt, second)
        yield template.replace("\0", _MSECS[int((when - second) * 1000)]).replace("\1", line(exchange))


def _filled(frmt: str, second: int) -> str:
    """What all lines of a second have in common, with marks for milliseconds and message."""
    asctime = time.strftime(logging.Formatter.default_time_format, time.localtime(second)) + ",\0"
    like = vars(logging.LogRecord(ACCESS, logging.INFO, "", 0, "", None, None))
    return frmt % {**like, "asctime": asctime, "message": "\1", "created": second, "msecs": 0}


def json_lines(exchanges: Iterable[Exchange]) -> Iterator[str]:
    """Their lines as JSON."""
    last, utc = -1, ""
    for exchange in exchanges:
        second = int(exchange.when)
        if second != last:
            last, utc = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{utc}.{_MSECS[int((exchange.when - second) * 1000)]}Z"
        asked = _asked_json(exchange.address, exchange.user, exchange.method, exchange.path)
        answered = f'"status": {exchange.status}, "bytes": {exchange.sent}'
        yield f'{{"time": "{stamp}", {asked}, {answered}, "milliseconds": {exchange.seconds * 1000:.1f}}}'


@lru_cache(maxsize=4096)
def _answered(address: str, user: str | None, method: str, path: str, status: int, sent: int) -> str:
    asked = f'{word(address) or "-"} {word(user or "", "utf-8") or "-"} "{word(method)} {word(path)}"'
    return f"{asked} {status} {sent}"


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
