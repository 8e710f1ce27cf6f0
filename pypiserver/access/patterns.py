"""Patterns of project names, as rights and tokens have them: ``*`` is any text, ``?`` is one character.

``acme-*`` covers projects, ``!acme-secret-*`` removes some from the same list. There is no other syntax, so that a
pattern means the same in SQL (``LIKE``).

**Invariants:** patterns are in normal form (PEP 503) when made, and are compared with normalized names only; a decision
takes time linear in the length of the name, whatever the pattern.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from packaging.utils import NormalizedName

from ..distributions.filename import MAX_FILENAME, normalize

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]+")


@dataclass(frozen=True, slots=True)
class Patterns:
    """The projects that a pattern of ``included`` covers and none of ``excluded`` does; all patterns normalized."""

    included: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    _covers: Matcher = field(init=False, repr=False, compare=False)
    _lacks: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_covers", Matcher(self.included))
        object.__setattr__(self, "_lacks", Matcher(self.excluded))

    @property
    def count(self) -> int:
        """How many patterns these are."""
        return len(self.included) + len(self.excluded)

    def matches(self, project: NormalizedName) -> bool:
        """Whether they cover this project."""
        return self._covers(project) and not self._lacks(project)


class Matcher:
    """Whether one of many normalized patterns matches a name: one look-up, one comparison of starts, then the rest."""

    __slots__ = ("_exact", "_rest", "_starts")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, starts, rest = set(), [], []
        for pattern in patterns:
            if is_exact(pattern):
                exact.add(pattern)
            elif is_exact(pattern[:-1]) and pattern.endswith("*"):
                starts.append(pattern[:-1])
            else:
                # Its patterns never step back over a "*", so no name takes long. It treats brackets specially, which
                # no pattern of ours has.
                rest.append(re.compile(fnmatch.translate(pattern)).match)
        self._exact, self._starts, self._rest = frozenset(exact), tuple(starts), tuple(rest)

    def __call__(self, name: str) -> bool:
        """Whether a pattern matches."""
        if name in self._exact or name.startswith(self._starts):
            return True
        return any(match(name) for match in self._rest)


def is_project(name: str) -> bool:
    """Whether it can be the name of a project, in any spelling (PEP 508)."""
    return len(name) <= MAX_FILENAME and _NAME.fullmatch(name) is not None


def is_exact(pattern: str) -> bool:
    """Whether the pattern is a name: it matches nothing else."""
    return "*" not in pattern and "?" not in pattern


def read_patterns(words: Iterable[str]) -> Patterns:
    """The patterns of these words, in any spelling of names; raises ValueError that says what is wrong.

    A word that begins with ``!`` removes what the other words cover.
    """
    included: list[str] = []
    excluded: list[str] = []
    for word in words:
        kept = excluded if word.startswith("!") else included
        pattern = word.removeprefix("!")
        if not _PATTERN.fullmatch(pattern) or len(pattern) > MAX_FILENAME:
            raise ValueError(
                f"{word!r} is not a pattern of project names: it may have letters, digits, '-', '_', '.', '*' and '?'"
            )
        kept.append(str(normalize(pattern)))
    if not included:
        raise ValueError("it names no project; '*' is every project")
    return Patterns(tuple(dict.fromkeys(included)), tuple(dict.fromkeys(excluded)))
