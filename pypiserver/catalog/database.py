"""What the catalog asks of a database: SQLite answers in :mod:`connections`, PostgreSQL in :mod:`pool`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .leader_lock import LeaderLock
from .sqlite.change_counter import ChangeCounter

Parameters = Mapping[str, Any] | Sequence[Any]
# A project's row before and after a change; each has the project first and its number last, if it has one.
Change = tuple[Sequence[Any] | None, Sequence[Any] | None]


# How many values one question has; SQLite before 3.32 takes 999 parameters.
AT_ONCE = 500


def in_lists(values: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What belongs between the brackets of ``IN (...)``, with its parameters, for as many questions as it takes."""
    for first in range(0, len(values), AT_ONCE):
        some = {f"value{number}": value for number, value in enumerate(values[first : first + AT_ONCE])}
        yield ", ".join(f":{name}" for name in some), some


class Cursor(Protocol):
    """The answer to a statement (PEP 249)."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """The next row, None after the last."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows, one after another."""


class Connection(Protocol):
    """Runs the statements of :mod:`schema`, with ``:name`` or ``?`` where a parameter goes."""

    def execute(self, statement: str, parameters: Parameters = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run a statement for each of the rows."""

    def stream(self, statement: str, /) -> AbstractContextManager[Iterator[Any]]:
        """The rows of a long answer, a few of them in memory at a time; for as long as a block lasts."""


class FullText(Protocol):
    """A full text over the rows of the list; ``kind`` is its name in the catalog."""

    kind: str
    tables: tuple[str, ...]
    matches: str
    counted: str
    source: str
    found: str
    rank: str

    def question(self, words: Iterable[str]) -> str:
        """What finds the rows in which something begins with each of the words."""

    def update(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Take over rows of the list that have just changed."""

    def rebuild(self, connection: Connection) -> None:
        """Make all of it anew from the rows of the list."""


class Database(Protocol):
    """Connections to one catalog, for every thread of every process.

    ``generation`` becomes another number when the catalog is replaced; ``epoch`` names the catalog that was opened, and
    is "" before that; ``signal`` tells of changes, where there is one.
    ``is_disposable`` says that a damaged catalog is thrown away and built again, not waited for; ``drops_indexes``
    that a first scan is faster, and hinders nobody, without them. For ``believed`` seconds a process may go on with the
    serial it has read, and for so long a change is not said to be done; 0 where a signal tells of changes.
    """

    generation: int
    epoch: str
    signal: ChangeCounter | None
    search: FullText | None
    is_disposable: bool
    drops_indexes: bool
    believed: float

    def place(self) -> str | None:
        """Where the catalog is, in words without passwords; None in memory."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for questions, for as long as the block lasts."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """One write transaction: all of it, or nothing of it; of all processes, one at a time."""

    def settle(self) -> None:
        """Wait until no process believes a serial that it read before now."""

    def writing_much(self, connection: Connection) -> AbstractContextManager[None]:
        """Held around a change of many rows."""

    def pinned(self, generation: int) -> AbstractContextManager[None]:
        """For as long as the block lasts this thread asks the catalog of that generation, or fails."""

    def refuse_changed(self, connection: Connection) -> None:
        """Raise CatalogReplaced when it does not say any more that it is this catalog."""

    def is_deleted(self) -> bool:
        """Whether somebody deleted the catalog, or put another in its place."""

    def renew(self) -> None:
        """Begin anew after that."""

    def token(self) -> str:
        """The name of the catalog that is open, the same in every process that has it open; one word, maybe empty."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the catalog must be replaced after this failure; otherwise it may be asked again in a moment."""

    def recover(self, error: Exception) -> None:
        """Go on with another catalog after a failure for which :meth:`is_lost`; it is to be filled first."""

    def leader_lock(self) -> LeaderLock:
        """The lock by which all who share the catalog agree on one scanner; asking for it takes nothing.

        From then on a catalog of something else, which others may serve from, is replaced only while it is held.
        """

    def close(self) -> None:
        """End what can be ended from this thread."""
