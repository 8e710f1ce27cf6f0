"""Responses that are given again to equal requests: a page then costs a fifth of what asking the application takes.

**Invariants:** requests are equal if their whole heads are, of which an environ is made of nothing else (see
:mod:`.wsgi_environ`); a response is given again only if the application says so, each time (see :mod:`..repeatable`);
no head with credentials is kept, and none with a value that RSGI hides; the memory is bounded in bytes, heads included.
"""

from __future__ import annotations

from typing import NamedTuple

from ..bounded_cache import BoundedCache
from ..repeatable import Still
from .wsgi_environ import Head

# Bodies count as if the page cache did not have them too. One response takes a sixteenth at most.
MAX_BYTES = 4 << 20
# Bytes of a response apart from its head and its body.
_RESPONSE_BYTES = 2000
# Heads are kept when they come again: what no other request has (a trace id) must not push out what many have.
_SEEN = 1024
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


class Response(NamedTuple):
    """A whole response, and whether it may be given now."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    still: Still


class ResponseMemory:
    """Responses by the head of their request."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._responses: BoundedCache[Head, Response] = BoundedCache(limit)
        self._seen = [0] * _SEEN

    def get(self, head: Head) -> Response | None:
        """The last response to an equal request, which may be outdated."""
        return self._responses.get(head)

    def is_wanted(self, head: Head) -> bool:
        """Whether to keep the response to this request: an equal one came a moment ago."""
        number = hash(head)
        place = number % _SEEN
        if self._seen[place] != number:
            self._seen[place] = number
            return False
        # RSGI counts names, and hides values: some are hidden if fewer names have one.
        names = {name for name, _ in head.items}
        return len(names) == len(head.items) == head.names and names.isdisjoint(_SECRET)

    def keep(self, head: Head, response: Response) -> None:
        """Give this response to equal requests."""
        self._responses.put(head, response, size=_RESPONSE_BYTES + len(response.body))
