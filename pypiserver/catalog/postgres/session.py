"""One connection to PostgreSQL, which runs the catalog's statements.

**Invariants:** in a transaction answers are read only when they are needed; every wait for one has a limit.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ...bounded_cache import short_texts
from ..database import Cursor, Parameters
from .driver import has_pipelines

# A change of many rows may take this long.
CHANGE_SECONDS = 600.0
ROWS = 1000
_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z]\w*)|\?|%")


# The statements of a filter of many names are too long to be kept.
@short_texts(entries=512, longest=8192)
def translated(statement: str) -> str:
    """The statement with psycopg's placeholders."""

    def place(match: re.Match[str]) -> str:
        if match[1]:
            return f"%({match[1]})s"
        return "%s" if match[0] == "?" else "%%"

    return _PLACEHOLDER.sub(place, statement)


class Session:
    """One connection, which runs the statements of the catalog."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._pipeline: Any = None
        self._pipelines = contextlib.ExitStack()

    def execute(self, statement: str, parameters: Parameters = (), /) -> Cursor:
        """Run one statement."""
        cursor: Cursor = self.raw.execute(translated(statement), parameters)
        return cursor if self._pipeline is None else _Answer(self, [cursor])

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run a statement once for each row of parameters, without waiting for each answer."""
        cursors: list[Any] = []
        iterator = iter(rows)
        # In parts, because the iterator of rows may use this connection.
        while part := list(itertools.islice(iterator, ROWS)):
            cursor = self.raw.cursor()
            if len(part) == 1:
                # executemany() uses a pipeline, which takes three times as long for one row.
                cursor.execute(translated(statement), part[0])
            else:
                cursor.executemany(translated(statement), part)
            cursors.append(cursor)
        return _Answer(self, cursors)

    def is_silent(self) -> bool:
        """Whether no unrequested bytes have arrived, such as a server sends when it stops; costs no round trip."""
        if self.raw.closed:
            return False
        if sys.platform == "win32":
            return not select.select([self.raw.fileno()], [], [], 0)[0]
        poll = select.poll()
        poll.register(self.raw.fileno(), select.POLLIN)
        return not poll.poll(0)

    def catch_up(self) -> None:
        """Wait for the answers to all statements that were sent; raises the error of a failed one."""
        if self._pipeline is not None:
            self._pipeline.sync()

    @contextlib.contextmanager
    def unanswered(self) -> Iterator[None]:
        """Within the block, send statements without waiting for answers, which are read when needed, or at its end.

        Each wait is one round trip, for any number of statements sent before it. Where the system's libpq is too old,
        each statement waits for its answer.
        """
        if not has_pipelines():
            yield
            return
        self._begin()
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self._end()
            raise
        self._end()

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """A part of :meth:`unanswered` in which each statement waits for its answer."""
        if self._pipeline is None:
            yield
            return
        self._end()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        self._pipeline = self._pipelines.enter_context(self.raw.pipeline())

    def _end(self) -> None:
        self._pipeline = None
        # Closed without passing on an error that ends the block: the driver would log consequences of it.
        self._pipelines.close()

    @contextlib.contextmanager
    def stream(self, statement: str, /) -> Iterator[Iterator[Any]]:
        """A context manager for the rows of a server-side cursor, which needs a transaction."""
        # The driver does not support server-side cursors in a pipeline.
        with self._answered(), self.patient(), self.raw.transaction(), self._server_cursor() as cursor:
            self.raw.execute(f"SET LOCAL statement_timeout = {CHANGE_SECONDS * 1000:.0f}")
            cursor.itersize = ROWS
            cursor.execute(translated(statement))
            yield iter(cursor)

    @contextlib.contextmanager
    def _server_cursor(self) -> Iterator[Any]:
        cursor = self.raw.cursor(name="pypiserver")
        try:
            with cursor:
                yield cursor
        finally:
            if not cursor.closed:
                # The server is down, so the cursor could not be closed there; the driver still considers it open.
                self.raw.close()
                cursor.close()

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Within the block, wait for answers for up to CHANGE_SECONDS."""
        before, self.raw.seconds = self.raw.seconds, CHANGE_SECONDS
        try:
            yield
        finally:
            self.raw.seconds = before


class _Answer:
    """The result of a statement that was run once or for many rows; waits for it only when it is read."""

    def __init__(self, session: Session, cursors: list[Any]) -> None:
        self._session = session
        self._cursors = cursors

    @property
    def rowcount(self) -> int:
        if self._cursors:
            self._session.catch_up()
        return sum(cursor.rowcount for cursor in self._cursors)

    def fetchone(self) -> Any:
        return self._cursors[0].fetchone()

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._cursors[0].fetchall()
        return rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursors[0])
