"""The last copy of each page that is rendered for every request, served for a limited time while the catalog fails.

**Invariants:** a page in the cache was rendered from this catalog, and was right at the serial read before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from ...errors import CatalogUnavailable
from ...index.read import Repository
from .page_cache import PageCache

# Few people read few pages, each of some ten thousand bytes.
MAX_BYTES = 8 << 20


class StaleIfErrorCache:
    """Pages in ``cache``, by what they depend on; ``repository`` says how old a page may be."""

    def __init__(self, repository: Repository, cache: PageCache) -> None:
        self._repository = repository
        self._cache = cache

    def get(self, key: Hashable, make: Callable[[], bytes]) -> tuple[bytes, float | None]:
        """The page that ``make`` renders, and None; or the last one, and how many seconds ago it was right.

        Raises what ``make`` raises, and CatalogUnavailable when no page is cached or the cached one is too old.
        """
        try:
            serial, since = self._repository.serial(), time.monotonic()
            body = make()
        except CatalogUnavailable:
            last = self._cache.last(key)
            age = None if last is None else self._repository.stale_age(last.serial, last.seen)
            if last is None or age is None or self._repository.is_outdated(last.serial):
                raise
            return last.body, age
        self._cache.put_plain(key, body, serial=serial, seen=since)
        return body, None
