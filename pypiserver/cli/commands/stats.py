"""``stats``: how often packages were downloaded, as counted with ``--stats``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TextIO

from ...distributions.filename import normalize
from ...errors import ConfigError
from ...settings.config import SETTINGS, Config
from ...text import printable
from ..options import CONFIG_FILE, HELP, JSON, NAME
from ..output import write_json
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Stats:
    """Show the downloads of each project, or of one project by version and client."""

    config: Config
    name: str | None = None
    json: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Show them."""
        from ...observability.download_statistics import RECENT_DAYS, Downloads
        from .. import manage

        if self.config.stats is None:
            raise ConfigError(
                "No file of statistics is named; give the file of the server with --stats FILE.",
                kind="missing",
                setting="stats",
            )
        with manage.catalog_failures(self.config):
            downloads = Downloads(self.config.stats, makes=False)
            if self.name is None:
                return self._write_projects(downloads.projects(), out)
            counts = downloads.counts(normalize(self.name))
        if self.json:
            write_json(asdict(counts), out)
            return 0
        out.write(f"{counts.project}: {counts.total} downloads, {counts.recent} in the last {RECENT_DAYS} days\n")
        for title, values in (("version", counts.versions), ("client", counts.clients)):
            out.writelines(f"{count:>10}  {title} {printable(value)}\n" for value, count in values.items())
        return 0

    def _write_projects(self, rows: list[tuple[str, int, int]], out: TextIO) -> int:
        if self.json:
            found = [{"project": name, "total": total, "recent": recent} for name, total, recent in rows]
            write_json({"projects": found}, out)
        else:
            out.writelines(f"{total:>10} {recent:>10}  {name}\n" for name, total, recent in rows)
        return 0


COMMAND = Subcommand(
    "stats",
    "Show what was downloaded how often, as counted with --stats.",
    Stats,
    (NAME,),
    (JSON, SETTINGS["stats"], CONFIG_FILE, *HELP),
    examples=(
        ("stats --stats /var/lib/pypiserver/downloads.sqlite", "all projects"),
        ("stats foo --stats /var/lib/pypiserver/downloads.sqlite", "one project by version and client"),
    ),
)
