"""Checks the fields of another index's page, one function for each.

**Invariants:** a field that is not of its type, or is too long, counts as missing; no result has more than one line
or a character that cannot be printed; time is linear in the size of the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from ..backend.project_status import STATUSES
from ..model import ACTIVE, ProjectStatus
from ..text import MAX_REASON, line_of

MAX_REQUIRES_PYTHON = 500  # characters
MAX_VERSIONS = 100_000
_MAX_VERSION = 200
_MAX_INTEGER = 2**63 - 1
# Those of hashlib with one length, best first, with the number of their hexadecimal digits.
ALGORITHMS = {
    "sha256": 64, "sha512": 128, "sha384": 96, "blake2b": 128, "blake2s": 64, "sha3_256": 64, "sha3_512": 128,
    "sha3_384": 96, "sha224": 56, "sha3_224": 56, "sha1": 40, "md5": 32,
}  # fmt: skip
_METADATA = ("core-metadata", "data-core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_HEX = re.compile(r"[0-9a-f]*")
_VERSION = re.compile(r"[A-Za-z0-9._+!*-]+")
# RFC 3339 or ISO 8601 as indexes write it; without a zone it is UTC.
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9})[0-9]{0,9})?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_PLAIN_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_YEARS = range(1990, 2200)
_EPOCH = datetime(1970, 1, 1)


def integer(value: Any) -> int | None:
    """A number from 0 to 2**63 - 1: a size in bytes, a serial."""
    return value if type(value) is int and 0 <= value <= _MAX_INTEGER else None


def serial(value: Any) -> int:
    """The serial in a header, 0 for none."""
    is_fit = isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdecimal()
    return integer(int(value)) or 0 if is_fit else 0


def hashes(value: Any) -> tuple[tuple[str, str], ...]:
    """The (algorithm, lower-case hex) that are known and whole, best first."""
    if not isinstance(value, Mapping):
        return ()
    if len(value) == 1 and "sha256" in value:
        # As on nearly every page.
        sha256 = digest("sha256", value["sha256"])
        return (("sha256", sha256),) if sha256 else ()
    found = ((name, digest(name, value.get(name))) for name in ALGORITHMS if name in value)
    return tuple((name, hexadecimal) for name, hexadecimal in found if hexadecimal)


def digest(algorithm: str, value: Any) -> str:
    """Lower-case hex of the algorithm's length, '' for anything else."""
    if isinstance(value, str) and len(value) == ALGORITHMS[algorithm]:
        if _HEX.fullmatch(value):
            return value
        lower = value.lower()
        return lower if _HEX.fullmatch(lower) else ""
    return ""


def time_ns(value: Any) -> int | None:
    """Nanoseconds since the epoch of a time between 1990 and 2200."""
    if isinstance(value, str) and _PLAIN_TIME.fullmatch(value) and "1990" <= value[:4] < "2200":
        # As PyPI writes it: the same result in a quarter of the time.
        with suppress(ValueError):
            since = datetime.fromisoformat(value[:-1]) - _EPOCH
            return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    match = _TIME.fullmatch(value) if isinstance(value, str) and len(value) <= 50 else None
    if match is None or int(match[1]) not in _YEARS:
        return None
    try:
        year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
        since = datetime(year, month, day, hour, minute, second) - _EPOCH
    except ValueError:
        return None
    sign, hours, minutes = match[8], int(match[9] or 0), int(match[10] or 0)
    if hours > 23 or minutes > 59:
        return None
    east = (hours * 3600 + minutes * 60) * (-1 if sign == "-" else 1)
    return (since.days * 86400 + since.seconds - east) * 10**9 + int((match[7] or "0").ljust(9, "0"))


def requires_python(value: Any) -> str | None:
    """The specifier as it is spelled on the page (PEP 345)."""
    is_fit = isinstance(value, str) and 0 < len(value) <= MAX_REQUIRES_PYTHON and value.isprintable()
    return value if is_fit else None


def yanked(value: Any) -> str | None:
    """The reason, maybe '', why the file was yanked (PEP 592); None if it was not."""
    if value is True:
        return ""
    return line_of(value, MAX_REASON) if isinstance(value, str) and value else None


def metadata(row: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the index serves the file's metadata, and the sha256 of that, '' if the page does not say (PEP 714).

    Metadata with a broken sha256 count as missing.
    """
    value: Any = False
    for name in _METADATA:
        if name in row:
            value = row[name]
            break
    if not isinstance(value, Mapping):
        return value is True, ""
    sha256 = digest("sha256", value.get("sha256"))
    return bool(sha256) or "sha256" not in value, sha256


def versions(value: Any) -> tuple[str, ...]:
    """Each version once (PEP 700)."""
    if not isinstance(value, list) or len(value) > MAX_VERSIONS:
        return ()
    fit = (each for each in value if isinstance(each, str) and len(each) <= _MAX_VERSION and _VERSION.fullmatch(each))
    return tuple(dict.fromkeys(fit))


def project_status(status: Any, reason: Any) -> ProjectStatus:
    """The marker (PEP 792); one that is not known means nothing."""
    if not isinstance(status, str) or status not in STATUSES:
        return ACTIVE
    return ProjectStatus(status, line_of(reason, MAX_REASON) if isinstance(reason, str) else "")
