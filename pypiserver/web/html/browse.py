"""Handlers of ``/projects/`` and ``/project/...``: the list of projects, and pages of projects and releases.

**Invariants:** a list or page that cannot be read from the catalog is the last known one, or 503; a search is never
cached, because its text can be anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote, urlencode

import bottle
from packaging.utils import NormalizedName

from ...access.principal import ANONYMOUS, Principal
from ...catalog.name_filter import NameFilter
from ...distributions.core_metadata import CoreMetadata
from ...distributions.filename import normalize
from ...distributions.releases import core_metadata, named, newest, releases_of
from ...errors import ConfigError, NotFound, Unavailable
from ...formats.negotiation import prefers_html
from ...index.read import Repository
from ...model import Project, Search
from ...observability.download_statistics import Counts
from ...observability.uploaders import Uploaders
from ...request_info import PRINCIPAL
from ...text import cut_at_word, one_line
from ..http.page_cache import PageMemory
from ..http.responses import aged, redirect, revalidated
from ..http.stale_pages import MAX_BYTES, StaleIfErrorCache
from ..http.visible_names import VisibleNames, everything
from . import project_page, readme
from .atom_feed import ATOM, FEED, atom, releases_feed
from .built_for import built_for
from .pages import HTML, Frame, sent
from .renderer import Renderer
from .search_hits import Hits

# First path components of other routes; a proxy may strip a prefix that makes them look like project names.
OURS = frozenset({"simple", "packages", "project", "projects", "static", "pypi", "legacy"})
PAGE = 50
MAX_TEXT = 200
# The page of a project names this many projects that need it; the list has all.
NEEDED_BY = 20
# (value, label in the form)
SORTS = (
    ("", "Best match"),
    ("name", "Name"),
    ("-name", "Name, from the end"),
    ("date", "Newest upload"),
    ("-date", "Oldest upload"),
    ("size", "Largest"),
    ("-size", "Smallest"),
)
SHOWN = (("", "All projects"), ("yanked", "With yanked files"), ("marked", "Archived, deprecated"))


class Browse:
    """Handlers of the pages about projects; ``url`` gives the absolute URL of the server's root for the client.

    ``private`` says that the pages need a login; ``renderer`` renders descriptions; ``frame`` is that of all pages;
    ``uploaders`` tells who uploaded a file, None where pages are not to say it; ``names`` gives the projects that the
    client may see in lists and on pages of others.
    """

    def __init__(
        self,
        repository: Repository,
        memory: PageMemory,
        *,
        url: Callable[[], str],
        private: bool,
        renderer: Renderer,
        frame: Frame,
        uploaders: Uploaders | None = None,
        names: VisibleNames = everything,
    ) -> None:
        self._names = names
        self._uploaders = uploaders
        self._frame = frame
        self._renderer = renderer
        self._repository = repository
        self._url = url
        self._private = private
        self._last = StaleIfErrorCache(repository, memory.cache(MAX_BYTES))

    def _redirect(self, location: str) -> bottle.HTTPResponse:
        return redirect(location, cache_control=revalidated(private=self._private))

    @staticmethod
    def _tells_users() -> bool:
        """Whether the client may read names of users: they are half of a login, so only users who log in see them."""
        principal: Principal = bottle.request.environ.get(PRINCIPAL, ANONYMOUS)
        return principal.is_authenticated

    def projects(self) -> bottle.HTTPResponse:
        """``GET /projects/``: every project in a table, searched by ``?q=``, sorted and paged."""
        if not prefers_html(bottle.request.environ.get("HTTP_ACCEPT")):
            # A client that uses the server's root as index URL asks for a project of this name.
            return self._redirect("../simple/projects/")
        (search, number), names = _asked(), self._names()
        if search.text:
            # Searches rarely repeat, so caching them is useless.
            return sent(self._list(search, number, names), private=self._private)
        return self._answer(("", search, names.key), lambda: self._list(search, number, names))

    def feed(self) -> bottle.HTTPResponse:
        """``GET /projects/feed.atom``: the newest uploads as a feed (RFC 4287)."""
        names = self._names()
        return self._answer(("feed", self._url(), names.key), lambda: self._feed(names), ATOM)

    def _feed(self, names: NameFilter) -> bytes:
        return atom(self._url(), self._repository.newest(FEED, names), site=self._frame.site)

    def releases(self, project: str) -> bottle.HTTPResponse:
        """``GET /project/<project>/feed.atom``: the project's releases as a feed (RFC 4287)."""
        normal = normalize(project)
        if project != normal:
            return self._redirect(f"../{quote(normal)}/feed.atom")
        names = self._names()
        return self._answer(("feed", normal, self._url()), lambda: self._releases(normal, names), ATOM)

    def _releases(self, normal: NormalizedName, names: NameFilter) -> bytes:
        found = self._found(normal, names)
        times = {
            version: max(file.uploaded_at for file in files) for version, files in releases_of(found).items() if files
        }
        newest_first = sorted(((version, time) for version, time in times.items() if version), key=_when, reverse=True)
        return releases_feed(self._url(), found.display_name, newest_first[:FEED], site=self._frame.site)

    def _list(self, search: Search, number: int, names: NameFilter) -> bytes:
        total, rows = self._repository.find(search, names)
        pages = max(1, -(-total // PAGE))
        if number > pages:
            number = pages
            search = replace(search, offset=(number - 1) * PAGE)
            total, rows = self._repository.find(search, names)
        values = {
            "text": search.text,
            "sort": search.sort or ("" if search.text else "name"),
            "show": search.show,
            "sorts": SORTS if search.text else SORTS[1:],
            "shown": SHOWN,
            "needs": search.needs,
            "total": total,
            "rows": rows,
            "number": number,
            "pages": pages,
            "link": lambda **changes: _link(search, **changes),
            "hits": Hits(search.text),
        }
        title = f"{search.text} - search" if search.text else "Projects"
        return self._frame.render("projects", title, values, root="../")

    def project(self, project: str, others: Callable[[Project], str] | None = None) -> bottle.HTTPResponse:
        """``GET /project/<project>/``: the metadata and files of its newest release, and all its versions.

        ``others`` gives what other indexes have of it, as HTML.
        """
        normal = normalize(project)
        if project != normal:
            return self._redirect(f"../{quote(normal)}/")
        names = self._names()
        if others is not None:
            # The catalog does not tell when that changes.
            found = self._found(normal, names)
            return sent(self._page(found, None, names, others(found)), private=self._private)
        key = (normal, None, self._url(), names.key, self._tells_users())
        return self._answer(key, lambda: self._page(self._found(normal, names), None, names))

    def release(self, project: str, version: str) -> bottle.HTTPResponse:
        """``GET /project/<project>/<version>/``: the metadata and files of this release."""
        normal, names = normalize(project), self._names()

        def make() -> bytes:
            found = self._found(normal, names)
            spelled = named(found, version)
            if (project, version) != (normal, spelled):
                raise self._redirect(f"../../{quote(normal)}/{quote(spelled)}/")
            return self._page(found, spelled, names)

        return self._answer((normal, version, self._url(), names.key, self._tells_users()), make)

    def _answer(self, key: Hashable, make: Callable[[], bytes], content_type: str = HTML) -> bottle.HTTPResponse:
        body, age = self._last.get(key, make)
        return aged(sent(body, private=self._private, content_type=content_type), age)

    def _found(self, normal: NormalizedName, names: NameFilter) -> Project:
        try:
            return self._repository.project(normal)
        except (NotFound, Unavailable) as error:
            faults = self._repository.faults(normal, names)
            if not faults:
                raise
            words = "; ".join(f"{fault.path}: {fault.reason}" for fault in faults)
            listed = f"Files that cannot be listed: {words}"
            raise error.reworded(f"{error} {listed}", public=f"{error.public} {listed}") from None

    def _downloads(self, normal: NormalizedName) -> Counts | None:
        # The writer of the file logs what is wrong with it.
        with contextlib.suppress(ConfigError):
            return self._repository.downloads(normal)
        return None

    def _readme(self, core: CoreMetadata) -> str:
        if not core.description:
            return ""
        return readme.shown(core.description, core.description_content_type, self._renderer)

    def _page(self, project: Project, version: str | None, names: NameFilter, others: str = "") -> bytes:
        root = "../../" if version is None else "../../../"
        releases = releases_of(project)
        chosen = newest(releases) if version is None else version
        files = releases.get(chosen, []) + (releases.get("", []) if version is None and chosen else [])
        core = core_metadata(releases.get(chosen, []), self._repository.core_metadata)
        grouped = project_page.requirements(core)
        head = project_page.heading(project, releases, chosen)
        pinned = not head["is_newest"] or head["is_pre"] or head["is_yanked"]
        faults = self._repository.faults(project.name, names)
        rows = project_page.file_rows(files, packages=f"{root}packages/")
        needed = [NormalizedName(each.project) for group in grouped.values() for each in group]
        needing, needed_by = self._repository.needing(project.name, NEEDED_BY, names)
        values = {
            **head,
            "home": "./" if version is None else "../",
            "summary": cut_at_word(one_line(core.summary), project_page.MAX_SUMMARY),
            "whole_summary": one_line(core.summary),
            "commands": project_page.commands(project.display_name, chosen, pinned=pinned, url=self._url()),
            "facts": project_page.facts(core),
            "downloads": project_page.downloads(self._downloads(project.name), chosen),
            "links": project_page.links(core),
            "more": project_page.left_out(core),
            "total_size": sum(file.size for file in project.files),
            "requirements": grouped,
            "here": self._repository.present(needed, names),
            "classifiers": project_page.classifiers(core),
            "built_for": [(platform, project_page.listed(pythons)) for platform, pythons in built_for(files)],
            "needed_by": needed_by,
            "needing": needing,
            "normal": project.name,
            "readme": self._readme(core),
            "files": rows,
            "others": others,
            "grouped_files": project_page.by_form(rows),
            "uploader": self._uploaders.of if self._uploaders and self._tells_users() else None,
            "versions": project_page.version_rows(releases),
            "faults": [(fault.path, fault.reason) for fault in faults[: project_page.MAX_FAULTS]],
            "more_faults": max(0, len(faults) - project_page.MAX_FAULTS),
        }
        title = f"{project.display_name} {chosen}".strip()
        return self._frame.render("project", title, values, root=root)


def _asked() -> tuple[Search, int]:
    """The search in the query string and the number of its page; invalid values are ignored."""
    query = bottle.request.query
    text, sort, show, needs = (str(query.getunicode(name) or "") for name in ("q", "sort", "show", "needs"))
    page_text = str(query.getunicode("page") or "1")
    number = max(1, int(page_text)) if page_text.isascii() and page_text.isdigit() and len(page_text) < 8 else 1
    search = Search(
        one_line(text)[:MAX_TEXT],
        sort if sort in dict(SORTS) else "",
        show if show in dict(SHOWN) else "",
        normalize(one_line(needs)[:MAX_TEXT]),
        PAGE,
        (number - 1) * PAGE,
    )
    return search, number


def _when(release: tuple[str, datetime]) -> datetime:
    return release[1]


def _link(search: Search, **changes: object) -> str:
    """The query string of this list with some values changed, for a link."""
    values = {"q": search.text, "sort": search.sort, "show": search.show, "needs": search.needs, **changes}
    return "?" + urlencode({name: value for name, value in values.items() if value})


def to_release(root: str) -> Callable[..., bottle.HTTPResponse]:
    """A handler that redirects to the page of a project or release; ``root`` is the relative URL of the root."""

    def answer(project: str, version: str = "") -> bottle.HTTPResponse:
        """Redirects (302) to the page of the project, or of the release."""
        if project in OURS:
            # A proxy that serves this index at /pypi without forwarding the prefix.
            raise NotFound(f"There is no project {project!r} here.")
        return redirect(f"{root}project/{project}/" + (f"{quote(version)}/" if version else ""))

    return answer
