"""Responses that send a rendered page of the Simple API: its form, coding and validators for this request.

**Invariants:** every response has ``Vary``; a response is prepared once and sent to all clients that get the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import bottle

from ...deferred import AT_ONCE, Waits
from ...formats.negotiation import Form, accepts_encoding, negotiate
from ..http.conditional import is_not_modified
from ..http.forwarded import base_url
from ..http.page_cache import Page
from ..http.prepared_response import Header, PreparedResponse
from ..http.responses import for_mirrors, revalidated, unkept

# The most prepared responses of one page; each takes about a kilobyte.
MAX_ANSWERS = 4


class PageResponses:
    """Makes responses of pages.

    ``private`` says that shared caches of clients and proxies must not store pages, because a login protects them.
    ``server_base_url`` is our root URL as the operator sets it; if empty, it comes from each request.
    """

    def __init__(self, *, private: bool, server_base_url: str = "") -> None:
        self.server_base_url = server_base_url
        self.cache_control = revalidated(private=private)
        self._unkept = unkept(self.cache_control)

    def origin(self) -> str:
        """Our root URL as this client sees it."""
        return (self.server_base_url or base_url(bottle.request.environ)).rstrip("/") + "/"

    def answer(
        self, page: Page, form: Form, *, headers: Sequence[Header] = (), is_usual: bool = True
    ) -> bottle.HTTPResponse:
        """The response to this request: one of a few that were prepared for earlier requests.

        Raises Waits where a request that must not wait would compress the page. ``headers`` are further headers; they
        are the same for each response with this page, unless it is not ``is_usual``.
        """
        environ = bottle.request.environ
        encoding = accepts_encoding(environ.get("HTTP_ACCEPT_ENCODING"), page.codings) or "identity"
        etag: str | None = page.etag(encoding)
        if "HTTP_CACHE_CONTROL" in environ and _reuses_blindly(environ["HTTP_CACHE_CONTROL"]):
            etag = None
        is_known = etag is not None and is_not_modified(environ.get("HTTP_IF_NONE_MATCH"), etag)
        key = (encoding, etag, is_known)
        answer = page.answers.get(key) if is_usual else None
        if answer is None:
            answer = self._make(page, form, encoding, etag=etag, is_known=is_known, further=headers)
            if is_usual:
                if len(page.answers) >= MAX_ANSWERS:
                    page.answers.clear()
                page.answers[key] = answer
        return answer

    def _make(
        self,
        page: Page,
        form: Form,
        encoding: str,
        *,
        etag: str | None,
        is_known: bool,
        further: Sequence[Header],
    ) -> PreparedResponse:
        headers = {"Cache-Control": self.cache_control, "Vary": "Accept, Accept-Encoding", **self._unkept}
        headers |= for_mirrors(page.last_serial)
        if page.origin is not None and not self.server_base_url:
            # The page contains the URL that this request's headers give.
            headers |= unkept("private")
        if etag is not None:
            headers["ETag"] = etag
        if is_known:
            return PreparedResponse(b"", [*headers.items(), *further], status="304 Not Modified")
        if AT_ONCE in bottle.request.environ and not page.is_encoded(encoding):
            raise Waits
        body = page.encoded(encoding)
        headers["Content-Type"] = form.content_type
        headers["Content-Length"] = str(len(body))
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return PreparedResponse(body, [*headers.items(), *further])


def form_asked() -> Form:
    """The form that this request asks for."""
    environ = bottle.request.environ
    asked = bottle.request.query.get("format") if environ.get("QUERY_STRING") else None
    return negotiate(environ.get("HTTP_ACCEPT"), asked)


def _reuses_blindly(cache_control: str) -> bool:
    """pip up to 18.0 sends max-age=600 and, over https, reuses any page that had an ETag for that many seconds."""
    return "max-age=" in cache_control and "max-age=0" not in cache_control
