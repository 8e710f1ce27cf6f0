"""Tokens in PostgreSQL, for servers on several machines: tables of their own, which no rebuild of a catalog touches.

A table has the same lines as a file. Commands make the tables and change them; a server reads them, and writes the
hours of uses only.

**Invariants:** an answer goes by tables that were read at most a second ago, so a revocation counts everywhere within
one; an outage refuses no token, it is said to be an outage; a released step of the tables never changes.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..catalog.postgres.own_tables import ANSWER_SECONDS, FIRST_SECONDS, Tables, TablesOf
from ..catalog.postgres.session import Session
from ..errors import ConfigError, Mistake, Unavailable
from .token_lines import TokenLines, read_lines
from .token_record import TokenRecord, to_line

BELIEVED_SECONDS = 1.0
# After a failure all requests fail at once for this long, but for one that tries again.
AWAY_SECONDS = 0.5
_MOST_TOLD = 10
# The states of SQL in which the user may not write, or no user may.
_REFUSED = {"42501": errno.EACCES, "25006": errno.EROFS}
STEPS: tuple[tuple[str, ...], ...] = (
    (
        'CREATE TABLE api_token (id TEXT COLLATE "C" PRIMARY KEY, line TEXT NOT NULL, serial BIGINT NOT NULL)',
        "CREATE INDEX api_token_by_serial ON api_token (serial)",
        'CREATE TABLE api_token_use (id TEXT COLLATE "C" PRIMARY KEY, hour BIGINT NOT NULL)',
        """INSERT INTO api_token_meta (name, value) VALUES
            ('epoch', md5(random()::text || clock_timestamp()::text)), ('serial', '0')""",
    ),
)
_SELECT_META = "SELECT name, value FROM api_token_meta"
_SELECT_LINES = "SELECT id, line, serial FROM api_token WHERE serial > :serial ORDER BY serial, id"
_UPSERT = """
    INSERT INTO api_token (id, line, serial) VALUES (:id, :line, :serial)
    ON CONFLICT (id) DO UPDATE SET line = excluded.line, serial = excluded.serial
"""
_UPSERT_USE = """
    INSERT INTO api_token_use (id, hour) VALUES (:id, :hour)
    ON CONFLICT (id) DO UPDATE SET hour = GREATEST(api_token_use.hour, excluded.hour)
"""

TABLES = Tables(
    "api_token",
    lock=0x70707374,
    steps=STEPS,
    setting="tokens",
    what="The tokens",
    public="Tokens cannot be checked right now. Try again in a moment.",
)


@dataclass(frozen=True, slots=True)
class _Read:
    """The tables as they were read: their name and serial, the tokens, and until when (monotonic) they count."""

    epoch: str
    serial: int
    lines: TokenLines
    until: float


class TokenTable:
    """The tokens in the database at ``address``, as a server reads them. ``clock`` gives monotonic seconds."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = TablesOf(address, TABLES)
        self._clock = clock
        self._read: _Read | None = None
        self._away_until = -AWAY_SECONDS
        self._away_because = ""

    def current(self) -> TokenLines:
        """The tokens as they were at most a second ago; raises Unavailable."""
        read, now = self._read, self._clock()
        if read is not None and now < read.until:
            return read.lines
        if now < self._away_until:
            raise self._database.outage(self._away_because)
        try:
            with self._database.session(ANSWER_SECONDS if read is not None else FIRST_SECONDS) as session:
                # Another thread may have read meanwhile.
                if self._read is None or self._clock() >= self._read.until:
                    self._read = self._again(session, self._read)
                return self._read.lines
        except Unavailable as error:
            self._away_because, self._away_until = error.reason, self._clock() + AWAY_SECONDS
            raise

    def known(self) -> TokenLines | None:
        """The tokens as they were at most a second ago, None if the tables must be read first."""
        read = self._read
        return read.lines if read is not None and self._clock() < read.until else None

    def check(self) -> None:
        """Raise ConfigError where there are no tables, or a line cannot be used; raise Unavailable for an outage."""
        with self._database.session(ANSWER_SECONDS) as session:
            if not self._database.are_there(session):
                raise ConfigError(
                    f"There are no tokens in {self._database.place}. Make one with: pypi-server token mint URL USER "
                    "--may upload",
                    kind="missing",
                    setting="tokens",
                    value=self._database.place,
                )
        bad = self.current().bad
        if bad:
            raise ConfigError.of(
                Mistake(
                    f"Token {each.number} of {self._database.place} cannot be used: {each.reason}.", "line", "tokens"
                )
                for each in bad[:_MOST_TOLD]
            )

    def add_uses(self, hours: Mapping[str, int]) -> None:
        """Keep the last hour of each token; raises OSError where the user may not write, Unavailable."""
        try:
            with self._database.session(FIRST_SECONDS) as session:
                session.executemany(_UPSERT_USE, [{"id": each, "hour": hour} for each, hour in sorted(hours.items())])
        except Unavailable as error:
            driver = error.__cause__.__cause__ if error.__cause__ is not None else None
            number = _REFUSED.get(getattr(driver, "sqlstate", None) or "")
            if number is not None:
                raise OSError(number, f"its user may not write to {self._database.place}") from error
            raise

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _again(self, session: Session, before: _Read | None) -> _Read:
        began = self._clock()
        meta = dict(session.execute(_SELECT_META).fetchall())
        epoch, serial = str(meta.get("epoch", "")), int(meta.get("serial", 0))
        if before is not None and before.epoch == epoch and before.serial == serial:
            return _Read(epoch, serial, before.lines, began + BELIEVED_SECONDS)
        # Another name, or a serial that went back, is another table or an older copy of it.
        known = before if before is not None and before.epoch == epoch and before.serial < serial else None
        rows = session.execute(_SELECT_LINES, {"serial": known.serial if known else -1}).fetchall()
        last = max((row[2] for row in rows), default=serial)
        changed = [(str(row[0]), str(row[1]).encode()) for row in rows]
        if known is not None:
            lines = known.lines.changed(changed)
        else:
            lines = read_lines(b"\n".join(line for _, line in changed), TokenLines({}))
        return _Read(epoch, max(last, serial), lines, began + BELIEVED_SECONDS)


class TokenTableStore:
    """The tokens in the database at ``address``, as commands list and change them; raises Unavailable, ConfigError."""

    def __init__(self, address: str) -> None:
        self._database = TablesOf(address, TABLES)

    def __str__(self) -> str:
        return self._database.place

    def tokens(self) -> TokenLines:
        """Every token; none where there are no tables yet."""
        with self._database.once() as session:
            return _tokens(session) if self._database.are_there(session) else TokenLines({})

    def change(self, decide: Callable[[TokenLines], Iterable[TokenRecord]]) -> None:
        """Write down the tokens that ``decide`` makes of those that are there, in one transaction."""
        with self._database.once() as session, session.raw.transaction():
            self._database.migrate(session)
            (value,) = session.execute("SELECT value FROM api_token_meta WHERE name = 'serial' FOR UPDATE").fetchone()
            # Above every serial of an older copy of the table.
            serial = max(int(value) + 1, time.time_ns() // 1000)
            changes = [{"id": each.id, "line": to_line(each), "serial": serial} for each in decide(_tokens(session))]
            if changes:
                session.executemany(_UPSERT, changes)
                new = {"value": str(serial)}
                session.execute("UPDATE api_token_meta SET value = :value WHERE name = 'serial'", new)

    def uses(self) -> dict[str, int]:
        """The last hour (seconds since the epoch) in which each token was used."""
        with self._database.once() as session:
            if not self._database.are_there(session):
                return {}
            return {str(row[0]): int(row[1]) for row in session.execute("SELECT id, hour FROM api_token_use")}


def _tokens(session: Session) -> TokenLines:
    rows = session.execute(_SELECT_LINES, {"serial": -1}).fetchall()
    return read_lines("\n".join(str(row[1]) for row in rows).encode(), TokenLines({}))
