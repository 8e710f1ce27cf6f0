"""A project's long description as HTML that may stand on a page of ours.

readme_renderer makes it and takes out what is dangerous, as PyPI does; what it gives is then written anew, tag by tag:
only links that lead somewhere by HTTP or mail, pictures as their words (a picture from elsewhere would tell its server
who reads what), headings below the page's own. Without readme_renderer, and for what it cannot read, plain text.
"""

from __future__ import annotations

import functools
import logging
import re
from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

_LOG = logging.getLogger(__name__)
EXTRA = "pip install 'pypiserver[web]'"
# Rendering is linear in good text, not in bad: a quotation 100,000 deep took 99 s. With these limits it is 4 s at most.
MAX_RENDERED = 100_000
MAX_DEPTH = 100
MAX_SHOWN = 1_000_000
_KINDS = {"text/markdown": "markdown", "text/x-rst": "rst", "": "rst"}
_VOID = frozenset({"br", "hr", "col"})
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_QUOTED = re.compile(r"(?:>[ \t]?){100}")
# These end by themselves.
_FLAT = _VOID | {"img", "input", "p", "li", "td", "th", "tr", "dt", "dd"}
_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}
_DROPPED = frozenset({"img", "input", "picture"})
_KEPT = {
    "td": ("align", "colspan", "rowspan"),
    "th": ("align",),
    "ol": ("start",),
    "abbr": ("title",),
    "acronym": ("title",),
    "span": ("class",),
    "p": ("align",),
    "div": ("align",),
}


@functools.lru_cache(maxsize=64)
def render(text: str, content_type: str) -> str:
    """The description as safe HTML; ``content_type`` is that of the metadata, where nothing means reStructuredText."""
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    html = _rendered(text, kind, content_type) if kind and len(text) <= MAX_RENDERED else None
    return _plain(text) if html is None else _rewritten(html)


def _rendered(text: str, kind: str, content_type: str) -> str | None:
    try:
        from readme_renderer import markdown, rst

        if kind == "markdown" and not markdown.variants:
            raise ImportError("readme_renderer was installed without its extra [md]")
    except ImportError:
        _say_missing()
        return None
    variant = "CommonMark" if "variant=commonmark" in content_type.lower().replace(" ", "") else "GFM"
    try:
        if kind == "rst":
            rendered: str | None = rst.render(text)
        elif _QUOTED.search(text) or _depth(markdown.variants[variant](text)) > MAX_DEPTH:
            rendered = None
        else:
            rendered = markdown.render(text, variant=variant)
    except Exception as error:  # noqa: BLE001 - docutils raises anything at all for odd text, which then is plain text
        _LOG.info("A description cannot be rendered (%s); it is shown as plain text.", type(error).__name__)
        return None
    return rendered


def _depth(html: str) -> int:
    """How deep the tags stand in each other, at least."""
    deepest = depth = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in _FLAT:
            depth = max(0, depth - 1) if match[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


@functools.cache
def _say_missing() -> None:
    _LOG.warning("Descriptions are shown as plain text, because readme_renderer is not installed: %s.", EXTRA)


def _plain(text: str) -> str:
    return f'<pre class="plain">{escape(text[:MAX_SHOWN])}</pre>'


def _rewritten(html: str) -> str:
    writer = _Writer()
    writer.feed(html)
    writer.close()
    return writer.finished()


def is_web_address(address: str) -> bool:
    """Whether a link may lead there: by HTTP, and to a host."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


class _Writer(HTMLParser):
    """Writes sanitised HTML anew, with every tag closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []

    def finished(self) -> str:
        """What was written."""
        return "".join([*self._parts, *(f"</{tag}>" for tag in reversed(self._open))])

    def handle_data(self, data: str) -> None:
        self._parts.append(escape(data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _DROPPED:
            self._parts.append(escape(_words(tag, values)))
            return
        tag = _HEADINGS.get(tag, tag)
        kept = {name: values[name] for name in _KEPT.get(tag, ()) if name in values}
        if "id" in values:
            # So that no part of a description can pass for a part of the page.
            kept["id"] = f"readme-{values['id']}"
        if tag == "a" and "href" in values:
            kept.update(_link(values["href"]))
        self._parts.append("".join([f"<{tag}", *(f' {name}="{escape(value)}"' for name, value in kept.items()), ">"]))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        tag = _HEADINGS.get(tag, tag)
        if tag in self._open:
            while self._open:
                last = self._open.pop()
                self._parts.append(f"</{last}>")
                if last == tag:
                    break


def _words(tag: str, values: dict[str, str]) -> str:
    if tag == "input":
        return "\u2611 " if "checked" in values else "\u2610 "
    return values.get("alt", "").strip()


def _link(address: str) -> dict[str, str]:
    address = address.strip()
    if address.startswith("#"):
        return {"href": f"#readme-{address[1:]}"}
    if is_web_address(address) or address.lower().startswith("mailto:"):
        return {"href": address, "rel": "nofollow noopener"}
    # What is relative leads into the project's repository, not here.
    return {}
