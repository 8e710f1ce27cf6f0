"""What is withheld of a page, as values for its JSON and for its table for people.

**Invariants:** functions are pure; there is no text from outside but names of files, which our own parser accepted, and
reasons from the operator's lists; templates escape both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import NamedTuple

from .file_rules import OF_TIME, shown, shown_span
from .values import Withheld

# The key of a project's page in JSON; a name that begins with "_" is private (PEP 691, PEP 700).
KEY = "_withheld"
_TIMELESS = "no upload time"
# What the files of a rule are, after their number.
_WORDS = {
    _TIMELESS: "without an upload time",
    "min-age": "too young",
    "not-after": "newer than this server gives out",
    "deny-projects": "denied",
    "allow-projects": "not allowed",
    "formats": "of a kind that is not allowed",
    "platforms": "for other platforms",
    "pythons": "for other Pythons",
    "max-file-size": "too large",
}
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


def summary_of(withheld: Iterable[Withheld]) -> str:
    """A sentence that says how many files are withheld, by which rules, and when the first of them is given out."""
    by_rule: dict[str, list[Withheld]] = {}
    for each in withheld:
        is_timeless = each.rule in OF_TIME and each.until is None and each.file.uploaded_ns is None
        by_rule.setdefault(_TIMELESS if is_timeless else each.rule, []).append(each)
    total = sum(map(len, by_rule.values()))
    groups = (f"{len(files):,} {_described(rule, files)}" for rule, files in by_rule.items())
    return f"{total:,} {'file is' if total == 1 else 'files are'} withheld: {', '.join(groups)}." if total else ""


def _described(rule: str, files: list[Withheld]) -> str:
    """What the files of a rule have in common."""
    words = _WORDS.get(rule, f"by the rule {rule}")
    moments = [each.until for each in files if each.until is not None]
    if not moments:
        return words
    spans = {round(each.until - when) for each in files if each.until is not None and (when := _when(each))}
    words = f"younger than {shown_span(spans.pop())}" if len(spans) == 1 else words
    return f"{words} (the first is given out from {shown(min(moments), is_exact=True)})"


def _when(withheld: Withheld) -> float:
    """The upload time that counts, in seconds since the epoch, 0.0 if it is not known."""
    return (withheld.file.uploaded_ns or withheld.file.first_seen_ns) / 1e9


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
