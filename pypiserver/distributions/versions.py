"""Versions (PEP 440): their order, and which spellings are the same.

**Invariants:** an invalid version is lower than any valid one, and never an error; a text longer than a file name is
not parsed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from ..bounded_cache import short_texts

# Clients may ask for any name, and metadata and forms carry megabytes: only texts of usual length are cached. Callers
# read many names in sorted order, so a few thousand entries are enough; a parsed version takes half a kilobyte. All
# these caches together take 6 MB at most.
REMEMBERED = 4096
MAX_REMEMBERED = 64
# No version is longer than the file name that carries it.
MAX_VERSION = 255


def parse_version(version: str) -> Version | None:
    """The version, None if it is invalid (PEP 440) or too long for a file name."""
    return _parsed_short(version) if len(version) <= MAX_VERSION else None


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def _parsed_short(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


def version_key(version: str) -> tuple[Any, ...]:
    """A key that sorts versions as PEP 440 does, invalid ones lowest, equal ones by their text."""
    parsed = parse_version(version)
    return (0, version) if parsed is None else (1, parsed, version)


@short_texts(entries=REMEMBERED, longest=MAX_REMEMBERED)
def release_key(version: str) -> tuple[Any, ...]:
    """A key that sorts versions like :func:`version_key`, but every final one after all others."""
    return (is_final(version), *version_key(version))


def canonical_version(version: str) -> str:
    """A key that is equal for all spellings of one version: its PEP 440 normal form; a legacy version in lower case.

    In a wheel's or egg's name, ``_`` means the ``-`` it cannot contain.
    """
    parsed = parse_version(version) or parse_version(version.replace("_", "-"))
    return version.lower().replace("_", "-") if parsed is None else canonicalize_version(str(parsed))


def same_version(one: str, other: str) -> bool:
    """Whether two spellings are the same version (PEP 440)."""
    return one == other or canonical_version(one) == canonical_version(other)


def newest_version(versions: Iterable[str], kept: Container[str]) -> str:
    """The highest final one, else the highest of all; one that is not ``kept`` (yanked) only if there is no other."""
    return max(versions, key=lambda version: (version in kept, release_key(version)), default="")


def is_standard(version: str) -> bool:
    """Whether the version is valid (PEP 440)."""
    return parse_version(version) is not None


def is_final(version: str) -> bool:
    """Whether the version is valid (PEP 440) and not a pre-release or development release."""
    parsed = parse_version(version)
    return parsed is not None and not parsed.is_prerelease
