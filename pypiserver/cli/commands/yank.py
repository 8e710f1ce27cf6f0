"""``yank``: tell installers to avoid a release (PEP 592)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ...settings import parsers as types
from ...settings.setting import Setting
from ..release import OPERANDS, OPTIONS, SYNOPSIS, Release
from ..subcommand import Subcommand

REASON = Setting(
    name="reason",
    parse=types.text,
    flags=("--reason",),
    metavar="TEXT",
    group="Options",
    help="Say why; installers show it.",
)


@dataclass(frozen=True, slots=True)
class Yank(Release):
    """Mark the files of a release as yanked, for a reason that may be empty."""

    reason: str = ""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Mark them."""
        from .. import manage

        manage.tell(manage.yank(self, self.reason.strip()), self, out)
        return 0


COMMAND = Subcommand(
    "yank",
    "Tell installers to avoid a release; nothing is deleted.",
    Yank,
    OPERANDS,
    (REASON, *OPTIONS),
    required=1,
    synopsis_text=SYNOPSIS,
    examples=(
        ("yank foo==1.0 --reason 'leaks memory'", "in the folder of the settings, or ~/packages"),
        ("yank ~/packages foo 1.0", "in this folder"),
        ("yank foo --file foo-1.0.tar.gz", "one file"),
        ("yank foo --all", "every release"),
    ),
)
