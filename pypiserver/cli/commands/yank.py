"""``yank``: tell installers to avoid a release (PEP 592)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ...settings import parsers as types
from ...settings.setting import Setting
from ..options import FILE, NAME, OF_RELEASE, ROOT, VERSION
from ..release import Release
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

        return manage.tell(manage.yank(self, self.reason.strip()), self, out)


COMMAND = Subcommand(
    "yank",
    "Tell installers to avoid a release; nothing is deleted.",
    Yank,
    (ROOT, NAME, VERSION),
    (FILE, REASON, *OF_RELEASE),
    required=2,
    examples=(
        ("yank ~/packages foo 1.0 --reason 'leaks memory'", "all files of a release"),
        ("yank ~/packages foo --file foo-1.0.tar.gz", "one file"),
    ),
)
