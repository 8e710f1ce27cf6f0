"""What other indexes offer under a name, after the rules about what comes in.

**Invariants:** immutable; ``mark`` differs whenever a rendered page would differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import ProjectStatus
from ..upstream.values import Referable, RemoteFile, RemotePage, Upstream


@dataclass(frozen=True, slots=True)
class Withheld:
    """A file that is not given out.

    ``rule`` is the setting that says so (``min-age``, ``not-after``, ``deny-projects``, ``allow-projects``,
    ``formats``, ``platforms``, ``pythons``, ``max-file-size``; ``quarantined``), ``reason`` a whole sentence for
    people, ``until`` when it will be given out (seconds since the epoch), None if that is not known. ``line`` is the
    number of the line in a list that says so, 0 for none.
    """

    file: RemoteFile
    rule: str
    reason: str
    until: float | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a whole project is not given out: the rule, the number of the line (0: no line), and a sentence."""

    rule: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Judged(Referable):
    """What the rules leave of a page: ``files``, their ``versions`` in order, the project's status, and the rest.

    They hold from ``since`` until before ``changes_at`` (seconds since the epoch): in between no file comes of age and
    no exception ends. None means that time changes nothing, in that direction; the clock may be set back.
    """

    files: tuple[RemoteFile, ...]
    versions: tuple[str, ...]
    status: ProjectStatus
    withheld: tuple[Withheld, ...] = ()
    changes_at: float | None = None
    since: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it is still right at ``now``, with the same page and lists."""
        return (self.since is None or self.since <= now) and (self.changes_at is None or now < self.changes_at)


@dataclass(frozen=True, slots=True)
class Offered:
    """A project of another index as it is given out.

    ``age`` is how many seconds ago the page was right, None while it is fresh; ``detail`` says why it is not fresh
    (``upstream-unreachable``, ``offline``). ``mark`` is for caches of rendered pages: equal marks, equal pages.
    ``forwarded`` says why the index was asked for this answer (RFC 9211: ``miss``, ``stale``, ``request``), '' if not.
    """

    page: RemotePage
    upstream: Upstream
    judged: Judged
    mark: str
    age: float | None = None
    detail: str = ""
    forwarded: str = ""
