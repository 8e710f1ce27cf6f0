"""The last copy of each page that is rendered for every request, served for a limited time while the catalog fails.

**Invariants:** a page in the cache was rendered from this catalog, and was right at the serial read before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from ...bounded_cache import BoundedCache
from ...errors import CatalogUnavailable
from ...index.read import Repository

# Few people read few pages, each of some ten thousand bytes.
MAX_BYTES = 4 << 20


class StaleIfErrorCache:
    """Pages by what they depend on; ``repository`` says how old a page may be."""

    def __init__(self, repository: Repository, max_bytes: int = MAX_BYTES) -> None:
        self._repository = repository
        self._pages: BoundedCache[Hashable, tuple[int, float, bytes]] = BoundedCache(max_bytes)

    def get(self, key: Hashable, make: Callable[[], bytes]) -> tuple[bytes, float | None]:
        """The page that ``make`` renders, and None; or the last one, and how many seconds ago it was right.

        Raises what ``make`` raises, and CatalogUnavailable when no page is cached or the cached one is too old.
        """
        try:
            serial, since = self._repository.serial(), time.monotonic()
            body = make()
        except CatalogUnavailable:
            known = self._pages.get(key)
            age = None if known is None else self._repository.stale_age(known[0], known[1])
            if known is None or age is None or self._repository.is_outdated(known[0]):
                raise
            return known[2], age
        self._pages.put(key, (serial, since, body), size=len(body))
        return body, None
