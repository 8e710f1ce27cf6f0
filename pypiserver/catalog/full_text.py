"""Full-text search over names, keywords and summaries, by each database's own index.

The classes have the same attributes, which :mod:`project_list` puts into its queries: ``tables`` that the index needs
in addition to the list, the condition ``matches``, the statement ``counted``, and for results by relevance ``source``,
``found`` and ``rank``. ``own_rank`` is for clients that may not see all rows: it depends on each row alone.

**Invariants:** all of them split text into the same words, and find words that begin with a search word.
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

# The columns of a row of the list that have name, keywords and summary.
_NAME, _KEYWORDS, _SUMMARY = 1, 9, 8
_SELECT_ID = "SELECT id FROM listing WHERE project = ?"


class Fts5:
    """SQLite's FTS5, an external-content table over the list: it stores the index, but not the text again."""

    kind = "fts5"
    tables: tuple[str, ...] = (
        """CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(
            name, keywords, summary, content='listing', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
        )""",
    )
    # The plus keeps SQLite from looking up every match (43,000 of 100,000: 20 ms): it walks the sort index instead.
    matches = "+l.id IN (SELECT rowid FROM search WHERE search MATCH :match)"
    counted = "SELECT COUNT(*) FROM search WHERE search MATCH :match"
    source = "search JOIN listing l ON l.id = search.rowid"
    found = "search MATCH :match"
    # A word of the name counts most, then one of the summary: keywords are often a long list of loosely related words.
    rank = "bm25(search, 10, 1, 3)"
    # bm25 compares a row with all others. Rows that have every word in their name come first, then in the summary.
    own_rank = """
        (l.id IN (SELECT rowid FROM search WHERE search MATCH '{name} : (' || :match || ')')) DESC,
        (l.id IN (SELECT rowid FROM search WHERE search MATCH '{summary} : (' || :match || ')')) DESC
    """

    def question(self, words: Iterable[str]) -> str:
        """The words as quoted prefixes, so that none is an operator."""
        return " ".join(f'"{word}"*' for word in words)

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Index the changed rows, one by one."""
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
        """Index all rows with one statement, at a third of the cost for each row."""
        connection.execute("INSERT INTO search (search) VALUES ('rebuild')")


class Tsvector:
    """PostgreSQL's tsvector, with a GIN index.

    The text is split here, because PostgreSQL's parser takes ``foo.bar`` for a host name, and its letters depend on the
    database's locale.
    """

    kind = "tsvector"
    # A migration creates its table.
    tables: tuple[str, ...] = ()
    matches = "l.id IN (SELECT s.id FROM search s WHERE s.words @@ CAST(:match AS tsquery))"
    counted = "SELECT COUNT(*) FROM search s WHERE s.words @@ CAST(:match AS tsquery)"
    source = "search s JOIN listing l ON l.id = s.id"
    found = "s.words @@ CAST(:match AS tsquery)"
    # Weights of the classes D to A; A is a word of the name, B of the keywords, C of the summary.
    rank = "ts_rank('{0.1, 0.3, 0.1, 1.0}', s.words, CAST(:match AS tsquery)) DESC"
    own_rank = rank

    def question(self, words: Iterable[str]) -> str:
        """The words as prefixes, of letters and digits only, so that none is an operator."""
        return " & ".join(f"'{each}':*" for word in words for each in _words(word))

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Index the changed rows, all at once."""
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
        """Index all rows, one by one: the words are stored nowhere else."""
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
    """The words of name, keywords and summary with positions and weight classes, in the text form of a tsvector."""
    places = itertools.count(1)
    parts = zip("ABC", texts, strict=True)
    return " ".join(f"'{word}':{next(places)}{mark}" for mark, text in parts for word in _words(text))


def _words(text: str) -> Iterator[str]:
    """Runs of letters and digits, without case and accents, as the tokenizer unicode61 of FTS5 splits them."""
    plain = "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    yield from re.findall(r"[^\W_]+", plain.casefold())
