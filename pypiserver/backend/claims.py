"""Names that stay ours after their last file was deleted, so that no other index is asked for them.

A claim is the file ``.status/<project>`` (in a bucket the object ``status/<project>``) with the first line ``private``;
a status of PEP 792 in it claims the name too. It has no effect while the project has files.

**Invariants:** a claim is durable before the last file is deleted; ``private`` is never shown as a status; what cannot
be read is an outage (Unavailable), never "no claim".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Protocol

from packaging.utils import NormalizedName

from ..catalog.queries import PRIVATE
from ..model import File
from ..text import MAX_REASON, line_of


class Claims(Protocol):
    """The claims on names in a folder or bucket."""

    def find(self, project: NormalizedName) -> str:
        """Why the name is ours, as it is at this moment; '' if it is not. Raises Unavailable."""

    def all(self) -> dict[NormalizedName, str]:
        """The reason of every claim made for a deleted project, by normalized name; raises Unavailable."""

    def claim(self, project: NormalizedName, reason: str, *, root: int = 0) -> bool:
        """Claim the name; returns whether this made the claim. Raises Forbidden, StorageFull and Unavailable."""

    def release(self, project: NormalizedName) -> bool:
        """End the claim, except that of a status; returns whether there was one. Raises Forbidden and Unavailable."""

    def deleting(self, project: NormalizedName) -> AbstractContextManager[object]:
        """While held, no other caller deletes files of the project."""


def claim_in(text: str) -> str:
    """Why the text of a status file claims its name, '' if it does not."""
    word, _, reason = text.strip().partition("\n")
    status = word.strip().lower()
    if status == PRIVATE:
        return line_of(reason, MAX_REASON) or "it is reserved"
    return f"it is {status}" if status in ("archived", "deprecated", "quarantined") else ""


def is_private(text: str) -> bool:
    """Whether it is the text of a claim made for a deleted project."""
    return text.strip().partition("\n")[0].strip().lower() == PRIVATE


def text_of_claim(reason: str) -> bytes:
    """The text of a claim."""
    return f"{PRIVATE}\n{reason}\n".encode()


@contextlib.contextmanager
def claiming(
    claims: Claims,
    project: NormalizedName,
    going: Collection[File],
    rows: Callable[[], Collection[File]],
    *,
    today: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Iterator[Callable[[], bool]]:
    """Claim the name before its last files are deleted; ``rows`` gives the files that there are.

    The function that it gives says whether the name is claimed now because of this deletion.
    """
    reason = f"its last file was deleted on {today():%Y-%m-%d}"
    is_made = False

    def is_last() -> bool:
        gone = {(file.root, file.path) for file in going}
        return all((file.root, file.path) in gone for file in rows())

    with claims.deleting(project):
        if going and is_last():
            is_made = claims.claim(project, reason, root=next(iter(going)).root)
        try:
            yield lambda: is_made
        finally:
            left = rows()
            if not left and not is_made:
                # A server of the same bucket may have deleted the rest meanwhile.
                is_made = claims.claim(project, reason)
            elif left and is_made:
                # Some could not be deleted.
                is_made = not claims.release(project)
