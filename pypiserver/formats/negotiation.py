"""What a client wants: the form of a page and its content coding, by ``Accept``, ``Accept-Encoding`` and ``?format=``.

**Invariants:** functions are pure; a header is read up to a limit, and every header has an answer.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable


class Form(enum.Enum):
    """A serialization, by its media type (PEP 691, "Content-Types")."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML = "application/vnd.pypi.simple.v1+html"
    TEXT_HTML = "text/html"

    # A form is a part of every key of a page, and Enum's own hash is written in Python.
    __hash__ = object.__hash__

    @property
    def content_type(self) -> str:
        """The Content-Type header of an answer in this form."""
        return self.value if self is Form.JSON else f"{self.value}; charset=utf-8"


_NAMES = {
    Form.JSON.value: Form.JSON,
    Form.HTML.value: Form.HTML,
    Form.TEXT_HTML.value: Form.TEXT_HTML,
    "application/vnd.pypi.simple.latest+json": Form.JSON,
    "application/vnd.pypi.simple.latest+html": Form.HTML,
}


# What PyPI offers for a wildcard, in its order.
_OFFERS = (Form.TEXT_HTML, Form.HTML, Form.JSON)
# Browsers send some hundred characters, others any number: longer headers are not cached, and read up to a limit.
_REMEMBERED = 256
_LONGEST_REMEMBERED = 512
_LONGEST_READ = 4096


def negotiate(accept: str | None, format_parameter: str | None) -> Form:
    """The form to answer in (PEP 691, "Version + format selection").

    Named types are ranked by q, JSON before HTML among equals. Only a wildcard, no header, and only unknown types mean
    ``text/html``, because browsers and old clients send those and expect a page. ``application/*`` means the same as on
    PyPI: its HTML type. ``?format=`` overrides the header.
    """
    if len(accept or "") + len(format_parameter or "") <= _LONGEST_REMEMBERED:
        return _known_form(accept, format_parameter)
    return _form(accept, format_parameter and format_parameter[:_LONGEST_REMEMBERED])


def _form(accept: str | None, format_parameter: str | None) -> Form:
    if format_parameter:
        # The specification's example has a bare '+', which form decoding turns into a space.
        chosen = _NAMES.get(format_parameter.strip().lower().replace(" ", "+"))
        if chosen is not None:
            return chosen
    wanted: dict[Form, float] = {}
    ranges: dict[str, float] = {}
    for name, quality in _qualities(accept or ""):
        form = _NAMES.get(name)
        if form is not None:
            wanted[form] = max(quality, wanted.get(form, 0.0))
        elif name.endswith("/*"):
            ranges[name] = max(quality, ranges.get(name, 0.0))
    # The most specific one counts (RFC 9110 section 12.5.1). Among equals max() gives the first.
    below = {form: ranges.get(form.value.partition("/")[0] + "/*", -1.0) for form in _OFFERS if form not in wanted}
    named = max(Form, key=lambda form: wanted.get(form, 0.0))
    ranged = max(below, key=lambda form: below[form], default=named)
    if max(wanted.get(named, 0.0), below.get(ranged, 0.0)) > 0:
        return ranged if below.get(ranged, 0.0) > wanted.get(named, 0.0) else named
    unnamed = [form for form, quality in below.items() if quality < 0]
    return unnamed[0] if ranges.get("*/*") and unnamed else Form.TEXT_HTML


_known_form = functools.lru_cache(maxsize=_REMEMBERED)(_form)


def prefers_html(accept: str | None) -> bool:
    """Whether the client is a browser: it names ``text/html``, and no type has a higher q (RFC 9110 section 12.5.1)."""
    wanted = dict(_qualities(accept or ""))
    asked = wanted.get(Form.TEXT_HTML.value, 0.0)
    return asked > 0 and asked == max(wanted.values())


def is_browser(accept: str | None) -> bool:
    """Whether a person's browser asks: pip before 22.2 wants ``text/html`` too, but no ``application/xhtml+xml``."""
    return "application/xhtml+xml" in (accept or "") and prefers_html(accept)


def prefers_json(accept: str | None) -> bool:
    """Whether a JSON type has the highest q, and is the first of those with that q (RFC 9110 section 12.5.1)."""
    wanted = dict(_qualities(accept or ""))
    best = max(wanted, key=lambda name: wanted[name], default="")
    is_json = best in ("application/json", "application/*") or (best[:12] == "application/" and best[-5:] == "+json")
    return is_json and wanted[best] > 0


def prefers_text(accept: str | None) -> bool:
    """Whether plain text has the highest q, and is the first of those with that q (RFC 9110 section 12.5.1)."""
    wanted = dict(_qualities(accept or ""))
    return max(wanted, key=lambda name: wanted[name], default="") == "text/plain" and wanted["text/plain"] > 0


def accepts_encoding(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    """The content coding to use of the ``available`` ones, None for identity (RFC 9110 section 12.5.3)."""
    if len(accept_encoding or "") <= _LONGEST_REMEMBERED:
        return _known_coding(accept_encoding, available)
    return _coding(accept_encoding, available)


def _coding(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    wanted = dict(_qualities(accept_encoding or ""))
    best, choice = 0.0, None
    # Of equals the better compression: zstd, then gzip.
    for coding in sorted(available, reverse=True):
        quality = wanted.get(coding, wanted.get("*", 0.0))
        if quality > best:
            best, choice = quality, coding
    return choice if best >= wanted.get("identity", 0.0) else None


_known_coding = functools.lru_cache(maxsize=_REMEMBERED)(_coding)


def _qualities(header: str) -> Iterable[tuple[str, float]]:
    """The members of a header with their q, from 0.0 to 1.0; an invalid q counts as 0."""
    for member in header[:_LONGEST_READ].split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
                if not 0.0 <= quality <= 1.0:
                    quality = 0.0
        if name:
            yield name, quality
