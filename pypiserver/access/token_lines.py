"""All tokens of a file or a table in memory: their lines by id, each read when it is asked for.

A hundred thousand lines are there in 0.1 seconds, and one takes 10 microseconds to read.

**Invariants:** of several lines with one id, one that is revoked or cannot be read counts, else the last: a backup that
is put in front of or behind the lines revives nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from .token_record import TokenRecord, from_line

# How our own lines begin, and where the id in them is.
_BEGIN = b'{"id": "'
_ID = slice(len(_BEGIN), len(_BEGIN) + 8)
_END = slice(len(_BEGIN) + 8, len(_BEGIN) + 10)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used: its number, beginning with 1, and why."""

    number: int
    reason: str


class TokenLines:
    """The tokens of these lines by id. ``bad`` are the lines that cannot be used."""

    def __init__(self, by_id: Mapping[str, bytes], bad: tuple[BadLine, ...] = ()) -> None:
        self._by_id = by_id
        self.bad = bad

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, token_id: object) -> bool:
        return token_id in self._by_id

    def __iter__(self) -> Iterator[TokenRecord]:
        """Every token that can be used, in the order of their first lines."""
        for token_id in self._by_id:
            record = self.get(token_id)
            if record is not None:
                yield record

    def get(self, token_id: str) -> TokenRecord | None:
        """The token of this id, None if there is none that can be used."""
        line = self._by_id.get(token_id)
        if line is None:
            return None
        try:
            record = from_line(line)
        except ValueError:
            return None
        return record if record.id == token_id else None

    def changed(self, lines: Iterable[tuple[str, bytes]]) -> TokenLines:
        """The same with the lines of these ids added or replaced."""
        return TokenLines({**self._by_id, **dict(lines)})

    def lines(self) -> Iterable[bytes]:
        """Every line that counts."""
        return self._by_id.values()


class TokenSource(Protocol):
    """Where the server reads tokens."""

    def current(self) -> TokenLines:
        """The tokens as they are now; raises Unavailable."""

    def known(self) -> TokenLines | None:
        """The same if nothing must be read first, else None."""

    def check(self) -> None:
        """Raise ConfigError unless they can be read and every line can be used; raise Unavailable for an outage."""

    def add_uses(self, hours: Mapping[str, int]) -> None:
        """Keep the last hour (seconds since the epoch) in which each token was used; raises OSError, Unavailable."""

    def close(self) -> None:
        """Close connections."""


def read_lines(data: bytes, known: TokenLines) -> TokenLines:
    """The tokens in these bytes; lines that are among the ``known`` ones were found good before, others are tried."""
    good = frozenset(known.lines())
    by_id: dict[str, bytes] = {}
    bad: list[BadLine] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        token_id = _begun_id(line)
        if not token_id or line not in good:
            try:
                token_id = from_line(line).id
            except ValueError as error:
                bad.append(BadLine(number, str(error)))
        if token_id:
            before = by_id.get(token_id)
            by_id[token_id] = line if before is None else _counting(before, line)
    return TokenLines(by_id, tuple(bad))


def id_in(line: bytes) -> str:
    """The id of a line, '' if it has none that can be read."""
    line = line.strip()
    token_id = _begun_id(line)
    if token_id or not line.startswith(b"{"):
        return token_id
    try:
        return from_line(line).id
    except ValueError:
        return ""


def _begun_id(line: bytes) -> str:
    """The id in a line that begins as ours do, '' for another."""
    return line[_ID].decode("latin-1") if line.startswith(_BEGIN) and line[_END] == b'",' else ""


def _counting(first: bytes, second: bytes) -> bytes:
    """Which of two lines with one id counts."""
    for line in (first, second):
        try:
            if from_line(line).revoked is not None:
                return line
        except ValueError:
            return line
    return second
