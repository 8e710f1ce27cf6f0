"""Ready pages: body, encoded bodies and validators, valid while the catalog's serial says so.

Bounded by bytes; entries are immutable, so threads share them without a lock. Nothing is shared between processes but
the catalog they all ask.
"""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from ..simple_api import etag
from .encodings import zstd_compress

MAX_BYTES = 48 * 1024 * 1024
# Below this the header costs more than compression saves.
MIN_COMPRESSED = 500


@dataclass(frozen=True, slots=True)
class Page:
    """One page in one form: its serial, and per content coding its bytes and strong ETag."""

    serial: int
    bodies: dict[str, tuple[bytes, str]]

    @property
    def size(self) -> int:
        """Bytes held by the page."""
        return sum(len(body) for body, _ in self.bodies.values())


class PageCache:
    """Pages by key, least recently used ones dropped beyond ``max_bytes``."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pages: OrderedDict[Hashable, Page] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._checked: dict[Hashable, int] = {}

    def get(self, key: Hashable, *, now: int, serial_of: Callable[[], int]) -> Page | None:
        """The page, if nothing it depends on changed; ``now`` is the catalog's serial, asked once per request."""
        page = self._pages.get(key)
        if page is None:
            return None
        if self._checked.get(key) == now:
            return page
        if serial_of() != page.serial:
            return None
        self._checked[key] = now
        return page

    def put(self, key: Hashable, body: bytes, *, serial: int) -> Page:
        """Make, keep and give the page for ``body``."""
        page = Page(serial, _encodings(body))
        with self._lock:
            old = self._pages.pop(key, None)
            self._bytes += page.size - (old.size if old else 0)
            self._pages[key] = page
            self._checked.pop(key, None)
            while self._bytes > self._max_bytes and len(self._pages) > 1:
                dropped, oldest = self._pages.popitem(last=False)
                self._checked.pop(dropped, None)
                self._bytes -= oldest.size
        return page


def _encodings(body: bytes) -> dict[str, tuple[bytes, str]]:
    bodies = {"identity": (body, etag(body))}
    if len(body) >= MIN_COMPRESSED:
        bodies["gzip"] = (gzip.compress(body, 6, mtime=0), etag(body, "-gzip"))
        compressed = zstd_compress(body)
        if compressed is not None:
            bodies["zstd"] = (compressed, etag(body, "-zstd"))
    return bodies
