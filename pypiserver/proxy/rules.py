"""What the rules about what comes in are asked, and the rules of a server that has none.

**Invariants:** rules decide from values alone: they ask no index, and wait for nothing but their own files.
"""

from __future__ import annotations

from typing import Protocol

from packaging.utils import NormalizedName

from ..errors import Withholding
from ..model import ACTIVE, ProjectStatus
from ..upstream.values import RemoteFile, RemotePage, Upstream
from .values import Judged, Refusal

QUARANTINED = "quarantined"


class Rules(Protocol):
    """What comes in, and when: :class:`.policy.Policy`; ``now`` is seconds since the epoch."""

    def judge(self, upstream: Upstream, page: RemotePage, now: float) -> Judged:
        """What is left of a page; raises Unavailable."""

    def enforce(self, upstream: Upstream, file: RemoteFile, now: float, *, status: ProjectStatus = ACTIVE) -> None:
        """Raise Withholding for a file that is not given out now; ``status`` is the project's; raises Unavailable."""

    def refusal_of(self, project: NormalizedName) -> Refusal | None:
        """Why nothing of this project is given out, None if it may be; raises Unavailable."""

    def mark(self) -> str:
        """Equal as long as the rules are; raises Unavailable."""

    def known_mark(self) -> str | None:
        """The same if it waits for nothing, else None."""


class NoRules:
    """Everything comes in, but what its index has in quarantine (PEP 792)."""

    def judge(self, upstream: Upstream, page: RemotePage, now: float) -> Judged:
        """The page as it is."""
        if page.status.status == QUARANTINED:
            return Judged((), (), page.status)
        return Judged(page.files, page.versions, page.status)

    def enforce(self, upstream: Upstream, file: RemoteFile, now: float, *, status: ProjectStatus = ACTIVE) -> None:
        """Raise Withholding for a file of a project in quarantine."""
        if status.status == QUARANTINED:
            raise Withholding(
                f"{file.project} is quarantined in the index {upstream.name}; none of its files can be downloaded.",
                kind=QUARANTINED,
                filename=file.filename,
                project=file.project,
            )

    def refusal_of(self, project: NormalizedName) -> Refusal | None:
        """No reason."""
        return None

    def mark(self) -> str:
        """Always the same."""
        return ""

    def known_mark(self) -> str | None:
        """Always the same."""
        return ""
