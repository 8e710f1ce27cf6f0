"""Pages of projects that other indexes have, written by us in the same way as our own.

**Invariants:** no index is asked for a name before it is certain that no project of that name is here, and that the
name is not ours; a page links to files here, never to another index; equal content has equal validators, in every
process and after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

import bottle
from packaging.utils import NormalizedName

from ... import request_info
from ...bounded_cache import BoundedCache, weight
from ...deferred import Waits
from ...formats.listed import UNKNOWN_HASH, ListedFile
from ...formats.negotiation import Form
from ...formats.simple import render_project
from ...model import ProjectStatus, utc
from ...proxy import withheld_files
from ...proxy.service import Proxy
from ...proxy.values import Offered
from ...repeatable import Still, may_repeat
from ...upstream.values import RemoteFile
from ..http.elsewhere_note import FETCHED, HIT, STALE, note, noting_failures
from ..http.forwarded import is_secure
from ..http.page_cache import Page, PageMemory
from ..http.responses import stale_headers
from ..http.single_flight import SingleFlight
from .page_responses import PageResponses
from .waiting import waiting_of

ABSENT_BYTES = 4 << 20
# A name that is not here is looked up again after this time even if nothing changed.
ABSENT_SECONDS = 2.0
HIT_STATUS = [("Cache-Status", "pypiserver; hit")]
# A page that was right is sent again for this time without a look at rules and ages: 4 us of the 13 that it takes.
READY_SECONDS = 0.25
READY_BYTES = 16 << 20


class PerProcess(Protocol):
    """The proxy of this process, which is made when it is first needed; ``value`` is None before."""

    @property
    def value(self) -> Proxy | None:
        """The proxy if it was made."""

    def get(self) -> Proxy:
        """The proxy."""


class _Ready(NamedTuple):
    """A page that is sent at once until ``until`` (monotonic), at the mark at which the project was not here.

    ``noted`` is what a request that gets it leaves in the environ.
    """

    page: Page
    mark: Hashable
    until: float
    noted: dict[str, object]


class Proxied:
    """Pages of other indexes.

    ``require`` raises NotFound for a name of which no other index may be asked; it is called when the project is not
    here. ``responses`` makes the responses, as those of our own pages.
    """

    def __init__(
        self,
        proxy: PerProcess,
        responses: PageResponses,
        memory: PageMemory,
        *,
        require: Callable[[NormalizedName], None],
    ) -> None:
        self._proxy = proxy
        self._responses = responses
        self._require = require
        self._cache = memory.cache()
        self._flights = SingleFlight[Page]()
        self._absent: BoundedCache[NormalizedName, tuple[Hashable, float]] = BoundedCache(ABSENT_BYTES)
        self._ready: BoundedCache[tuple[NormalizedName, Form], _Ready] = BoundedCache(READY_BYTES)

    def is_absent(self, name: NormalizedName, mark: Hashable) -> bool:
        """Whether :meth:`project` was called a moment ago, at this mark (``Repository.absence_mark``)."""
        absent = self._absent.get(name)
        return absent is not None and absent[0] == mark and time.monotonic() < absent[1]

    def project(self, name: NormalizedName, form: Form, mark: Hashable | None = None) -> bottle.HTTPResponse:
        """The page of a project that is not here, and was not at this ``mark``, None if unknown.

        Raises NotFound, and Unavailable if that is not certain.
        """
        if mark is None or not self.is_absent(name, mark):
            self._require(name)
            if mark is not None:
                self._absent.put(name, (mark, time.monotonic() + ABSENT_SECONDS), size=weight(mark))
        offered = self.offered(name)
        page = self._known(offered, form)
        if offered.forwarded or page is None:
            # The page may be another one now.
            self._ready.drop((name, form))
        bottle.request.environ[request_info.PAGE] = "miss" if page is None else "hit"
        if page is None:
            key = (name, form, offered.mark, self._origin_in(offered))
            page = self._flights.get(key, lambda: self._known(offered, form), lambda: self._made(offered, form))
        return self._answer(page, form, offered)

    def at_once(
        self, name: NormalizedName, form: Form, mark: Hashable, still_absent: Still = lambda: False
    ) -> bottle.HTTPResponse:
        """The same from memory; raises Waits where it is not there, or may have changed.

        ``still_absent`` says whether ``mark`` is still that of the catalog and the folders.
        """
        environ = bottle.request.environ
        if "HTTP_CACHE_CONTROL" in environ and _wants_revalidation():
            raise Waits
        ready = self._ready.get((name, form))
        if ready is not None:
            known, checked, until, noted = ready
            if checked == mark and time.monotonic() < until and (known.origin is None or self._is_ours(known)):
                environ |= noted
                may_repeat(environ, partial(self._is_still, name, form, ready, still_absent))
                return self._responses.answer(known, form, headers=HIT_STATUS)
        proxy = self._proxy.value
        if proxy is None or not self.is_absent(name, mark):
            raise Waits
        offered = proxy.known(name)
        page = None if offered is None else self._known(offered, form)
        if page is None or offered is None:
            raise Waits
        environ[request_info.PAGE] = "hit"
        answer = self._answer(page, form, offered)
        if offered.age is None:
            noted = {key: environ[key] for key in (request_info.PAGE, request_info.ELSEWHERE, request_info.NOTE)}
            ready = _Ready(page, mark, time.monotonic() + READY_SECONDS, noted)
            self._ready.put((name, form), ready, size=page.size)
        return answer

    def _is_still(self, name: NormalizedName, form: Form, ready: _Ready, still_absent: Still) -> bool:
        """Whether the page is still the one that is sent at once."""
        return self._ready.get((name, form)) is ready and time.monotonic() < ready.until and still_absent()

    def offered(self, name: NormalizedName) -> Offered:
        """What other indexes offer under this name; raises NotFound, Unavailable, and Postponed where that works."""
        waiting = waiting_of(bottle.request.environ)
        with noting_failures():
            return self._proxy.get().project(name, revalidate=_wants_revalidation(), waiting=waiting)

    def _known(self, offered: Offered, form: Form) -> Page | None:
        """The rendered page, if it is in the cache."""
        mark = int(offered.mark, 16)
        page = self._cache.get((offered.page.project, form), now=mark, serial_of=lambda: mark)
        return page if page is not None and self._is_ours(page) else None

    def _is_ours(self, page: Page) -> bool:
        """Whether the address in the page, if there is one, is that under which this client sees us."""
        return page.origin is None or page.origin == self._responses.origin()

    def _made(self, offered: Offered, form: Form) -> Page:
        origin = self._origin_in(offered)
        responses = self._responses
        is_absolute = form is Form.JSON and responses.server_base_url
        files_url = f"{responses.server_base_url.rstrip('/')}/packages/" if is_absolute else "../../packages/"
        secure_files_url = f"{origin}packages/" if origin and is_secure(origin) else ""
        withheld = withheld_files.json_of(offered.judged.withheld)
        body = render_project(
            _listing(offered),
            form,
            files_url=files_url,
            secure_files_url=secure_files_url,
            private={withheld_files.KEY: withheld} if withheld else None,
        )
        key: Hashable = (offered.page.project, form)
        serials = {"serial": int(offered.mark, 16), "last_serial": offered.page.last_serial}
        return self._cache.put(key, body, **serials, form=form.name.lower(), origin=origin)

    def _origin_in(self, offered: Offered) -> str | None:
        """Our root URL if the page has it: only the URL of a provenance is absolute."""
        return self._responses.origin() if any(file.provenance for file in offered.judged.files) else None

    def _answer(self, page: Page, form: Form, offered: Offered) -> bottle.HTTPResponse:
        is_hit = offered.age is None and not offered.forwarded
        result = HIT if is_hit else FETCHED if offered.age is None else STALE
        note(bottle.request.environ, offered.upstream.name, result)
        if is_hit:
            return self._responses.answer(page, form, headers=HIT_STATUS)
        headers = [("Cache-Status", f"pypiserver; fwd={offered.forwarded}")]
        if offered.age is not None:
            headers = stale_headers(offered.age, offered.detail)
        return self._responses.answer(page, form, headers=headers, is_usual=False)


class _Row(NamedTuple):
    """A file of another index, in the shape of one of ours. A frozen dataclass takes three times as long to make."""

    filename: str
    path: str
    size: int | None
    sha256: str
    link_digest: str
    uploaded_at: datetime | None
    requires_python: str | None
    metadata_sha256: str | None
    yanked: str | None
    has_signature: bool
    has_provenance: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A project of another index, in the shape of one of ours."""

    name: str
    files: list[ListedFile]
    versions: tuple[str, ...]
    status: ProjectStatus
    last_serial: int


def _listing(offered: Offered) -> Listing:
    judged = offered.judged
    rows: list[ListedFile] = [listed_row(file) for file in judged.files]
    return Listing(offered.page.project, rows, judged.versions, judged.status, offered.page.last_serial)


def listed_row(file: RemoteFile) -> ListedFile:
    """A file of another index, as a page shows it."""
    sha256 = file.sha256
    return _Row(
        file.filename,
        file.path,
        file.size,
        sha256,
        f"sha256={sha256}" if sha256 else "=".join(file.hashes[0]) if file.hashes else "",
        None if file.uploaded_ns is None else utc(file.uploaded_ns),
        file.requires_python,
        (file.metadata_sha256 or UNKNOWN_HASH) if file.has_metadata else None,
        file.yanked,
        # Signatures of other indexes are not passed on; PyPI has none any more.
        has_signature=False,
        has_provenance=bool(file.provenance),
    )


def _wants_revalidation() -> bool:
    """Whether the client wants the index asked: pip with ``--refresh-package``, uv with ``--refresh``.

    Not ``max-age=0``, which pip sends with every request (RFC 9111 section 5.2.1).
    """
    environ = bottle.request.environ
    return "HTTP_CACHE_CONTROL" in environ and "no-cache" in environ["HTTP_CACHE_CONTROL"].lower()
