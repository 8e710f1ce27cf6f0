"""PostgreSQL: a few connections for each process, lent for a question or a transaction, and taken back.

The rules to keep: nothing is connected before the first question, and no connection is used across a fork; whoever
asks connects, so that no thread of ours waits for a server that is away, and the first one that is answered shows that
it is back; of all processes one changes the catalog at a time, by the lock on the row of the serial, as SQLite does it;
what the driver raises leaves this module as CatalogError. psycopg is imported here alone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .database import Cursor, FullText, Parameters
from .failures import CatalogError
from .migrations import migrate
from .search import TSVECTOR
from .signal import Signal

if TYPE_CHECKING:
    import psycopg
    import psycopg.abc

_LOG = logging.getLogger(__name__)
SCHEMES = ("postgresql", "postgres")
# For each process. Threads wait for one that is free, and a server has 100 for all, unless it is told otherwise.
CONNECTIONS = 20
WAIT_SECONDS = 10.0
CONNECT_SECONDS = 3
# A question takes a millisecond; a list of a million files some seconds. The server ends what takes longer; one that
# is stopped, or waits for its disk, does not even do that, and a while later we go on without it.
STATEMENT_MS = 15_000
ANSWER_SECONDS = 20.0
# A change of many rows takes longer.
CHANGE_SECONDS = 600.0
# How long a writer waits for another, and how long that one may do nothing: its process may be stopped, or cut off.
LOCK_MS = 10_000
IDLE_MS = 60_000
# After an attempt that failed one thread at a time tries again, and not before this: where packets are lost each
# attempt takes seconds, and all others are told at once.
AWAY_SECONDS = 0.1
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
_BEGIN = f"""
    BEGIN; SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS};
    SELECT value FROM serial WHERE id = 1 FOR UPDATE
"""  # noqa: S608 - of constants
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

    def execute(self, statement: str, parameters: Parameters = (), /) -> Cursor:
        """Run a statement."""
        cursor: Cursor = self.raw.execute(translated(statement), parameters)
        return cursor

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run a statement for each of the rows, without waiting for each answer."""
        cursor = _Counted(0)
        iterator = iter(rows)
        # In parts, because making the rows may ask this very connection.
        while part := list(itertools.islice(iterator, ROWS)):
            with self.raw.cursor() as each:
                if len(part) == 1:
                    # A pipeline of one takes three times as long.
                    each.execute(translated(statement), part[0])
                else:
                    each.executemany(translated(statement), part)
                cursor.rowcount += each.rowcount
        return cursor

    def stream(self, statement: str, /) -> Iterator[Any]:
        """The rows through a cursor of the server, which lives in a transaction."""
        with self.patient(), self.raw.transaction(), self.raw.cursor(name="pypiserver") as cursor:
            self.raw.execute(f"SET LOCAL statement_timeout = {CHANGE_SECONDS * 1000:.0f}")
            cursor.itersize = ROWS
            cursor.execute(translated(statement))
            yield from cursor

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """What is done meanwhile may take long."""
        before, self.raw.seconds = self.raw.seconds, CHANGE_SECONDS
        try:
            yield
        finally:
            self.raw.seconds = before


class _Counted:
    """What is left of many statements: how many rows they changed."""

    def __init__(self, rowcount: int) -> None:
        self.rowcount = rowcount

    def fetchone(self) -> None:
        return None

    def fetchall(self) -> list[Any]:
        return []

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Pool:
    """The connections of this process to the catalog at ``address``, a URL of PostgreSQL, describing ``identity``.

    ``pgbouncer=true`` in it says that transactions may meet another session each time: nothing is prepared then.
    Raises ConfigError when psycopg is missing or the catalog is another one.
    """

    generation = 0
    signal: Signal | None = None
    search: FullText | None = TSVECTOR
    is_disposable = False
    # Whoever reads would have to wait for them.
    drops_indexes = False

    def __init__(self, address: str, identity: str) -> None:
        self._address, self._prepares = _taken_apart(address)
        self._identity = identity
        self._lock = threading.Lock()
        self._pid = -1
        # What a fork left to us is kept: closing it would end the parent's session.
        self._inherited: list[deque[Session]] = []
        self._idle: deque[Session] = deque()
        self._free = threading.Semaphore(CONNECTIONS)
        self._is_migrated = False
        self._trying = threading.Lock()
        self._away_until = 0.0
        self._away_because = ""

    def place(self) -> str:
        """The address without user and password."""
        return shown(self._address)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A connection on which every statement is a transaction of its own."""
        session = self._take()
        try:
            with failing(session):
                yield session
        finally:
            self._put_back(session)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """One write transaction, after that of any other process."""
        with self.reading() as session, session.patient():
            session.raw.execute(_BEGIN)
            try:
                yield session
            except BaseException:
                # A connection that fails here is thrown away.
                with contextlib.suppress(Exception):
                    session.raw.execute("ROLLBACK")
                raise
            session.raw.execute("COMMIT")

    @contextlib.contextmanager
    def writing_much(self, connection: Any) -> Iterator[None]:
        """Tell the planner of the rows afterwards, or it takes the tables for empty ones."""
        yield
        connection.execute("ANALYZE file, project, listing")

    def session(self) -> Session:
        """A new connection, which is not of the pool; raises CatalogError."""
        if self._away_because:
            if time.monotonic() < self._away_until or not self._trying.acquire(blocking=False):
                raise CatalogError(self._away_because)
            try:
                session = Session(self._connect())
            finally:
                self._trying.release()
        else:
            session = Session(self._connect())
        self._away_because = ""
        if not self._is_migrated:
            self._migrate(session)
        return session

    def _connect(self) -> Any:
        _refuse_without_driver()
        import psycopg

        try:
            options: dict[str, Any] = {**_OPTIONS, **psycopg.conninfo.conninfo_to_dict(self._address)}
        except psycopg.Error:
            # Its words may have a part of the password.
            raise ConfigError(f"{self.place()} is no address that PostgreSQL understands.") from None
        try:
            connection = _connection_class().connect(autocommit=True, **options)
            connection.prepare_threshold = 2 if self._prepares else None
            # One type for all numbers, or a statement is prepared anew for each combination of sizes.
            connection.adapters.register_dumper(int, psycopg.types.numeric.Int8Dumper)
            connection.adapters.register_dumper(str, _text_dumper())
            connection.execute(_SETTINGS)
        except psycopg.Error as error:
            self._away_until, self._away_because = time.monotonic() + AWAY_SECONDS, _reason(error)
            raise CatalogError(_reason(error)) from error
        return connection

    def is_deleted(self) -> bool:
        """Never: what is missing fails."""
        return False

    def renew(self) -> None:
        """Look at the tables again before the next question."""
        self._is_migrated = False

    def recover(self, error: Exception) -> None:
        """Nothing is to be done: the next question connects anew."""

    def close(self) -> None:
        """Close what nobody uses now."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().raw.close()

    def _take(self) -> Session:
        if self._pid != os.getpid():
            self._begin()
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise CatalogError(f"all {CONNECTIONS} connections have been in use for {WAIT_SECONDS:.0f} seconds")
        try:
            with contextlib.suppress(IndexError):
                return self._idle.pop()
            return self.session()
        except BaseException:
            self._free.release()
            raise

    def _begin(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._inherited.append(self._idle)
                self._idle = deque()
                self._trying = threading.Lock()
                self._free = threading.Semaphore(CONNECTIONS)
                self._is_migrated = False
                self._pid = os.getpid()

    def _migrate(self, session: Session) -> None:
        try:
            with self._lock, failing(session), session.patient():
                migrate(session, self._identity, self.place())
                self._is_migrated = True
        except BaseException:
            session.raw.close()
            raise

    def _put_back(self, session: Session) -> None:
        if session.raw.closed or session.raw.info.transaction_status:
            # All of them were to a server that may be gone; and its tables may be others when it is back.
            session.raw.close()
            self._is_migrated = False
            self.close()
        else:
            self._idle.append(session)
        self._free.release()


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


def shown(address: str) -> str:
    """An address as it may stand in a log: without user, password and options."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _refuse_without_driver() -> None:
    try:
        import psycopg.types.numeric  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"A catalog in PostgreSQL needs psycopg ({error}); install it with: pip install 'pypiserver[postgres]'"
        ) from error


def _taken_apart(address: str) -> tuple[str, bool]:
    """The address as libpq knows it, and whether statements may be prepared."""
    place, _, query = address.partition("?")
    options = query.split("&") if query else []
    kept = "&".join(option for option in options if not option.startswith("pgbouncer="))
    return f"{place}?{kept}" if kept else place, "pgbouncer=true" not in options


def _reason(error: Exception) -> str:
    """The driver's words on one line."""
    return " ".join(str(error).split()) or type(error).__name__
