"""Handlers of the legacy JSON: ``/pypi/<project>/json`` and its relatives.

**Invariants:** the JSON contains absolute URLs, so each root URL of the server has its own cached page.
"""

from __future__ import annotations

import bottle
from packaging.utils import NormalizedName

from ...distributions.filename import normalize
from ...formats.legacy_json import render
from ...index.read import Repository
from ..http.cached_pages import CachedPages, Made
from ..http.forwarded import root_url
from ..http.page_cache import PageMemory
from ..http.responses import unkept

# Few clients ask for it, and each answer carries a description.
MAX_BYTES = 8 * 1024 * 1024


class JsonPages:
    """Handlers of the legacy JSON; ``private`` says that listing is protected.

    ``server_base_url`` is our root as the operator gives it; where it is empty, each request tells.
    """

    def __init__(self, repository: Repository, memory: PageMemory, *, private: bool, server_base_url: str = "") -> None:
        self._repository = repository
        self._server_base_url = server_base_url
        headers = {"Content-Type": "application/json"}
        if not server_base_url:
            headers |= unkept("private")
        self._pages = CachedPages(repository, memory.cache(MAX_BYTES), private=private, headers=headers)

    def project(self, project: str, version: str | None = None) -> bottle.HTTPResponse:
        """The legacy JSON of a project, or of one release of it."""
        url = root_url(self._server_base_url, bottle.request.environ)
        normal = normalize(project)
        return self._pages.answer(
            (normal, version, url),
            lambda: self._repository.project_serial(normal),
            lambda: self._made(normal, version, url),
        )

    def _made(self, normal: NormalizedName, version: str | None, url: str) -> Made:
        project = self._repository.project(normal)
        body = render(project, version, metadata=self._repository.core_metadata, base_url=url)
        return Made(project.serial, body, project.last_serial)
