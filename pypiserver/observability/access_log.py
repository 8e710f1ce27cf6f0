"""The access log: one line about each request, where the rest of the log goes.

``ADDRESS USER "METHOD PATH" STATUS BYTES MILLISECONDSms CLIENT "NOTE"``, the last two only if they say something:
``pip/26.3``, and the file of an upload, the reason of a refusal, or the target of a redirect. In JSON, the same values
by name; on a terminal, a short line in colors. The request's own thread only notes the values of its line. Lines are
written in batches without the machinery of ``logging``, which costs half as much as an answer; a ``--log-conf`` file,
or a program that uses the application, gets records of the logger ``pypiserver.access``.

**Invariants:** no value from outside can look like another field or like a separate line (values are percent-encoded,
quotes in a note are escaped); the query is left out, because it may contain tokens.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import quote

from .. import request_info
from ..bounded_cache import short_texts
from ..terminal import colored, uncolored
from .clean_lines import MARK_OF_TOKENS, clean, redacted
from .log_handlers import LineHandler
from .logging_setup import ACCESS, line_handlers
from .request_events import Environ, NoteAgain

_PRODUCT = re.compile(r"([A-Za-z][A-Za-z0-9._-]{0,30})/[0-9][A-Za-z0-9.+!_-]{0,30}")
_SAFE = "/:@!$&'()*+,;=~[]"
# Formatting a number takes as long as the rest of a line; these are the numbers of answers that take less than 100 ms.
_TENTHS = tuple(f"{number / 10:.1f}" for number in range(1000))


@dataclass(frozen=True)
class _Answered:
    """The values of a line except its times; many requests share them."""

    address: str
    user: str | None
    method: str
    path: str
    status: int
    sent: int
    client: str = ""
    note: str = ""
    token: str = ""

    @cached_property
    def text(self) -> str:
        address, who = word(self.address) or "-", self.who or "-"
        return f'{address} {who} "{word(self.method)} {shown_path(self.path)}" {self.status} {self.sent}'

    @property
    def who(self) -> str:
        """The user, and after a slash the id of the token."""
        return word(self.user or "", "utf-8") + (f"/{self.token}" if self.token else "")

    @cached_property
    def end(self) -> str:
        """The end of the line, after the time."""
        return (f" {self.client}" if self.client else "") + (f" {json.dumps(self.note)}" if self.note else "")

    @cached_property
    def short(self) -> tuple[str, str]:
        """What a terminal shows before and after the time that the request took."""
        who = " ".join(filter(None, (word(self.address), self.who)))
        color = _COLORS.get(self.status // 100, "red")
        said = colored(self.note, color) if self.status >= 400 else self.note
        shown = (who, self.client.replace("/", " "), said)
        return f"{word(self.method)} {shown_path(self.path)}  {colored(str(self.status), color)}", "  ".join(
            filter(None, shown)
        )

    @cached_property
    def json(self) -> str:
        asked = {"address": self.address, "user": self.user, "method": word(self.method), "path": shown_path(self.path)}
        answered: dict[str, object] = {"status": self.status, "bytes": self.sent}
        more = (("token", self.token), ("client", self.client), ("note", self.note))
        answered |= {name: value for name, value in more if value}
        return json.dumps({"level": "INFO", "logger": ACCESS, **asked, **answered})[1:-1]


# Most requests are alike, and a line in the cache takes 300 to 900 bytes; longer lines, which strangers can cause, are
# not kept.
_known = lru_cache(maxsize=2048)(_Answered)
_LONGEST_KNOWN = 250
_LONGEST_NOTE = 300
_COLORS = {1: "cyan", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}
# The maximum length of an address, a user or a path in a line, in characters.
_LONGEST = 2048
# When a request ended (nanoseconds since the epoch), how long it took (nanoseconds), and the other values of its line.
Note = tuple[int, int, _Answered]


def note_of(environ: Environ, took: int, sent: int) -> Note:
    """The values of the line about a request that ended now."""
    get = environ.get
    address, path = get(request_info.CLIENT) or get("REMOTE_ADDR", ""), get("SCRIPT_NAME", "") + get("PATH_INFO", "")
    user, method = get(request_info.USER), environ["REQUEST_METHOD"]
    principal = get(request_info.PRINCIPAL)
    token = "" if principal is None else principal.label
    client, note = release_of(get("HTTP_USER_AGENT", "")[:60]), get(request_info.NOTE, "")
    status = get(request_info.STATUS, 500)
    if len(address) + len(user or "") + len(method) + len(path) + len(note) <= _LONGEST_KNOWN:
        return (
            time.time_ns(),
            took,
            _known(address, user, method, path, status, sent, client, note and clean_note(note), token),
        )
    # Many of these wait together for a slow disk, so they are cut.
    long = (address[:_LONGEST], user and user[:_LONGEST], method[:_LONGEST], path[:_LONGEST])
    return time.time_ns(), took, _Answered(*long, status, sent, client, note and clean_note(note), token)


def note_again(environ: Environ, sent: int) -> NoteAgain:
    """What :func:`note_of` notes of this request each time its response is repeated."""
    clock, answered = time.time_ns, note_of(environ, 0, sent)[2]
    return lambda took: (clock(), took, answered)


class AccessLog:
    """Writes a line for each note to our own handlers, or a record to other handlers."""

    note = staticmethod(note_of)
    again = staticmethod(note_again)
    # Records of the log wait until the lines about earlier requests are written.
    writes_lines = True

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS)

    @staticmethod
    def is_wanted() -> bool:
        """Whether any handler gets the lines: the logger ``pypiserver.access`` has level INFO or lower."""
        return logging.getLogger(ACCESS).isEnabledFor(logging.INFO)

    def observe(self, notes: Sequence[Note]) -> None:
        """Write the lines of these notes, in the order of time."""
        notes = sorted(notes, key=_when)
        handlers = line_handlers()
        for handler in handlers:
            handler.write_lines(_lines_for(handler, notes))
        if any(handler not in handlers for handler in self._reached()):
            for line in text_lines(notes, "%(message)s"):
                # Our own handlers have written the line already.
                self._logger.info("%s", line, extra={"is_clean": True, "is_written": True})

    def close(self) -> None:
        """Do nothing: no line is held back."""

    def _reached(self) -> Iterator[logging.Handler]:
        """Every handler that a record of the access log reaches."""
        logger: logging.Logger | None = self._logger
        while logger is not None:
            yield from (each for each in logger.handlers if not isinstance(each, logging.NullHandler))
            logger = logger.parent if logger.propagate else None


def _when(note: Note) -> int:
    return note[0]


def _lines_for(handler: LineHandler, notes: Sequence[Note]) -> Iterator[str]:
    if handler.is_json:
        return json_lines(notes)
    if handler.is_terminal:
        return short_lines(notes) if handler.is_colored else map(uncolored, short_lines(notes))
    return text_lines(notes, handler.frmt)


def short_lines(notes: Iterable[Note]) -> Iterator[str]:
    """The lines of these notes for a terminal."""
    for when, took, answered in notes:
        begin, end = answered.short
        clock = time.strftime("%H:%M:%S", time.localtime(when // 1_000_000_000))
        yield f"{colored(clock, 'dim')}  {begin}  {took / 1e6:.1f} ms  {end}"


def text_lines(notes: Iterable[Note], frmt: str) -> Iterator[str]:
    """The lines of these notes in the format-string of a log."""
    last, filled = -1, ""
    around: list[str] = []
    for when, took, answered in notes:
        now = when // 1_000_000
        if now != last:
            if now // 1000 != last // 1000:
                filled = _filled(frmt, now // 1000)
            last, around = now, filled.replace("\0", f"{now % 1000:03d}").split("\1")
        tenths = (took + 50_000) // 100_000
        yield f"{answered.text} {_TENTHS[tenths] if tenths < 1000 else tenths / 10}ms{answered.end}".join(around)


def _filled(frmt: str, second: int) -> str:
    """The common part of all lines of a second, with placeholders for milliseconds and message."""
    asctime = time.strftime(logging.Formatter.default_time_format, time.localtime(second)) + ",\0"
    like = vars(logging.LogRecord(ACCESS, logging.INFO, "", 0, "", None, None))
    return frmt % {**like, "asctime": asctime, "message": "\1", "created": second, "msecs": 0}


def json_lines(notes: Iterable[Note]) -> Iterator[str]:
    """The lines of these notes as JSON."""
    last, utc = -1, ""
    for when, took, answered in notes:
        now = when // 1_000_000
        if now != last:
            last, utc = now, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000)) + f".{now % 1000:03d}Z"
        yield f'{{"time": "{utc}", {answered.json}, "milliseconds": {took / 1e6:.1f}}}'


@short_texts(entries=512, longest=_LONGEST_NOTE)
def clean_note(note: str) -> str:
    """The note as one line without secrets, cut to a maximum length."""
    return clean(note, _LONGEST_NOTE)


@short_texts(entries=1024, longest=200)
def release_of(agent: str) -> str:
    """The client that a User-Agent names, with its version (``pip/26.3``); empty for browsers and others."""
    match = _PRODUCT.match(agent)
    return "" if match is None or match[1] == "Mozilla" else match[0]


def shown_path(path: str) -> str:
    """The path, percent-encoded, without the secret of an API token in it."""
    encoded = word(path)
    return redacted(encoded) if MARK_OF_TOKENS in encoded else encoded


def word(text: str, encoding: str = "latin-1") -> str:
    """The text as one printable word of ASCII, percent-encoded like a path and cut to a maximum length.

    Servers pass on what clients send as bytes in Latin-1 (PEP 3333).
    """
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return quote(data[:2048], safe=_SAFE)
