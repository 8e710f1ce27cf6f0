"""One connection to PostgreSQL, and every use of its driver: only this module imports psycopg.

**Invariants:** psycopg is imported only when a connection is made; what the driver raises leaves this module as
CatalogError; every wait for an answer has a limit, and in a transaction answers are read only when they are needed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import select
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..database import Cursor, Parameters
from ..errors import CatalogError

if TYPE_CHECKING:
    import psycopg.abc

CONNECT_SECONDS = 3
# A query takes a millisecond; a list of a million files some seconds. The server cancels longer statements; a server
# that is stopped, or waits for its disk, cannot do that, so a little later the client gives up.
STATEMENT_MS = 15_000
ANSWER_SECONDS = 20.0
# A change of many rows may take this long.
CHANGE_SECONDS = 600.0
ROWS = 1000

# With these options both sides close a lost connection, also through a proxy, within about half a minute.
_OPTIONS = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "pypiserver",
    "client_encoding": "utf8",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_SETTINGS = f"SET statement_timeout = {STATEMENT_MS}; SET client_min_messages = warning"
_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z]\w*)|\?|%")


@functools.lru_cache(maxsize=512)
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
        if not _has_pipelines():
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


def connect(address: str, place: str, *, prepares: bool) -> Session:
    """A new connection; raises CatalogError, and ConfigError without psycopg or for an invalid address."""
    _refuse_without_driver()
    import psycopg

    try:
        options: dict[str, Any] = {**_OPTIONS, **psycopg.conninfo.conninfo_to_dict(address)}
    except psycopg.Error:
        # The driver's message may contain a part of the password.
        raise ConfigError(
            f"{place} is no address that PostgreSQL understands.", kind="value", setting="catalog", value=place
        ) from None
    try:
        connection = _connection_class().connect(autocommit=True, **options)
        connection.prepare_threshold = 2 if prepares else None
        # One type for all integers, because a statement would be prepared again for each combination of sizes.
        connection.adapters.register_dumper(int, psycopg.types.numeric.Int8Dumper)
        connection.adapters.register_dumper(str, _text_dumper())
        connection.execute(_SETTINGS)
    except psycopg.Error as error:
        raise CatalogError(_reason(error)) from error
    return Session(connection)


@contextlib.contextmanager
def failing(session: Session) -> Iterator[None]:
    """Turn the driver's errors into CatalogError, and close the connection unless only the values were wrong."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        if not isinstance(error, psycopg.DataError):
            session.raw.close()
        raise CatalogError(_reason(error)) from error


@functools.cache
def _has_pipelines() -> bool:
    import psycopg

    return psycopg.Pipeline.is_supported()


@functools.cache
def _connection_class() -> Any:
    """The class of connections that wait for an answer for at most ``seconds``."""
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        seconds = ANSWER_SECONDS

        def wait(self, gen: Any, *how: Any, **more: Any) -> Any:
            return super().wait(_bounded(gen, self.seconds), *how, **more)

    return BoundedConnection


def _bounded(waiting: Any, seconds: float) -> Any:
    """Run psycopg's generator with a limit in seconds; psycopg wakes it ten times a second while nothing arrives."""
    import psycopg

    until = time.monotonic() + seconds
    try:
        wanted = next(waiting)
        while True:
            came = yield wanted
            if not came and time.monotonic() > until:
                raise psycopg.OperationalError(f"the database gave no answer in {seconds:.0f} seconds")
            wanted = waiting.send(came)
    except StopIteration as end:
        return end.value


@functools.cache
def _text_dumper() -> type[psycopg.abc.Dumper]:
    """The adapter for text: PostgreSQL cannot store NUL or lone surrogates, which requested paths may contain."""
    from psycopg.types.string import StrDumper

    class TextDumper(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.replace("\0", "\ufffd").encode("utf-8", "backslashreplace")

    return TextDumper


def _refuse_without_driver() -> None:
    try:
        import psycopg.types.numeric  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"A catalog in PostgreSQL needs psycopg ({error}); install it with: pip install 'pypiserver[postgres]'",
            kind="not-installed",
            setting="catalog",
        ) from error


def _reason(error: Exception) -> str:
    """The driver's message on one line, without hints and the statement (indented lines, and those after ``LINE``)."""
    lines = [line for line in str(error).splitlines() if line[:1].strip() and not line.startswith("LINE ")]
    return " ".join(" ".join(lines).split()) or type(error).__name__
