"""The newest uploads as an Atom feed (RFC 4287), for feed readers and chat.

**Invariants:** the template engine escapes text from packages, which has no character that XML forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from ...model import Listed
from .pages import date, part


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
    # A feed needs a date even when it is empty.
    updated = entries[0]["updated"] if entries else "1970-01-01T00:00:00Z"
    return part("feed.xml", {"url": url, "site": site, "updated": updated, "entries": entries})
