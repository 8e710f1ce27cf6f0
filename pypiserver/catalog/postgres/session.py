"""One connection to PostgreSQL, and all that is said to its driver; psycopg is imported here alone.

The rules to keep: nothing is imported before somebody connects; what the driver raises leaves this module as
CatalogError; no answer is waited for for ever, and in a transaction none before somebody asks for it.
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
# A question takes a millisecond; a list of a million files some seconds. The server ends what takes longer; one that
# is stopped, or waits for its disk, does not even do that, and a while later we go on without it.
STATEMENT_MS = 15_000
ANSWER_SECONDS = 20.0
# A change of many rows takes longer.
CHANGE_SECONDS = 600.0
ROWS = 1000

# What a server, or a proxy before it, keeps of a lost connection ends within about half a minute.
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
    """One connection, with the statements of the catalog."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._pipeline: Any = None
        self._pipelines = contextlib.ExitStack()

    def execute(self, statement: str, parameters: Parameters = (), /) -> Cursor:
        """Run a statement."""
        cursor: Cursor = self.raw.execute(translated(statement), parameters)
        return cursor if self._pipeline is None else _Answer(self, [cursor])

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run a statement for each of the rows, without waiting for each answer."""
        cursors: list[Any] = []
        iterator = iter(rows)
        # In parts, because making the rows may ask this very connection.
        while part := list(itertools.islice(iterator, ROWS)):
            cursor = self.raw.cursor()
            if len(part) == 1:
                # A pipeline of one takes three times as long.
                cursor.execute(translated(statement), part[0])
            else:
                cursor.executemany(translated(statement), part)
            cursors.append(cursor)
        return _Answer(self, cursors)

    def is_silent(self) -> bool:
        """Whether the server has said nothing unasked, as one that ends does: known without asking it."""
        if self.raw.closed:
            return False
        if sys.platform == "win32":
            return not select.select([self.raw.fileno()], [], [], 0)[0]
        poll = select.poll()
        poll.register(self.raw.fileno(), select.POLLIN)
        return not poll.poll(0)

    def catch_up(self) -> None:
        """Wait for the answers to all that was said; raises what one of them says."""
        if self._pipeline is not None:
            self._pipeline.sync()

    @contextlib.contextmanager
    def unanswered(self) -> Iterator[None]:
        """Statements are sent without waiting for their answers, which are asked for, or come when the block ends.

        Each wait is a way to the server and back, however many statements went before. Where the system's library is
        too old for that each is waited for.
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
        """A part of :meth:`unanswered` in which each answer is waited for."""
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
        # Without the error that ends it, if one does: the driver would log what follows from that.
        self._pipelines.close()

    @contextlib.contextmanager
    def stream(self, statement: str, /) -> Iterator[Iterator[Any]]:
        """The rows through a cursor of the server, which lives in a transaction."""
        # The driver has no cursors of the server among statements that nobody waits for.
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
                # The server is gone, and could not be told; the driver takes the cursor for open still.
                self.raw.close()
                cursor.close()

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """What is done meanwhile may take long."""
        before, self.raw.seconds = self.raw.seconds, CHANGE_SECONDS
        try:
            yield
        finally:
            self.raw.seconds = before


class _Answer:
    """What a statement, run once or for many rows, brought; it is waited for when it is asked for."""

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
    """A new connection; raises CatalogError, and ConfigError without a driver or for an address it cannot read."""
    _refuse_without_driver()
    import psycopg

    try:
        options: dict[str, Any] = {**_OPTIONS, **psycopg.conninfo.conninfo_to_dict(address)}
    except psycopg.Error:
        # Its words may have a part of the password.
        raise ConfigError(
            f"{place} is no address that PostgreSQL understands.", kind="value", setting="catalog", value=place
        ) from None
    try:
        connection = _connection_class().connect(autocommit=True, **options)
        connection.prepare_threshold = 2 if prepares else None
        # One type for all numbers, or a statement is prepared anew for each combination of sizes.
        connection.adapters.register_dumper(int, psycopg.types.numeric.Int8Dumper)
        connection.adapters.register_dumper(str, _text_dumper())
        connection.execute(_SETTINGS)
    except psycopg.Error as error:
        raise CatalogError(_reason(error)) from error
    return Session(connection)


@contextlib.contextmanager
def failing(session: Session) -> Iterator[None]:
    """Turn what the driver raises into CatalogError, and close the connection unless it was only the values."""
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
    """Connections on which no answer is waited for longer than ``seconds``."""
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        seconds = ANSWER_SECONDS

        def wait(self, gen: Any, *how: Any, **more: Any) -> Any:
            return super().wait(_bounded(gen, self.seconds), *how, **more)

    return BoundedConnection


def _bounded(waiting: Any, seconds: float) -> Any:
    """Wait as psycopg's generator does, which is told ten times a second that nothing came."""
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
    """What writes text for a database that has none with NUL or halves of characters in it, as paths asked for may."""
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
    """The driver's words on one line, without its advice and the statement, which are indented or pointed at."""
    lines = [line for line in str(error).splitlines() if line[:1].strip() and not line.startswith("LINE ")]
    return " ".join(" ".join(lines).split()) or type(error).__name__
