"""The names in the list of an index, in JSON (PEP 691) or HTML (PEP 503), as its response brings them.

**Invariants:** time is linear in the size of the list, which is never in memory as a whole; one that is cut, has a part
that does not end, or is no list, raises ValueError.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from ..upstream.errors import UpstreamError
from .source import Response

# The list of PyPI has 45 MB and 700,000 names; it takes a slow line some minutes.
MAX_BYTES = 512 << 20
MAX_SECONDS = 900.0
# Bytes that are read at a time, and characters that a tag, a comment, a row or what is before the rows may take: what
# has no end yet is searched again with each piece.
PIECE_BYTES = 1 << 16
MAX_PART = 1 << 18
_JSON = "application/vnd.pypi.simple.v1+json"


def listed_names(response: Response, content_type: str) -> Iterator[str]:
    """The names in their order, as they are spelled; raises ValueError and UpstreamError."""
    is_json = content_type.partition(";")[0].strip().lower() == _JSON
    return _in_json(_text(response)) if is_json else _in_html(_text(response))


def _text(response: Response) -> Iterator[str]:
    """The body as text, in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    deadline, size, gathered = time.monotonic() + MAX_SECONDS, 0, bytearray()
    for chunk in response.chunks(decode=True):
        size += len(chunk)
        gathered += chunk
        if size > MAX_BYTES or time.monotonic() > deadline:
            raise UpstreamError("Its list of names is too long, or takes too long.", kind="too-large")
        if len(gathered) >= PIECE_BYTES:
            yield decoder.decode(gathered)
            gathered = bytearray()
    yield decoder.decode(gathered)


def _in_json(pieces: Iterator[str]) -> Iterator[str]:
    """The names in a list as JSON (PEP 691); raises ValueError for a list without an end."""
    decoder, buffer, place = json.JSONDecoder(), "", -1
    for piece in pieces:
        buffer += piece
        if place < 0:
            place = _after_projects(buffer)
            if place < 0:
                _refuse_long(buffer)
                continue
        while True:
            while place < len(buffer) and buffer[place] in " \t\r\n,":
                place += 1
            if buffer[place : place + 1] == "]":
                for _ in pieces:
                    pass
                return
            try:
                row, place = decoder.raw_decode(buffer, place)
            except ValueError:
                break
            except RecursionError as error:
                raise ValueError("its rows are nested too deeply") from error
            if isinstance(row, dict) and isinstance(row.get("name"), str):
                yield row["name"]
        buffer, place = buffer[place:], 0
        _refuse_long(buffer)
    raise ValueError("it has no end")


def _refuse_long(text: str) -> None:
    if len(text) > MAX_PART:
        raise ValueError("a part of it has no end")


def _after_projects(text: str) -> int:
    """Where the rows begin, -1 if that is not read yet."""
    found = text.find('"projects"')
    begin = text.find("[", found) if found >= 0 else -1
    return begin + 1 if begin >= 0 else -1


def _in_html(pieces: Iterator[str]) -> Iterator[str]:
    """The names in a list as HTML (PEP 503): the last part of each link."""
    parser = _Links()
    for piece in pieces:
        parser.feed(piece)
        yield from parser.taken()
        _refuse_long(parser.rawdata)
    parser.close()
    yield from parser.taken()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href") if tag == "a" else None
        if address:
            with contextlib.suppress(ValueError):
                self._names.append(unquote(urlsplit(address).path.rstrip("/").rpartition("/")[2]))

    def taken(self) -> list[str]:
        names, self._names = self._names, []
        return names
