"""What is withheld of a page, as values for its JSON and for its table for people.

**Invariants:** functions are pure; there is no text from outside but names of files, which our own parser accepted, and
reasons from the operator's lists; templates escape both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import NamedTuple

from .values import Withheld

# The key of a project's page in JSON; a name that begins with "_" is private (PEP 691, PEP 700).
KEY = "_withheld"
# Rows of the table for people, and of the list in JSON.
MAX_ROWS = 1000


class WithheldRow(NamedTuple):
    """A row of the table for people; ``until`` is in UTC, None if that is not known."""

    filename: str
    rule: str
    reason: str
    until: datetime | None


def rows_of(withheld: Iterable[Withheld]) -> tuple[list[WithheldRow], int]:
    """The rows of the table, those that are given out soonest first, and how many more there are."""
    known = sorted(withheld, key=lambda each: (each.until is None, each.until or 0.0, each.file.filename))
    rows = [WithheldRow(each.file.filename, each.rule, each.reason, _moment(each.until)) for each in known[:MAX_ROWS]]
    return rows, len(known) - len(rows)


def json_of(withheld: Iterable[Withheld]) -> list[dict[str, str | None]]:
    """The value of the key ``_withheld`` of a page in JSON, for programs; ``until`` is in RFC 3339, null if unknown."""
    rows, _ = rows_of(withheld)
    return [
        {
            "filename": row.filename,
            "rule": row.rule,
            "reason": row.reason,
            "until": None if row.until is None else row.until.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        for row in rows
    ]


def _moment(until: float | None) -> datetime | None:
    """The first whole second at which it is given out."""
    try:
        return None if until is None else datetime.fromtimestamp(-(-until // 1), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
