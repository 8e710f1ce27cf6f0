"""The page for people of a project that another index has: what is given out of it, and what is withheld, and why.

**Invariants:** functions are pure: no request, no I/O; tables are bounded, because an index may have any number of
files; everything that index says is escaped by the template, and no link leads there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from ...distributions.filename_keys import file_key
from ...distributions.versions import newest_version
from ...model import utc
from ...proxy.file_rules import shown_span
from ...proxy.values import Offered
from ...proxy.withheld_files import rows_of
from ...text import line_of
from ...upstream.values import RemoteFile
from .pages import Frame
from .project_page import KINDS, MAX_LINE, commands

MAX_FILES = 200


def render(offered: Offered, frame: Frame, *, url: str, root: str) -> bytes:
    """The page, as UTF-8; ``url`` is the absolute URL of the server's root, ``root`` the relative one."""
    judged, name = offered.judged, str(offered.page.project)
    kept = {file.version for file in judged.files if file.yanked is None}
    version = newest_version({file.version for file in judged.files}, kept)
    files = sorted(judged.files, key=file_key, reverse=True)
    withheld, more = rows_of(judged.withheld)
    values = {
        "name": name,
        "version": version,
        "index": offered.upstream.name,
        "age": None if offered.age is None else shown_span(round(offered.age)),
        "status": judged.status,
        "commands": commands(name, version, pinned=False, url=url),
        # The page shows minutes: the first one that is not too early.
        "withheld": [row._replace(until=row.until and row.until + timedelta(seconds=59)) for row in withheld],
        "more_withheld": more,
        "files": [_row(file, f"{root}packages/") for file in files[:MAX_FILES]],
        "more_files": max(0, len(files) - MAX_FILES),
    }
    return frame.render("proxied", f"{name} {version}".rstrip(), values, root=root)


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
