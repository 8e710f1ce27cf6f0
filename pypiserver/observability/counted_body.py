"""A response body whose bytes are counted as they are sent.

**Invariants:** the count is told exactly once, when the body is closed, whether all of it was sent or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


class CountedBody:
    """A body whose bytes are counted as they are sent; ``close`` may come before its end, if the client disconnects."""

    def __init__(self, body: Iterable[bytes], ended: Callable[[int], None]) -> None:
        self._body = body
        self._blocks = iter(body)
        # Of a body that grows: the server waits for its next block without a thread.
        self.when_ready: Callable[[Callable[[], object]], object] | None = getattr(body, "when_ready", None)
        self._ended = ended
        self._sent = 0
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        """The next block."""
        block = next(self._blocks)
        self._sent += len(block)
        return block

    def close(self) -> None:
        """Close the wrapped body, as PEP 3333 requires of middleware."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if self._is_open:
                self._is_open = False
                self._ended(self._sent)
