"""Rendering the common forms of Markdown without a library, for a plain installation.

If readme_renderer is installed, it renders descriptions instead (:mod:`renderer`). **Invariants:** one pass over the
lines in linear time, because it runs in the serving process; the output has the strict form that
:func:`sanitizer.is_safe` checks; unknown syntax is shown unchanged; images (mostly badges) and HTML tags are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape

from .sanitizer import REL, is_web_address

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+([^#].*?|#*)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|([0-9]{1,9})[.)])[ \t]+(?=\S)")
_DONE = re.compile(r"\[([ xX])\] ")
_QUOTE = re.compile(r" {0,3}> ?")
_DEFINITION = re.compile(r" {0,3}\[([^\[\]]+)\]:[ \t]*(\S+)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--[^<>]*-->")
# Each alternative ends at a character that it cannot match, so that no text is matched twice.
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\[?!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])(?P<linked>\](?:\([^()]*\)|\[[^\[\]]*\]))?"
    r"|\[(?P<words>[^\[\]]*)\]\([ \t]*(?P<to>[^()\s<>]*(?:\([^()\s<>]*\)[^()\s<>]*)?)(?:\s[^()]*)?\)"
    r"|\[(?P<said>[^\[\]]*)\]\[(?P<name>[^\[\]]*)\]"
    r"|<(?P<auto>https?://[^<>\s]+)>"
    r"|(?P<bold>\*\*|__)(?=\S)(?P<strong>[^*_]+)(?P=bold)"
    r"|\*(?=\S)(?P<em>[^*]+)\*"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])"
)
_HEADINGS = ("h3", "h4", "h5", "h6", "h6", "h6")
_MAX_DEFINITIONS = 1000

Links = Mapping[str, str]


def light(text: str) -> str:
    """The Markdown ``text`` as safe HTML."""
    lines = text.expandtabs(4).splitlines()
    return "".join(_Blocks(lines, _definitions(lines)).all())


def _definitions(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = _DEFINITION.match(line)
        if match and len(found) < _MAX_DEFINITIONS:
            found.setdefault(match[1].lower(), match[2])
    return found


class _Blocks:
    """Reads lines block by block; each reader consumes the lines of one block and returns its HTML, or None."""

    def __init__(self, lines: list[str], links: Links) -> None:
        self._lines = lines
        self._links = links
        self._at = 0

    def all(self) -> Iterator[str]:
        readers: tuple[Callable[[], str | None], ...] = (
            *(self._fenced, self._heading, self._rule, self._list, self._quote, self._table, self._indented),
            self._paragraph,
        )
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip() or _DEFINITION.match(line):
                self._at += 1
                continue
            yield next(html for html in (read() for read in readers) if html is not None)

    def _take(self, is_of: Callable[[str], bool]) -> list[str]:
        """Consume the lines of a block from here on."""
        start = self._at
        while self._at < len(self._lines) and is_of(self._lines[self._at]):
            self._at += 1
        return self._lines[start : self._at]

    def _fenced(self) -> str | None:
        opened = _FENCE.match(self._lines[self._at])
        if opened is None:
            return None
        self._at += 1
        inside = self._take(lambda line: not line.strip().startswith(opened[1]))
        self._at += 1
        return _code(inside)

    def _heading(self) -> str | None:
        match = _HEADING.match(self._lines[self._at])
        if match is None:
            return None
        self._at += 1
        return self._headed(len(match[1]), match[2])

    def _headed(self, level: int, text: str) -> str:
        tag = _HEADINGS[level - 1]
        html = self._inline(text)
        return f"<{tag}>{html}</{tag}>" if html else ""

    def _rule(self) -> str | None:
        if not _RULE.match(self._lines[self._at]):
            return None
        self._at += 1
        return "<hr>"

    def _list(self) -> str | None:
        first = _ITEM.match(self._lines[self._at])
        if first is None:
            return None
        items: list[str] = []
        # Indented lines continue an item; the list continues over a blank line before such a line or an item.
        while self._at < len(self._lines):
            line = self._lines[self._at]
            item = _ITEM.match(line)
            following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
            if item is not None:
                if bool(item[1]) != bool(first[1]) and item.start() == first.start() and line[0] != " ":
                    break
                items.append(_DONE.sub(_checked, line[item.end() :], count=1))
            elif line.strip() and (line.startswith("  ") or self._lines[self._at - 1].strip()):
                if _FENCE.match(line) or _HEADING.match(line):
                    break
                items[-1] += " " + line.strip()
            elif line.strip() or not (_ITEM.match(following) or following.startswith("  ")):
                break
            self._at += 1
        tag = "ol" if first[1] else "ul"
        return f"<{tag}>{''.join(f'<li>{self._inline(item)}</li>' for item in items)}</{tag}>"

    def _quote(self) -> str | None:
        inside = [_QUOTE.sub("", line, count=1) for line in self._take(lambda line: _QUOTE.match(line) is not None)]
        return f"<blockquote><p>{self._inline(' '.join(inside))}</p></blockquote>" if inside else None

    def _table(self) -> str | None:
        rows = self._take(lambda line: line.lstrip().startswith("|"))
        return _code(rows) if rows else None

    def _indented(self) -> str | None:
        inside = self._take(lambda line: line.startswith("    "))
        return _code([line[4:] for line in inside]) if inside else None

    def _paragraph(self) -> str:
        start = self._at
        self._at += 1
        while self._at < len(self._lines) and self._lines[self._at].strip():
            line = self._lines[self._at]
            underline = _UNDERLINE.match(line)
            if underline is not None:
                self._at += 1
                return self._headed(1 if underline[1][0] == "=" else 2, " ".join(self._lines[start : self._at - 1]))
            if any(begins.match(line) for begins in (_FENCE, _HEADING, _RULE, _ITEM, _QUOTE)):
                break
            self._at += 1
        html = self._inline(" ".join(line.strip() for line in self._lines[start : self._at]))
        return f"<p>{html}</p>" if html else ""

    def _inline(self, text: str, *, is_plain: bool = False) -> str:
        """The text with its inline forms as HTML; ``is_plain`` ignores bold, for text that is already bold."""
        parts: list[str] = []
        end = 0
        for match in _INLINE.finditer(text):
            parts += [_words(text[end : match.start()]), self._formed(match, is_plain=is_plain)]
            end = match.end()
        return "".join([*parts, _words(text[end:])]).strip()

    def _formed(self, match: re.Match[str], *, is_plain: bool) -> str:
        kind = match.lastgroup
        if kind == "code":
            return f"<code>{escape(match['code'])}</code>"
        if kind == "to":
            return self._link(match["words"], match["to"])
        if kind == "name":
            return self._link(match["said"], self._links.get((match["name"] or match["said"]).lower(), ""))
        if kind == "auto":
            return _anchor(escape(match["auto"]), match["auto"])
        if kind in ("strong", "em") and not is_plain:
            return f"<{kind}>{self._inline(match[kind], is_plain=True)}</{kind}>"
        if kind == "escaped":
            return escape(match["escaped"])
        if kind in (None, "linked"):
            return ""
        return _words(match[0])

    def _link(self, words: str, address: str) -> str:
        return _anchor(_words(words), address)


def _checked(box: re.Match[str]) -> str:
    return "\u2610 " if box[1] == " " else "\u2611 "


def _anchor(html: str, address: str) -> str:
    if not html.strip():
        return ""
    return f'<a href="{escape(address)}" rel="{REL}">{html}</a>' if is_web_address(address) else html


def _words(text: str) -> str:
    """The text without tags."""
    return escape(_TAG.sub("", text))


def _code(lines: list[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
