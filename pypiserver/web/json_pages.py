"""The addresses of the legacy JSON, and its answers while they are current.

The rules to keep: like a page, an answer is made once for each serial of its project, validated by a strong ETag, and
given for a while when the catalog fails; it names absolute addresses, so it is another one for each address that we
are asked at.
"""

from __future__ import annotations

import bottle
from packaging.utils import NormalizedName

from ..distfile import normalize
from ..errors import CatalogUnavailable
from ..repository import Repository
from ..simple_api import accepts_encoding
from .answers import aged, revalidated
from .json_api import render
from .page_cache import Page, PageCache
from .proxy import base_url
from .sending import is_not_modified
from .single_flight import SingleFlight

# Few clients ask for it, and each answer carries a description.
MAX_BYTES = 8 * 1024 * 1024
# A project, a version of it or None, and the address we were asked at.
Key = tuple[NormalizedName, str | None, str]


class JsonPages:
    """Handlers of the legacy JSON; ``private`` says that listing is protected.

    ``server_base_url`` is our root as the operator gives it; where it is empty, each request tells.
    """

    def __init__(self, repository: Repository, *, private: bool, server_base_url: str = "") -> None:
        self._repository = repository
        self._server_base_url = server_base_url
        self._cache = PageCache(MAX_BYTES)
        self._flights = SingleFlight[Page]()
        self._cache_control = revalidated(private=private)

    def project(self, project: str, version: str | None = None) -> bottle.HTTPResponse:
        """The legacy JSON of a project, or of one release of it."""
        url = (self._server_base_url or base_url(bottle.request.environ)).rstrip("/") + "/"
        key = (normalize(project), version, url)
        try:
            page = self._current(key)
            if page is None:
                page = self._flights.get(key, lambda: self._current(key), lambda: self._render(key))
            return self._answer(page)
        except CatalogUnavailable:
            last = self._cache.last(key)
            age = None if last is None else self._repository.stale_age(last.checked, last.seen)
            if last is None or age is None:
                raise
            return aged(self._answer(last), age)

    def _current(self, key: Key) -> Page | None:
        repository = self._repository
        serial = repository.serial()
        return self._cache.get(key, now=serial, serial_of=lambda: repository.project_serial(key[0]))

    def _render(self, key: Key) -> Page:
        normal, version, url = key
        project = self._repository.project(normal)
        body = render(project, version, metadata=self._repository.metadata, base_url=url)
        return self._cache.put(key, body, serial=project.serial)

    def _answer(self, page: Page) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        encoding = accepts_encoding(environ.get("HTTP_ACCEPT_ENCODING"), page.codings) or "identity"
        body, etag = page.bodies[encoding]
        headers = {"Cache-Control": self._cache_control, "Vary": "Accept-Encoding", "ETag": etag}
        if is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag):
            return bottle.HTTPResponse(status=304, headers=headers)
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return bottle.HTTPResponse(body, headers=headers)
