"""``/simple/`` and ``/simple/<project>/``: negotiation, redirects to the normalized name, the fallback.

**Invariants:** a project that exists here is never redirected to another index, in any spelling, and no other index is
asked for it; every redirect is temporary; all but those to the fallback are relative, so a prefix or a proxy needs no
setting; every response has ``Vary``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import bottle
from packaging.utils import NormalizedName

from ... import request_info
from ...catalog.name_filter import EVERYTHING, NameFilter
from ...deferred import Waits
from ...distributions.filename import normalize
from ...errors import CatalogUnavailable, NotFound
from ...formats.negotiation import Form
from ...formats.simple import index_serial, render_index, render_project
from ...index.read import Repository
from ...repeatable import may_repeat
from ..http.forwarded import is_secure
from ..http.page_cache import Page, PageCache, PageMemory
from ..http.responses import CATALOG_UNAVAILABLE, redirect, stale_headers
from ..http.single_flight import SingleFlight
from ..http.visible_names import VisibleNames, everything
from .page_responses import PageResponses, form_asked

if TYPE_CHECKING:
    # Imported only where pages of other indexes are passed on.
    from .merged import Merged
    from .proxied import Proxied

AnyPage = TypeVar("AnyPage", Page, Page | None)
# In the place of a name, the list of all projects.
_INDEX = NormalizedName("")
# The response for a project that is not here.
Otherwise = Callable[[NormalizedName], bottle.HTTPResponse]
# Bytes of the lists of projects for clients that may see some: however many such classes of clients there are, they
# take no place from the pages that all share.
MAX_FILTERED_BYTES = 32 * 1024 * 1024


class Simple:
    """Handlers of the Simple Repository API.

    ``fallback`` returns the URL to redirect an unknown project to, or None; it raises NotFound for a name that is ours.
    ``private`` says that shared caches of clients and proxies must not store pages, because a login protects them.
    ``server_base_url`` is our root URL as the operator sets it; if empty, it comes from each request. ``names`` gives
    what the list of projects may contain. ``proxied`` has the pages of other indexes, instead of redirects to one,
    ``merged`` those of projects that are here too.
    """

    def __init__(
        self,
        repository: Repository,
        memory: PageMemory,
        *,
        fallback: Callable[[NormalizedName], str | None],
        private: bool,
        server_base_url: str = "",
        names: VisibleNames = everything,
        proxied: Proxied | None = None,
        merged: Merged | None = None,
    ) -> None:
        self._proxied = proxied
        self._merged = merged
        self._repository = repository
        self._names = names
        self._fallback = fallback
        self._server_base_url = server_base_url
        self._responses = PageResponses(private=private, server_base_url=server_base_url)
        self._cache = memory.cache()
        self._filtered = memory.cache(MAX_FILTERED_BYTES)
        self._flights = SingleFlight[Page]()

    def index(self) -> bottle.HTTPResponse:
        """``GET /simple/``: every project that the client may see."""
        form, names = form_asked(), self._names()
        try:
            return self._index(form, names)
        except CatalogUnavailable as error:
            return self._stale("", form, error, names=names)

    def index_at_once(self) -> bottle.HTTPResponse:
        """The same from memory; raises Waits where it is not there, may have changed, or depends on the client."""
        # Nothing is read for it: whom the guard lets come here, rights from a file do not concern.
        if not self._names().is_all():
            raise Waits
        return self._known_page(_INDEX)

    def _index(self, form: Form, names: NameFilter) -> bottle.HTTPResponse:
        page = _noted(self._current_index(form, names))
        if page is None:
            key = ("", form, names.key)
            current = partial(self._current_index, form, names)
            page = self._flights.get(key, current, lambda: self._render_index(form, names))
        return self._responses.answer(page, form)

    def _current_index(self, form: Form, names: NameFilter) -> Page | None:
        serial = self._repository.serial()
        return self._cache_of(names).get((names.key, form), now=serial, serial_of=lambda: serial)

    def _render_index(self, form: Form, names: NameFilter) -> Page:
        serial = self._repository.serial()
        projects = self._repository.projects(names)
        validated = form.name.lower() + self._repository.class_mark(names)
        return self._cache_of(names).put(
            (names.key, form),
            render_index(projects, form),
            serial=serial,
            form=validated,
            last_serial=index_serial(projects),
        )

    def _cache_of(self, names: NameFilter) -> PageCache:
        return self._cache if names.is_all() else self._filtered

    def project(self, project: str) -> bottle.HTTPResponse:
        """``GET /simple/<project>/``: a project's files, or a redirect to the fallback."""
        if self._proxied is None:
            return self._files_of(project, self._elsewhere)
        normal, mark = normalize(project), self._repository.absence_mark()
        if self._merged is not None and project == normal and self._merged.covers(normal):
            try:
                return self._merged.project(normal, form_asked())
            except NotFound:
                return self._proxied.project(normal, form_asked(), mark)
        if project == normal and mark is not None and self._proxied.is_absent(normal, mark):
            return self._proxied.project(normal, form_asked(), mark)
        return self._files_of(project, partial(self._from_proxy, mark))

    def project_here(self, project: str) -> bottle.HTTPResponse:
        """``GET /+simple/<project>/``: a project's files, or 404 whatever the fallback has, for clients that will
        publish it.

        hatch reads it by default to see which files it need not upload, uv when its ``--check-url`` says so.
        """
        return self._files_of(project, _not_here)

    def project_at_once(self, project: str) -> bottle.HTTPResponse:
        """The same from memory; raises Waits where the page is not there, or may have changed."""
        normal = normalize(project)
        if project != normal:
            return redirect(f"../{quote(normal)}/")
        if self._merged is not None and self._merged.covers(normal):
            # What it is made of is compared with two sources.
            raise Waits
        return self._known_page(normal, self._proxied)

    def project_here_at_once(self, project: str) -> bottle.HTTPResponse:
        """The page of a project that is here, from memory; raises Waits as :meth:`project_at_once` does."""
        normal = normalize(project)
        if project != normal:
            return redirect(f"../{quote(normal)}/")
        return self._known_page(normal)

    def _known_page(self, name: NormalizedName, proxied: Proxied | None = None) -> bottle.HTTPResponse:
        form, serial = form_asked(), self._repository.known_serial()
        page = None if serial is None else self._cache.known((name, form), now=serial)
        if page is not None and (page.origin is None or page.origin == self._responses.origin()):
            may_repeat(bottle.request.environ, partial(self._is_still, page, serial))
            return self._responses.answer(_noted(page), form)
        repository = self._repository
        mark = None if page is not None or proxied is None else repository.absence_mark()
        if proxied is None or mark is None:
            raise Waits
        return proxied.at_once(name, form, mark, lambda: repository.absence_mark() == mark)

    def _is_still(self, page: Page, serial: int | None) -> bool:
        """Whether the page is current, as nothing has changed; it is one that requests use."""
        page.is_used = True
        return self._repository.known_serial() == serial

    def _files_of(self, project: str, otherwise: Otherwise) -> bottle.HTTPResponse:
        normal = normalize(project)
        if project != normal:
            return redirect(f"../{quote(normal)}/")
        form = form_asked()
        try:
            return self._project(normal, form, otherwise)
        except CatalogUnavailable as error:
            return self._stale(normal, form, error)

    def _project(self, normal: NormalizedName, form: Form, otherwise: Otherwise) -> bottle.HTTPResponse:
        page = _noted(self._current(normal, form))
        if page is None:
            key = (normal, form, self._responses.origin())
            try:
                page = self._flights.get(key, lambda: self._current(normal, form), lambda: self._render(normal, form))
            except NotFound:
                return otherwise(normal)
        return self._responses.answer(page, form)

    def _current(self, normal: NormalizedName, form: Form) -> Page | None:
        repository = self._repository
        serial = repository.serial()
        page = self._cache.get((normal, form), now=serial, serial_of=lambda: repository.project_serial(normal))
        return page if page is None or page.origin is None or page.origin == self._responses.origin() else None

    def _stale(
        self, name: str, form: Form, error: CatalogUnavailable, *, names: NameFilter = EVERYTHING
    ) -> bottle.HTTPResponse:
        """The last page, for a limited time while the catalog fails; the response says its age."""
        page = self._cache_of(names).last((name or names.key, form))
        age = None if page is None else self._repository.stale_age(page.checked, page.seen)
        if page is None or age is None or (page.origin is not None and page.origin != self._responses.origin()):
            raise error
        if self._repository.is_outdated(page.checked, name, page.serial):
            raise error
        return self._responses.answer(page, form, headers=stale_headers(age, CATALOG_UNAVAILABLE), is_usual=False)

    def _render(self, normal: NormalizedName, form: Form) -> Page:
        project = self._repository.project(normal)
        # Only a provenance needs an absolute URL; every other page is the same for all clients.
        origin = self._responses.origin() if any(file.has_provenance for file in project.files) else None
        secure_files_url = f"{origin}packages/" if origin and is_secure(origin) else ""
        # micropip does not resolve a relative URL in JSON, and other clients join it to the URL they requested before a
        # redirect.
        is_absolute = form is Form.JSON and self._server_base_url
        files_url = f"{self._server_base_url.rstrip('/')}/packages/" if is_absolute else "../../packages/"
        body = render_project(project, form, files_url=files_url, secure_files_url=secure_files_url)
        key = (project.name, form)
        serials = {"serial": project.serial, "last_serial": project.last_serial}
        return self._cache.put(key, body, **serials, form=form.name.lower(), origin=origin)

    def _elsewhere(self, normal: NormalizedName) -> bottle.HTTPResponse:
        address = self._fallback(normal)
        if address is None:
            return _not_here(normal)
        bottle.request.environ[request_info.NOTE] = f"-> {urlsplit(address).hostname}"
        return redirect(address, cache_control=self._responses.cache_control)

    def _from_proxy(self, mark: Hashable | None, normal: NormalizedName) -> bottle.HTTPResponse:
        """The page that another index has; the project was not here at this mark."""
        if self._proxied is None:
            return _not_here(normal)
        return self._proxied.project(normal, form_asked(), mark)


def _not_here(normal: NormalizedName) -> bottle.HTTPResponse:
    raise NotFound(f"There is no project {normal!r} here.", kind="project", project=normal)


def _noted(page: AnyPage) -> AnyPage:
    """The page as the cache returned it; the metrics count the hit or miss."""
    bottle.request.environ[request_info.PAGE] = "miss" if page is None else "hit"
    return page
