"""Downloads of files of other indexes, by parts that the first request of each process makes.

**Invariants:** nothing of a proxy is imported before a request needs it; a failure is noted for the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import bottle

from ...errors import PypiServerError
from ..http.elsewhere_note import note_failure, noting_failures
from .files import Proxied


class LazyDownloads:
    """Downloads by what ``get`` makes once in each process."""

    def __init__(self, get: Callable[[], Proxied]) -> None:
        self._get = get

    def download(self, path: str, mark: Hashable | None) -> bottle.HTTPResponse:
        """As of :class:`.files.Proxied`."""
        try:
            return self._get().download(path, mark)
        except PypiServerError as error:
            # Without a context manager, which takes a microsecond of each download.
            note_failure(bottle.request.environ, error)
            raise

    def companion(self, path: str, suffix: str) -> bottle.HTTPResponse:
        """One of its sidecars."""
        with noting_failures():
            return self._get().companion(path, suffix)
