"""The file list for people: by project and name, ignoring case, one page at a time.

**Invariants:** the cost of a page is that of the rows it shows and of their projects' rows, never of all rows; a search
for a part of a name reads :data:`WINDOW` files, then says where the next page continues.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..distributions.filename import folded, normalize
from .database import Database

# Comparing as many names takes SQLite 20 to 50 ms.
WINDOW = 10_000
MAX_WORDS = 8
# The dash before the version in a file name.
_VERSION = re.compile(r"-(?=v?[0-9])")
# Sorts after every character of a project's name.
_BEYOND = "~"
_COLUMNS = "project, filename, path, size, mtime_ns"
_IS_AFTER = """
    project >= :project AND (project > :project OR LOWER(filename) > LOWER(:filename)
        OR (LOWER(filename) = LOWER(:filename) AND filename > :filename))
"""
_IS_BEFORE = """
    project <= :project AND (project < :project OR LOWER(filename) < LOWER(:filename)
        OR (LOWER(filename) = LOWER(:filename) AND filename < :filename))
"""
_ORDER = "project, LOWER(filename), filename"
_BACKWARDS = "project DESC, LOWER(filename) DESC, filename DESC"
_FOLDED = "LOWER(REPLACE(REPLACE(filename, '_', '-'), '.', '-'))"
_SELECT_END = "SELECT project FROM file WHERE project >= :project ORDER BY project LIMIT 1 OFFSET :window"


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

    def page(self, search: FileSearch) -> FilePage:
        """The requested page of the list."""
        words = [folded(word).replace("%", "") for word in search.text.split()[:MAX_WORDS]]
        first = "" if search.is_anywhere else project_in(search.text)
        start = search.place if search.place != START else Place(first)
        parameters: dict[str, object] = {f"word{number}": f"%{word}%" for number, word in enumerate(words)}
        conditions = [f"{_FOLDED} LIKE :{name}" for name in parameters]
        end = self._end(start) if words and not search.is_backwards else None
        if first:
            conditions.append("project >= :first AND project < :beyond")
            parameters |= {"first": first, "beyond": first + _BEYOND}
            end = None if end is not None and end >= first + _BEYOND else end
        if end is not None:
            # All files of the last project are read.
            conditions.append("project <= :end")
            parameters["end"] = end
        return _page(search, self._rows(search, conditions, {**parameters, **start._asdict()}), end)

    def _end(self, start: Place) -> str | None:
        """The last project whose files a search from ``start`` reads; None when it reads all that follow."""
        rows = self._ask(_SELECT_END, {"project": start.project, "window": WINDOW})
        return str(rows[0][0]) if rows else None

    def _rows(
        self, search: FileSearch, conditions: Sequence[str], parameters: Mapping[str, object]
    ) -> list[ListedFile]:
        """The files of the page, and one more if there is one, nearest to the place first."""
        side, order = (_IS_BEFORE, _BACKWARDS) if search.is_backwards else (_IS_AFTER, _ORDER)
        where = " AND ".join(["visible = 1", side, *conditions])
        statement = f"SELECT {_COLUMNS} FROM file WHERE {where} ORDER BY {order} LIMIT :limit"  # noqa: S608
        return [ListedFile(*row) for row in self._ask(statement, {**parameters, "limit": search.limit + 1})]

    def _ask(self, statement: str, parameters: Mapping[str, object]) -> list[Any]:
        with self._database.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


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
