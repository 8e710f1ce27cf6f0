"""psycopg, PostgreSQL's driver: making a connection, and what it raises; only this module imports it.

**Invariants:** psycopg is imported only when a connection is made; what the driver raises leaves this module as
CatalogError; every wait for an answer has a limit.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..errors import CatalogError

if TYPE_CHECKING:
    import psycopg.abc

CONNECT_SECONDS = 3
# A query takes a millisecond; a list of a million files some seconds. The server cancels longer statements; a server
# that is stopped, or waits for its disk, cannot do that, so a little later the client gives up.
STATEMENT_MS = 15_000
ANSWER_SECONDS = 20.0

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


def connect(address: str, place: str, *, prepares: bool, setting: str = "catalog") -> Any:
    """A new connection of the driver; raises CatalogError, and ConfigError without psycopg or for an invalid address.

    ``setting`` is the one that has the address.
    """
    _refuse_without_driver(setting)
    import psycopg

    try:
        options: dict[str, Any] = {**_OPTIONS, **psycopg.conninfo.conninfo_to_dict(address)}
    except psycopg.Error:
        # The driver's message may contain a part of the password.
        raise ConfigError(
            f"{place} is no address that PostgreSQL understands.", kind="value", setting=setting, value=place
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
    return connection


@contextlib.contextmanager
def failing(connection: Any) -> Iterator[None]:
    """Turn the driver's errors into CatalogError, and close the connection unless only the values were wrong."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        if not isinstance(error, psycopg.DataError):
            connection.close()
        raise CatalogError(_reason(error)) from error


@functools.cache
def has_pipelines() -> bool:
    """Whether the system's libpq can send statements without waiting for answers."""
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


def _refuse_without_driver(setting: str) -> None:
    try:
        import psycopg.types.numeric  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"A database in PostgreSQL needs psycopg ({error}); install it with: pip install 'pypiserver[postgres]'",
            kind="not-installed",
            setting=setting,
        ) from error


def _reason(error: Exception) -> str:
    """The driver's message on one line, without hints and the statement (indented lines, and those after ``LINE``)."""
    lines = [line for line in str(error).splitlines() if line[:1].strip() and not line.startswith("LINE ")]
    return " ".join(" ".join(lines).split()) or type(error).__name__
