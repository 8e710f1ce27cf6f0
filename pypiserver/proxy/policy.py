"""Which files of other indexes are given out: by their age, lists of projects, exceptions and kinds of files.

**Invariants:** a page and the address of a file get the same decision, from the same function; what cannot be known
(an upload time, a list that cannot be read, a version) is never a reason to give a file out; only the clock of the
moment counts, so when it is set back, what is too young again is withheld again.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName

from ..distributions.versions import canonical_version
from ..model import ACTIVE, ProjectStatus
from ..upstream.values import RemoteFile, RemotePage, Upstream
from .file_rules import FileRules, denied_by, forbidden, not_allowed_by
from .list_file import ListFile
from .list_text import ListKind, ListLine, ListLines
from .values import Judged, Refusal, Withheld

QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The rules that hold for every index.

    ``min_age`` is in seconds; ``not_after`` is the last upload time that is given out (seconds since the epoch), None
    for no limit. The others are the files of exceptions, of allowed and of denied projects.
    """

    min_age: float = 0.0
    not_after: float | None = None
    allow: Path | None = None
    allow_projects: Path | None = None
    deny_projects: Path | None = None


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists as they are at one moment; None for one that is not in use. ``mark`` is equal for equal lists."""

    exceptions: ListLines | None
    allowed: ListLines | None
    denied: ListLines | None
    mark: str


class Policy:
    """Decides what is given out. The clocks are for the lists: monotonic seconds, and seconds since the epoch."""

    def __init__(
        self,
        settings: PolicySettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        named: dict[ListKind, Path | None] = {
            "allow": settings.allow,
            "allow-projects": settings.allow_projects,
            "deny-projects": settings.deny_projects,
        }
        self._files = {
            kind: ListFile(path, kind, clock=clock, wall=wall) for kind, path in named.items() if path is not None
        }
        self._clock = clock
        # Requests ask several times each; until then no file is looked at.
        self._fresh_until = 0.0 if self._files else math.inf
        self._names: dict[ListKind, str] = {kind: file.path.name for kind, file in self._files.items()}
        self._settings_mark = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
        # The versions of the files that these lists are made of.
        self._lists: tuple[tuple[object, ...], Lists] = ((), Lists(None, None, None, self._settings_mark))

    def check(self) -> dict[ListKind, ListLines]:
        """The lists at a start; raises ConfigError when one cannot be read or has lines that cannot be used."""
        return {kind: file.check().lines for kind, file in self._files.items()}

    def mark(self) -> str:
        """A text that is equal as long as rules and lists are; raises Unavailable when a list cannot be read."""
        return self._current().mark

    def known_mark(self) -> str | None:
        """The same if no list must be read for it, so in some microseconds; None otherwise."""
        if self._clock() < self._fresh_until:
            return self._lists[1].mark
        versions = tuple(file.known() for file in self._files.values())
        return None if None in versions else self._lists_of(versions).mark

    def refusal_of(self, project: NormalizedName) -> Refusal | None:
        """The rule and line by which the whole project is not given out, None if it is; raises Unavailable."""
        return self._project_refusal(project, self._current())

    def judge(self, upstream: Upstream, page: RemotePage, now: float) -> Judged:
        """What of a page is given out at ``now`` (seconds since the epoch); raises Unavailable."""
        lists = self._current()
        if page.status.status == QUARANTINED:
            return Judged((), (), page.status)
        refusal = self._project_refusal(page.project, lists)
        if refusal is not None:
            return Judged((), (), ProjectStatus(QUARANTINED, refusal.reason))
        if self._is_without_rules(upstream, lists):
            return Judged(page.files, page.versions, page.status)
        rules = self._rules(upstream, page.project, now, lists)
        left: list[RemoteFile] = []
        withheld: list[Withheld] = []
        for file in page.files:
            found = rules.withheld(file)
            if found is None:
                left.append(file)
            else:
                withheld.append(found)
        before, after = rules.boundaries(page.files)
        return Judged(
            page.files if not withheld else tuple(left),
            page.versions if not withheld else _versions_left(page, left),
            page.status,
            tuple(withheld),
            after,
            before,
        )

    def refusal(
        self, upstream: Upstream, file: RemoteFile, now: float, *, status: ProjectStatus = ACTIVE
    ) -> Withheld | None:
        """Why a file is not given out at ``now``, None if it is; raises Unavailable.

        ``status`` is the project's in that index: of a quarantined one no file is given out (PEP 792).
        """
        lists = self._current()
        if status.status == QUARANTINED:
            why = f": {status.reason}" if status.reason else ""
            sentence = f"{file.project} is quarantined in the index {upstream.name}{why} (rule {QUARANTINED})."
            return Withheld(file, QUARANTINED, sentence)
        refusal = self._project_refusal(file.project, lists)
        if refusal is not None:
            return Withheld(file, refusal.rule, refusal.reason, line=refusal.line)
        if self._is_without_rules(upstream, lists):
            return None
        return self._rules(upstream, file.project, now, lists).withheld(file)

    def exception(self, upstream: Upstream, file: RemoteFile, now: float) -> ListLine | None:
        """The exception by which a file is given out at ``now``, None for one that needs none; raises Unavailable."""
        return self._rules(upstream, file.project, now, self._current()).exception(file)

    def enforce(self, upstream: Upstream, file: RemoteFile, now: float, *, status: ProjectStatus = ACTIVE) -> None:
        """Raise Withholding if the file, or anything of it, is not given out at ``now``; raises Unavailable."""
        withheld = self.refusal(upstream, file, now, status=status)
        if withheld is not None:
            raise forbidden(withheld)

    def _current(self) -> Lists:
        if self._clock() < self._fresh_until:
            return self._lists[1]
        return self._lists_of(tuple(file.current() for file in self._files.values()))

    def _lists_of(self, versions: tuple[object, ...]) -> Lists:
        known, lists = self._lists
        fresh_until = min((file.fresh_until for file in self._files.values()), default=math.inf)
        if len(known) != len(versions) or any(one is not other for one, other in zip(known, versions, strict=True)):
            found = dict(zip(self._files, versions, strict=True))
            lines = {kind: getattr(version, "lines", None) for kind, version in found.items()}
            digests = [str(getattr(version, "digest", "")) for version in versions]
            lists = Lists(
                lines.get("allow"),
                lines.get("allow-projects"),
                lines.get("deny-projects"),
                "-".join((self._settings_mark, *digests)),
            )
            self._lists = versions, lists
        self._fresh_until = fresh_until
        return lists

    def _project_refusal(self, project: NormalizedName, lists: Lists) -> Refusal | None:
        for line in lists.denied.of(project) if lists.denied is not None else ():
            if not line.versions:
                return Refusal(
                    "deny-projects", line.number, f"{project} {denied_by(line, self._names['deny-projects'])}."
                )
        if lists.allowed is not None and not lists.allowed.of(project):
            return Refusal("allow-projects", 0, f"{project} {not_allowed_by(self._names['allow-projects'])}.")
        return None

    def _is_without_rules(self, upstream: Upstream, lists: Lists) -> bool:
        """Whether nothing of the index is withheld, but a project in quarantine."""
        settings, limit = self.settings, upstream.max_file_size
        min_age = settings.min_age if upstream.min_age is None else upstream.min_age
        is_limited = upstream.formats or upstream.platforms or upstream.pythons or limit is not None
        has_lists = lists.denied is not None or lists.allowed is not None
        return not (is_limited or has_lists or min_age > 0 or settings.not_after is not None)

    def _rules(self, upstream: Upstream, project: NormalizedName, now: float, lists: Lists) -> FileRules:
        return FileRules(
            self._names,
            upstream,
            now,
            self.settings.min_age if upstream.min_age is None else upstream.min_age,
            self.settings.not_after,
            () if lists.denied is None else lists.denied.of(project),
            None if lists.allowed is None else lists.allowed.of(project),
            () if lists.exceptions is None else lists.exceptions.of(project),
        )


def _versions_left(page: RemotePage, files: list[RemoteFile]) -> tuple[str, ...]:
    """The versions of a page that have files left, in its order."""
    left = {canonical_version(file.version) for file in files}
    return tuple(version for version in page.versions if canonical_version(version) in left)
