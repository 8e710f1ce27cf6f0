"""The file list for people: by project, version and name, ignoring case, one page at a time.

**Invariants:** the cost of a page is that of the rows it shows and of their projects' rows, never of all rows; a search
for a part of a name reads :data:`WINDOW` files, then says where the next page continues.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..distributions.filename import as_filed, normalize
from ..distributions.filename_keys import folded
from ..distributions.versions import version_key
from ..errors import InvalidFilename
from .database import Database
from .name_filter import EVERYTHING, NameFilter

# Comparing as many names takes SQLite 20 to 50 ms.
WINDOW = 10_000
MAX_WORDS = 8
# The dash before the version in a file name.
_VERSION = re.compile(r"-(?=v?[0-9])")
# Sorts after every character of a project's name.
_BEYOND = "~"
_COLUMNS = "project, filename, path, size, mtime_ns, version"
_FOLDED = "LOWER(REPLACE(REPLACE(filename, '_', '-'), '.', '-'))"
_SELECT_END = "SELECT project FROM file WHERE project >= :project AND {names} ORDER BY project LIMIT 1 OFFSET :window"


class Place(NamedTuple):
    """A position in the list: of a file, or before all files of a project, or, where both are '', at the start."""

    project: str = ""
    filename: str = ""


START = Place()


class ListedFile(NamedTuple):
    """A file as a row of the list; ``size`` is in bytes, ``mtime_ns`` in nanoseconds since the epoch."""

    project: str
    filename: str
    path: str
    size: int
    mtime_ns: int


class _Row(NamedTuple):
    """A row of the catalog; the last column only sorts."""

    project: str
    filename: str
    path: str
    size: int
    mtime_ns: int
    version: str


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Up to ``limit`` files whose names contain all words of ``text``, after ``place`` or, backwards, before it.

    Unless ``is_anywhere``, the first word starts with the beginning of a project's name. Only a list without ``text``
    is read backwards.
    """

    text: str = ""
    place: Place = START
    is_backwards: bool = False
    is_anywhere: bool = False
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FilePage:
    """The files that were found, in order, and the places for the pages before and after, None without such a page."""

    files: tuple[ListedFile, ...]
    before: Place | None = None
    after: Place | None = None


class FileList:
    """Queries about the visible files in ``database``, for the file list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, search: FileSearch, names: NameFilter = EVERYTHING) -> FilePage:
        """The requested page of the list of files whose project ``names`` admits."""
        words = [folded(word).replace("%", "") for word in search.text.split()[:MAX_WORDS]]
        first = "" if search.is_anywhere else project_in(search.text)
        start = search.place if search.place != START else Place(first)
        parameters: dict[str, object] = {f"word{number}": f"%{word}%" for number, word in enumerate(words)}
        conditions = [of_files(names), *(f"{_FOLDED} LIKE :{name}" for name in parameters)]
        end = self._end(start, names) if words and not search.is_backwards else None
        if first:
            conditions.append("project >= :first AND project < :beyond")
            parameters |= {"first": first, "beyond": first + _BEYOND}
            end = None if end is not None and end >= first + _BEYOND else end
        if end is not None:
            # All files of the last project are read.
            conditions.append("project <= :end")
            parameters["end"] = end
        where = " AND ".join(["visible = 1", *conditions])
        return _page(search, self._rows(replace(search, place=start), where, parameters), end)

    def _end(self, start: Place, names: NameFilter) -> str | None:
        """The last project whose files a search from ``start`` reads; None when it reads all that follow."""
        rows = self._ask(_SELECT_END.format(names=of_files(names)), {"project": start.project, "window": WINDOW})
        return str(rows[0][0]) if rows else None

    def _rows(self, search: FileSearch, where: str, parameters: Mapping[str, object]) -> list[ListedFile]:
        """The files of the page, and one more if there is one, nearest to the place first.

        Versions are sorted here, so all that matches of a project is read, of the first and of the last one.
        """
        project, wanted = search.place.project, search.limit + 1
        sign, order = ("<", "DESC") if search.is_backwards else (">", "ASC")

        def ask(condition: str, name: str, limit: int = -1) -> list[_Row]:
            some = f" LIMIT {limit}" if limit >= 0 else ""
            statement = (
                f"SELECT {_COLUMNS} FROM file WHERE {where} AND project {condition} :project"
                f" ORDER BY project {order}{some}"
            )
            return [_Row(*row) for row in self._ask(statement, {**parameters, "project": name})]

        found = _beyond(search, ask("=", project)) if project else []
        if len(found) < wanted:
            more = ask(sign, project, wanted - len(found)) if project or not search.is_backwards else []
            if more and len(found) + len(more) == wanted:
                last = more[-1].project
                more = [*(row for row in more if row.project != last), *ask("=", last)]
            found += _sorted(more, is_backwards=search.is_backwards)
        return [ListedFile(*row[:-1]) for row in found[:wanted]]

    def _ask(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        with self._database.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


# Projects all of whose files may be of another one, until their metadata is read. Grouping these files by project would
# make SQLite read the rows of all files (25 ms of 100,000), not the index of the few.
GUESSED = """
    SELECT p.name FROM project p
    WHERE p.name IN (SELECT u.project FROM file u WHERE u.undecided <> '' AND u.visible = 1) AND p.files <= (
        SELECT COUNT(*) FROM file u WHERE u.project = p.name AND u.undecided <> '' AND u.visible = 1
    )
"""


def of_projects(names: NameFilter, column: str, *, is_scanned: bool = False) -> str:
    """The condition for rows of admitted projects; for some, without those that a hidden project's file may be of."""
    condition = names.sql(column, is_scanned=is_scanned)
    return condition if names.is_all() else f"{condition} AND {column} NOT IN ({GUESSED})"


def of_files(names: NameFilter) -> str:
    """The condition for rows of files whose project is admitted.

    A file of which only its metadata can tell the project is left out until it is read: that project may be hidden.
    """
    return names.sql("project") if names.is_all() else f"{names.sql('project')} AND undecided = ''"


def _key(row: _Row) -> tuple[Any, ...]:
    return row.project, version_key(row.version), row.filename.lower(), row.filename


def _sorted(rows: Iterable[_Row], *, is_backwards: bool) -> list[_Row]:
    return sorted(rows, key=_key, reverse=is_backwards)


def _beyond(search: FileSearch, rows: Sequence[_Row]) -> list[_Row]:
    """The rows of the place's project on the wanted side of the place."""
    filename, is_backwards = search.place.filename, search.is_backwards
    ordered = _sorted(rows, is_backwards=is_backwards)
    if filename in ("", _BEYOND):
        return ordered if (filename == "") != is_backwards else []
    place = _key(_Row(search.place.project, filename, "", 0, 0, _version_of(search.place, rows)))
    return [row for row in ordered if (_key(row) < place if is_backwards else _key(row) > place)]


def _version_of(place: Place, rows: Iterable[_Row]) -> str:
    """The version of the place's file, which may be gone."""
    for row in rows:
        if row.filename == place.filename:
            return row.version
    try:
        return as_filed(place.filename, place.project).version
    except InvalidFilename:
        return ""


def project_in(text: str) -> str:
    """The beginning of a project's normalized name, from the first word of a search for a file; '' for none."""
    word = next(iter(text.split()), "")
    return normalize(_VERSION.split(word, maxsplit=1)[0]).strip("-")


def _page(search: FileSearch, found: Sequence[ListedFile], end: str | None) -> FilePage:
    files = found[: search.limit]
    has_more = len(found) > len(files)
    if search.is_backwards:
        files = files[::-1]
        return FilePage(tuple(files), _place(files[0]) if has_more else None, _place(files[-1]) if files else None)
    can_turn = files and search.place != START and not search.text
    before = _place(files[0]) if can_turn else None
    after = _place(files[-1]) if has_more else Place(end, _BEYOND) if end is not None else None
    return FilePage(tuple(files), before, after)


def _place(file: ListedFile) -> Place:
    return Place(file.project, file.filename)
