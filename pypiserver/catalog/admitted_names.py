"""A filter of many patterns as a set: which of the catalog's names it admits.

SQLite takes more than a second to read a condition of 10,000 lines, on each connection and for each kind of list, and
0.15 s to compare 100,000 names with fifty lines that have exceptions. Sorted names are compared with all patterns in
some milliseconds here, once for each serial of the catalog.

**Invariants:** a set belongs to one serial; a project that came later is missing until the serial is read again, never
shown by mistake; sets are bounded in bytes; a condition can be used while its filter is referenced.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from .name_filter import BEYOND, WILD, NameFilter, shortest

# A set of up to this many names is written into the condition, so that an index finds them.
FEW = 1000
# Of all sets of a catalog but the newest; each takes about this many bytes for a name.
MAX_BYTES = 64 << 20
_NAME_BYTES = 150
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


class AdmittedNames:
    """The sets of one catalog. ``condition`` writes that a column is in a set, for its database."""

    def __init__(self, condition: Callable[[str, NameSet], str]) -> None:
        self._condition = condition
        # By the key of a filter, the newest last: the state of the catalog, the filter, and its bytes.
        self._known: dict[str, tuple[object, NameFilter, int]] = {}
        self._lock = threading.Lock()

    def of(self, names: NameFilter, state: object, every: Callable[[], Iterable[str]]) -> NameFilter:
        """The filter with a condition that any number of patterns makes no longer.

        ``state`` is the catalog's, in which ``every`` reads its names.
        """
        known = self._known.get(names.key)
        if known is None or known[0] != state:
            found = NameSet(admitted(names, sorted(every())))
            narrowed = names.by_set(lambda column: self._condition(column, found))
            known = state, narrowed, _NAME_BYTES * len(found.names)
            self._keep(names.key, known)
        return known[1]

    def _keep(self, key: str, known: tuple[object, NameFilter, int]) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = known
            size = sum(each[2] for each in self._known.values())
            while size > MAX_BYTES and len(self._known) > 1:
                size -= self._known.pop(next(iter(self._known)))[2]


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
    texts = frozenset(patterns)
    found = set(known & texts)
    begins = {text[:-1] for text in texts if text.endswith("*") and not WILD.search(text[:-1])}
    for begin in shortest(begins):
        found.update(_beginning(begin, every))
    by_begin: dict[str, list[str]] = {}
    for text in texts:
        begin = WILD.split(text, maxsplit=1)[0]
        if text != begin and text[:-1] not in begins:
            by_begin.setdefault(begin, []).append(text)
    for begin, some in by_begin.items():
        matches = [re.compile(fnmatch.translate(text)).match for text in some]
        found.update(name for name in _beginning(begin, every) if any(match(name) for match in matches))
    return found


def _beginning(begin: str, every: Sequence[str]) -> Sequence[str]:
    return every[bisect_left(every, begin) : bisect_left(every, begin + BEYOND)]
