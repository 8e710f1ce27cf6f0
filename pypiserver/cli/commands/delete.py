"""``delete``: move a release to the trash, or delete it permanently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..options import YES
from ..release import OPERANDS, OPTIONS, SYNOPSIS, Release
from ..subcommand import Subcommand, switch


@dataclass(frozen=True, slots=True)
class Delete(Release):
    """Move the files of a release to the trash, or delete them permanently; without ``yes`` only list them."""

    purge: bool = False
    yes: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Delete the files, or list them."""
        from .. import manage

        manage.tell(manage.delete(self, yes=self.yes, purge=self.purge), self, out)
        if not self.yes and not self.json:
            out.write(f"Nothing was changed; say {manage.confirmation(self.config)} to do it.\n")
        return 0


COMMAND = Subcommand(
    "delete",
    "Show what would be removed; with --yes, move it to the trash.",
    Delete,
    OPERANDS,
    (
        YES,
        switch("purge", "--purge", text="Delete for good instead of moving to the trash."),
        *OPTIONS,
    ),
    required=1,
    synopsis_text=SYNOPSIS,
    examples=(
        ("delete foo==1.0", "show what would go"),
        ("delete foo==1.0 --yes", "move it to the trash"),
        ("delete foo --all --yes --purge", "delete every release for good"),
    ),
)
