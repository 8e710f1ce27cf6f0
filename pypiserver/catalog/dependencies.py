"""Reverse dependencies: which projects the newest release of each project needs, indexed by the needed project.

**Invariants:** the rows are made in the same transaction as those of the list (:mod:`project_list`), from the list's
row of each project; all names are normalized (PEP 503), also those that only an extra needs; the cost of a query is
that of the rows it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .database import Change, Connection

TABLES = (
    """CREATE TABLE IF NOT EXISTS dependency (
        needed TEXT NOT NULL, project TEXT NOT NULL, PRIMARY KEY (needed, project)
    )""",
)
# The columns of a row of the list that have the project, and the names that it needs.
_PROJECT, _NEEDS = 0, 10
_INSERT = "INSERT INTO dependency (needed, project) VALUES (:needed, :project) ON CONFLICT (needed, project) DO NOTHING"
_DELETE = "DELETE FROM dependency WHERE needed = :needed AND project = :project"
# A condition on rows of the list, with the alias l.
CONDITION = "l.project IN (SELECT d.project FROM dependency d WHERE d.needed = :needs)"
# {names} is the condition of a filter of names (see name_filter) for d.project.
SELECT_NEEDING = """
    SELECT l.project, l.name FROM dependency d JOIN listing l ON l.project = d.project WHERE d.needed = :needed
    AND {names} ORDER BY d.project LIMIT :limit
"""
SELECT_COUNT = "SELECT COUNT(*) FROM dependency d WHERE d.needed = :needed AND {names}"


def update(connection: Connection, changes: Sequence[Change]) -> None:
    """Apply changes of the list: for each project its old row and its new one, None for none."""
    before = {pair for old, _ in changes for pair in _pairs(old)}
    after = {pair for _, new in changes for pair in _pairs(new)}
    # Each statement may be a network round trip.
    for statement, pairs in ((_DELETE, before - after), (_INSERT, after - before)):
        if pairs:
            connection.executemany(statement, _rows(sorted(pairs)))


def rebuild(connection: Connection) -> None:
    """Make all rows again from the list."""
    connection.execute("DELETE FROM dependency")
    with connection.stream("SELECT project, needs FROM listing WHERE needs <> ''") as rows:
        pairs = ((name, project) for project, needs in rows for name in needs.split())
        connection.executemany(_INSERT, _rows(pairs))


def _pairs(row: Sequence[object] | None) -> Iterator[tuple[str, str]]:
    if row is not None:
        yield from ((name, str(row[_PROJECT])) for name in str(row[_NEEDS]).split())


def _rows(pairs: Iterable[tuple[str, str]]) -> Iterator[dict[str, object]]:
    return ({"needed": needed, "project": project} for needed, project in pairs)
