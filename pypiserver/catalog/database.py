"""The protocols of the catalog's database, which :mod:`sqlite.connections` and :mod:`postgres.pool` implement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .admitted_names import NameSet
from .leader_lock import LeaderLock
from .sqlite.change_counter import ChangeCounter

Parameters = Mapping[str, Any] | Sequence[Any]
# A project's row of the list before and after a change; the project is first, the id (if the row has one) last.
Change = tuple[Sequence[Any] | None, Sequence[Any] | None]


# At most this many values in one query; SQLite before 3.32 takes 999 parameters.
AT_ONCE = 500


def in_lists(values: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The placeholders for ``IN (...)`` and their parameters, for as many queries of AT_ONCE values as it takes."""
    for first in range(0, len(values), AT_ONCE):
        some = {f"value{number}": value for number, value in enumerate(values[first : first + AT_ONCE])}
        yield ", ".join(f":{name}" for name in some), some


class Cursor(Protocol):
    """The answer to a statement (PEP 249)."""

    @property
    def rowcount(self) -> int:
        """The number of changed rows."""

    def fetchone(self) -> Any:
        """The next row, None after the last one."""

    def fetchall(self) -> list[Any]:
        """The remaining rows."""

    def __iter__(self) -> Iterator[Any]:
        """The remaining rows, one after another."""


class Connection(Protocol):
    """Runs the statements of :mod:`statements`, with ``:name`` or ``?`` as placeholders."""

    def execute(self, statement: str, parameters: Parameters = ..., /) -> Cursor:
        """Run one statement."""

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run a statement once for each row of parameters."""

    def stream(self, statement: str, /) -> AbstractContextManager[Iterator[Any]]:
        """A context manager for the rows of a large result, with a few of them in memory at a time."""


class FullText(Protocol):
    """A full-text index over the rows of the list; ``kind`` is its name in the catalog.

    :mod:`full_text` describes the other attributes, which are parts of SQL statements.
    """

    kind: str
    tables: tuple[str, ...]
    matches: str
    counted: str
    source: str
    found: str
    rank: str
    own_rank: str

    def question(self, words: Iterable[str]) -> str:
        """The parameter ``:match`` that finds rows in which each of the words is the beginning of a word."""

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Index rows of the list that have just changed."""

    def rebuild(self, connection: Connection) -> None:
        """Build the index again from all rows of the list."""


class Database(Protocol):
    """Connections to one catalog, for every thread of every process.

    ``generation`` is a number that changes when the catalog is replaced; ``epoch`` names the catalog that was opened,
    and is "" before that; ``signal`` reports changes, where there is one.
    ``is_disposable`` says that a damaged catalog is deleted and built again, not waited for; ``drops_indexes`` that a
    first scan is faster without indexes, and blocks no reader. For ``believed`` seconds a process may use the serial
    that it has read, and a change is reported as done only after that time; 0 where a signal reports changes.
    """

    generation: int
    epoch: str
    signal: ChangeCounter | None
    search: FullText | None
    is_disposable: bool
    drops_indexes: bool
    believed: float

    def in_set(self, column: str, names: NameSet) -> str:
        """The condition that a column has one of many names."""

    def place(self) -> str | None:
        """The place of the catalog for logs, without passwords; None in memory."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A context manager for a connection that reads."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """A context manager for one atomic write transaction; one at a time, across all processes."""

    def settle(self) -> None:
        """Wait until no process uses a serial that it read before this call."""

    def writing_much(self, connection: Connection) -> AbstractContextManager[None]:
        """A context manager around a change of many rows."""

    def pinned(self, generation: int) -> AbstractContextManager[None]:
        """Within the block, this thread uses the catalog of that generation, or fails with CatalogReplaced."""

    def refuse_changed(self, connection: Connection) -> None:
        """Raise CatalogReplaced when the catalog now says that it describes something else."""

    def is_deleted(self) -> bool:
        """Whether the catalog was deleted, or replaced by another one."""

    def renew(self) -> None:
        """Open the catalog again after it was deleted or replaced."""

    def token(self) -> str:
        """The name of the open catalog, the same in every process that has it open: one word, or ''."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the catalog must be replaced after this failure; otherwise callers may try again in a moment."""

    def recover(self, error: Exception) -> None:
        """Replace the catalog after a failure for which :meth:`is_lost` is true; the new one must be filled first."""

    def leader_lock(self) -> LeaderLock:
        """The lock by which all processes that share the catalog agree on one scanner; this call does not acquire it.

        After this call, a catalog of something else, which other servers may use, is replaced only while the lock is
        held.
        """

    def close(self) -> None:
        """Close every connection that this thread can close."""
