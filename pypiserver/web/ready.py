"""Answers whose headers are final, which bottle then need not check, copy and count once more for each request.

bottle spends 6 of the 14 us of a small answer on headers that were right before. The rule to keep: an answer that was
given once may be given again, to any number of threads at once, so nothing may change it.
"""

from __future__ import annotations

from collections.abc import Iterable

import bottle

Header = tuple[str, str]


class Ready(bottle.HTTPResponse):  # type: ignore[misc]
    """An answer with these very headers; their names occur once, and their values are ours, not the client's."""

    def __init__(self, body: object, headers: Iterable[Header], *, status: str = "200 OK") -> None:
        # What bottle's own constructor sets, without its checks of each value.
        self._cookies = None
        self._status_code = int(status[:3])
        self._status_line = status
        self._headers = {name: [value] for name, value in headers}
        self.body = body
