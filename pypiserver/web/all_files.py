"""``/packages/``: a page with a link to every file, 14 MB for 100,000 of them.

The rules to keep: like a page of the simple index it is made once for each state of the catalog, and held once however
many clients take it; what is sent of it at a time is a block.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from urllib.parse import quote

import bottle

from ..errors import CatalogUnavailable
from ..model import utc
from ..repository import Repository
from ..simple_api import accepts_encoding
from .answers import aged, revalidated
from .blocks import BLOCK_BYTES, Blocks
from .page_cache import Page, PageCache
from .pages import SECURITY, part, render, size
from .sending import is_not_modified
from .single_flight import SingleFlight

# A page that is larger, of some 200,000 files, is made for whoever asks at the time, and not kept.
MAX_BYTES = 32 * 1024 * 1024
ROWS = 1000
# What no path and no template has, in the place of the rows.
_MARK = "\0"


class AllFiles:
    """The handler of the list of all files; ``private`` says that listing is protected."""

    def __init__(self, repository: Repository, *, private: bool) -> None:
        self._repository = repository
        self._cache = PageCache(MAX_BYTES)
        self._flights = SingleFlight[Page]()
        self._cache_control = revalidated(private=private)

    def listing(self) -> bottle.HTTPResponse:
        """``GET /packages/``: a link to every file."""
        try:
            return self._answer(self._current() or self._flights.get("", self._current, self._make))
        except CatalogUnavailable:
            last = self._cache.last("")
            age = None if last is None else self._repository.stale_age(last.checked, last.seen)
            if last is None or age is None:
                raise
            return aged(self._answer(last), age)

    def _answer(self, page: Page) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        coding = accepts_encoding(environ.get("HTTP_ACCEPT_ENCODING"), page.codings) or "identity"
        body, etag = page.bodies[coding]
        headers = {"Cache-Control": self._cache_control, "Vary": "Accept-Encoding", "ETag": etag}
        if is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag):
            return bottle.HTTPResponse(status=304, headers=headers)
        headers |= {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body)), **SECURITY}
        if coding != "identity":
            headers["Content-Encoding"] = coding
        if len(body) > BLOCK_BYTES:
            # Some servers copy all they are given, for each client.
            return bottle.HTTPResponse(Blocks(io.BytesIO(body), 0, len(body)), headers=headers)
        return bottle.HTTPResponse(body, headers=headers)

    def _current(self) -> Page | None:
        serial = self._repository.serial()
        return self._cache.get("", now=serial, serial_of=lambda: serial)

    def _make(self) -> Page:
        serial = self._repository.serial()
        return self._cache.put("", b"".join(_page(self._repository.paths())), serial=serial)


def _page(files: Iterator[tuple[str, int, int]]) -> Iterator[bytes]:
    """The page in blocks; ``files`` are path, size in bytes and modification time in nanoseconds."""
    rows = list(itertools.islice(files, ROWS))
    page = render("packages", "Files", {"rows": _MARK if rows else ""}, root="../")
    head, _, tail = page.partition(_MARK.encode())
    yield head
    while rows:
        yield part("packages_rows", {"rows": [_shown(*row) for row in rows]})
        rows = list(itertools.islice(files, ROWS))
    yield tail


def _shown(path: str, length: int, mtime_ns: int) -> tuple[str, str, str, str]:
    return quote(path), path, size(length), utc(mtime_ns).date().isoformat()
