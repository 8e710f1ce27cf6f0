"""``gc``: list the objects of a bucket that no package refers to, or delete them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from ...settings import parsers as types
from ...settings.config import Config
from ...settings.setting import Setting
from ...text import printable
from ..options import BUCKET_URL, JSON, OF_BUCKET, YES
from ..output import count_of, write_json
from ..release import require_bucket
from ..subcommand import Subcommand

OLDER_THAN = Setting(
    name="older_than",
    parse=types.age,
    flags=("--older-than",),
    metavar="AGE",
    group="Options",
    default_text="1d",
    help="Leave alone what is younger, such as 12h: an upload may be on its way.",
)


@dataclass(frozen=True, slots=True)
class Collect:
    """Delete objects that no row of the catalog refers to; ``older_than`` is in seconds. Without ``yes`` list them."""

    config: Config
    json: bool = False
    older_than: int = 86_400
    yes: bool = False

    def __post_init__(self) -> None:
        require_bucket(self.config)

    def run(self, out: TextIO, err: TextIO) -> int:
        """List or delete."""
        from ...factory.backends import build_backend
        from ...observability import logging_setup
        from .. import manage

        logging_setup.configure(self.config)
        with manage.catalog_failures(self.config):
            garbage = build_backend(self.config, is_serving=False).garbage
            orphans = garbage.find(self.older_than)
            found = list(garbage.delete(orphans) if self.yes else orphans)
        size = sum(each.size for each in found)
        if self.json:
            write_json({"deleted": self.yes, "bytes": size, "files": [each.path for each in found]}, out)
            return 0
        for each in found:
            out.write(f"{'deleted' if self.yes else 'would delete'} {printable(each.path)} ({each.size} bytes)\n")
        end = "" if self.yes else " Nothing was changed; say --yes to do it."
        out.write(f"{count_of(len(found))}, {size} bytes.{end}\n")
        return 0


COMMAND = Subcommand(
    "gc",
    "List objects of a bucket that no package refers to; with --yes, delete them.",
    Collect,
    (BUCKET_URL,),
    (JSON, YES, OLDER_THAN, *OF_BUCKET),
    examples=(
        ("gc s3://bucket", "list what no package refers to"),
        ("gc s3://bucket --yes --older-than 7d", "delete it"),
    ),
)
