"""Lines of files in which operators write rules, before what they mean.

**Invariants:** a line keeps its number, whatever it contains; bytes that are not text are a fault, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that cannot be used, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


def numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, from 1; a byte order mark is left out."""
    return enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)


def printable(raw: bytes) -> str:
    """The text of a line, with blanks for tabs; raises ValueError."""
    try:
        line = raw.decode("utf-8").rstrip("\r").replace("\t", " ")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not line.isprintable():
        raise ValueError("it has control characters")
    return line
