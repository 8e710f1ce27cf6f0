"""The handler of ``/packages/``: a page with a link to every file, 22 MB for 100,000 files.

**Invariants:** the page is rendered in parts and cached by serial; a page above the limit is rendered for each request.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import quote

import bottle

from ...catalog.name_filter import NameFilter
from ...formats.negotiation import is_browser
from ...index.read import Repository
from ...model import utc
from ..http.cached_pages import CachedPages, Made
from ..http.page_cache import PageMemory
from ..http.visible_names import VisibleNames, everything
from .file_search import FileSearchPage
from .pages import HTML, SECURITY, Frame, part, size

# Bytes of all pages for clients that may see some projects.
MAX_FILTERED_BYTES = 32 * 1024 * 1024
ROWS = 1000
# Marks the place of the rows; no path and no template contains it.
_MARK = "\0"


class AllFiles:
    """The handler of the list of all files; ``private`` says that listing needs a login.

    ``names`` gives the projects whose files the client may see. A page larger than a cache of ``memory``, of about
    200,000 files, is shared by concurrent requests and not cached.
    """

    def __init__(
        self,
        repository: Repository,
        memory: PageMemory,
        *,
        private: bool,
        frame: Frame,
        names: VisibleNames = everything,
    ) -> None:
        self._repository = repository
        self._frame = frame
        self._names = names
        self._for_people = FileSearchPage(repository, memory, private=private, frame=frame, names=names)
        headers = {"Content-Type": HTML, "Vary": "Accept, Accept-Encoding", **SECURITY}
        self._pages = CachedPages(repository, memory.cache(), private=private, headers=headers)
        self._filtered = CachedPages(repository, memory.cache(MAX_FILTERED_BYTES), private=private, headers=headers)

    def listing(self) -> bottle.HTTPResponse:
        """``GET /packages/``: a link to every file; for browsers, unless ``?all``, a page of them with a search."""
        if is_browser(bottle.request.environ.get("HTTP_ACCEPT")) and "all" not in bottle.request.query:
            return self._for_people.answer()
        names = self._names()
        pages = self._pages if names.is_all() else self._filtered
        return pages.answer(names.key, self._repository.serial, lambda: self._made(names))

    def _made(self, names: NameFilter) -> Made:
        # Read the serial first: a change during rendering must make the page outdated.
        serial, mark = self._repository.serial(), self._repository.class_mark(names)
        return Made(serial, b"".join(_page(self._repository.paths(names), self._frame)), mark=mark)


def _page(files: Iterator[tuple[str, int, int, str]], frame: Frame) -> Iterator[bytes]:
    """The page in parts; ``files`` are path, bytes, modification time (nanoseconds, UTC) and link digest."""
    rows = list(itertools.islice(files, ROWS))
    page = frame.render("packages", "Files", {"rows": _MARK if rows else ""}, root="../")
    head, _, tail = page.partition(_MARK.encode())
    yield head
    while rows:
        yield part("packages_rows", {"rows": [_shown(*row) for row in rows]})
        rows = list(itertools.islice(files, ROWS))
    yield tail


def _shown(path: str, length: int, mtime_ns: int, link_digest: str) -> tuple[str, str, str, str]:
    # With the digest, --find-links of pip and uv verifies its downloads.
    link = f"{quote(path)}#{link_digest}" if link_digest else quote(path)
    return link, path, size(length), utc(mtime_ns).date().isoformat()
