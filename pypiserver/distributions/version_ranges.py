"""Ranges of versions (PEP 440 specifiers): whether a text is one, and whether it contains a version.

**Invariants:** pre-releases are versions like all others here; a version that is invalid is in no range.
"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from ..bounded_cache import short_texts
from .versions import parse_version

# Characters; the longest specifiers of real packages have a hundred.
MAX_RANGE = 200
_REMEMBERED = 1024


def is_range(text: str) -> bool:
    """Whether it is a range, such as ``>=2,<3``; an empty text is none."""
    return bool(text.strip()) and _range(text) is not None


def is_in(version: str, text: str) -> bool | None:
    """Whether the range contains the version, in the spelling of a file name; None if one of them is invalid."""
    found = _range(text)
    # In the name of a wheel "_" is the "-" that it cannot contain.
    parsed = parse_version(version) or parse_version(version.replace("_", "-"))
    if found is None or parsed is None:
        return None
    return found.contains(parsed, prereleases=True)


def _range(text: str) -> SpecifierSet | None:
    return _known_range(text) if len(text) <= MAX_RANGE else None


@short_texts(entries=_REMEMBERED, longest=MAX_RANGE)
def _known_range(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text)
    except Exception:  # noqa: BLE001 - text from outside, and each release of packaging fails in its own ways
        return None
