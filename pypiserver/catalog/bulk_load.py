"""Filling an empty catalog from a first scan: all rows at once, where other changes go row by row.

**Invariants:** one transaction, so that no reader sees half of an index; database indexes are created after the rows,
which sorts them once; the rows of projects are counted in one pass over the files; the project list is made later (see
:mod:`catalog.project_list`), because clients wait for the Simple API and do not use that list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from . import statements
from .database import Connection
from .rows import SeenFile, beside_ns, undecided

# 850 parameters: SQLite took at most 999 until 2020. One statement for each row doubles the time of the whole fill.
ROWS = 50
_COLUMNS = (
    "root, path, size, mtime_ns, inode, sidecars, ctime_ns, beside_ns, filename, project, name, version, kind, "
    "yanked, has_signature, has_provenance, undecided, visible, sha256, link_digest, summary, keywords, fault"
)
_ROW = f"({', '.join('?' * 17)}, 1, '', '', '', '', '')"
_FILL_PROJECTS = f"""
    INSERT INTO project (name, serial, files, display, changed_ns)
    SELECT f.project, :serial, SUM(f.visible), COALESCE(MIN(CASE WHEN f.visible = 1 THEN f.name END), ''),
        COALESCE(MAX(CASE WHEN f.visible = 1 THEN {statements.CHANGED} END), 0)
    FROM file f WHERE 1 = 1 GROUP BY f.project
    ON CONFLICT (name) DO UPDATE SET
        serial = excluded.serial, files = excluded.files, display = excluded.display, changed_ns = excluded.changed_ns
"""


def fill(connection: Connection, found: Iterable[SeenFile], indexes: Mapping[str, str]) -> None:
    """Insert every file of a scan; ``indexes`` (name to statement) are dropped meanwhile. Part of a transaction."""
    for name in indexes:
        connection.execute(f"DROP INDEX {name}")
    _insert(connection, found)
    for statement in indexes.values():
        connection.execute(statement)
    double = connection.execute(statements.SELECT_DOUBLE_NAMES).fetchall()
    connection.executemany(statements.CHOOSE_VISIBLE, [{"filename": name} for (name,) in double])
    if connection.execute("SELECT 1 FROM file LIMIT 1").fetchone():
        connection.execute(statements.NEXT_SERIAL)
        (serial,) = connection.execute(statements.SELECT_SERIAL).fetchone()
        connection.execute(_FILL_PROJECTS, {"serial": serial})


def _insert(connection: Connection, found: Iterable[SeenFile]) -> None:
    """Insert the rows; a file that has a row by now was scanned later by another process, so that row stays."""
    files = iter(found)
    rest: list[SeenFile] = []

    def runs() -> Iterator[list[object]]:
        while run := list(itertools.islice(files, ROWS)):
            if len(run) < ROWS:
                rest.extend(run)
            else:
                yield _parameters(run)

    connection.executemany(_statement(ROWS), runs())
    connection.executemany(_statement(1), [_parameters([file]) for file in rest])


def _statement(rows: int) -> str:
    return f"INSERT INTO file ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)} ON CONFLICT (root, path) DO NOTHING"


def _parameters(files: list[SeenFile]) -> list[object]:
    parameters: list[object] = []
    for root, path, row, dist, yanked, has_signature, has_provenance, _ in files:
        parameters += (root, path, *row, beside_ns(row.sidecars))
        parameters += (dist.filename, dist.project, dist.name, dist.version, dist.kind, yanked)
        parameters += (int(has_signature), int(has_provenance), undecided(dist))
    return parameters
