"""multipart/form-data (RFC 7578), parsed while it arrives.

**Invariants:** time is linear in the body, and memory is bounded whatever arrives; files go straight to their sinks;
bodies of old clients parse (bare line feeds of distutils, also around packages until Python 3.5; parts without a type;
boundaries of dashes); only the field name and the file name are read from a part's header, and only the last segment of
a path in a file name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from ...errors import BadRequest, ContentTooLarge

BLOCK = 256 * 1024
# What takes blocks of the body one by one, none at its end, and gives the fields at last.
Fields = Generator[None, bytes, dict[str, list[str]]]


class Reader(Protocol):
    """The source of the body."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""


class Sink(Protocol):
    """The destination of a file's bytes."""

    def write(self, data: bytes, /) -> int:
        """Write the next bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a form: number of parts, and bytes of one field, of all fields, of one part's header."""

    parts: int = 32_000
    field_bytes: int = 4 * 1024 * 1024
    all_field_bytes: int = 16 * 1024 * 1024
    header_bytes: int = 16 * 1024


_BOUNDARY = re.compile(r';\s*boundary=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
# Every client quotes values; '"' inside is sent as %22 or \", and aiohttp percent-encodes the whole value. filename* is
# for browsers' downloads, and ignored.
_PARAMETER = re.compile(r';\s*(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type; raises BadRequest when it is missing or not valid (RFC 2046 section 5.1.1)."""
    match = _BOUNDARY.search(content_type[:1000])
    boundary = (match[1] if match and match[1] is not None else match[2] if match else "") or ""
    if not 1 <= len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise BadRequest("The form's Content-Type has no usable boundary; send multipart/form-data as browsers do.")
    return boundary.encode("ascii")


def read_form(stream: Reader, parser: Fields) -> dict[str, list[str]]:
    """Read a whole form from ``stream`` with a parser that has not begun."""
    next(parser)
    while True:
        try:
            parser.send(stream.read(BLOCK))
        except StopIteration as end:
            fields: dict[str, list[str]] = end.value
            return fields


def multipart(
    boundary: bytes,
    *,
    open_part: Callable[[str, str], Sink],
    wanted: Mapping[str, int] | None = None,
    limits: Limits = Limits(),
) -> Fields:
    """Parse a form that is sent in blocks, b"" at its end; returns its fields, each with all its values in order.

    With ``wanted``, which maps field names to the most bytes of each, only these fields, and only the first value of
    each.

    A part with a file name goes to the sink that ``open_part(field, filename)`` returns. Raises BadRequest for a form
    that is malformed or truncated, ContentTooLarge for one over its limits, and what ``open_part`` and sinks raise.
    """
    source = _Source(b"--" + boundary)
    fields: dict[str, list[str]] = {}
    left = limits.all_field_bytes
    yield from source.skip_preamble()
    for _ in range(limits.parts):
        if (yield from source.is_last()):
            yield from source.skip_rest()
            return fields
        name, filename = _names((yield from source.header(limits.header_bytes)))
        if filename:
            yield from source.copy(open_part(name, filename))
            continue
        if wanted is not None and (name not in wanted or name in fields):
            yield from source.copy(_Ignored())
            continue
        most = limits.field_bytes if wanted is None else wanted[name]
        value = _Value(name, min(most, left))
        yield from source.copy(value)
        left -= len(value.data)
        fields.setdefault(name, []).append(_text(value.data))
    raise ContentTooLarge(f"The form has more than {limits.parts} parts.")


class _Value:
    """The sink of a field that is not a file."""

    def __init__(self, name: str, limit: int) -> None:
        self.data = bytearray()
        self._name = name
        self._limit = limit

    def write(self, data: bytes, /) -> int:
        if len(self.data) + len(data) > self._limit:
            raise ContentTooLarge(f"The form's field {self._name[:60]!r} is larger than forms may be.")
        self.data += data
        return len(data)


class _Source:
    """The body as a buffer, searched for its delimiters; when it yields, it takes the next block."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._buffer = b""
        self._at = 0
        self._ended = False

    def skip_preamble(self) -> Generator[None, bytes, None]:
        """Skip to the end of the first delimiter, which begins a line; the text before it means nothing."""
        # A line feed that we add lets the first line match like every other.
        self._buffer = b"\n"
        yield from self.copy(_Ignored())

    def is_last(self) -> Generator[None, bytes, bool]:
        """Whether the delimiter just passed closes the form; otherwise skip the rest of its line."""
        yield from self._need(2)
        if self._buffer.startswith(b"--", self._at):
            return True
        # RFC 2046 allows white space after a delimiter.
        end = yield from self._find(b"\n", 1024)
        if end < 0 or self._buffer[self._at : end].strip(b" \t\r"):
            raise BadRequest("The form is malformed: a boundary is followed by other bytes on its line.")
        self._at = end + 1
        return False

    def skip_rest(self) -> Generator[None, bytes, None]:
        """Read and discard the text after the form, which means nothing."""
        while (yield from self._more()):
            self._at = len(self._buffer)

    def header(self, limit: int) -> Generator[None, bytes, bytes]:
        """The lines of a part's header, up to the empty line."""
        lines: list[bytes] = []
        left = limit
        while True:
            end = yield from self._find(b"\n", left)
            if end < 0 or end - self._at >= left:
                if end < 0 and self._ended:
                    raise BadRequest("The form is cut off in the header of a part.")
                raise ContentTooLarge("A part of the form has a header larger than 16 KiB.")
            line = self._buffer[self._at : end].rstrip(b"\r")
            left -= end + 1 - self._at
            self._at = end + 1
            if not line:
                return b"\n".join(lines)
            lines.append(line)

    def copy(self, sink: Sink) -> Generator[None, bytes, None]:
        """Write everything up to the next delimiter to the sink, without the line end that belongs to the delimiter."""
        delimiter = b"\n" + self._delimiter
        while True:
            found = self._buffer.find(delimiter, self._at)
            if found >= 0:
                end = found - 1 if found > self._at and self._buffer[found - 1] == 13 else found
                if end > self._at:
                    sink.write(self._buffer[self._at : end])
                self._at = found + len(delimiter)
                return
            # The end of the buffer may be the start of a delimiter: keep that many bytes, and the carriage return
            # before it.
            keep = len(self._buffer) - len(delimiter)
            if keep > self._at:
                sink.write(self._buffer[self._at : keep])
                self._at = keep
            if not (yield from self._more()):
                raise BadRequest("The form is cut off: its last boundary is missing.")

    def _find(self, wanted: bytes, limit: int) -> Generator[None, bytes, int]:
        while True:
            found = self._buffer.find(wanted, self._at)
            if found >= 0 or len(self._buffer) - self._at > limit or not (yield from self._more()):
                return found

    def _need(self, count: int) -> Generator[None, bytes, None]:
        while len(self._buffer) - self._at < count:
            if not (yield from self._more()):
                raise BadRequest("The form is cut off behind a boundary.")

    def _more(self) -> Generator[None, bytes, bool]:
        if self._ended:
            return False
        data = yield
        self._ended = not data
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        return bool(data)


class _Ignored:
    def write(self, data: bytes, /) -> int:
        return len(data)


def _names(header: bytes) -> tuple[str, str]:
    """The field name and the file name in a part's Content-Disposition."""
    for line in header.split(b"\n"):
        label, _, value = _text(line).partition(":")
        if label.strip().lower() == "content-disposition":
            found = {m[1].lower(): _decoded(m[2] if m[2] is not None else m[3]) for m in _PARAMETER.finditer(value)}
            if "name" not in found:
                break
            return found["name"], _last_part(found.get("filename", ""))
    raise BadRequest("The form is malformed: a part has no Content-Disposition with a name.")


def _decoded(value: str) -> str:
    """A quoted parameter as its sender meant it: percent-encoded (RFC 7578 section 2), and decoded once at most."""
    return unquote(re.sub(r"\\([\"\\])", r"\1", value))


def _last_part(filename: str) -> str:
    """A file name without the sender's folders (RFC 7578 section 4.2); unchanged if nothing would remain."""
    return re.split(r"[/\\]", filename)[-1] or filename


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
