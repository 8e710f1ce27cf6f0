"""``restore``: bring files back from the trash, or list it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ..options import FILE, NAME, OF_RELEASE, ROOT, VERSION
from ..release import Selection
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Restore(Selection):
    """Bring files back from the trash; without a name, list what is there."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Restore or list."""
        from .. import manage

        return manage.tell(manage.restore(self), self, out)


COMMAND = Subcommand(
    "restore",
    "Bring files back from the trash, or list it.",
    Restore,
    (ROOT, NAME, VERSION),
    (FILE, *OF_RELEASE),
    required=1,
    examples=(
        ("restore ~/packages", "list the trash"),
        ("restore ~/packages foo 1.0", "bring a release back"),
    ),
)
