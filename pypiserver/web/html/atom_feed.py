"""The newest uploads as an Atom feed (RFC 4287), for readers of feeds and for chat.

**Invariants:** text from packages is escaped by the template engine, and has no character that XML does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from ...model import Listed
from .pages import date, part


def atom(url: str, uploads: Sequence[Listed], *, site: str) -> bytes:
    """The feed of these ``uploads``, the newest first, for the index called ``site`` whose root is at ``url``."""
    entries = [
        {
            "address": f"{url}project/{quote(each.project)}/{quote(each.upload)}/",
            "title": f"{each.name} {each.upload}",
            "updated": date(each.uploaded_at)[0],
            "summary": each.summary,
        }
        for each in uploads
    ]
    # A feed has a date also while it is empty.
    updated = entries[0]["updated"] if entries else "1970-01-01T00:00:00Z"
    return part("feed.xml", {"url": url, "site": site, "updated": updated, "entries": entries})
