"""Downloads of files of other indexes, by parts that the first request of each process makes.

**Invariants:** nothing of a proxy is imported before a request needs it; a failure is noted for the metrics.
"""

from __future__ import annotations

from collections.abc import Callable

import bottle

from ..http.elsewhere_note import noting_failures
from .files import Proxied


class LazyDownloads:
    """Downloads by what ``get`` makes once in each process."""

    def __init__(self, get: Callable[[], Proxied]) -> None:
        self._get = get

    def download(self, path: str) -> bottle.HTTPResponse:
        """The file at this path."""
        with noting_failures():
            return self._get().download(path)

    def companion(self, path: str, suffix: str) -> bottle.HTTPResponse:
        """One of its sidecars."""
        with noting_failures():
            return self._get().companion(path, suffix)
