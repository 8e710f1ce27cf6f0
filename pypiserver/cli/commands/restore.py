"""``restore``: move files back from the trash, or list it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..release import OPERANDS, OPTIONS, Selection
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Restore(Selection):
    """Move files back from the trash; without a name, list the trash."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Restore or list."""
        from .. import manage

        if not manage.tell(manage.restore(self), self, out) and not self.json:
            out.write("The trash is empty.\n")
        return 0


COMMAND = Subcommand(
    "restore",
    "Bring files back from the trash, or list it.",
    Restore,
    OPERANDS,
    OPTIONS,
    required=0,
    synopsis_text="[DIR] [NAME[==VERSION]] [VERSION]",
    examples=(
        ("restore", "list the trash of the folder of the settings, or ~/packages"),
        ("restore foo", "bring back every release of foo that is in the trash"),
        ("restore foo==1.0", "bring a release back"),
        ("restore ~/packages foo 1.0", "in this folder"),
    ),
)
