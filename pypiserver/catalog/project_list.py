"""The project list: one row for each project, as pages for people show it, and full-text search over these rows.

**Invariants:** a change of a project's files marks its row as outdated in the same transaction; the row is made again
from these files alone, by the next query for rows or by the indexer, whichever comes first; the cost of a query is that
of the rows it shows and of the outdated ones, never of all rows.

An upload would take a quarter longer if it made the row itself. An empty table is filled all at once. The full-text
index is the database's own (:mod:`catalog.full_text`); without one, LIKE answers the same queries more slowly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from packaging.utils import NormalizedName

from ..model import Listed, Search, utc
from . import dependencies
from .database import Database, in_lists
from .file_pages import GUESSED, of_projects
from .name_filter import EVERYTHING, NameFilter
from .project_rows import _SELECT_ANY, _make_outdated

# Ranking by relevance reads every match (about 1 us each), and a word of most summaries does not rank anything.
MAX_RANKED = 5000
MAX_TEXT = 200
MAX_TERMS = 8


_SELECT_ANY_UNLISTED = "SELECT 1 FROM unlisted LIMIT 1"
_SELECT_ANY_PROJECT = "SELECT 1 FROM project WHERE files > 0 LIMIT 1"
_SELECT_SHOWN = """
    SELECT l.project, l.name, l.version, l.upload, l.uploaded_ns, {files}, l.size, l.yanked, l.summary,
        CASE p.status WHEN 'private' THEN '' ELSE p.status END, l.id
    FROM listing l LEFT JOIN project p ON p.name = l.project WHERE l.id IN ({numbers})
"""
# Without files that may be of a hidden project.
_DECIDED = """
    l.files - (SELECT COUNT(*) FROM file u WHERE u.undecided <> '' AND u.visible = 1 AND u.project = l.project)
"""
_NAMED = "(l.project >= :exact AND l.project < :beyond)"
_ORDERS = {
    "name": "l.project",
    "-name": "l.project DESC",
    "date": "l.uploaded_ns DESC, l.project DESC",
    "-date": "l.uploaded_ns, l.project",
    "size": "l.size DESC, l.project DESC",
    "-size": "l.size, l.project",
}
_FILTERS = {
    "": "1 = 1",
    "yanked": "l.yanked > 0",
    "marked": "l.project IN (SELECT name FROM project WHERE status NOT IN ('', 'private'))",
}


class _Matched(NamedTuple):
    """The condition of the rows that a search found, its part that is no text, and how they are ranked, '' for not."""

    where: str
    filtered: str
    parameters: Mapping[str, str]
    rank: str


class ProjectList:
    """Queries of the project list in ``database``; ``names`` is what an answer may contain.

    No count, page or order of the admitted projects depends on another project.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = database.search

    def complete(self) -> None:
        """Make missing and outdated rows; writes nothing when there are none."""
        if self._ask(_SELECT_ANY_UNLISTED) or (not self._ask(_SELECT_ANY) and self._ask(_SELECT_ANY_PROJECT)):
            with self._database.transaction() as connection:
                _make_outdated(connection, self._search)

    def newest(self, limit: int, names: NameFilter = EVERYTHING) -> list[Listed]:
        """The projects with the latest uploads, the latest first."""
        return self.find(Search(sort="date", limit=limit), names)[1]

    def present(self, names: Iterable[str]) -> set[str]:
        """The subset of these projects (normalized names) that is here."""
        statement = "SELECT name FROM project WHERE name = :name AND files > 0"
        return {name for name in set(names) if self._ask(statement, name=name)}

    def needing(self, name: str, limit: int, names: NameFilter = EVERYTHING) -> tuple[int, list[tuple[str, str]]]:
        """How many projects need this one, and (normalized name, name) of the first ``limit``."""
        self.complete()
        admitted = of_projects(names, "d.project")
        total = self._ask(dependencies.SELECT_COUNT.format(names=admitted), needed=name)[0][0]
        needing = dependencies.SELECT_NEEDING.format(names=admitted)
        return total, self._ask(needing, needed=name, limit=limit) if total else []

    def summaries(self, names: NameFilter = EVERYTHING) -> list[tuple[str, str, str]]:
        """(name, version, summary) of every project's newest release, by project."""
        self.complete()
        where = of_projects(names, "project")
        return self._ask(f"SELECT name, version, summary FROM listing WHERE {where} ORDER BY project")

    def find(self, search: Search, names: NameFilter = EVERYTHING) -> tuple[int, list[Listed]]:
        """How many projects match, and the projects of the requested page, in its order."""
        self.complete()
        words = self._search
        filtered = _filter(search, names)
        for condition, parameters in self._conditions(search.text):
            parameters = {**parameters, "needs": search.needs} if search.needs else parameters
            where = f"{condition} AND {filtered}"
            has_words = words is not None and condition == words.matches
            total = self._count(search, names, where, parameters, has_words=has_words)
            if total:
                rank = (words.rank if names.is_all() else words.own_rank) if words is not None else ""
                matched = _Matched(where, filtered, parameters, rank if has_words and total <= MAX_RANKED else "")
                ids = self._ids(search, matched) if search.offset < total else []
                return total, list(self._shown(ids, names))
        return 0, []

    def _count(
        self, search: Search, names: NameFilter, where: str, parameters: Mapping[str, str], *, has_words: bool
    ) -> int:
        """How many rows meet the condition ``where`` of this search; ``has_words`` says that it asks the full text."""
        counting = f"SELECT COUNT(*) FROM listing l WHERE {where}"
        if has_words and self._search is not None and names.is_all() and not (search.show or search.needs):
            counting = self._search.counted
        elif names.listed is not None and not parameters and not search.show:
            # Every project with files has a row, so the names tell: asking SQLite for each took 30 ms of 100,000.
            return len(names.listed.difference(name for (name,) in self._ask(GUESSED)))
        return int(self._ask(counting, **parameters)[0][0])

    def _shown(self, ids: Sequence[int], names: NameFilter) -> Iterator[Listed]:
        files = "l.files" if names.is_all() else _DECIDED
        for numbers, values in in_lists(ids):
            rows = self._ask(_SELECT_SHOWN.format(numbers=numbers, files=files), **values)
            known = {row[-1]: row for row in rows}
            yield from (_listed(known[number]) for number in values.values() if number in known)

    def _conditions(self, text: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Conditions for a row with their parameters; each is used only when no row meets the one before."""
        terms = terms_of(text)
        if not text.strip():
            yield "1 = 1", {}
        if not terms:
            return
        # '~' sorts after every character of a name.
        exact = "-".join(terms)
        names = {"exact": exact, "beyond": f"{exact}~"}
        words = [term for term in terms if len(term) > 1]
        if words and self._search is not None:
            yield self._search.matches, {**names, "match": self._search.question(words)}
        elif words:
            parts = {f"word{number}": f"%{word}%" for number, word in enumerate(words)}
            either = "(l.name || ' ' || l.keywords || ' ' || l.summary)"
            yield " AND ".join(f"{either} LIKE :{name}" for name in parts), {**names, **parts}
        else:
            # A single letter would match half of all words.
            yield _NAMED, names
        # In the middle of a word, which the full-text index cannot find.
        yield "l.project LIKE :within", {**names, "within": f"%{exact}%"}

    def _ids(self, search: Search, matched: _Matched) -> list[int]:
        """The ids of the rows to show; rows before the page are skipped in an index and never read."""
        where, parameters = matched.where, matched.parameters
        window = {**parameters, "limit": search.limit, "offset": search.offset}
        order = _ORDERS.get(search.sort)
        if order is not None or "exact" not in parameters:
            return self._window("listing l", where, order or _ORDERS["name"], window)
        words = self._search
        if matched.rank and words is not None:
            where = where.replace(words.matches, words.found)
            rank = f"(l.project = :exact) DESC, {_NAMED} DESC, {matched.rank}, l.project"
            return self._window(words.source, where, rank, window)
        # Names that begin with the text come first; the matches of the full text include all of them.
        filtered = f"{_NAMED} AND {matched.filtered}"
        named = self._ask(f"SELECT COUNT(*) FROM listing l WHERE {filtered}", **parameters)[0][0]
        ids = self._window("listing l", filtered, "l.project", window) if search.offset < named else []
        window["limit"] = search.limit - len(ids)
        window["offset"] = max(0, search.offset - named)
        return ids + self._window("listing l", f"{where} AND NOT {_NAMED}", "l.project", window)

    def _window(self, source: str, where: str, order: str, window: Mapping[str, object]) -> list[int]:
        statement = f"SELECT l.id FROM {source} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset"
        return [number for (number,) in self._ask(statement, **window)]

    def _ask(self, statement: str, **parameters: object) -> list[Any]:
        with self._database.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


def _filter(search: Search, names: NameFilter) -> str:
    conditions = [
        _FILTERS[search.show],
        dependencies.CONDITION if search.needs else "",
        of_projects(names, "l.project"),
    ]
    return " AND ".join(each for each in conditions if each)


def terms_of(text: str) -> list[str]:
    """The distinct words of a search, split as the full-text index splits them; at most MAX_TERMS."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text[:MAX_TEXT]).casefold())
    return list(dict.fromkeys(words))[:MAX_TERMS]


def _listed(row: Sequence[Any]) -> Listed:
    return Listed(
        NormalizedName(row[0]),
        name=row[1],
        version=row[2],
        upload=row[3],
        uploaded_at=utc(row[4]),
        files=row[5],
        size=row[6],
        yanked=row[7],
        summary=row[8],
        status=row[9] or "",
    )
