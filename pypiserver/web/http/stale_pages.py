"""The last of each page that is made anew for whoever asks, to be shown for a while when the catalog fails.

The rule to keep: what is shown was made of this catalog, and right at the serial that was asked for before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from ...bounded_cache import BoundedCache
from ...errors import CatalogUnavailable
from ...index.read import Repository

# Few people look at few pages, each of some ten thousand bytes.
MAX_BYTES = 4 << 20


class StaleIfErrorCache:
    """Pages by what they depend on; ``repository`` says for how long an old one will do."""

    def __init__(self, repository: Repository, max_bytes: int = MAX_BYTES) -> None:
        self._repository = repository
        self._pages: BoundedCache[Hashable, tuple[int, float, bytes]] = BoundedCache(max_bytes)

    def get(self, key: Hashable, make: Callable[[], bytes]) -> tuple[bytes, float | None]:
        """The page that ``make`` makes, and None; or the last one, and how many seconds ago it was right.

        Raises what ``make`` raises, and CatalogUnavailable where there is no page, or too old a one.
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
