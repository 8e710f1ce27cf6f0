"""``cache``: list the catalogs in the user's cache folder, and delete the unused ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from ...text import printable
from ..options import HELP, JSON, YES
from ..output import write_json
from ..subcommand import Subcommand

if TYPE_CHECKING:
    from ...catalog.sqlite.cache_folder import CachedCatalog


@dataclass(frozen=True, slots=True)
class Cache:
    """List catalogs; with ``yes`` delete those of missing folders and of other versions."""

    yes: bool = False
    json: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """List or delete; a catalog that a server uses is not deleted."""
        from ...catalog.sqlite.cache_folder import cached_catalogs, delete

        needless = deleted = 0
        rows = []
        for cached in cached_catalogs():
            needless += cached.is_needless
            is_deleted = self.yes and cached.is_needless and delete(cached)
            deleted += is_deleted
            rows.append({"folder": str(cached.folder), "roots": [*cached.roots], "bytes": cached.size,
                         "needless": cached.is_needless, "deleted": is_deleted})  # fmt: skip
            if not self.json:
                out.write(_line(cached, is_deleted))
        if self.json:
            write_json({"catalogs": rows}, out)
        elif not rows:
            out.write("There are no catalogs in the cache folder.\n")
        elif needless > deleted:
            what = f"{needless - deleted} of these can be deleted"
            out.write(f"{what}; " + ("servers use them now.\n" if self.yes else "say --yes to do it.\n"))
        return 0


def _line(cached: CachedCatalog, is_deleted: bool) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(cached.used_ns / 1e9))
    state = "deleted" if is_deleted else "gone" if cached.is_gone else "" if cached.is_current else "other version"
    what = printable(" and ".join(cached.roots) or str(cached.folder))
    return f"{cached.size / 1e6:>8.1f} MB  {day}  {what}{f'  ({state})' if state else ''}\n"


COMMAND = Subcommand(
    "cache",
    "List the catalogs in the cache folder; with --yes, delete those of folders that are gone.",
    Cache,
    (),
    (YES, JSON, *HELP),
    examples=(
        ("cache", "what there is, and how large it is"),
        ("cache --yes", "delete catalogs of folders that are gone, and of other versions"),
    ),
)
