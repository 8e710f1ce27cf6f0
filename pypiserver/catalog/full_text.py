"""How a database finds the words of names, keywords and summaries.

Each way has the same few members, which :mod:`project_list` puts into its questions: what it keeps besides the rows of
the list, the condition ``matches``, the statement ``counted``, and for answers by relevance ``source``, ``found`` and
``rank``. The rule to keep: all of them divide text into the same words, and find what begins with a word.
"""

from __future__ import annotations

import functools
import itertools
import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .database import Change, Connection

# Where name, keywords and summary stand in a row of the list.
_NAME, _KEYWORDS, _SUMMARY = 1, 9, 8
_SELECT_ID = "SELECT id FROM listing WHERE project = ?"


class Fts5:
    """SQLite's FTS5. Its content is the table of the rows: only the index is stored twice."""

    kind = "fts5"
    tables: tuple[str, ...] = (
        """CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(
            name, keywords, summary, content='listing', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
        )""",
    )
    # The plus keeps SQLite from looking up every match (43,000 of 100,000: 20 ms): it walks the order's index instead.
    matches = "+l.id IN (SELECT rowid FROM search WHERE search MATCH :match)"
    counted = "SELECT COUNT(*) FROM search WHERE search MATCH :match"
    source = "search JOIN listing l ON l.id = search.rowid"
    found = "search MATCH :match"
    # A word of the name counts most, then one of the summary: keywords are often a long list of what is only near.
    rank = "bm25(search, 10, 1, 3)"

    def question(self, words: Iterable[str]) -> str:
        """Quoted, so that no word is taken for an operator."""
        return " ".join(f'"{word}"*' for word in words)

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """One by one."""
        unindex = "INSERT INTO search (search, rowid, name, keywords, summary) VALUES ('delete', ?, ?, ?, ?)"
        index = "INSERT INTO search (rowid, name, keywords, summary) VALUES (?, ?, ?, ?)"
        for old, new in changes:
            if old is not None and new is not None and _text(old) == _text(new):
                continue
            if old is not None:
                connection.execute(unindex, (old[-1], *_text(old)))
            if new is not None:
                number = connection.execute(_SELECT_ID, new[:1]).fetchone()[0]
                connection.execute(index, (number, *_text(new)))

    def rebuild(self, connection: Connection) -> None:
        """In one go, which costs a third for each row."""
        connection.execute("INSERT INTO search (search) VALUES ('rebuild')")


class Tsvector:
    """PostgreSQL's own, with a GIN index.

    We divide the text ourselves: its parser takes ``foo.bar`` for the name of a host, and what it takes for a letter
    depends on the database's locale.
    """

    kind = "tsvector"
    # A migration makes its table.
    tables: tuple[str, ...] = ()
    matches = "l.id IN (SELECT s.id FROM search s WHERE s.words @@ CAST(:match AS tsquery))"
    counted = "SELECT COUNT(*) FROM search s WHERE s.words @@ CAST(:match AS tsquery)"
    source = "search s JOIN listing l ON l.id = s.id"
    found = "s.words @@ CAST(:match AS tsquery)"
    # Of the classes D to A; A is a word of the name, B a keyword, C one of the summary.
    rank = "ts_rank('{0.1, 0.3, 0.1, 1.0}', s.words, CAST(:match AS tsquery)) DESC"

    def question(self, words: Iterable[str]) -> str:
        """Letters and digits alone, so that nothing is taken for an operator."""
        return " & ".join(f"'{each}':*" for word in words for each in _words(word))

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """All of them at once."""
        gone = [{"id": old[-1]} for old, new in changes if old is not None and new is None]
        rows = [
            {"project": new[0], "words": _vector(_text(new))}
            for old, new in changes
            if new is not None and (old is None or _text(old) != _text(new))
        ]
        connection.executemany("DELETE FROM search WHERE id = :id", gone)
        connection.executemany(
            """INSERT INTO search (id, words) SELECT id, CAST(:words AS tsvector) FROM listing WHERE project = :project
               ON CONFLICT (id) DO UPDATE SET words = excluded.words""",
            rows,
        )

    def rebuild(self, connection: Connection) -> None:
        """Row by row; the words are not stored anywhere else."""
        connection.execute("DELETE FROM search")
        with connection.stream("SELECT id, name, keywords, summary FROM listing") as rows:
            connection.executemany(
                "INSERT INTO search (id, words) VALUES (:id, CAST(:words AS tsvector))",
                ({"id": number, "words": _vector(text)} for number, *text in rows),
            )


FTS5 = Fts5()
TSVECTOR = Tsvector()


@functools.cache
def has_fts5() -> bool:
    """Whether this Python's SQLite was built with FTS5."""
    connection = sqlite3.connect(":memory:")
    try:
        return bool(connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])
    finally:
        connection.close()


def _text(row: Sequence[Any]) -> tuple[str, str, str]:
    return row[_NAME], row[_KEYWORDS], row[_SUMMARY]


def _vector(texts: Sequence[str]) -> str:
    """The words of name, keywords and summary with their places and classes, in the text form of a tsvector."""
    places = itertools.count(1)
    parts = zip("ABC", texts, strict=True)
    return " ".join(f"'{word}':{next(places)}{mark}" for mark, text in parts for word in _words(text))


def _words(text: str) -> Iterator[str]:
    """Runs of letters and digits, without case and accents, as FTS5's unicode61 has them."""
    plain = "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    yield from re.findall(r"[^\W_]+", plain.casefold())
