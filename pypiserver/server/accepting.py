"""How waitress accepts connections: all that wait, and not one in each turn of its loop.

**Invariants:** the limit of connections holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ACCEPTED_AT_ONCE = 64


def accepting_many(server: Any, connections: int) -> Callable[[], None]:
    """Accept the connections that wait, up to the limit.

    waitress accepts one each time it has looked at all others: behind 200 busy clients a new one waits for seconds.
    """
    accept_one = server.handle_accept

    def accept() -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            before = len(server.active_channels)
            if before >= connections:
                return
            accept_one()
            if len(server.active_channels) == before:
                return

    return accept
