"""Core metadata: parsing it, and the form in which the catalog stores it for pages.

**Invariants:** parsing never fails, takes time linear in the bytes, and keeps no more of a field than its limit below,
because packages are hostile until read; it finds the same headers as the standard library's ``email``, which clients
use. Requirements are parsed once, when a file is read, and never for a page.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from packaging import requirements
from packaging.specifiers import SpecifierSet

from ..bounded_cache import short_texts
from ..text import cut
from .filename import normalize

# Characters of all headers except Description, which is a header in old metadata.
MAX_HEADERS = 512 * 1024
# Bytes of the body that are kept as description.
MAX_DESCRIPTION = 1_000_000
# Characters of each field. Real packages stay far below; longer values are cut.
LIMITS = {
    "metadata_version": 20,
    "name": 200,
    "version": 200,
    "summary": 1000,
    "description": MAX_DESCRIPTION,
    "description_content_type": 200,
    "author": 2000,
    "author_email": 2000,
    "maintainer": 2000,
    "maintainer_email": 2000,
    # Some packages have the text of a license here; the GPL has 35,000 characters.
    "license": 40_000,
    "license_expression": 1000,
    "keywords": 4000,
    "home_page": 2000,
    "download_url": 2000,
    "requires_python": 500,
}
# The number of values, and the characters of one. A requirement that was cut is not parsed.
LIST_LIMITS = {
    "requires_dist": (300, 1000),
    "provides_extra": (500, 200),
    "classifiers": (300, 200),
    "project_urls": (100, 2000),
    "platform": (100, 200),
    # It decides whether clients may rely on the metadata: only MAX_HEADERS bounds how many are read.
    "dynamic": (MAX_HEADERS, 100),
}
# As packaging writes a marker.
_EXTRA = re.compile(r"(?:^| and )extra == \"([^\"]+)\"")
_BLANK_LINE = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)")
_NAME = re.compile(r"([!-9;-~]*):")
_NEXT = re.compile(r"\n(?![ \t])")
_FOLD = re.compile(r"\n(?: {7}\||[^\S\n]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One Requires-Dist (PEP 508): ``project`` is the normal form of ``name``, or '' for an invalid text.

    ``rest`` is what follows the name (extras, versions, a URL), ``extra`` the extra that needs it, and ``marker`` the
    rest of the environment marker.
    """

    name: str
    project: str = ""
    rest: str = ""
    marker: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """The fields of METADATA or PKG-INFO (core metadata specification), unchanged; '' or () for absent ones.

    ``requires_python`` is None when absent, and may be invalid: see :func:`valid_requires_python`. ``is_cut`` says that
    headers beyond the limit were not read. ``body_at`` is the byte at which the description begins, -1 when it is not
    the body. ``requirements`` are the parsed ``requires_dist``, set by :func:`unpacked` only.
    """

    metadata_version: str = ""
    name: str = ""
    version: str = ""
    summary: str = ""
    description: str = ""
    description_content_type: str = ""
    author: str = ""
    author_email: str = ""
    maintainer: str = ""
    maintainer_email: str = ""
    license: str = ""
    license_expression: str = ""
    keywords: str = ""
    home_page: str = ""
    download_url: str = ""
    requires_python: str | None = None
    requires_dist: tuple[str, ...] = ()
    provides_extra: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    project_urls: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    is_cut: bool = False
    body_at: int = field(default=-1, compare=False)
    requirements: tuple[Requirement, ...] = field(default=(), compare=False)


_FIELDS = {
    "classifier": "classifiers",
    "project-url": "project_urls",
    **{name.replace("_", "-"): name for name in (*LIMITS, *LIST_LIMITS) if name not in ("classifiers", "project_urls")},
}
# Fields that pages do not need, or get from elsewhere.
_NOT_KEPT = frozenset({"metadata_version", "version", "dynamic", "is_cut", "requirements"})


# A header: its field, or its own name if it is not one of ours; the offsets of its start, and of its value's start and
# end. '-' is a line to skip, and '' a line that is not a header, with which the body begins.
_Header = tuple[str, int, int, int]


def parse_metadata(raw: bytes) -> CoreMetadata:
    """Parse core metadata; never raises: replaces invalid bytes, skips invalid headers, cuts long values."""
    head, body_at = _head(raw)
    values: dict[str, Any] = {}
    lists: dict[str, list[str]] = {}
    seen: set[str] = set()
    read, rest, is_cut = 0, len(head), False
    for name, at, start, end in _headers(head):
        if not name:
            rest = at
            break
        if name != "description":
            read += end - at
        if read > MAX_HEADERS:
            is_cut = True
            break
        if name in LIST_LIMITS:
            count, longest = LIST_LIMITS[name]
            found = lists.setdefault(name, [])
            if len(found) < count:
                found.append(_unfolded(head, start, end, longest))
        elif name in LIMITS and name not in seen:
            seen.add(name)
            text = _unfolded(head, start, end, LIMITS[name])
            if text != "UNKNOWN":
                values[name] = text
    if not values.get("description"):
        # A line that is not a header begins the body, even without a blank line before it.
        body = head[rest : rest + MAX_DESCRIPTION] + "\n\n" if rest < len(head) else ""
        body = (body + _text(raw[body_at : body_at + MAX_DESCRIPTION]))[:MAX_DESCRIPTION]
        if body.strip():
            values["description"] = body
            values["body_at"] = body_at if rest == len(head) else -1
    values.update({name: tuple(found) for name, found in lists.items()})
    return CoreMetadata(**values, is_cut=is_cut)


def _head(raw: bytes) -> tuple[str, int]:
    """The lines before the first blank one, with ``\\n`` as line ends, and the byte at which the body begins."""
    if raw.startswith((b"\n", b"\r")):
        return "", 2 if raw.startswith(b"\r\n") else 1
    at = raw.find(b"\n\n")
    end, body_at = (len(raw), len(raw)) if at < 0 else (at, at + 2)
    head = raw[:end]
    if b"\r" in head:
        blank = _BLANK_LINE.search(raw)
        end, body_at = (len(raw), len(raw)) if blank is None else blank.span()
        head = raw[:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _text(head.removesuffix(b"\n")), body_at


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")


def _headers(head: str) -> Iterator[_Header]:
    """The headers that the standard library's parser finds.

    That parser takes 140 us for ten headers, 14 s for 100,000 files, and an object for each line.
    """
    at = 0
    while at < len(head):
        following = _NEXT.search(head, at)
        end = following.start() if following else len(head)
        match = _NAME.match(head, at, end)
        if match is None and not head.startswith((" ", "\t", "From "), at):
            yield "", at, at, end
            return
        name = match[1].lower() if match else ""
        yield _FIELDS.get(name, name) or "-", at, match.end() if match else at, end
        at = end + 1


def _unfolded(head: str, start: int, end: int, longest: int) -> str:
    """A header's value, without the indent (or the bar) of continuation lines."""
    value = head[start : min(end, start + 2 * longest + 1000)].strip()
    return cut(_FOLD.sub("\n", value) if "\n" in value else value, longest)


def valid_requires_python(text: str | None) -> str | None:
    """The specifier set of Requires-Python, unchanged; None when it is absent or invalid (PEP 440)."""
    if not text or not text.strip() or len(text) > LIMITS["requires_python"]:
        return None
    return _specifiers(text) or None


@short_texts(entries=1024, longest=100)
def _specifiers(text: str) -> str:
    try:
        SpecifierSet(text)
    except Exception:  # noqa: BLE001 - text from outside, and each release of packaging fails in its own ways
        return ""
    return " ".join(text.split())


def parse_requirement(text: str) -> Requirement:
    """Parse one Requires-Dist (PEP 508); of an invalid one, the whole text becomes the name."""
    return _requirement(text)


# A project's releases mostly have the same requirements.
@short_texts(entries=1024, longest=100)
def _requirement(text: str) -> Requirement:
    longest = LIST_LIMITS["requires_dist"][1]
    line = " ".join(text[: longest + 1].split())
    if len(text) > longest:
        return Requirement(cut(line, longest))
    try:
        return _taken_apart(requirements.Requirement(line))
    except Exception:  # noqa: BLE001 - packaging 24.0 raises SyntaxError, InvalidSpecifier and RecursionError too
        return Requirement(line)


def _taken_apart(found: requirements.Requirement) -> Requirement:
    extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
    asked = f" @ {found.url}" if found.url else f" {found.specifier}" if str(found.specifier) else ""
    marker = str(found.marker or "")
    extra = _EXTRA.search(marker)
    rest = f"{extras}{asked}"
    if extra and extra.end() == len(marker):
        marker = marker[: extra.start()]
    return Requirement(found.name, normalize(found.name), rest, marker, extra[1] if extra else "")


def needed_projects(core: CoreMetadata) -> list[str]:
    """The projects it depends on, in normal form and sorted, those of an extra too; itself is none of them."""
    names = {parse_requirement(text).project for text in core.requires_dist} - {"", normalize(core.name)}
    # No file has a longer name.
    return sorted(name for name in names if len(name) < 256)


def packed(core: CoreMetadata) -> bytes:
    """The compressed form that the catalog stores for pages, without a description that is the body."""
    values = {each.name: getattr(core, each.name) for each in fields(core) if each.name not in _NOT_KEPT}
    if core.body_at >= 0:
        del values["description"]
    values["requires_python"] = valid_requires_python(core.requires_python)
    kept: dict[str, Any] = {name: value for name, value in values.items() if value}
    required = map(parse_requirement, core.requires_dist)
    kept["requirements"] = [[each.name, each.project, each.rest, each.marker, each.extra] for each in required]
    return zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), 1)


def unpacked(data: bytes) -> CoreMetadata:
    """The metadata from :func:`packed`; ``requires_python`` is valid or None, a description in the body is missing."""
    values = json.loads(zlib.decompress(data))
    for name in LIST_LIMITS:
        values[name] = tuple(values.get(name, ()))
    values["requirements"] = tuple(Requirement(*each) for each in values["requirements"])
    return CoreMetadata(**values)


def described(core: CoreMetadata, body: bytes) -> CoreMetadata:
    """The same metadata with its description from ``body``, the bytes from ``body_at`` on."""
    return replace(core, description=_text(body[:MAX_DESCRIPTION]))
