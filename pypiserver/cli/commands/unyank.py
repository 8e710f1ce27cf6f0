"""``unyank``: undo a yank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..options import FILE, NAME, OF_RELEASE, ROOT, VERSION
from ..release import Release
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Unyank(Release):
    """Remove the mark of the files of a release."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Remove it."""
        from .. import manage

        return manage.tell(manage.unyank(self), self, out)


COMMAND = Subcommand(
    "unyank",
    "Take that back.",
    Unyank,
    (ROOT, NAME, VERSION),
    (FILE, *OF_RELEASE),
    required=2,
    examples=(("unyank ~/packages foo 1.0", "all files of a release"),),
)
