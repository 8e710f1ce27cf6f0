"""The values of a project's page for its template.

**Invariants:** functions are pure: no request, no HTML, no I/O; lists and texts are bounded, because metadata is
untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from ...distributions.core_metadata import LIST_LIMITS, CoreMetadata, Requirement
from ...distributions.filename import parse_filename
from ...distributions.releases import is_yanked, newest
from ...distributions.versions import is_final, version_key
from ...model import File, Project
from ...observability.download_statistics import RECENT_DAYS, Counts
from ...text import cut, one_line
from ..http.forwarded import is_secure
from .sanitizer import is_web_address

KINDS = {
    "bdist_wheel": "Wheel",
    "sdist": "Source",
    "bdist_egg": "Egg",
    "bdist_wininst": "Windows installer",
    "bdist_msi": "Windows installer",
    "bdist_dumb": "Built archive",
}
# Characters. Metadata can be of any length; a page shows its beginning, and that there is more.
MAX_LINE = 300
MAX_SUMMARY = 512
_LISTS = ("classifiers", "project_urls", "requires_dist")
MAX_ITEMS = 300
MAX_CLIENTS = 5
MAX_FAULTS = 50


def heading(project: Project, releases: Mapping[str, Sequence[File]], version: str) -> dict[str, Any]:
    """Name, version, and the notes next to them (newest, pre-release, yanked, status)."""
    files = releases.get(version, [])
    yanked = is_yanked(files)
    latest = newest(releases)
    return {
        "name": project.display_name,
        "version": version,
        "is_newest": version == latest,
        "is_older": version_key(version) < version_key(latest),
        "newest": latest,
        "is_pre": bool(version) and not is_final(version),
        "is_yanked": yanked,
        "reason": next((file.yanked for file in files if file.yanked), "") if yanked else "",
        "status": project.status,
    }


def commands(name: str, version: str, *, pinned: bool, url: str) -> list[tuple[str, str]]:
    """(tool, command) for installing from this server; ``url`` is the absolute URL of its root."""
    index = f"{url}simple/"
    what = f"{name}=={version}" if pinned and version else name
    trust = "" if is_secure(url) else f"--trusted-host {urlsplit(url).hostname} "
    return [
        ("pip", f"pip install --index-url {index} {trust}{what}"),
        ("uv", f"uv add --index {index} {what}"),
    ]


def facts(core: CoreMetadata) -> list[tuple[str, str]]:
    """(label, text) of the metadata fields that fit on one line each."""
    said = [
        ("Requires Python", core.requires_python or ""),
        ("License", core.license_expression or _first_line(core.license)),
        ("Author", _person(core.author, core.author_email)),
        ("Maintainer", _person(core.maintainer, core.maintainer_email)),
        ("Extras", listed(core.provides_extra)),
        ("Keywords", listed(core.keywords.split(","))),
        ("Platform", listed(core.platform)),
    ]
    return [(label, cut(one_line(text), 2 * MAX_LINE)) for label, text in said if one_line(text)]


def _first_line(text: str) -> str:
    """The first line of what may be a whole license, with three dots where more follows."""
    first, _, rest = text.strip().partition("\n")
    return f"{first} ..." if rest.strip() else first


def listed(items: Sequence[str]) -> str:
    """The items separated by commas: as many as fit on a line, and the number of the rest."""
    shown, length = 0, 0
    for item in items:
        length += len(item) + 2
        if length > MAX_LINE and shown:
            break
        shown += 1
    left = len(items) - shown
    return ", ".join(cut(item, MAX_LINE) for item in items[:shown]) + (f" and {left:,} more" if left else "")


def _person(name: str, email: str) -> str:
    # Many write both into the e-mail field: Jane <jane@example.org>.
    return email if not name or name in email else f"{name} <{email}>" if email else name


def downloads(counts: Counts | None, version: str) -> list[tuple[str, str]]:
    """(label, text) of the downloads of the project and of this version, and of the clients; empty without counts."""
    if counts is None:
        return []
    clients = ", ".join(f"{client} {count:,}" for client, count in list(counts.clients.items())[:MAX_CLIENTS])
    clients += f" and {len(counts.clients) - MAX_CLIENTS} more" if len(counts.clients) > MAX_CLIENTS else ""
    said = [("Total", f"{counts.total:,}"), (f"Last {RECENT_DAYS} days", f"{counts.recent:,}")]
    said += [(f"Version {version}", f"{counts.versions.get(version, 0):,}")] if version else []
    return said + ([("By client", clients)] if clients else [])


def links(core: CoreMetadata) -> list[tuple[str, str]]:
    """(label, URL) of every http or https link in the metadata, each URL once."""
    labeled = [text.partition(",")[::2] for text in core.project_urls]
    labeled += [("Homepage", core.home_page), ("Download", core.download_url)]
    found: dict[str, str] = {}
    for label, address in labeled[:MAX_ITEMS]:
        if is_web_address(address.strip()):
            found.setdefault(address.strip(), cut(one_line(label), MAX_LINE) or "Link")
    return [(label, address) for address, label in found.items()]


def left_out(core: CoreMetadata) -> dict[str, int]:
    """The fields that were cut at their limit, with that limit: the metadata may have more values."""
    return {
        name: limit for name, (limit, _) in LIST_LIMITS.items() if name in _LISTS and len(getattr(core, name)) >= limit
    }


def classifiers(core: CoreMetadata) -> dict[str, list[str]]:
    """The classifiers by their first part, as PyPI groups them; one without parts is under ''."""
    grouped: dict[str, list[str]] = {}
    for each in core.classifiers[:MAX_ITEMS]:
        group, _, rest = each.partition(" :: ")
        grouped.setdefault(group if rest else "", []).append(rest or group)
    return {group: sorted(items) for group, items in sorted(grouped.items())}


def requirements(core: CoreMetadata) -> dict[str, list[Requirement]]:
    """The dependencies by extra, '' for those that are always needed."""
    grouped: dict[str, list[Requirement]] = {}
    for each in core.requirements[:MAX_ITEMS]:
        grouped.setdefault(each.extra, []).append(each)
    return dict(sorted(grouped.items()))


def file_rows(files: Sequence[File], *, packages: str) -> list[dict[str, Any]]:
    """The rows of the table of files; ``packages`` is the relative URL of ``/packages/``."""
    return [_file_row(file, f"{packages}{quote(file.path)}") for file in files]


def by_form(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(title, rows) of the source files and of the built ones; one group without a title where there is one form."""
    source = [row for row in rows if row["kind"] == KINDS["sdist"]]
    built = [row for row in rows if row["kind"] != KINDS["sdist"]]
    return [("Source", source), ("Built", built)] if source and built else [("", list(rows))]


def _file_row(file: File, address: str) -> dict[str, Any]:
    algorithm, _, digest = file.link_digest.partition("=")
    hashes = {"sha256": file.sha256, **({algorithm: digest} if algorithm else {})}
    sidecars = [
        ("signature", ".asc", file.has_signature),
        ("metadata", ".metadata", file.metadata_sha256 is not None),
        ("provenance", ".provenance", file.has_provenance),
    ]
    return {
        "name": file.filename,
        "address": address,
        "kind": KINDS[file.kind],
        "python": "" if file.kind == "sdist" else parse_filename(file.filename).pyversion,
        "requires_python": file.requires_python or "",
        "size": file.size,
        "sha256": file.sha256,
        "uploaded": file.uploaded_at,
        "hashes": list(hashes.items()),
        "sidecars": [(label, address + suffix) for label, suffix, is_there in sidecars if is_there],
        "yanked": file.yanked,
    }


def version_rows(releases: Mapping[str, Sequence[File]]) -> list[dict[str, Any]]:
    """The rows of the list of versions, highest first."""
    return [
        {
            "version": version,
            "address": quote(version),
            "uploaded": max(file.uploaded_at for file in releases[version]),
            "files": len(releases[version]),
            "is_yanked": is_yanked(releases[version]),
            "is_pre": not is_final(version),
        }
        for version in sorted(filter(None, releases), key=version_key, reverse=True)
    ]
