"""Which projects a list may contain, by patterns of names: as a test of one name, and as a condition in SQL.

A filter is a disjunction of lines, and two filters may be joined; a line admits the names that one of its patterns
covers and none of those it excludes. ``*`` is any text, ``?`` is one character, as ``%`` and ``_`` in LIKE.

**Invariants:** :meth:`NameFilter.admits` and :meth:`NameFilter.sql` agree about every normalized name (PEP 503);
filters that are made of equal lines have equal keys, and the key "" is that of the filter that admits everything;
patterns consist of letters, digits, ``-``, ``*`` and ``?``, so a condition can contain them as literals: their number
is not limited by that of a statement's parameters.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from packaging.utils import NormalizedName

_PATTERN = re.compile(r"[a-z0-9*?-]+")
WILD = re.compile(r"[*?]")
# Sorts after every character of a normalized name.
BEYOND = "~"
_ALL = "1 = 1"
# Takes the place of the column in a condition that is kept; no pattern contains it.
_COLUMN = "@"
# A condition of more patterns is costly, and one of more than FEW lines whose exceptions differ: they make no tree.
MANY = 500
# A search tree's leaves have at most this many ranges.
FEW = 8
_AS_LIKE = str.maketrans("*?", "%_")


class Line(Protocol):
    """Normalized patterns of names, and those of the names that they do not cover."""

    @property
    def included(self) -> tuple[str, ...]:
        """The patterns of what the line admits."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """The patterns of what it does not admit all the same."""

    def matches(self, project: NormalizedName, /) -> bool:
        """Whether the line admits this project."""


@dataclass(frozen=True, slots=True)
class NameFilter:
    """The names that a class of principals may see; ``key`` names the class, equal filters have equal keys."""

    key: str
    # The lines of each of the filters that are joined: all of these must admit a name.
    joined: tuple[tuple[Line, ...], ...] = field(default=(), compare=False, repr=False)
    # Whether a database takes long to read its condition, or to compare all rows with it.
    is_costly: bool = field(default=False, compare=False, repr=False)
    # The condition, for scans and for look-ups: of 10,000 patterns it takes 0.4 seconds to write.
    _texts: dict[bool, str] = field(default_factory=dict, compare=False, repr=False)
    # The condition of a set of names, which takes the place of the patterns, and these names.
    _in_set: Callable[[str], str] | None = field(default=None, compare=False, repr=False)
    listed: frozenset[str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, lines: Iterable[Line]) -> NameFilter:
        """The filter that admits what one of the lines admits; EVERYTHING itself if a line admits all names.

        Raises ValueError for a pattern that is not normalized.
        """
        some = tuple(lines)
        condition = _any_of("name", some)
        return EVERYTHING if condition == _ALL else cls(_digest(condition), (some,), is_costly=_is_costly(some))

    def within(self, other: NameFilter) -> NameFilter:
        """The filter that admits what both admit."""
        if not self.key or not other.key or self.key == other.key:
            return self if self.key else other
        key = _digest(" ".join(sorted((self.key, other.key))))
        return NameFilter(key, self.joined + other.joined, is_costly=self.is_costly or other.is_costly)

    def by_set(self, in_set: Callable[[str], str], listed: frozenset[str]) -> NameFilter:
        """The same filter with another condition: ``in_set`` writes for a column that it is one of the ``listed``."""
        return replace(self, _in_set=in_set, listed=listed)

    def is_all(self) -> bool:
        """Whether it admits every name."""
        return not self.key

    def admits(self, project: NormalizedName) -> bool:
        """Whether a list may contain this project."""
        return all(any(line.matches(project) for line in lines) for lines in self.joined)

    def sql(self, column: str, *, is_scanned: bool = False) -> str:
        """The condition for rows whose ``column`` has the normalized name of a project that it admits.

        ``is_scanned`` is for a query that reads most rows: each is compared with few of many beginnings, as in a
        search tree. Otherwise each beginning is looked up in an index.
        """
        if self._in_set is not None:
            return self._in_set(column)
        text = self._texts.get(is_scanned)
        if text is None:
            conditions = [_any_of(_COLUMN, lines, is_scanned=is_scanned) for lines in self.joined]
            text = self._texts[is_scanned] = " AND ".join(conditions) or _ALL
        return text.replace(_COLUMN, column)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_costly(lines: Iterable[Line]) -> bool:
    patterns = [(len(line.included) + len(line.excluded), frozenset(line.excluded)) for line in lines]
    return sum(count for count, _ in patterns) > MANY or len({excluded for _, excluded in patterns}) > FEW


def _any_of(column: str, lines: Iterable[Line], *, is_scanned: bool = False) -> str:
    """The condition for the names that a line admits, the same text for the same patterns in another order."""
    by_excluded: dict[frozenset[str], set[str]] = {}
    for line in lines:
        by_excluded.setdefault(frozenset(_checked(line.excluded)), set()).update(_checked(line.included))
    groups = sorted((sorted(included), sorted(excluded)) for excluded, included in by_excluded.items())
    conditions = []
    for included, excluded in groups:
        condition = _covered(column, included, is_scanned=is_scanned)
        lacks = f" AND NOT {_covered(column, excluded, is_scanned=is_scanned)}" if excluded else ""
        conditions.append(f"({condition}{lacks})" if lacks else condition)
    return _ALL if _ALL in conditions else _either(conditions)


def _checked(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is not a pattern of normalized names.")
        yield re.sub(r"\*+", "*", pattern)


def _covered(column: str, patterns: Iterable[str], *, is_scanned: bool) -> str:
    """The condition for the names that a pattern covers; beginnings are ranges, which an index of names answers."""
    texts = set(patterns)
    begins = shortest(text[:-1] for text in texts if text.endswith("*") and not WILD.search(text[:-1]))
    if begins == ("",):
        return _ALL
    others = sorted(text for text in texts if not _begins_with(begins, text))
    whole = [f"'{text}'" for text in others if not WILD.search(text)]
    by_begin: dict[str, list[str]] = {begin: [] for begin in begins}
    for pattern in filter(WILD.search, others):
        like = f"{column} LIKE '{pattern.translate(_AS_LIKE)}'"
        by_begin.setdefault(WILD.split(pattern, maxsplit=1)[0], []).append(like)
    conditions = by_begin.pop("", [])
    if by_begin:
        conditions.append(_ranges(column, by_begin, is_scanned=is_scanned))
    if whole:
        conditions.append(f"{column} IN ({', '.join(whole)})")
    return _either(conditions)


def shortest(begins: Iterable[str]) -> tuple[str, ...]:
    """Those that begin with no other one, sorted."""
    kept: list[str] = []
    for begin in sorted(set(begins)):
        if not kept or not begin.startswith(kept[-1]):
            kept.append(begin)
    return tuple(kept)


def _begins_with(begins: Sequence[str], text: str) -> bool:
    """Whether the text begins with one of these, which are sorted; none of them begins with another."""
    place = bisect_right(begins, text)
    return place > 0 and text.startswith(begins[place - 1])


def _ranges(column: str, by_begin: Mapping[str, Sequence[str]], *, is_scanned: bool) -> str:
    """The condition for names with one of these beginnings that also meet one of its conditions, if it has any."""
    ranges: dict[str, list[str]] = {begin: [] for begin in shortest(by_begin)}
    first = ""
    for begin, conditions in sorted(by_begin.items()):
        first = begin if begin in ranges else first
        found = f"({column} >= '{begin}' AND {column} < '{begin}{BEYOND}')"
        ranges[first].append(f"({found} AND {_either(conditions)})" if conditions else found)
    leaves = [(begin, _either(conditions)) for begin, conditions in ranges.items()]
    return _tree(column, leaves) if is_scanned else _either([condition for _, condition in leaves])


def _tree(column: str, leaves: Sequence[tuple[str, str]]) -> str:
    """The disjunction as a search tree: no name has two of these beginnings, which are sorted."""
    if len(leaves) <= FEW:
        return _either([condition for _, condition in leaves])
    middle = len(leaves) // 2
    below, above = _tree(column, leaves[:middle]), _tree(column, leaves[middle:])
    return f"CASE WHEN {column} < '{leaves[middle][0]}' THEN {below} ELSE {above} END"


def _either(conditions: Sequence[str]) -> str:
    """The disjunction as a balanced tree: SQLite takes expressions of at most 1,000 levels."""
    if len(conditions) < 2:
        return conditions[0] if conditions else "1 = 0"
    middle = len(conditions) // 2
    return f"({_either(conditions[:middle])} OR {_either(conditions[middle:])})"


EVERYTHING = NameFilter("")
# Without a line, nothing is admitted.
NOTHING = NameFilter.of(())
