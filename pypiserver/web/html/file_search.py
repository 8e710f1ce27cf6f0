"""``/packages/`` for people: the files by project, searched and a page at a time.

**Invariants:** a page is made of as many rows as it shows; what programs read at this address is
:mod:`file_list`'s and has every file.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import bottle

from ...catalog.file_pages import START, WINDOW, FilePage, FileSearch, ListedFile, Place, project_in
from ...catalog.name_filter import NameFilter
from ...distributions.filename import normalize
from ...index.read import Repository
from ...model import utc
from ...text import one_line
from ..http.page_cache import PageMemory
from ..http.responses import aged
from ..http.stale_pages import MAX_BYTES, StaleIfErrorCache
from ..http.visible_names import VisibleNames, everything
from .pages import Frame, sent

PAGE = 100
MAX_TEXT = 200
# More than a project's name and a file's name have.
MAX_PLACE = 600
LETTERS = (*string.digits[:1], *string.ascii_lowercase)


class FileSearchPage:
    """The handler; ``private`` says that listing is protected, ``frame`` is that of all pages.

    ``names`` gives the projects whose files the client may see.
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
        self._names = names
        self._repository = repository
        self._private = private
        self._frame = frame
        self._last = StaleIfErrorCache(repository, memory.cache(MAX_BYTES))

    def answer(self) -> bottle.HTTPResponse:
        """The page that the query asks for: ``q``, and ``after``, ``before`` or ``from``, where it begins."""
        search, names = _asked(), self._names()
        if search.text:
            return sent(self._page(search, names), private=self._private)
        body, age = self._last.get((search, names.key), lambda: self._page(search, names))
        return aged(sent(body, private=self._private), age)

    def _page(self, search: FileSearch, names: NameFilter) -> bytes:
        page = self._repository.files(search, names)
        values = {
            "text": search.text,
            "total": self._repository.totals(names)[1],
            "window": WINDOW,
            "is_narrow": bool(search.text and not search.is_anywhere and project_in(search.text)),
            "prefix": project_in(search.text),
            "rows": [_row(file) for file in page.files],
            "letters": LETTERS,
            "is_start": search.place == START,
            "links": _links(search, page),
        }
        title = f"{search.text} - search" if search.text else "Files"
        return self._frame.render("files", title, values, root="../")


def _asked() -> FileSearch:
    """The page that the query asks for; what means nothing is left out."""
    query = bottle.request.query
    said = {name: str(query.getunicode(name) or "") for name in ("q", "after", "before", "from", "anywhere")}
    after, before = _place(said["after"]), _place(said["before"])
    place = after or before or Place(normalize(said["from"][:MAX_TEXT]).strip("-"))
    is_backwards = after is None and before is not None
    text = one_line(said["q"])[:MAX_TEXT]
    return FileSearch(text, place, is_backwards and not text, bool(said["anywhere"]), PAGE)


def _place(text: str) -> Place | None:
    project, slash, filename = text.partition("/")
    # No database takes them in a question.
    is_sound = slash and len(text) <= MAX_PLACE and text.isprintable()
    return Place(project, filename) if is_sound else None


def _links(search: FileSearch, page: FilePage) -> Mapping[str, str]:
    """The query of each page that this one leads to."""
    same = {"q": search.text, "anywhere": "1" if search.is_anywhere else ""}
    places = {"after": page.after, "before": page.before}
    links = {name: _query({**same, name: "/".join(place)}) for name, place in places.items() if place}
    return {**links, "first": _query(same) or "./", "anywhere": _query({"q": search.text, "anywhere": "1"})}


def _query(values: Mapping[str, str]) -> str:
    said = {name: value for name, value in values.items() if value}
    return f"?{urlencode(said)}" if said else ""


def _row(file: ListedFile) -> dict[str, object]:
    return {
        "project": file.project,
        "name": file.filename,
        "address": quote(file.path),
        "folder": file.path.rpartition("/")[0],
        "size": file.size,
        "uploaded": utc(file.mtime_ns),
    }
