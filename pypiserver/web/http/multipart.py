"""multipart/form-data (RFC 7578), parsed while it arrives.

The rules to keep: time linear in the body, memory bounded whatever arrives; files go straight to their sinks; what old
clients send is understood (bare line feeds of distutils, around packages too until Python 3.5; parts without a type;
boundaries of dashes); nothing but the field's name and the file's name is taken from a part's header, and of a path the
last part alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from ...errors import BadRequest, ContentTooLarge

BLOCK = 256 * 1024


class Reader(Protocol):
    """Where the body comes from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""


class Sink(Protocol):
    """Where a file's bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a form may have: number of parts, and bytes of one field, of all fields, of one part's header."""

    parts: int = 32_000
    field_bytes: int = 4 * 1024 * 1024
    all_field_bytes: int = 16 * 1024 * 1024
    header_bytes: int = 16 * 1024


_BOUNDARY = re.compile(r';\s*boundary=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
# Values are quoted by every client; '"' inside is sent as %22 or \", and aiohttp percent-encodes all of it. filename*
# is for browsers' downloads, and ignored.
_PARAMETER = re.compile(r';\s*(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type; raises BadRequest when there is none, or none that may be (RFC 2046 5.1.1)."""
    match = _BOUNDARY.search(content_type[:1000])
    boundary = (match[1] if match and match[1] is not None else match[2] if match else "") or ""
    if not 1 <= len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise BadRequest("The form's Content-Type has no usable boundary; send multipart/form-data as browsers do.")
    return boundary.encode("ascii")


def parse_multipart(
    stream: Reader,
    boundary: bytes,
    *,
    open_part: Callable[[str, str], Sink],
    wanted: Mapping[str, int] | None = None,
    limits: Limits = Limits(),
) -> dict[str, list[str]]:
    """Read a whole form; gives its fields, each with its values in order: all of them.

    With ``wanted``, which has the most bytes of each, only these, and of each the first value.

    A part with a file name goes to the sink that ``open_part(field, filename)`` gives. Raises BadRequest for a form
    that is malformed or cut off, ContentTooLarge for one over its limits, and what ``open_part`` and sinks raise.
    """
    source = _Source(stream, b"--" + boundary)
    fields: dict[str, list[str]] = {}
    left = limits.all_field_bytes
    source.skip_preamble()
    for _ in range(limits.parts):
        if source.is_last():
            source.skip_rest()
            return fields
        name, filename = _names(source.header(limits.header_bytes))
        if filename:
            source.copy(open_part(name, filename))
            continue
        if wanted is not None and (name not in wanted or name in fields):
            source.copy(_Ignored())
            continue
        most = limits.field_bytes if wanted is None else wanted[name]
        value = _Value(name, min(most, left))
        source.copy(value)
        left -= len(value.data)
        fields.setdefault(name, []).append(_text(value.data))
    raise ContentTooLarge(f"The form has more than {limits.parts} parts.")


class _Value:
    """The sink of a field that is no file."""

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
    """The body as a buffer with the delimiters searched in it."""

    def __init__(self, stream: Reader, delimiter: bytes) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._buffer = b""
        self._at = 0
        self._ended = False

    def skip_preamble(self) -> None:
        """Go behind the first delimiter, which begins a line; what stands before it means nothing."""
        # A line feed of our own lets the first line be found like every other.
        self._buffer = b"\n"
        self.copy(_Ignored())

    def is_last(self) -> bool:
        """Whether the delimiter just passed closes the form; otherwise its line is passed."""
        self._need(2)
        if self._buffer.startswith(b"--", self._at):
            return True
        # RFC 2046 allows blanks behind a delimiter.
        end = self._find(b"\n", 1024)
        if end < 0 or self._buffer[self._at : end].strip(b" \t\r"):
            raise BadRequest("The form is malformed: something stands behind a boundary.")
        self._at = end + 1
        return False

    def skip_rest(self) -> None:
        """Read what stands behind the form and means nothing."""
        while self._more():
            self._at = len(self._buffer)

    def header(self, limit: int) -> bytes:
        """The lines of a part's header, up to the empty one."""
        lines: list[bytes] = []
        left = limit
        while True:
            end = self._find(b"\n", left)
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

    def copy(self, sink: Sink) -> None:
        """Write everything up to the next delimiter into the sink, without the line end that belongs to it."""
        delimiter = b"\n" + self._delimiter
        while True:
            found = self._buffer.find(delimiter, self._at)
            if found >= 0:
                end = found - 1 if found > self._at and self._buffer[found - 1] == 13 else found
                if end > self._at:
                    sink.write(self._buffer[self._at : end])
                self._at = found + len(delimiter)
                return
            # The end of the buffer may be the beginning of a delimiter: keep as much of it, and its carriage return.
            keep = len(self._buffer) - len(delimiter)
            if keep > self._at:
                sink.write(self._buffer[self._at : keep])
                self._at = keep
            if not self._more():
                raise BadRequest("The form is cut off: its last boundary is missing.")

    def _find(self, wanted: bytes, limit: int) -> int:
        while True:
            found = self._buffer.find(wanted, self._at)
            if found >= 0 or len(self._buffer) - self._at > limit or not self._more():
                return found

    def _need(self, count: int) -> None:
        while len(self._buffer) - self._at < count:
            if not self._more():
                raise BadRequest("The form is cut off behind a boundary.")

    def _more(self) -> bool:
        if self._ended:
            return False
        data = self._stream.read(BLOCK)
        self._ended = not data
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        return bool(data)


class _Ignored:
    def write(self, data: bytes, /) -> int:
        return len(data)


def _names(header: bytes) -> tuple[str, str]:
    """The field's and the file's name in a part's Content-Disposition."""
    for line in header.split(b"\n"):
        label, _, value = _text(line).partition(":")
        if label.strip().lower() == "content-disposition":
            found = {m[1].lower(): _decoded(m[2] if m[2] is not None else m[3]) for m in _PARAMETER.finditer(value)}
            if "name" not in found:
                break
            return found["name"], _last_part(found.get("filename", ""))
    raise BadRequest("The form is malformed: a part has no Content-Disposition with a name.")


def _decoded(value: str) -> str:
    """A quoted parameter as it was meant: percent-encoded (RFC 7578 section 2), and decoded no more than once."""
    return unquote(re.sub(r"\\([\"\\])", r"\1", value))


def _last_part(filename: str) -> str:
    """A file's name without the folders of whoever sent it (RFC 7578 section 4.2); as it was when that is nothing."""
    return re.split(r"[/\\]", filename)[-1] or filename


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
