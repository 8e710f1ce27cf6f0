"""``/simple/`` and ``/simple/<project>/``: negotiation, redirects to the normalized name, the fallback.

**Invariants:** a project that exists here is never redirected to another index, in any spelling; every redirect is
temporary; all but those to the fallback are relative, so a prefix or a proxy needs no setting; every response has
``Vary``.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlsplit

import bottle
from packaging.utils import NormalizedName

from ... import request_info
from ...distributions.filename import normalize
from ...errors import CatalogUnavailable, NotFound
from ...formats.simple import Form, accepts_encoding, index_serial, negotiate, render_index, render_project
from ...index.read import Repository
from ..http.conditional import is_not_modified
from ..http.forwarded import base_url, is_secure
from ..http.page_cache import Page, PageCache
from ..http.prepared_response import PreparedResponse
from ..http.responses import aged, for_mirrors, redirect, revalidated, unkept
from ..http.single_flight import SingleFlight

# The response for a project that is not here.
Otherwise = Callable[[str], bottle.HTTPResponse]
# The most prepared responses of one page; each takes about a kilobyte.
MAX_ANSWERS = 4


class Simple:
    """Handlers of the Simple Repository API.

    ``fallback`` returns the URL to redirect an unknown project to, or None; ``private`` says that shared caches of
    clients and proxies must not store pages, because a login protects them. ``server_base_url`` is our root URL as the
    operator sets it; if empty, it comes from each request.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        fallback: Callable[[str], str | None],
        private: bool,
        server_base_url: str = "",
    ) -> None:
        self._repository = repository
        self._fallback = fallback
        self._server_base_url = server_base_url
        self._cache = PageCache()
        self._flights = SingleFlight[Page]()
        self._cache_control = revalidated(private=private)
        self._unkept = unkept(self._cache_control)

    def index(self) -> bottle.HTTPResponse:
        """``GET /simple/``: every project."""
        form = _form()
        try:
            return self._index(form)
        except CatalogUnavailable as error:
            return self._stale("", form, error)

    def _index(self, form: Form) -> bottle.HTTPResponse:
        page = _noted(self._current_index(form))
        if page is None:
            page = self._flights.get(("", form), lambda: self._current_index(form), lambda: self._render_index(form))
        return self._answer(page, form)

    def _current_index(self, form: Form) -> Page | None:
        serial = self._repository.serial()
        return self._cache.get(("", form), now=serial, serial_of=lambda: serial)

    def _render_index(self, form: Form) -> Page:
        serial = self._repository.serial()
        projects = self._repository.projects()
        body, last_serial = render_index(projects, form), index_serial(projects)
        return self._cache.put(("", form), body, serial=serial, form=form.name.lower(), last_serial=last_serial)

    def project(self, project: str) -> bottle.HTTPResponse:
        """``GET /simple/<project>/``: a project's files, or a redirect to the fallback."""
        return self._files_of(project, self._elsewhere)

    def project_here(self, project: str) -> bottle.HTTPResponse:
        """``GET /+simple/<project>/``: a project's files, or 404 whatever the fallback has, for clients that will
        publish it.

        hatch reads it by default to see which files it need not upload, uv when its ``--check-url`` says so.
        """
        return self._files_of(project, _not_here)

    def _files_of(self, project: str, otherwise: Otherwise) -> bottle.HTTPResponse:
        normal = normalize(project)
        if project != normal:
            return redirect(f"../{quote(normal)}/")
        form = _form()
        try:
            return self._project(normal, form, otherwise)
        except CatalogUnavailable as error:
            return self._stale(normal, form, error)

    def _project(self, normal: NormalizedName, form: Form, otherwise: Otherwise) -> bottle.HTTPResponse:
        page = _noted(self._current(normal, form))
        if page is None:
            key = (normal, form, self._origin())
            try:
                page = self._flights.get(key, lambda: self._current(normal, form), lambda: self._render(normal, form))
            except NotFound:
                return otherwise(normal)
        return self._answer(page, form)

    def _current(self, normal: NormalizedName, form: Form) -> Page | None:
        repository = self._repository
        serial = repository.serial()
        page = self._cache.get((normal, form), now=serial, serial_of=lambda: repository.project_serial(normal))
        return page if page is None or page.origin is None or page.origin == self._origin() else None

    def _stale(self, name: str, form: Form, error: CatalogUnavailable) -> bottle.HTTPResponse:
        """The last page, for a limited time while the catalog fails; the response says its age."""
        page = self._cache.last((name, form))
        age = None if page is None else self._repository.stale_age(page.checked, page.seen)
        if page is None or age is None or (page.origin is not None and page.origin != self._origin()):
            raise error
        if self._repository.is_outdated(page.checked, name, page.serial):
            raise error
        return self._answer(page, form, age=age)

    def _render(self, normal: NormalizedName, form: Form) -> Page:
        project = self._repository.project(normal)
        # Only a provenance needs an absolute URL; every other page is the same for all clients.
        origin = self._origin() if any(file.has_provenance for file in project.files) else None
        secure_files_url = f"{origin}packages/" if origin and is_secure(origin) else ""
        # micropip does not resolve a relative URL in JSON, and other clients join it to the URL they requested before a
        # redirect.
        is_absolute = form is Form.JSON and self._server_base_url
        files_url = f"{self._server_base_url.rstrip('/')}/packages/" if is_absolute else "../../packages/"
        body = render_project(project, form, files_url=files_url, secure_files_url=secure_files_url)
        key = (project.name, form)
        serials = {"serial": project.serial, "last_serial": project.last_serial}
        return self._cache.put(key, body, **serials, form=form.name.lower(), origin=origin)

    def _origin(self) -> str:
        """Our root URL as this client sees it."""
        return (self._server_base_url or base_url(bottle.request.environ)).rstrip("/") + "/"

    def _elsewhere(self, normal: str) -> bottle.HTTPResponse:
        address = self._fallback(normal)
        if address is None:
            return _not_here(normal)
        bottle.request.environ[request_info.NOTE] = f"-> {urlsplit(address).hostname}"
        return redirect(address, cache_control=self._cache_control)

    def _answer(self, page: Page, form: Form, *, age: float | None = None) -> bottle.HTTPResponse:
        """The response to this request: one of a few that were prepared for earlier requests.

        ``age`` is the number of seconds ago at which a page, which may have changed since, was right.
        """
        environ = bottle.request.environ
        encoding = accepts_encoding(environ.get("HTTP_ACCEPT_ENCODING"), page.codings) or "identity"
        etag: str | None = page.bodies[encoding][1]
        if "HTTP_CACHE_CONTROL" in environ and _reuses_blindly(environ["HTTP_CACHE_CONTROL"]):
            etag = None
        is_known = etag is not None and is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag)
        if age is not None:
            return aged(self._make(page, form, encoding, etag=etag, is_known=is_known), age)
        key = (encoding, etag, is_known)
        answer = page.answers.get(key)
        if answer is None:
            if len(page.answers) >= MAX_ANSWERS:
                page.answers.clear()
            answer = page.answers[key] = self._make(page, form, encoding, etag=etag, is_known=is_known)
        return answer

    def _make(self, page: Page, form: Form, encoding: str, *, etag: str | None, is_known: bool) -> PreparedResponse:
        headers = {"Cache-Control": self._cache_control, "Vary": "Accept, Accept-Encoding", **self._unkept}
        headers |= for_mirrors(page.last_serial)
        if page.origin is not None and not self._server_base_url:
            # The page contains the URL that this request's headers give.
            headers |= unkept("private")
        if etag is not None:
            headers["ETag"] = etag
        if is_known:
            return PreparedResponse(b"", headers.items(), status="304 Not Modified")
        body = page.bodies[encoding][0]
        headers["Content-Type"] = form.content_type
        headers["Content-Length"] = str(len(body))
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return PreparedResponse(body, headers.items())


def _not_here(normal: str) -> bottle.HTTPResponse:
    raise NotFound(f"There is no project {normal!r} here.")


def _noted(page: Page | None) -> Page | None:
    """The page as the cache returned it; the metrics count the hit or miss."""
    bottle.request.environ[request_info.PAGE] = "miss" if page is None else "hit"
    return page


def _form() -> Form:
    environ = bottle.request.environ
    asked = bottle.request.query.get("format") if environ.get("QUERY_STRING") else None
    return negotiate(environ.get("HTTP_ACCEPT"), asked)


def _reuses_blindly(cache_control: str) -> bool:
    """pip up to 18.0 sends max-age=600 and, over https, reuses any page that had an ETag for that many seconds."""
    return "max-age=" in cache_control and "max-age=0" not in cache_control
