"""Counts what is asked of other indexes: how it ended, and the bytes that came.

**Invariants:** each request is counted once, when its response is done with; nothing else is different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .client import MAX_PAGE
from .errors import UpstreamError
from .guarded_client import GuardedClient, Response
from .values import Upstream

OK, SAME, MISSING, REFUSED, FAILED, UNUSABLE = "ok", "not-modified", "missing", "refused", "failed", "unusable"
# Gets the name of the index, the result, and the bytes of the body without content coding.
Note = Callable[[str, str, int], object]
_OF_FAILURES = frozenset({408, 425, 429})


class CountedClient:
    """Asks as ``client`` does, and tells ``note``."""

    def __init__(self, client: GuardedClient, note: Note) -> None:
        self._client = client
        self._note = note

    @contextmanager
    def get(self, upstream: Upstream, url: str, **how: Any) -> Iterator[Counted]:
        """As of :meth:`GuardedClient.get`."""
        counted: Counted | None = None
        result = FAILED
        try:
            with self._client.get(upstream, url, **how) as response:
                counted, result = Counted(response), _result(upstream, response.status)
                yield counted
        except UpstreamError:
            result = FAILED if counted is None else UNUSABLE
            raise
        finally:
            self._note(upstream.name, result, counted.received if counted is not None else 0)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._client.close()


class Counted:
    """A response whose bytes are counted."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.received = 0

    @property
    def status(self) -> int:
        """The status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        return self._response.headers

    @property
    def url(self) -> str:
        """Where it came from."""
        return self._response.url

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        """As of :meth:`Response.chunks`."""
        for chunk in self._response.chunks(decode):
            self.received += len(chunk)
            yield chunk

    def read(self, limit: int = MAX_PAGE) -> bytes:
        """As of :meth:`Response.read`."""
        data = self._response.read(limit)
        self.received += len(data)
        return data


def _result(upstream: Upstream, status: int) -> str:
    if status in upstream.missing or status in (404, 410):
        return MISSING
    if status == 304:
        return SAME
    if status >= 500 or status in _OF_FAILURES:
        return FAILED
    return OK if status < 300 else REFUSED
