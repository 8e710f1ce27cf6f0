"""The rows of the project list: one for each project, made from its newest release.

**Invariants:** a change of a project's files marks its row as outdated in the same transaction; outdated rows are made
again before anyone reads the list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from ..distributions.versions import newest_version
from ..text import line_of, one_line
from . import dependencies
from .database import Connection, Cursor, FullText, in_lists

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
MAX_SUMMARY = 300
MAX_KEYWORDS = 500
_COLUMNS = "project, name, version, upload, uploaded_ns, files, size, yanked, summary, keywords, needs"
_SELECT_FACTS = "SELECT project, name, version, mtime_ns, size, yanked, summary, keywords, needs FROM file"
_SELECT_FACTS_OF = f"{_SELECT_FACTS} WHERE project IN ({{names}}) AND visible = 1"
_SELECT_ALL_FACTS = f"{_SELECT_FACTS} WHERE visible = 1 ORDER BY project"
_SELECT_ROWS_OF = f"SELECT {_COLUMNS}, id FROM listing WHERE project IN ({{names}})"
_SELECT_ALL_ROWS = f"SELECT {_COLUMNS}, id FROM listing"
_UPSERT = f"""
    INSERT INTO listing ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (project) DO UPDATE SET name = excluded.name, version = excluded.version, upload = excluded.upload,
        uploaded_ns = excluded.uploaded_ns, files = excluded.files, size = excluded.size, yanked = excluded.yanked,
        summary = excluded.summary, keywords = excluded.keywords, needs = excluded.needs
"""
_DELETE = "DELETE FROM listing WHERE project = ?"
_SELECT_ANY = "SELECT 1 FROM listing LIMIT 1"
_SELECT_UNLISTED = "SELECT project FROM unlisted"
_DELETE_UNLISTED = "DELETE FROM unlisted"
FileRow = Sequence[Any]
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
    facts: dict[str, list[FileRow]] = {}
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


def _row(files: list[FileRow]) -> tuple[Any, ...]:
    """The row of a project with these files, from its newest release."""
    kept = {file[2] for file in files if file[5] is None}
    newest = newest_version((file[2] for file in files), kept)
    release = [file for file in files if file[2] == newest]
    last = max(files, key=lambda file: file[3])
    return (
        release[0][0],
        next((file[1] for file in release if "_" not in file[1]), release[0][1]),
        newest,
        last[2],
        last[3],
        len(files),
        sum(file[4] for file in files),
        sum(file[5] is not None for file in files),
        line_of(next((file[6] for file in release if file[6]), ""), MAX_SUMMARY),
        one_line(next((file[7] for file in release if file[7]), ""))[:MAX_KEYWORDS],
        " ".join(sorted({name for file in release for name in file[8].split()})),
    )
