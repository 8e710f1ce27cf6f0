"""``delete``: move a release to the trash, or delete it for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..options import FILE, NAME, OF_RELEASE, ROOT, VERSION, YES
from ..release import Release
from ..subcommand import Subcommand, switch


@dataclass(frozen=True, slots=True)
class Delete(Release):
    """Move the files of a release to the trash, or delete them for good; without ``yes`` only say what would go."""

    purge: bool = False
    yes: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Remove them, or say which."""
        from .. import manage

        status = manage.tell(manage.delete(self, yes=self.yes, purge=self.purge), self, out)
        if not self.yes and not self.json:
            out.write(f"Nothing was changed; say {manage.confirmation(self.config)} to do it.\n")
        return status


COMMAND = Subcommand(
    "delete",
    "Show what would be removed; with --yes, move it to the trash.",
    Delete,
    (ROOT, NAME, VERSION),
    (
        FILE,
        YES,
        switch("purge", "--purge", text="Delete for good instead of moving to the trash."),
        *OF_RELEASE,
    ),
    required=2,
    examples=(
        ("delete ~/packages foo 1.0", "show what would go"),
        ("delete ~/packages foo 1.0 --yes", "move it to the trash"),
    ),
)
