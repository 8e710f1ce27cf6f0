"""Whether one file of another index is given out, and the sentences that say why not.

**Invariants:** functions are pure; each rule has one place, and a file is given out only if none of them objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from ..errors import Withholding
from ..upstream.values import RemoteFile, Upstream
from .file_limits import broken_limit
from .list_text import ListKind, ListLine
from .values import Withheld

FIRST_SEEN = "first-seen"
# The rules that an exception suspends.
OF_TIME = frozenset({"min-age", "not-after"})


class FileRules(NamedTuple):
    """The rules about the files of one project in one index at one moment (``now``, seconds since the epoch).

    ``min_age`` is in seconds, ``not_after`` a moment. ``denied``, ``allowed`` and ``exceptions`` are the lines about
    the project, ``list_names`` the names of the lists' files. A frozen dataclass takes six times as long to make, for
    each request of a file.
    """

    list_names: Mapping[ListKind, str]
    upstream: Upstream
    now: float
    min_age: float
    not_after: float | None
    denied: tuple[ListLine, ...]
    allowed: tuple[ListLine, ...] | None
    exceptions: tuple[ListLine, ...]

    def withheld(self, file: RemoteFile) -> Withheld | None:
        """Why a file is withheld, None if it is given out."""
        for line in self.denied:
            if line.covers(file.version) is not False:
                why = denied_by(line, self.list_names["deny-projects"])
                return Withheld(file, "deny-projects", f"{_release(file)} {why}.", line=line.number)
        if self.allowed is not None and not any(line.covers(file.version) for line in self.allowed):
            why = not_allowed_by(self.list_names["allow-projects"])
            return Withheld(file, "allow-projects", f"{_release(file)} {why}.")
        broken = broken_limit(self.upstream, file)
        if broken is not None:
            rule, why = broken
            return Withheld(file, rule, f"{file.filename} is not given out: {why} (rule {rule}).")
        too_young = self._too_young(file)
        return None if too_young is not None and self._exception(file) is not None else too_young

    def exception(self, file: RemoteFile) -> ListLine | None:
        """The exception by which a file is given out that would be withheld, None for any other file."""
        is_excepted = self.withheld(file) is None and self._too_young(file) is not None
        return self._exception(file) if is_excepted else None

    def boundaries(self, files: tuple[RemoteFile, ...]) -> tuple[float | None, float | None]:
        """The last moment before now and the first after it at which a decision about these files may change."""
        moments = [line.end for line in self.exceptions if line.end is not None]
        if self.min_age > 0:
            moments += [when + self.min_age for file in files if (when := self._uploaded(file)) is not None]
        before = max((each for each in moments if each <= self.now), default=None)
        return before, min((each for each in moments if each > self.now), default=None)

    def _exception(self, file: RemoteFile) -> ListLine | None:
        """The exception for a file that counts now and ends last."""
        counting = (line for line in self.exceptions if line.end is None or self.now < line.end)
        found = (line for line in counting if line.covers(file.version))
        return max(found, key=lambda line: math.inf if line.end is None else line.end, default=None)

    def _uploaded(self, file: RemoteFile) -> float | None:
        """The upload time that counts, in seconds since the epoch, None if it is not known."""
        when = file.uploaded_ns
        if when is None and self.upstream.unknown_age == FIRST_SEEN:
            when = file.first_seen_ns or None
        return None if when is None else when / 1e9

    def _too_young(self, file: RemoteFile) -> Withheld | None:
        if self.min_age <= 0 and self.not_after is None:
            return None
        when = self._uploaded(file)
        if when is None:
            # The operator who says that an index has no minimum age knows that its files have no times.
            if self.upstream.min_age == 0:
                return None
            rule = "min-age" if self.min_age > 0 else "not-after"
            name = self.upstream.name
            sentence = f"The index {name} does not say when {file.filename} was released, so it is not given out"
            return Withheld(file, rule, f"{sentence} (rule {rule}).")
        if self.not_after is not None and when > self.not_after:
            sentence = f"{_release(file)} was released {shown(when)}; this server gives out releases up to"
            return Withheld(file, "not-after", f"{sentence} {shown(self.not_after)} (rule not-after).")
        if self.min_age > 0 and self.now < when + self.min_age:
            until = when + self.min_age
            sentence = f"{_release(file)} was released {shown(when)}; this server gives releases out after"
            sentence += f" {shown_span(self.min_age)}, from {shown(until, is_exact=True)} (rule min-age)."
            return Withheld(file, "min-age", sentence, until)
        return None


def denied_by(line: ListLine, name: str) -> str:
    """The end of a sentence about a denied project or release; ``name`` is that of the list's file."""
    why = f": {line.reason}" if line.reason else ""
    return f"is denied{why} (rule deny-projects, line {line.number} of {name})"


def not_allowed_by(name: str) -> str:
    """The end of a sentence about a project or release that no line of the list ``name`` allows."""
    return f"is not among the projects of other indexes that are allowed (rule allow-projects, {name})"


def forbidden(withheld: Withheld) -> Withholding:
    """The refusal of a file that is withheld, for clients and people."""
    file, ask = withheld.file, ""
    if withheld.rule in OF_TIME:
        spec = f"{file.project}=={file.version}"
        ask = f" Ask for an exception: pypi-server proxy allow {spec} --for 7d --reason TEXT"
    return Withholding(
        f"{withheld.reason}{ask}",
        kind=withheld.rule,
        filename=file.filename,
        project=file.project,
        reason=withheld.reason,
        until=withheld.until,
    )


def shown(when: float, *, is_exact: bool = False) -> str:
    """A moment (seconds since the epoch) as a day in UTC, or to the minute, rounded up."""
    try:
        if is_exact:
            moment = datetime.fromtimestamp(math.ceil(when / 60) * 60, timezone.utc)
            return moment.strftime("%Y-%m-%d %H:%M UTC")
        return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "a time out of the calendar"


def shown_span(seconds: float) -> str:
    """A span of time in words: ``7 days``, ``1 hour``, ``90 seconds``."""
    units = (("day", 86_400), ("hour", 3600), ("minute", 60))
    unit, length = next((each for each in units if seconds >= each[1] and seconds % each[1] == 0), ("second", 1))
    count = f"{seconds / length:,g}"
    return f"{count} {unit}" if count == "1" else f"{count} {unit}s"


def _release(file: RemoteFile) -> str:
    return f"{file.project} {file.version}".rstrip()
