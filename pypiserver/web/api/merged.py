"""Pages of projects that are here, with other versions from another index (``--merge``).

**Invariants:** a version that is here in any form hides that version of the other index whole; the status is ours; what
the other index has is certain, or the page is 503: a page that lacks versions would change what clients resolve.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import bottle
from packaging.utils import NormalizedName

from ... import request_info
from ...distributions.filename_keys import file_key
from ...distributions.versions import canonical_version, version_key
from ...errors import NotFound
from ...formats.listed import ListedFile
from ...formats.negotiation import Form
from ...formats.simple import render_project
from ...index.read import Repository
from ...model import Project
from ...proxy import withheld_files
from ...proxy.values import Offered
from ...upstream.values import RemoteFile
from ..http.forwarded import is_secure
from ..http.page_cache import Page, PageMemory
from ..http.responses import stale_headers
from .page_responses import PageResponses
from .proxied import Listing, listed_row


class Offers(Protocol):
    """What other indexes have: :class:`.proxied.Proxied`."""

    def offered(self, name: NormalizedName) -> Offered:
        """What they offer under this name; raises NotFound and Unavailable."""


class Merged:
    """Pages of projects that ``covers`` says are merged."""

    def __init__(
        self,
        repository: Repository,
        offers: Offers,
        responses: PageResponses,
        memory: PageMemory,
        *,
        covers: Callable[[NormalizedName], bool],
    ) -> None:
        self.covers = covers
        self._repository = repository
        self._offers = offers
        self._responses = responses
        self._cache = memory.cache()

    def project(self, name: NormalizedName, form: Form) -> bottle.HTTPResponse:
        """The page; raises NotFound for a project that is not here, and Unavailable."""
        project = self._repository.project(name)
        hidden = self._repository.versions_here(name)
        try:
            offered = None if project.status.status == "quarantined" else self._offers.offered(name)
        except NotFound:
            offered = None
        origin = self._origin(project, offered)
        mark = _mark(project.serial, offered, hidden)
        key = (name, form, origin)
        page = self._cache.get(key, now=mark, serial_of=lambda: mark)
        bottle.request.environ[request_info.PAGE] = "miss" if page is None else "hit"
        if page is None:
            page = self._made(project, offered, hidden, form, mark, origin)
        if offered is not None and offered.age is not None:
            headers = stale_headers(offered.age, offered.detail)
            return self._responses.answer(page, form, headers=headers, is_usual=False)
        return self._responses.answer(page, form)

    def _made(
        self,
        project: Project,
        offered: Offered | None,
        hidden: frozenset[str],
        form: Form,
        mark: int,
        origin: str | None,
    ) -> Page:
        base = self._responses.server_base_url
        files_url = f"{base.rstrip('/')}/packages/" if form is Form.JSON and base else "../../packages/"
        withheld = withheld_files.json_of(offered.judged.withheld) if offered is not None else None
        body = render_project(
            merged(project, offered, hidden),
            form,
            files_url=files_url,
            secure_files_url=f"{origin}packages/" if origin and is_secure(origin) else "",
            private={withheld_files.KEY: withheld} if withheld else None,
        )
        key = (project.name, form, origin)
        return self._cache.put(
            key, body, serial=mark, last_serial=project.last_serial, form=form.name.lower(), origin=origin
        )

    def _origin(self, project: Project, offered: Offered | None) -> str | None:
        has_any = any(file.has_provenance for file in project.files)
        has_any = has_any or (offered is not None and any(file.provenance for file in offered.judged.files))
        return self._responses.origin() if has_any else None


def merged(project: Project, offered: Offered | None, hidden: frozenset[str]) -> Listing:
    """The files of both, sorted; ``hidden`` are the canonical versions that only we give out."""
    others: list[RemoteFile] = []
    for file in offered.judged.files if offered is not None else ():
        if canonical_version(file.version) not in hidden:
            others.append(file)
    rows: list[tuple[object, ListedFile]] = [(file_key(file), file) for file in project.files]
    rows += [(file_key(file), listed_row(file)) for file in others]
    versions = {canonical_version(file.version): file.version for file in others if file.version}
    versions |= {canonical_version(version): version for version in project.versions}
    ordered = tuple(sorted(versions.values(), key=version_key))
    files = [row for _, row in sorted(rows, key=lambda each: each[0])]  # type: ignore[arg-type, return-value]
    return Listing(project.name, files, ordered, project.status, project.last_serial)


def _mark(serial: int, offered: Offered | None, hidden: frozenset[str]) -> int:
    """A number that differs whenever the page does."""
    text = f"{serial} {offered.mark if offered is not None else ''} {sorted(hidden)}"
    return zlib.crc32(text.encode()) | serial << 32
