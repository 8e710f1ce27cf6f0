"""``reindex``: build the catalog of a bucket, or bring it up to date, by listing the bucket."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TextIO

from ...settings.config import SETTINGS, Config
from ..options import BUCKET_URL, JSON, OF_BUCKET
from ..output import count_of, write_json
from ..progress import progress
from ..release import require_bucket
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Reindex:
    """Bring the catalog of a bucket up to date."""

    config: Config
    json: bool = False

    def __post_init__(self) -> None:
        require_bucket(self.config)

    def run(self, out: TextIO, err: TextIO) -> int:
        """List the bucket, and read new files."""
        from ...factory.backends import build_backend
        from ...observability import logging_setup
        from .. import manage

        logging_setup.configure(self.config)
        began = time.monotonic()
        with (
            manage.catalog_failures(self.config),
            progress("listing", err) as listed,
            progress("reading", err) as read,
        ):
            report = build_backend(self.config, is_serving=False).reindexer.run(listed=listed, read=read)
        took = time.monotonic() - began
        if self.json:
            write_json({**asdict(report), "seconds": round(took, 3)}, out)
            return 0
        out.write(
            f"{count_of(report.files)} in {self.config.storage}: {report.changed} new or changed, {report.gone} gone, "
            f"{report.skipped} left out, in {took:.1f} s.\n"
        )
        return 0


COMMAND = Subcommand(
    "reindex",
    "Build the catalog of a bucket, or bring it up to date.",
    Reindex,
    (BUCKET_URL,),
    (JSON, SETTINGS["overwrite"], *OF_BUCKET),
    examples=(
        ("reindex s3://bucket --catalog /var/lib/pypiserver/catalog.sqlite", "after objects were changed by hand"),
    ),
)
