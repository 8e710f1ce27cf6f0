"""``copy``: packages with their upload times, between folders and buckets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from ...settings import path_parsers
from ...settings.config import Config
from ...text import printable
from ..options import CONFIG_FILE, HELP, JSON
from ..output import count_of, write_json
from ..progress import progress
from ..subcommand import Subcommand, operand, settings


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy packages between folders and buckets."""

    config: Config
    source: Path | str
    destination: Path | str
    json: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Copy; 1 if a file was left out."""
        from ...factory.backends import build_endpoint
        from ...maintenance.copy import copy
        from ...observability import logging_setup
        from .. import manage

        logging_setup.configure(self.config)
        with manage.catalog_failures(self.config), progress("copying", err) as tell:
            report = copy(build_endpoint(self.source), build_endpoint(self.destination), progress=tell)
        status = 1 if report.left_out else 0
        if self.json:
            left_out = [{"path": path, "reason": reason} for path, reason in report.left_out]
            write_json({**asdict(report), "left_out": left_out}, out)
            return status
        for path, reason in report.left_out:
            out.write(f"left out {printable(path)}: {printable(reason)}\n")
        out.write(
            f"{count_of(report.copied)} copied ({report.bytes} bytes), {report.already} were there, "
            f"{len(report.left_out)} left out{_other(report.other)}.\n"
        )
        if isinstance(self.destination, str) and report.copied:
            out.write(f"A server that runs on {self.destination} sees them after: pypi-server reindex\n")
        return status


def _other(count: int) -> str:
    return f"; {count_of(count)} {'is no package' if count == 1 else 'are no packages'}" if count else ""


COMMAND = Subcommand(
    "copy",
    "Copy packages with upload times between folders and buckets.",
    Copy,
    (operand("source", "SRC", path_parsers.place), operand("destination", "DST", path_parsers.place)),
    (
        JSON,
        *settings("verbosity", "log_conf", "log_file", "log_stream", "log_format", "log_frmt"),
        CONFIG_FILE,
        *HELP,
    ),
    required=2,
    examples=(
        ("copy ~/packages s3://bucket", "from a folder to a bucket"),
        ("copy s3://bucket /srv/packages", "and back"),
    ),
)
