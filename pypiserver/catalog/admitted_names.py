"""A filter of many patterns as a set: which of the catalog's names it admits.

SQLite takes more than a second to read a condition of 10,000 lines, on each connection and for each kind of list, and
0.15 s to compare 100,000 names with fifty lines that have exceptions. Sorted names are compared with all patterns in
some milliseconds here, and after that only those of projects that changed.

**Invariants:** a set belongs to one serial, and has only projects with files; a project that came later is missing
until the serial is read again, never shown by mistake; sets are bounded in bytes; a condition can be used while its
filter is referenced.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from packaging.utils import NormalizedName

from .name_filter import BEYOND, WILD, NameFilter, shortest

# A set of up to this many names is written into the condition, so that an index finds them.
FEW = 1000
# Of all sets of a catalog but the newest; each takes about this many bytes for a name.
MAX_BYTES = 64 << 20
_NAME_BYTES = 150
# A set follows a change of up to this many projects; after more of them it is made again.
MOST_CHANGED = 20
_NUMBERS = itertools.count(1)
_SETS: dict[int, frozenset[str]] = {}


class NameSet:
    """Names of projects, which SQLite finds by their ``number`` while this object exists."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.number = next(_NUMBERS)
        _SETS[self.number] = self.names
        weakref.finalize(self, _SETS.pop, self.number, None).atexit = False

    def listed(self) -> str:
        """The names as literals of SQL, with commas."""
        return ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(self.names)) or "NULL"


def is_in_set(number: int, name: str) -> bool:
    """Whether the set of that number has the name: SQLite's function ``in_set``."""
    return name in _SETS[number]


@dataclass(frozen=True, slots=True)
class ListedNames:
    """The projects of a ``catalog`` at a ``serial``.

    ``every`` reads those with a file; ``since`` reads those that changed after a serial, and how many files they have.
    """

    catalog: object
    serial: int
    every: Callable[[], Iterable[str]]
    since: Callable[[int], Sequence[tuple[str, int]]]


class _Known(NamedTuple):
    """A set, the filter whose condition it is, and the catalog and serial that it belongs to."""

    catalog: object
    serial: int
    found: NameSet
    narrowed: NameFilter


class AdmittedNames:
    """The sets of one catalog. ``condition`` writes that a column is in a set, for its database."""

    def __init__(self, condition: Callable[[str, NameSet], str]) -> None:
        self._condition = condition
        # By the key of a filter, the newest last.
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def of(self, names: NameFilter, listed: ListedNames) -> NameFilter:
        """The filter with a condition that any number of patterns makes no longer."""
        known = self._known.get(names.key)
        if known is None or known[:2] != (listed.catalog, listed.serial):
            found = self._followed(known, names, listed)
            if found is None:
                found = NameSet(admitted(names, sorted(listed.every())))
            narrowed = known.narrowed if known is not None and found is known.found else self._narrowed(names, found)
            known = _Known(listed.catalog, listed.serial, found, narrowed)
            self._keep(names.key, known)
        return known.narrowed

    def _narrowed(self, names: NameFilter, found: NameSet) -> NameFilter:
        return names.by_set(lambda column: self._condition(column, found), found.names)

    @staticmethod
    def _followed(known: _Known | None, names: NameFilter, listed: ListedNames) -> NameSet | None:
        """The known set after what changed since, the same one if that is nothing; None if it must be made again."""
        if known is None or known.catalog != listed.catalog or known.serial > listed.serial:
            return None
        changed = listed.since(known.serial)
        if len(changed) > MOST_CHANGED:
            return None
        here = {name for name, files in changed if files and names.admits(NormalizedName(name))}
        before = known.found.names.intersection(name for name, _ in changed)
        return known.found if here == before else NameSet((known.found.names - before) | here)

    def _keep(self, key: str, known: _Known) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = known
            size = sum(map(_size, self._known.values()))
            while size > MAX_BYTES and len(self._known) > 1:
                size -= _size(self._known.pop(next(iter(self._known))))


def _size(known: _Known) -> int:
    return _NAME_BYTES * len(known.found.names)


def admitted(names: NameFilter, every: Sequence[str]) -> set[str]:
    """Those of the names, which are sorted, that the filter admits."""
    known = frozenset(every)
    found: set[str] | None = None
    for lines in names.joined:
        some: set[str] = set()
        for line in lines:
            some |= _covered(line.included, every, known) - _covered(line.excluded, every, known)
        found = some if found is None else found & some
    return set(every) if found is None else found


def _covered(patterns: Iterable[str], every: Sequence[str], known: frozenset[str]) -> set[str]:
    """The names that one of the patterns covers; those of a beginning are neighbors."""
    found: set[str] = set()
    begins: set[str] = set()
    wild: dict[str, list[str]] = {}
    for text in patterns:
        begin = WILD.split(text, maxsplit=1)[0]
        if begin == text:
            found.update(known & {text})
        elif text == f"{begin}*":
            begins.add(begin)
        else:
            wild.setdefault(begin, []).append(text)
    for begin in shortest(begins):
        found.update(_beginning(begin, every))
    for begin, texts in wild.items():
        matches = [re.compile(fnmatch.translate(text)).match for text in texts]
        found.update(name for name in _beginning(begin, every) if any(match(name) for match in matches))
    return found


def _beginning(begin: str, every: Sequence[str]) -> Sequence[str]:
    return every[bisect_left(every, begin) : bisect_left(every, begin + BEYOND)]
