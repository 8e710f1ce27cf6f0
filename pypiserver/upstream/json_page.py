"""Reads a page in JSON (PEP 691) row by row, so that the memory is that of the rows which are kept.

**Invariants:** time is linear in the size of the page; no more than a window of it is text at once, whatever
characters it has; a page that is cut, or has anything after its end, is an error.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

WINDOW = 1 << 18  # bytes that are decoded at once
MAX_ROW = 1 << 18  # characters of a file's row
MAX_OTHERS = 1 << 22  # characters of all other members
_MAX_DIGITS = 19  # of an integer; a longer one counts as missing
_SPACE = re.compile(r"[ \t\n\r]+")


def read_json(data: bytes) -> Iterator[tuple[str, Any]]:
    """The members of the page: a pair ``file`` for each row of ``files``, and each other one whole; raises ValueError.

    Values are what ``json`` makes of them, with None for numbers that are no fields of a page.
    """
    text = _Text(data)
    text.skip("{")
    seen_files, after, left = False, ",", MAX_OTHERS
    if text.peek() == "}":
        after = "}"
        text.skip("}")
    while after == ",":
        name, _ = text.value(MAX_ROW)
        text.skip(":")
        if not isinstance(name, str):
            raise ValueError("a name that is no string")
        if name != "files":
            value, length = text.value(left)
            left -= length
            yield name, value
        elif seen_files:
            raise ValueError("two lists of files")
        else:
            seen_files = True
            for row in text.rows():
                yield "file", row
        after = text.skip(",}")
    if text.peek() or not seen_files:
        raise ValueError("something after its end, or no list of files")


class _Text:
    """The text of the page from the place that is read, a window at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._next = 3 if data.startswith(codecs.BOM_UTF8) else 0
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._text = ""
        self._at = 0
        decoder = json.JSONDecoder(parse_int=_integer, parse_constant=lambda _: None)
        self._scan = decoder.raw_decode

    def peek(self) -> str:
        """The next character that is no white space, '' at the end."""
        if (found := self._text[self._at : self._at + 1]) > " ":
            return found
        while True:
            if space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, expected: str) -> str:
        """Read one of these characters."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"{found!r} in place of {expected!r}")
        self._at += 1
        return found

    def value(self, limit: int) -> tuple[Any, int]:
        """Read a value of at most ``limit`` characters; returns their number too."""
        self.peek()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError:
                end = len(self._text)
            length = end - self._at
            if length > limit:
                raise ValueError("a value that is too long")
            if end < len(self._text):
                self._at = end
                return value, length
            # It may continue in the next window; a page ends with a brace, so no value ends with it.
            if not self._more():
                raise ValueError("a value that is cut, or no JSON")

    def rows(self) -> Iterator[Any]:
        """Read a list."""
        self.skip("[")
        if self.peek() == "]":
            self.skip("]")
            return
        after = ","
        while after == ",":
            yield self.value(MAX_ROW)[0]
            after = self.skip(",]")

    def _more(self) -> bool:
        """Have a window more of the text, or as much again as there is; False at its end."""
        end = min(self._next + max(WINDOW, len(self._text) - self._at), len(self._data))
        if end == self._next:
            return False
        more = self._decode(self._data[self._next : end], end == len(self._data))
        self._text, self._at, self._next = self._text[self._at :] + more, 0, end
        return True


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None
