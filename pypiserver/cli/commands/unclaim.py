"""``unclaim``: release the name of a deleted project, or list those names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..options import NAME, OF_RELEASE, ROOT
from ..release import Selection
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Unclaim(Selection):
    """Let other indexes be asked for the name of a deleted project; without a name, list such names."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Release or list."""
        from .. import manage

        if not manage.tell(manage.claims(self), self, out) and not self.json:
            out.write("No name of a deleted project is reserved.\n")
        return 0


COMMAND = Subcommand(
    "unclaim",
    "Let other indexes be asked for the name of a deleted project again, or list these names.",
    Unclaim,
    (ROOT, NAME),
    OF_RELEASE,
    required=0,
    synopsis_text="[DIR] [NAME]",
    examples=(
        ("unclaim", "list the names of deleted projects, which no other index is asked for"),
        ("unclaim foo", "let other indexes be asked for foo again"),
        ("unclaim ~/packages foo", "in this folder"),
    ),
)
