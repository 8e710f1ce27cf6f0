"""Cached pages, each rendered once for each state of what it shows, and the responses that send them.

**Invariants:** a page has a strong ETag, is compressed as the client accepts, and is served for a limited time while
the catalog fails; a large page is in memory once, however many clients read it, and is sent block by block.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import bottle

from ...errors import CatalogUnavailable
from ...formats.negotiation import accepts_encoding
from ...index.read import Repository
from .conditional import is_not_modified
from .file_body import BLOCK_BYTES, Blocks
from .page_cache import Page, PageCache
from .responses import aged, for_mirrors, revalidated, unkept
from .single_flight import SingleFlight

SerialOf = Callable[[], int]


class Made(NamedTuple):
    """A rendered page: the serial it was rendered at, its body, and the serial reported to mirrors (0: none).

    ``mark`` goes into its validators.
    """

    serial: int
    body: bytes
    last_serial: int = 0
    mark: str = ""


class CachedPages:
    """Pages in ``cache``; ``private`` says that a login protects them.

    Every response with a body carries ``headers``.
    """

    def __init__(self, repository: Repository, cache: PageCache, *, private: bool, headers: Mapping[str, str]) -> None:
        self._repository = repository
        self._cache = cache
        self._flights = SingleFlight[Page]()
        self._cache_control = revalidated(private=private)
        self._headers = dict(headers)

    def answer(self, key: Hashable, serial_of: SerialOf, make: Callable[[], Made]) -> bottle.HTTPResponse:
        """The page with this key; ``make`` renders a body that stays valid until ``serial_of`` returns another serial.

        Raises what ``make`` raises, and CatalogUnavailable when no page is cached or the cached one is too old.
        """
        try:
            page = self._current(key, serial_of)
            if page is None:
                page = self._flights.get(key, lambda: self._current(key, serial_of), lambda: self._kept(key, make()))
            return self._answer(page)
        except CatalogUnavailable:
            last = self._cache.last(key)
            age = None if last is None else self._repository.stale_age(last.checked, last.seen)
            if last is None or age is None or self._repository.is_outdated(last.checked):
                raise
            return aged(self._answer(last), age)

    def _current(self, key: Hashable, serial_of: SerialOf) -> Page | None:
        return self._cache.get(key, now=self._repository.serial(), serial_of=serial_of)

    def _kept(self, key: Hashable, made: Made) -> Page:
        return self._cache.put(key, made.body, serial=made.serial, form=made.mark, last_serial=made.last_serial)

    def _answer(self, page: Page) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        coding = accepts_encoding(environ.get("HTTP_ACCEPT_ENCODING"), page.codings) or "identity"
        etag = page.etag(coding)
        headers = {"Cache-Control": self._cache_control, "Vary": "Accept-Encoding", "ETag": etag}
        headers |= {**unkept(self._cache_control), **for_mirrors(page.last_serial)}
        if is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag):
            return bottle.HTTPResponse(status=304, headers=headers)
        body = page.encoded(coding)
        headers |= {**self._headers, "Content-Length": str(len(body))}
        if coding != "identity":
            headers["Content-Encoding"] = coding
        # Some servers copy every body they receive, for each client.
        sent = body if len(body) <= BLOCK_BYTES else Blocks(io.BytesIO(body), 0, len(body))
        return bottle.HTTPResponse(sent, headers=headers)
