"""``check``: read every file and report its faults."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TextIO

from ...settings.config import SETTINGS, Config
from ...text import printable
from ..options import COMMON_WITH_ROOTS, HELP, JSON, ROOTS
from ..output import count_of, write_json
from ..roots import prepare_roots
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Check:
    """Read every file in the folders, or the bucket, and report the faults."""

    config: Config
    json: bool = False

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders to check."""
        return self.config.roots

    def run(self, out: TextIO, err: TextIO) -> int:
        """Check them; 1 if there are faults."""
        from ...observability import logging_setup
        from .. import manage

        prepare_roots(self.config)
        logging_setup.configure(self.config)
        with manage.catalog_failures(self.config):
            faults, read = manage.check(self.config, err)
        if self.json:
            write_json({"checked": read, "faults": [asdict(fault) for fault in faults]}, out)
            return 1 if faults else 0
        for kind, group in groupby(sorted(faults, key=attrgetter("kind")), key=attrgetter("kind")):
            found = list(group)
            out.write(f"{kind}: {count_of(len(found), 'fault')}. {found[0].advice}\n")
            for fault in found:
                where = fault.path if len(self.roots) < 2 else f"{fault.path} in {fault.folder}"
                out.write(f"  {printable(where)}: {printable(fault.message)}\n")
        out.write(f"{count_of(len(faults), 'fault')} found in {count_of(read)}.\n")
        return 1 if faults else 0


COMMAND = Subcommand(
    "check",
    "Read every file and name what is wrong with it.",
    Check,
    (ROOTS,),
    (JSON, SETTINGS["storage"], *COMMON_WITH_ROOTS, *HELP),
    examples=(
        ("check ~/packages", "read every file in the folder"),
        ("check --storage s3://bucket --json", "a bucket; the report in JSON"),
    ),
)
