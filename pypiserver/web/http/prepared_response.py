"""Answers whose headers are final: checked by nobody, and made once for however many requests.

The rule to keep: an answer that was given once may be given again, to any number of threads at once, so nothing may
change it; a server gets a list of its own, which it may change (PEP 3333).
"""

from __future__ import annotations

from collections.abc import Iterable

import bottle

Header = tuple[str, str]


class PreparedResponse(bottle.HTTPResponse):  # type: ignore[misc]
    """An answer with these very headers; their names occur once, and their values are ours, not the client's."""

    def __init__(self, body: object, headers: Iterable[Header], *, status: str = "200 OK") -> None:
        # What bottle's own constructor sets, without its checks of each value.
        self._cookies = None
        self._status_code = int(status[:3])
        self._status_line = status
        self._final = list(headers)
        self.body = body

    @property
    def headerlist(self) -> list[Header]:
        """The headers, in a new list."""
        return self._final.copy()
