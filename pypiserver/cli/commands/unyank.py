"""``unyank``: undo a yank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..release import OPERANDS, OPTIONS, SYNOPSIS, Release
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Unyank(Release):
    """Remove the yank mark from the files of a release."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Remove it."""
        from .. import manage

        manage.tell(manage.unyank(self), self, out)
        return 0


COMMAND = Subcommand(
    "unyank",
    "Undo a yank.",
    Unyank,
    OPERANDS,
    OPTIONS,
    required=1,
    synopsis_text=SYNOPSIS,
    examples=(
        ("unyank foo==1.0", "in the folder of the settings, or ~/packages"),
        ("unyank ~/packages foo 1.0", "in this folder"),
    ),
)
