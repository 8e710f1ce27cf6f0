"""Responses whose headers are final: not validated again, and built once for any number of requests.

**Invariants:** a response that was sent once may be sent again, by any number of threads at once, so nothing may change
it; a server gets a list of its own, which it may change (PEP 3333).
"""

from __future__ import annotations

from collections.abc import Iterable

import bottle

Header = tuple[str, str]


class PreparedResponse(bottle.HTTPResponse):  # type: ignore[misc]
    """A response with exactly these headers; each name occurs once, and no value comes from the client."""

    def __init__(self, body: object, headers: Iterable[Header], *, status: str = "200 OK") -> None:
        # The attributes that bottle's constructor sets, without its checks of each value.
        self._cookies = None
        self._status_code = int(status[:3])
        self._status_line = status
        self._final = list(headers)
        self.body = body

    @property
    def headerlist(self) -> list[Header]:
        """The headers, in a new list."""
        return self._final.copy()
