"""Rewriting sanitized HTML in a form so strict that a regular expression can check it.

The rendering process writes with :func:`rewritten`; the server, which does not trust that process, checks with
:func:`is_safe`. **Invariants:** both use the same tables; the output has only the tags and attributes in them, every
tag closed, at most ``MAX_DEPTH`` deep; links are http, https or mailto, or point to a heading of the same description;
images become their alternative text (an external image would tell its server who reads the page); checking is linear.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

# No real text is nested deeper, and browsers have limits of their own.
MAX_DEPTH = 100
_VOID = frozenset({"br", "hr", "col"})
# The tags that readme_renderer allows, except images and form fields; headings rank below the page's own.
_TAGS = _VOID | {
    *(
        "a",
        "abbr",
        "acronym",
        "b",
        "cite",
        "code",
        "del",
        "em",
        "i",
        "kbd",
        "span",
        "strong",
        "sub",
        "sup",
        "tt",
        "var",
    ),
    *("aside", "blockquote", "div", "figure", "figcaption", "nav", "p", "pre", "section", "details", "summary"),
    *("dd", "dl", "dt", "li", "ol", "ul", "h3", "h4", "h5", "h6"),
    *("caption", "colgroup", "table", "tbody", "td", "th", "thead", "tr"),
}
_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}
_WORDS = frozenset({"img", "input", "picture"})
_ATTRIBUTES = {
    "td": ("align", "colspan", "rowspan"),
    "th": ("align",),
    "ol": ("start",),
    "abbr": ("title",),
    "acronym": ("title",),
    "span": ("class",),
    "p": ("align",),
    "div": ("align",),
}
REL = "nofollow noopener"
_TAG = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z]+="[^"<>]*")*)>')
_ATTRIBUTE = re.compile(r' ([a-z]+)="([^"]*)"')
_ADDRESS = re.compile(r"#readme-|https?://[^/]|mailto:", re.IGNORECASE)
# The classes of highlighted code; others could make text look like a part of the page.
_CLASS = re.compile(r"[a-z][a-z0-9]?")


class TooDeepError(ValueError):
    """Tags are nested deeper than ``MAX_DEPTH``."""


def rewritten(html: str) -> str:
    """Sanitized HTML rewritten in the strict form; raises TooDeepError."""
    writer = _Writer()
    writer.feed(html)
    writer.close()
    return writer.finished()


def is_safe(html: str) -> bool:
    """Whether this HTML has the strict form of :func:`rewritten`, in linear time."""
    tags = 0
    opened: list[str] = []
    for match in _TAG.finditer(html):
        tags += 1
        ends, tag, attributes = match.groups()
        if ends:
            if attributes or not opened or opened.pop() != tag:
                return False
        elif tag not in _TAGS or (attributes and not _are_safe(tag, attributes)):
            return False
        elif tag not in _VOID:
            opened.append(tag)
            if len(opened) > MAX_DEPTH:
                return False
    return not opened and tags == html.count("<") == html.count(">")


def _are_safe(tag: str, attributes: str) -> bool:
    names = set()
    for name, value in _ATTRIBUTE.findall(attributes):
        if name in names or not _is_safe_value(tag, name, value):
            return False
        names.add(name)
    return True


def _is_safe_value(tag: str, name: str, value: str) -> bool:
    if name == "id":
        return value.startswith("readme-")
    if name == "href":
        return tag == "a" and _ADDRESS.match(value) is not None
    if name == "rel":
        return tag == "a" and value == REL
    if name not in _ATTRIBUTES.get(tag, ()):
        return False
    return name != "class" or _CLASS.fullmatch(value) is not None


def is_web_address(address: str) -> bool:
    """Whether a link may point there: an http or https URL with a host."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


class _Writer(HTMLParser):
    """Rewrites sanitized HTML with every tag closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []

    def finished(self) -> str:
        """The output, with all open tags closed."""
        return "".join([*self._parts, *(f"</{tag}>" for tag in reversed(self._open))])

    def handle_data(self, data: str) -> None:
        self._parts.append(escape(data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _WORDS:
            self._parts.append(escape(_words(tag, values)))
            return
        tag = _HEADINGS.get(tag, tag)
        if tag not in _TAGS:
            return
        kept = _kept(tag, values)
        self._parts.append("".join([f"<{tag}", *(f' {name}="{escape(value)}"' for name, value in kept.items()), ">"]))
        if tag not in _VOID:
            self._open.append(tag)
            if len(self._open) > MAX_DEPTH:
                raise TooDeepError

    def handle_endtag(self, tag: str) -> None:
        tag = _HEADINGS.get(tag, tag)
        if tag in self._open:
            while self._open:
                last = self._open.pop()
                self._parts.append(f"</{last}>")
                if last == tag:
                    break


def _kept(tag: str, values: dict[str, str]) -> dict[str, str]:
    """The allowed attributes of a tag."""
    kept = {name: values[name] for name in _ATTRIBUTES.get(tag, ()) if name in values}
    if "class" in kept and _CLASS.fullmatch(kept["class"]) is None:
        del kept["class"]
    if "id" in values:
        # The prefix keeps an id of a description from clashing with an id of the page.
        kept["id"] = f"readme-{values['id']}"
    if tag == "a" and "href" in values:
        kept.update(_link(values["href"]))
    return kept


def _words(tag: str, values: dict[str, str]) -> str:
    if tag == "input":
        return "\u2611 " if "checked" in values else "\u2610 "
    return values.get("alt", "").strip()


def _link(address: str) -> dict[str, str]:
    address = address.strip()
    if address.startswith("#"):
        return {"href": f"#readme-{address[1:]}"}
    if is_web_address(address) or address.lower().startswith("mailto:"):
        return {"href": address, "rel": REL}
    # Relative links are meant for the project's repository, not for this server.
    return {}
