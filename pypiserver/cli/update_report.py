"""What an update found, as people and programs read it.

**Invariants:** what is unknown is reported, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from packaging.utils import NormalizedName

from ..settings.config import default_fallback_url
from ..upstream.client import shown_url
from .pip_download import Download, as_shell_line, shown_command

LINE = 40  # progress characters in a line


@dataclass(frozen=True, slots=True)
class Local:
    """The newest file of a project here; ``name`` is spelled as in the file."""

    project: NormalizedName
    name: str
    version: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one project.

    ``mark`` is its progress character: ``.`` up to date, ``u`` there is an update, ``e`` no releases, ``!`` unknown. An
    update has its ``download``, or an ``obstacle`` that says why pip could not download it.
    """

    local: Local
    mark: str
    download: Download | None = None
    obstacle: str = ""
    error: str = ""


def write_mark(mark: str, out: TextIO, *, done: int, total: int) -> None:
    """The progress character of a project, in lines; nothing on a terminal, which has a bar."""
    if not out.isatty():
        out.write(mark + ("\n" if done % LINE == 0 or done == total else ""))
    if done == total:
        out.write("\n")
    out.flush()


def tell_missing(findings: Sequence[Finding], url: str, out: TextIO) -> None:
    """Which projects the index has no release of."""
    missing = [each.local.name for each in findings if each.mark == "e"]
    if missing:
        where = "pypi" if shown_url(url) == shown_url(default_fallback_url()) else shown_url(url)
        out.write(f"no releases found on {where} for {', '.join(missing)}\n\n")


def tell_errors(findings: Sequence[Finding], url: str, err: TextIO) -> None:
    """Which lookups failed, each error once."""
    projects: dict[str, list[str]] = {}
    for each in findings:
        if each.error:
            projects.setdefault(each.error, []).append(each.local.name)
    for error, names in projects.items():
        err.write(f"pypi-server: {error} Nothing was found out about {', '.join(names)}.\n")
    if len(findings) > 1 and all(each.mark == "e" for each in findings):
        err.write(f"pypi-server: The index {shown_url(url)} has none of the projects; is it the simple page of one?\n")


def table_of(updates: Sequence[tuple[Finding, Download]]) -> str:
    """The newer releases, in a row for each project; '' without updates."""
    rows = [("name", "here", "there")]
    rows += [(each.local.name, each.local.version or "-", str(download.version)) for each, download in updates]
    first, second = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    lines = [f"{name:<{first}}{here:<{second}}{there}" for name, here, there in rows]
    return "\n".join([*lines, "", ""]) if updates else ""


def paragraph_of(finding: Finding, download: Download) -> str:
    """What to do about one update."""
    local = finding.local
    what_to_do = f"# {finding.obstacle}" if finding.obstacle else as_shell_line(shown_command(download))
    return f"# update {local.name} from {local.version or 'no version'} to {download.version}\n{what_to_do}\n\n"


def row_of(finding: Finding, download: Download, statuses: Mapping[str, int]) -> dict[str, object]:
    """An update as ``--json`` reports it; ``exit_status`` is pip's, if it was run."""
    row: dict[str, object] = {
        "project": download.project,
        "local": finding.local.version,
        "newest": str(download.version),
        "folder": str(download.folder),
        "command": None if finding.obstacle else shown_command(download),
    }
    if finding.obstacle:
        row["obstacle"] = finding.obstacle
    if download.project in statuses:
        row["exit_status"] = statuses[download.project]
    return row


def report_of(findings: Sequence[Finding], updates: list[dict[str, object]]) -> dict[str, object]:
    """All findings, as ``--json`` reports them."""
    return {
        "checked": len(findings),
        "updates": updates,
        "no_releases": [each.local.project for each in findings if each.mark == "e"],
        "errors": [{"project": each.local.project, "error": each.error} for each in findings if each.error],
    }
