"""Reads the elements of a page in HTML (PEP 503) that mean something: ``a``, ``base`` and ``meta``.

The tokens are those of the HTML standard (section 13.2.5) as far as they decide where a tag begins and ends. The parser
of the standard library takes quadratic time for some pages in all versions before the middle of 2025
(docs/rationale.rst).

**Invariants:** time is linear in the size of the page, and no other thread waits for longer than a window takes;
nothing but the elements that are asked for is decoded; a page that ends inside a tag or a comment is an error, because
it was cut.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

MAX_TAG = 1 << 16  # bytes
MAX_TAGS = 1_000_000
WINDOW = 1 << 18  # bytes that are searched at once
_OVERLAP = 64
_WANTED = frozenset({b"a", b"base", b"meta"})
# What is between these and their end tag is text.
_TEXT_ONLY = frozenset(
    {b"script", b"style", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes", b"plaintext"}
)
_TAG = re.compile(rb"<(?:(!--)|([A-Za-z][^\s/>]{0,31})|[/!?])")
_BASE = re.compile(rb"<[bB][aA][sS][eE][\s/]")
_COMMENT_END = re.compile(rb"--!?>")
# The end of the tag; or a name and maybe its value in double, single or no quotes; or a quote that is never closed.
_ATTRIBUTE = re.compile(rb"""[\s/]*(?:(>)|([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|(["'])|([^\s>]*)))?)""")
Attributes = dict[str, str]


def has_base(data: bytes) -> bool:
    """Whether it may have an element ``base``, which changes where all its links lead."""
    return _search(_BASE, data, 0) is not None


def read_html(data: bytes) -> Iterator[tuple[str, Attributes]]:
    """Each of these elements, with its attributes in lower case, in the order of the page; raises ValueError."""
    at = 0
    for _ in range(MAX_TAGS):
        found = _search(_TAG, data, at)
        if found is None:
            return
        tag = _TAG.match(data, found.start()) or found  # where the window did not end
        at = tag.end()
        if tag[1]:
            # "<!-->" is a whole comment.
            at = _end(_search(_COMMENT_END, data, at - 2))
        elif tag[2]:
            name = tag[2].lower()
            attributes, at = _attributes(data, at, is_wanted=name in _WANTED)
            if name in _WANTED:
                yield name.decode(), attributes
            elif name in _TEXT_ONLY:
                at = _end(_search(re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE), data, at))
        else:
            at = data.find(b">", at) + 1
            if not at:
                raise ValueError("a tag that does not end")
    raise ValueError("too many tags")


def _search(pattern: re.Pattern[bytes], data: bytes, at: int) -> re.Match[bytes] | None:
    """A match from here on; other threads can run after each window. What it finds is shorter than the overlap."""
    while at < len(data):
        match = pattern.search(data, at, at + WINDOW)
        if match is not None:
            return match
        at += WINDOW - _OVERLAP
    return None


def _end(match: re.Match[bytes] | None) -> int:
    if match is None:
        raise ValueError("something that does not end")
    return match.end()


def _attributes(data: bytes, at: int, *, is_wanted: bool) -> tuple[Attributes, int]:
    """The attributes that begin here, and where the tag ends; of two with one name, the first counts."""
    found: Attributes = {}
    end = at + MAX_TAG
    while match := _ATTRIBUTE.match(data, at, end):
        at = match.end()
        if match[1]:
            return found, at
        if match[5]:
            break
        if is_wanted:
            value = next((group for group in (match[3], match[4], match[6]) if group is not None), b"")
            found.setdefault(_text(match[2]).lower(), html.unescape(_text(value)) if b"&" in value else _text(value))
    raise ValueError("a tag that is too long, or does not end")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
