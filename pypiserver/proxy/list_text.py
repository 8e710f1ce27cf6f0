"""The text of the lists about projects of other indexes: exceptions, allowed projects, denied projects.

::

    urllib3==2.6.1    until 2026-12-10   # CVE-2026-1234 is fixed in it      an exception; the day is in UTC
    acme-*            always             # our own second index
    requests<3                           # reviewed by the platform team     a project, in the other two lists

**Invariants:** lines only add, in any order; any other line is a fault with its number, never a guess; a line of denied
projects whose versions cannot be read denies every version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Literal

from packaging.utils import NormalizedName

from ..access.patterns import Matcher, is_exact, read_patterns
from ..access.text_lines import Fault, numbered, printable
from ..distributions.version_ranges import is_in, is_range
from ..text import cut, line_of

ListKind = Literal["allow", "allow-projects", "deny-projects"]
# A larger file is refused as a whole; twenty thousand lines with reasons take a quarter of it.
MAX_BYTES = 8 << 20
# Each costs a comparison for each page.
MAX_GLOBS = 2000
MAX_REASON = 500
ALWAYS = "always"
_SHOWN = 60
_SPEC = re.compile(r"(?P<name>[A-Za-z0-9*?][A-Za-z0-9._*?-]*)(?=[\s<>=!~\[(;@]|$)\s*(?P<versions>.*)")
_END = re.compile(r"(?P<spec>.*\S)\s+(?:until\s+(?P<day>\S+)|always)")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class ListLine:
    """A line: the projects that its ``pattern`` matches, in their ``versions`` (PEP 440), '' for all.

    ``until`` is the last day (UTC) on which an exception counts, None without an end.
    """

    number: int
    pattern: str
    versions: str = ""
    reason: str = ""
    until: date | None = None

    def covers(self, version: str) -> bool | None:
        """Whether it is about this version; None if that version or its own cannot be read."""
        return is_in(version, self.versions) if self.versions else True

    @property
    def end(self) -> float | None:
        """When it ends (seconds since the epoch), None for never."""
        return None if self.until is None else end_of(self.until)

    def __str__(self) -> str:
        return f"{self.pattern}{self.versions}"


class ListLines:
    """Lines by project: one look-up for those that name it, one comparison with all patterns."""

    __slots__ = ("_exact", "_globs", "_matches", "lines")

    def __init__(self, lines: Iterable[ListLine]) -> None:
        self.lines = tuple(lines)
        exact: dict[str, tuple[ListLine, ...]] = {}
        for line in self.lines:
            if is_exact(line.pattern):
                exact[line.pattern] = (*exact.get(line.pattern, ()), line)
        self._exact = exact
        self._globs = tuple((Matcher((each.pattern,)), each) for each in self.lines if not is_exact(each.pattern))
        self._matches = Matcher(each.pattern for _, each in self._globs)

    def of(self, project: NormalizedName) -> tuple[ListLine, ...]:
        """The lines about this project."""
        found = self._exact.get(project, ())
        if self._globs and self._matches(project):
            found += tuple(line for matches, line in self._globs if matches(project))
        return found


@dataclass(frozen=True, slots=True)
class ListText:
    """What a list says: its lines, and those that cannot be used."""

    lines: ListLines
    faults: tuple[Fault, ...] = field(default=())


def end_of(day: date) -> float:
    """The end of a day in UTC, in seconds since the epoch."""
    try:
        return datetime.combine(day + timedelta(days=1), datetime.min.time(), timezone.utc).timestamp()
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc).timestamp()


def read_list(data: bytes, kind: ListKind) -> ListText:
    """Read the content of a list; never raises: what cannot be used is in the faults."""
    lines: list[ListLine] = []
    faults: list[Fault] = []
    globs = 0
    for number, raw in numbered(data):
        try:
            text, reason = _parts(raw)
            if not text:
                continue
            line = _exception(number, text, reason) if kind == "allow" else _project(number, text, reason)
            globs += not is_exact(line.pattern)
            if globs > MAX_GLOBS and not is_exact(line.pattern):
                raise ValueError(f"there may be {MAX_GLOBS:,} lines with '*' or '?'")
            lines.append(line)
        except _BadVersionsError as fault:
            faults.append(Fault(number, str(fault)))
            if kind == "deny-projects":
                lines.append(fault.line)
        except ValueError as fault:
            faults.append(Fault(number, str(fault)))
    return ListText(ListLines(lines), tuple(faults))


class _BadVersionsError(ValueError):
    """The versions of a line cannot be read; ``line`` is about all versions."""

    def __init__(self, message: str, line: ListLine) -> None:
        super().__init__(message)
        self.line = line


def _parts(raw: bytes) -> tuple[str, str]:
    """The line without its comment, and the comment; raises ValueError."""
    line = printable(raw)
    found = re.search(r"(?:^|\s)#", line)
    if found is None:
        return line.strip(), ""
    return line[: found.start()].strip(), line_of(line[found.end() :], MAX_REASON)


def _exception(number: int, text: str, reason: str) -> ListLine:
    found = _END.fullmatch(text)
    if found is None:
        raise ValueError(f"{cut(text, _SHOWN)!r} has no end; write 'until' and a day, or 'always', after it")
    until = None if found["day"] is None else _day(found["day"])
    line = _project(number, found["spec"], reason)
    if not reason:
        raise ValueError(f"{cut(text, _SHOWN)!r} has no reason; write it at the end of the line, after ' # '")
    return ListLine(number, line.pattern, line.versions, reason, until)


def _day(word: str) -> date:
    try:
        if _DAY.fullmatch(word):
            return date.fromisoformat(word)
    except ValueError:
        pass
    raise ValueError(f"{cut(word, _SHOWN)!r} is not a day; write one such as 2026-12-10")


def _project(number: int, text: str, reason: str) -> ListLine:
    found = _SPEC.fullmatch(text)
    if found is None:
        raise ValueError(f"{cut(text, _SHOWN)!r} is not a project; write its name, or a pattern such as 'acme-*'")
    (pattern,) = read_patterns((found["name"],)).included
    line = ListLine(number, pattern, "", reason)
    written = found["versions"]
    if not written:
        return line
    if not is_range(written):
        raise _BadVersionsError(
            f"{cut(written, _SHOWN)!r} is not a range of versions; write one such as ==2.6.1 or <3 after the name "
            "(extras, markers, URLs and options mean nothing here)",
            line,
        )
    return ListLine(number, pattern, "".join(written.split()), reason)
