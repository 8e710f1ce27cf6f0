"""What a refused client still sends is read, within bounds."""

from __future__ import annotations

from pypiserver.web.http.draining import drain


def test_a_refused_client_is_read_to_a_bound() -> None:
    class Endless:
        def __init__(self) -> None:
            self.given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return b"x" * size

    body = Endless()
    drain(body)  # type: ignore[arg-type]
    assert body.given == 64 * 1024 * 1024
    body, times = Endless(), iter(range(100))
    drain(body, clock=lambda: next(times))  # type: ignore[arg-type]
    assert body.given <= 10 * 256 * 1024
