"""The newest uploads, or the releases of a project, as an Atom feed (RFC 4287), for feed readers and chat.

**Invariants:** the template engine escapes text from packages, which has no character that XML forbids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from ...distributions.filename import normalize
from ...model import Listed
from .pages import date, part

ATOM = "application/atom+xml; charset=utf-8"
# The most entries.
FEED = 50


def atom(url: str, uploads: Sequence[Listed], *, site: str) -> bytes:
    """The feed of these ``uploads``, newest first, as UTF-8; ``url`` is the absolute URL of the server's root.

    ``site`` is what the index is called.
    """
    entries = [
        {
            "address": f"{url}project/{quote(each.project)}/{quote(each.upload)}/",
            "title": f"{each.name} {each.upload}",
            "updated": date(each.uploaded_at)[0],
            "summary": each.summary,
        }
        for each in uploads
    ]
    of = {"title": f"{site}: new uploads", "address": f"{url}projects/feed.atom", "page": f"{url}projects/?sort=date"}
    return _feed(of, entries, site)


def releases_feed(url: str, name: str, releases: Sequence[tuple[str, datetime]], *, site: str) -> bytes:
    """The feed of a project's releases, newest first, each with the time of its last upload; else as :func:`atom`."""
    page = f"{url}project/{normalize(name)}/"
    entries = [
        {"address": f"{page}{quote(version)}/", "title": f"{name} {version}", "updated": date(time)[0], "summary": ""}
        for version, time in releases
    ]
    of = {"title": f"{site}: releases of {name}", "address": f"{page}feed.atom", "page": page}
    return _feed(of, entries, site)


def _feed(of: Mapping[str, str], entries: Sequence[Mapping[str, str]], site: str) -> bytes:
    # A feed needs a date even when it is empty.
    updated = entries[0]["updated"] if entries else "1970-01-01T00:00:00Z"
    return part("feed.xml", {**of, "site": site, "updated": updated, "entries": entries})
