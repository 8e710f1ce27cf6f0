"""The project list: one row for each project, as pages for people show it, and full-text search over these rows.

**Invariants:** a change of a project's files marks its row as outdated in the same transaction; the row is made again
from these files alone, by the next query for rows or by the indexer, whichever comes first; the cost of a query is that
of the rows it shows and of the outdated ones, never of all rows.

An upload would take a quarter longer if it made the row itself. An empty table is filled all at once. The full-text
index is the database's own (:mod:`catalog.full_text`); without one, LIKE answers the same queries more slowly.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from packaging.utils import NormalizedName

from ..distributions.filename import release_key
from ..model import Listed, Search, utc
from ..text import line_of, one_line
from . import dependencies
from .database import Connection, Cursor, Database, FullText, in_lists

TABLES = (
    # uploaded_ns and upload: when a file was last added, and of which version; yanked: how many files are yanked.
    # SQLite assigns the id; the full-text index refers to a row by it.
    """CREATE TABLE IF NOT EXISTS listing (
        id INTEGER PRIMARY KEY, project TEXT NOT NULL UNIQUE, name TEXT NOT NULL, version TEXT NOT NULL,
        upload TEXT NOT NULL, uploaded_ns BIGINT NOT NULL, files BIGINT NOT NULL, size BIGINT NOT NULL,
        yanked BIGINT NOT NULL, summary TEXT NOT NULL, keywords TEXT NOT NULL, needs TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX IF NOT EXISTS listing_by_date ON listing (uploaded_ns, project)",
    "CREATE INDEX IF NOT EXISTS listing_by_size ON listing (size, project)",
    "CREATE INDEX IF NOT EXISTS listing_yanked ON listing (project) WHERE yanked > 0",
    # The projects whose rows are outdated.
    "CREATE TABLE IF NOT EXISTS unlisted (project TEXT PRIMARY KEY)",
)
# Run for each project that has changed.
OUTDATE = "INSERT INTO unlisted (project) VALUES (:name) ON CONFLICT (project) DO NOTHING"
# More rows than this are indexed all at once, which costs a third of indexing them one by one.
BULK = 5000
# Ranking by relevance reads every match (about 1 us each), and a word of most summaries does not rank anything.
MAX_RANKED = 5000
MAX_SUMMARY = 300
MAX_KEYWORDS = 500
MAX_TEXT = 200
MAX_TERMS = 8

_COLUMNS = "project, name, version, upload, uploaded_ns, files, size, yanked, summary, keywords, needs"
_SELECT_FACTS = "SELECT project, name, version, mtime_ns, size, yanked, summary, keywords, needs FROM file"
_SELECT_FACTS_OF = f"{_SELECT_FACTS} WHERE project IN ({{names}}) AND visible = 1"
_SELECT_ALL_FACTS = f"{_SELECT_FACTS} WHERE visible = 1 ORDER BY project"
_SELECT_ROWS_OF = f"SELECT {_COLUMNS}, id FROM listing WHERE project IN ({{names}})"  # noqa: S608
_SELECT_ALL_ROWS = f"SELECT {_COLUMNS}, id FROM listing"  # noqa: S608
_UPSERT = f"""
    INSERT INTO listing ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (project) DO UPDATE SET name = excluded.name, version = excluded.version, upload = excluded.upload,
        uploaded_ns = excluded.uploaded_ns, files = excluded.files, size = excluded.size, yanked = excluded.yanked,
        summary = excluded.summary, keywords = excluded.keywords, needs = excluded.needs
"""  # noqa: S608
_DELETE = "DELETE FROM listing WHERE project = ?"

_SELECT_ANY = "SELECT 1 FROM listing LIMIT 1"
_SELECT_UNLISTED = "SELECT project FROM unlisted"
_SELECT_ANY_UNLISTED = "SELECT 1 FROM unlisted LIMIT 1"
_DELETE_UNLISTED = "DELETE FROM unlisted"
_SELECT_ANY_PROJECT = "SELECT 1 FROM project WHERE files > 0 LIMIT 1"
_SELECT_SHOWN = """
    SELECT l.project, l.name, l.version, l.upload, l.uploaded_ns, l.files, l.size, l.yanked, l.summary, p.status, l.id
    FROM listing l LEFT JOIN project p ON p.name = l.project WHERE l.id IN ({numbers})
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
    "marked": "l.project IN (SELECT name FROM project WHERE status <> '')",
}

StartupInfo = Sequence[Any]
Rows = dict[str, tuple[Any, ...]]


def _make_outdated(connection: Connection, search: FullText | None) -> None:
    """Make the outdated rows again; part of a transaction."""
    names = sorted(name for (name,) in connection.execute(_SELECT_UNLISTED).fetchall())
    if connection.execute(_SELECT_ANY).fetchone():
        _make_rows(connection, names, search)
    else:
        _make_all(connection, search)
    connection.execute(_DELETE_UNLISTED)


def _make_rows(connection: Connection, names: Sequence[str], search: FullText | None) -> None:
    """Make the rows of these projects again from their files."""
    is_bulk = len(names) > BULK
    # All queries are sent before the first answer is read, because each may be a network round trip.
    asked = [] if is_bulk else [_questions(connection, *some) for some in in_lists(names)]
    known, made = _all_of(connection, names) if is_bulk else _answers(asked)
    rows = ((name, made.get(name)) for name in names)
    changes = [
        (known.get(name), row) for name, row in rows if row is None or name not in known or known[name][:-1] != row
    ]
    connection.executemany(_UPSERT, [new for _, new in changes if new is not None])
    connection.executemany(_DELETE, [(old[0],) for old, new in changes if old is not None and new is None])
    if is_bulk:
        dependencies.rebuild(connection)
    else:
        dependencies.update(connection, changes)
    if search is not None and is_bulk:
        search.rebuild(connection)
    elif search is not None:
        search.update(connection, changes)


def _make_all(connection: Connection, search: FullText | None) -> None:
    with connection.stream(_SELECT_ALL_FACTS) as rows:
        groups = itertools.groupby(rows, key=itemgetter(0))
        connection.executemany(_UPSERT, (_row(list(group)) for _, group in groups))
    dependencies.rebuild(connection)
    if search is not None:
        search.rebuild(connection)


def _questions(connection: Connection, listed: str, values: Mapping[str, Any]) -> tuple[Cursor, Cursor]:
    """The present rows of these projects, and the files from which their new rows are made."""
    return (
        connection.execute(_SELECT_ROWS_OF.format(names=listed), values),
        connection.execute(_SELECT_FACTS_OF.format(names=listed), values),
    )


def _answers(asked: Iterable[tuple[Cursor, Cursor]]) -> tuple[Rows, Rows]:
    """By project: the present rows, and the new rows."""
    known: Rows = {}
    facts: dict[str, list[StartupInfo]] = {}
    for rows, files in asked:
        known.update((row[0], row) for row in rows)
        for file in files:
            facts.setdefault(file[0], []).append(file)
    return known, {name: _row(each) for name, each in facts.items()}


def _all_of(connection: Connection, names: Iterable[str]) -> tuple[Rows, Rows]:
    """The present and new rows of many projects, in one pass over all projects."""
    with connection.stream(_SELECT_ALL_ROWS) as all_rows:
        known = {row[0]: row for row in all_rows}
    wanted = set(names)
    with connection.stream(_SELECT_ALL_FACTS) as files:
        groups = itertools.groupby(files, key=itemgetter(0))
        return known, {name: _row(list(group)) for name, group in groups if name in wanted}


def _row(files: list[StartupInfo]) -> tuple[Any, ...]:
    """The row of a project with these files, from its newest release."""
    kept = {file[2] for file in files if file[5] is None}
    # The highest final release, else the highest of all; a yanked one only when all are yanked.
    newest = max(files, key=lambda file: (file[2] in kept, release_key(file[2])))
    release = [file for file in files if file[2] == newest[2]]
    last = max(files, key=lambda file: file[3])
    return (
        newest[0],
        next((file[1] for file in release if "_" not in file[1]), newest[1]),
        newest[2],
        last[2],
        last[3],
        len(files),
        sum(file[4] for file in files),
        sum(file[5] is not None for file in files),
        line_of(next((file[6] for file in release if file[6]), ""), MAX_SUMMARY),
        one_line(next((file[7] for file in release if file[7]), ""))[:MAX_KEYWORDS],
        " ".join(sorted({name for file in release for name in file[8].split()})),
    )


class ProjectList:
    """Queries of the project list in ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = database.search

    def complete(self) -> None:
        """Make missing and outdated rows; writes nothing when there are none."""
        if self._ask(_SELECT_ANY_UNLISTED) or (not self._ask(_SELECT_ANY) and self._ask(_SELECT_ANY_PROJECT)):
            with self._database.transaction() as connection:
                _make_outdated(connection, self._search)

    def newest(self, limit: int) -> list[Listed]:
        """The projects with the latest uploads, the latest first."""
        return self.find(Search(sort="date", limit=limit))[1]

    def present(self, names: Iterable[str]) -> set[str]:
        """The subset of these projects (normalized names) that is here."""
        statement = "SELECT name FROM project WHERE name = :name AND files > 0"
        return {name for name in set(names) if self._ask(statement, name=name)}

    def needing(self, name: str, limit: int) -> tuple[int, list[tuple[str, str]]]:
        """How many projects need this one, and (normalized name, name) of the first ``limit``."""
        self.complete()
        total = self._ask(dependencies.SELECT_COUNT, needed=name)[0][0]
        return total, self._ask(dependencies.SELECT_NEEDING, needed=name, limit=limit) if total else []

    def summaries(self) -> list[tuple[str, str, str]]:
        """(name, version, summary) of every project's newest release, by project."""
        self.complete()
        return self._ask("SELECT name, version, summary FROM listing ORDER BY project")

    def find(self, search: Search) -> tuple[int, list[Listed]]:
        """How many projects match, and the projects of the requested page, in its order."""
        self.complete()
        words = self._search
        for condition, parameters in self._conditions(search.text):
            parameters = {**parameters, "needs": search.needs} if search.needs else parameters
            where = f"{condition} AND {_filter(search)}"
            has_words = words is not None and condition == words.matches
            counting = f"SELECT COUNT(*) FROM listing l WHERE {where}"  # noqa: S608
            if words is not None and has_words and not (search.show or search.needs):
                counting = words.counted
            total = self._ask(counting, **parameters)[0][0]
            if total:
                ids = self._ids(search, where, parameters, is_ranked=has_words and total <= MAX_RANKED)
                return total, list(self._shown(ids))
        return 0, []

    def _shown(self, ids: Sequence[int]) -> Iterator[Listed]:
        for numbers, values in in_lists(ids):
            rows = self._ask(_SELECT_SHOWN.format(numbers=numbers), **values)
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

    def _ids(self, search: Search, where: str, parameters: Mapping[str, str], *, is_ranked: bool) -> list[int]:
        """The ids of the rows to show; rows before the page are skipped in an index and never read."""
        window = {**parameters, "limit": search.limit, "offset": search.offset}
        order = _ORDERS.get(search.sort)
        if order is not None or "exact" not in parameters:
            return self._window("listing l", where, order or _ORDERS["name"], window)
        words = self._search
        if is_ranked and words is not None:
            where = where.replace(words.matches, words.found)
            rank = f"(l.project = :exact) DESC, {_NAMED} DESC, {words.rank}, l.project"
            return self._window(words.source, where, rank, window)
        # Names that begin with the text come first; the matches of the full text include all of them.
        filtered = f"{_NAMED} AND {_filter(search)}"
        named = self._ask(f"SELECT COUNT(*) FROM listing l WHERE {filtered}", **parameters)[0][0]  # noqa: S608
        ids = self._window("listing l", filtered, "l.project", window) if search.offset < named else []
        window["limit"] = search.limit - len(ids)
        window["offset"] = max(0, search.offset - named)
        return ids + self._window("listing l", f"{where} AND NOT {_NAMED}", "l.project", window)

    def _window(self, source: str, where: str, order: str, window: Mapping[str, object]) -> list[int]:
        statement = f"SELECT l.id FROM {source} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608
        return [number for (number,) in self._ask(statement, **window)]

    def _ask(self, statement: str, **parameters: object) -> list[Any]:
        with self._database.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


def _filter(search: Search) -> str:
    return f"{_FILTERS[search.show]} AND {dependencies.CONDITION}" if search.needs else _FILTERS[search.show]


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
