"""Pages for people of a project that another index has: what is given out of it, and what is withheld, and why.

**Invariants:** functions are pure: no request, no I/O; tables are bounded, because an index may have any number of
files; everything that index says is escaped by the template, and no link leads there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from ...distributions.filename_keys import file_key
from ...distributions.versions import canonical_version, newest_version, same_version, version_key
from ...errors import NotFound
from ...model import utc
from ...proxy.file_rules import shown_span
from ...proxy.values import Judged, Offered
from ...proxy.withheld_files import rows_of, summary_of
from ...text import line_of
from ...upstream.values import RemoteFile
from .pages import Frame, moment, part, size
from .project_page import KINDS, MAX_LINE, commands

MAX_FILES = 200
MAX_VERSIONS = 1000


def render(offered: Offered, frame: Frame, *, url: str, root: str, version: str | None = None) -> bytes:
    """The page of the project, or of its release ``version``, as UTF-8.

    ``url`` is the absolute URL of the server's root, ``root`` the relative one.
    """
    name = str(offered.page.project)
    judged = offered.judged if version is None else _release(offered.judged, version)
    newest = _newest(offered.judged.files)
    chosen = newest if version is None else version
    versions = sorted({file.version for file in offered.judged.files if file.version}, key=version_key, reverse=True)
    values = {
        "name": name,
        "version": chosen,
        "newest": newest,
        "home": "./" if version is None else "../",
        "index": offered.upstream.name,
        "age": None if offered.age is None else shown_span(round(offered.age)),
        "status": judged.status,
        "commands": commands(name, chosen, pinned=chosen != newest, url=url),
        "files": _tables(replace(offered, judged=judged), root, heading="Files", anchor="files"),
        "has_files": bool(judged.files),
        "has_withheld": bool(judged.withheld),
        "versions": versions[:MAX_VERSIONS],
        "address": quote,
    }
    return frame.render("proxied", f"{name} {chosen}".rstrip(), values, root=root)


def others(offered: Offered, *, root: str) -> str:
    """The part of the page of our own project that says what another index has of it, as HTML; ``root`` is relative."""
    heading = f"Other versions, from the index {offered.upstream.name}"
    return _tables(offered, root, heading=heading, anchor="other-files")


def spelled(offered: Offered, version: str) -> str:
    """The version as the index spells it, if a file of it is given out or withheld; raises NotFound."""
    files = [*offered.judged.files, *(each.file for each in offered.judged.withheld)]
    for file in files:
        if file.version and same_version(file.version, version):
            return file.version
    raise NotFound(f"There is no release {version!r} of {offered.page.project} here.", kind="release")


def released(offered: Offered) -> list[tuple[str, datetime]]:
    """The versions with the time of their last upload, newest first; those without a time are left out."""
    times: dict[str, int] = {}
    for file in offered.judged.files:
        if file.version and file.uploaded_ns is not None:
            times[file.version] = max(file.uploaded_ns, times.get(file.version, 0))
    newest_first = sorted(times.items(), key=lambda each: each[1], reverse=True)
    return [(version, utc(time)) for version, time in newest_first]


def without(offered: Offered, versions: frozenset[str]) -> Offered:
    """The same without these versions (in canonical form)."""
    judged = offered.judged
    files = tuple(file for file in judged.files if canonical_version(file.version) not in versions)
    withheld = tuple(each for each in judged.withheld if canonical_version(each.file.version) not in versions)
    return replace(offered, judged=replace(judged, files=files, withheld=withheld))


def _release(judged: Judged, version: str) -> Judged:
    wanted = canonical_version(version)
    files = tuple(file for file in judged.files if canonical_version(file.version) == wanted)
    withheld = tuple(each for each in judged.withheld if canonical_version(each.file.version) == wanted)
    return replace(judged, files=files, withheld=withheld)


def _newest(files: tuple[RemoteFile, ...]) -> str:
    kept = {file.version for file in files if file.yanked is None}
    return newest_version({file.version for file in files}, kept)


def _tables(offered: Offered, root: str, **texts: str) -> str:
    """The tables of files that are given out, and of those that are not; ``texts`` are the heading and its anchor."""
    judged = offered.judged
    files = sorted(judged.files, key=file_key, reverse=True)
    rows, more = rows_of(judged.withheld)
    values: Mapping[str, object] = {
        **texts,
        "name": offered.page.project,
        "index": offered.upstream.name,
        "files": [_row(file, f"{root}packages/") for file in files[:MAX_FILES]],
        "more_files": max(0, len(files) - MAX_FILES),
        "summary": summary_of(judged.withheld),
        # The page shows minutes: the first one that is not too early.
        "withheld": [row._replace(until=row.until and row.until + timedelta(seconds=59)) for row in rows],
        "more_withheld": more,
        "moment": moment,
        "size": size,
    }
    return part("proxied_files", values).decode()


def _row(file: RemoteFile, packages: str) -> dict[str, Any]:
    return {
        "name": file.filename,
        "address": f"{packages}{quote(file.path, safe='/@+!~')}",
        "kind": KINDS.get(file.kind, file.kind),
        "requires_python": line_of(file.requires_python or "", MAX_LINE),
        "size": file.size,
        "uploaded": None if file.uploaded_ns is None else utc(file.uploaded_ns),
        "yanked": None if file.yanked is None else line_of(file.yanked, MAX_LINE),
    }
