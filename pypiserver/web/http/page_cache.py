"""Rendered pages: body, encoded bodies and validators, valid while the catalog's serial says so.

A page is compressed by the first request that gets it in that coding: many are sent in one coding only, or never again.

**Invariants:** all pages of an application are bounded in bytes together, and each cache of one kind by itself. Bodies
are immutable, so threads share them without a lock: a reader only assigns a number and a flag to the page it found.
Processes share nothing but the catalog that each of them queries.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial

from ...bounded_cache import weight
from ...formats.simple import etag
from .compression import encode, known_codings
from .prepared_response import PreparedResponse

# Bytes of all pages of an application, and of one kind of them.
TOTAL_BYTES = 128 * 1024 * 1024
MAX_BYTES = 64 * 1024 * 1024
# Below this many bytes the header costs more than compression saves.
MIN_COMPRESSED = 500
# Bytes of a page apart from its bodies and its key: validators, tables, and one or two responses made from it.
PAGE_BYTES = 2500


@dataclass(slots=True, eq=False)
class Page:
    """One page in one form: its serial, its bytes, and the content codings in which a client may get them.

    ``validator`` is its strong ETag without the last quote. ``origin`` is our root URL as it occurs in the page, None
    when it does not. ``last_serial`` is the serial reported to mirrors, 0 for none. ``checked`` is the catalog's serial
    at which the page was last known to be current, ``seen`` is when it was looked up or compared with another one
    (time.monotonic). ``is_used`` says that a request used it recently, ``is_outdated`` that it is known to be outdated.
    ``answers`` are the responses already sent with these bytes, by what they depend on. ``grown`` is called with the
    page when it takes more memory, ``counted`` is what its cache takes it for.
    """

    serial: int
    body: bytes
    validator: str
    codings: tuple[str, ...]
    origin: str | None = None
    last_serial: int = 0
    checked: int = -1
    seen: float = 0.0
    is_used: bool = False
    is_outdated: bool = False
    answers: dict[Hashable, PreparedResponse] = field(default_factory=dict)
    grown: Callable[[Page], object] | None = None
    counted: int = 0
    _encoded: dict[str, bytes] = field(default_factory=dict)
    _encoding: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size(self) -> int:
        """Bytes of memory the page takes, even if it is never requested."""
        return PAGE_BYTES + len(self.body) + sum(map(len, self._encoded.values()))

    def etag(self, coding: str) -> str:
        """The strong ETag of these bytes in this coding."""
        return f'{self.validator}"' if coding == "identity" else f'{self.validator}-{coding}"'

    def is_encoded(self, coding: str) -> bool:
        """Whether :meth:`encoded` has nothing to compress."""
        return coding == "identity" or coding in self._encoded

    def encoded(self, coding: str) -> bytes:
        """The bytes in this coding, one of ``codings`` or ``identity``; one thread compresses them, others wait."""
        if coding == "identity":
            return self.body
        encoded = self._encoded.get(coding)
        if encoded is None:
            with self._encoding:
                encoded = self._encoded.get(coding)
                if encoded is None:
                    encoded = self._encoded[coding] = encode(self.body, coding)
                    if self.grown is not None:
                        self.grown(self)
        return encoded


class PageMemory:
    """What the caches of all kinds of pages may take together: ``max_bytes``.

    Beyond it the cache that takes most gives up its oldest pages, so no kind of pages crowds out a smaller one.
    """

    def __init__(self, max_bytes: int = TOTAL_BYTES) -> None:
        self._max_bytes = max_bytes
        self._caches: list[PageCache] = []
        self.lock = threading.Lock()

    def cache(self, max_bytes: int = MAX_BYTES) -> PageCache:
        """A cache for one kind of pages, of ``max_bytes`` at most; to be called once for each kind."""
        made = PageCache(self, min(max_bytes, self._max_bytes))
        self._caches.append(made)
        return made

    def shrink(self, newest: Page) -> None:
        """Evict other pages than this one until all caches fit; the caller holds the lock."""
        while sum(cache.bytes for cache in self._caches) > self._max_bytes:
            largest_first = sorted(self._caches, key=lambda cache: cache.bytes, reverse=True)
            any(cache.evict(newest) for cache in largest_first)


class PageCache:
    """Pages by key; beyond ``max_bytes`` the oldest are evicted, after a second chance for pages used since the last
    check.

    A page that alone is larger is not cached. ``memory`` holds the lock, and makes the cache.
    """

    def __init__(self, memory: PageMemory, max_bytes: int) -> None:
        self._memory = memory
        self._max_bytes = max_bytes
        self._pages: OrderedDict[Hashable, Page] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable, *, now: int, serial_of: Callable[[], int]) -> Page | None:
        """The page, if nothing it depends on changed; ``now`` is the catalog's serial, queried once per request."""
        page = self._pages.get(key)
        if page is None:
            return None
        if page.checked != now:
            if serial_of() != page.serial:
                page.is_outdated = True
                return None
            page.checked = now
            page.seen = time.monotonic()
        page.is_used = True
        return page

    def known(self, key: Hashable, *, now: int) -> Page | None:
        """The page if it is known to be current at the catalog's serial ``now``, else None; asks no question."""
        page = self._pages.get(key)
        if page is None or page.checked != now:
            return None
        page.is_used = True
        return page

    def last(self, key: Hashable) -> Page | None:
        """The last page, unless a change is known: otherwise an acknowledged upload could be missing from it."""
        page = self._pages.get(key)
        return page if page is not None and not page.is_outdated else None

    def put(
        self,
        key: Hashable,
        body: bytes,
        *,
        serial: int,
        form: str = "",
        origin: str | None = None,
        last_serial: int = 0,
    ) -> Page:
        """Build, cache and return the page for ``body``; ``form`` goes into its validators."""
        validator = etag(body, *([form] if form else [])).rstrip('"')
        codings = known_codings() if len(body) >= MIN_COMPRESSED else ()
        page = Page(serial, body, validator, codings, origin, last_serial)
        page.seen = time.monotonic()
        self._add(key, page)
        return page

    def put_plain(self, key: Hashable, body: bytes, *, serial: int, seen: float) -> None:
        """Cache a page that is rendered for every request, for :meth:`last`: nothing but its bytes is needed.

        It was right at this serial of the catalog, and at the time ``seen`` (time.monotonic).
        """
        page = Page(serial, body, "", (), checked=serial, seen=seen)
        self._add(key, page)

    def _add(self, key: Hashable, page: Page) -> None:
        with self._memory.lock:
            old = self._pages.pop(key, None)
            self.bytes -= old.counted if old else 0
            if page.size + weight(key) > self._max_bytes:
                return
            page.grown = partial(self._grown, key)
            self._pages[key] = page
            self._count(key, page)

    def _grown(self, key: Hashable, page: Page) -> None:
        """Count what a page takes since it was encoded."""
        with self._memory.lock:
            if self._pages.get(key) is page:
                self._count(key, page)

    def _count(self, key: Hashable, page: Page) -> None:
        """Count a page, and drop others until there is place for it; the caller holds the memory's lock."""
        before, page.counted = page.counted, page.size + weight(key)
        self.bytes += page.counted - before
        while self.bytes > self._max_bytes and self.evict(page):
            pass
        if self.bytes > self._max_bytes:
            # With its codings it alone takes more.
            self.bytes -= self._pages.pop(key).counted
        self._memory.shrink(page)

    def evict(self, newest: Page) -> bool:
        """Drop the page that was put or used longest ago, but not ``newest``; the caller holds the memory's lock.

        Returns False if there is no other.
        """
        if not any(page is not newest for page in self._pages.values()):
            return False
        while True:
            first, oldest = self._pages.popitem(last=False)
            if not oldest.is_used and oldest is not newest:
                self.bytes -= oldest.counted
                return True
            # A second chance keeps pages that are in use; reading costs no lock and no reordering.
            oldest.is_used = False
            self._pages[first] = oldest
