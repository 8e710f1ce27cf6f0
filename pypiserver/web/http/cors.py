"""Pages of other origins: what they may read when the operator says so, and that they change nothing.

What programs read is what they may read: simple pages, JSON, files (CORS, as the Fetch Standard has it). micropip in
Pyodide, JupyterLite and PyScript is such a page. The rules to keep: off by default, and then no request asks anything
of this; by names that the operator gave, and never with cookies; a preflight is answered before any login, as browsers
send none with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import bottle

from ...errors import Forbidden
from .forwarded import SEEN_HOST
from .prepared_response import Header, PreparedResponse

ANY = "*"
METHODS = "GET, HEAD"
# '*' would not mean Authorization (Fetch Standard, section 4.9, "CORS non-wildcard request-header name").
HEADERS = "Authorization, Accept, Cache-Control, If-Modified-Since, If-None-Match, If-Range, Pragma, Range"
EXPOSED = "Accept-Ranges, Content-Range, ETag, Retry-After, WWW-Authenticate, X-PyPI-Last-Serial"
# Characters of an Origin header: a scheme, a host and a port.
MAX_ORIGIN = 300
# Chromium believes no answer for longer than two hours.
SECONDS = "7200"


class CrossOrigin:
    """What ``origins`` may read: ``*`` is every origin, no name at all none."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.is_on = bool(origins)
        self._origins = frozenset(origins)
        self._fixed = ANY if ANY in self._origins else origins[0] if len(self._origins) == 1 else None

    def readable(self, handler: Callable[..., bottle.HTTPResponse]) -> Callable[..., bottle.HTTPResponse]:
        """The handler, whose every answer these origins may read: a redirect and a refusal, too."""

        @functools.wraps(handler)
        def answer(**arguments: str) -> bottle.HTTPResponse:
            made = handler(**arguments)
            headers = [*made.headerlist, *self._allowed(bottle.request.environ)]
            headers.append(("Access-Control-Expose-Headers", EXPOSED))
            # An answer may be kept for others, so it is not changed.
            return PreparedResponse(made.body, _varied(headers, self._fixed is None), status=made.status_line)

        return answer

    def preflight(self, **arguments: str) -> bottle.HTTPResponse:
        """What a browser asks first, without any password: which methods and headers it may send."""
        headers = self._allowed(bottle.request.environ)
        headers += [("Access-Control-Allow-Methods", METHODS), ("Access-Control-Allow-Headers", HEADERS)]
        headers += [("Access-Control-Max-Age", SECONDS), ("Cache-Control", "no-store")]
        return PreparedResponse(b"", _varied(headers, self._fixed is None), status="204 No Content")

    def _allowed(self, environ: Mapping[str, Any]) -> list[Header]:
        origin = self._fixed or environ.get("HTTP_ORIGIN", "")
        return [("Access-Control-Allow-Origin", origin)] if self._fixed or origin in self._origins else []


def _varied(headers: Sequence[Header], by_origin: bool) -> list[Header]:
    """The headers; where the answer depends on who asks, caches are told so."""
    if not by_origin:
        return list(headers)
    known = [value for name, value in headers if name == "Vary"]
    return [*(each for each in headers if each[0] != "Vary"), ("Vary", ", ".join([*known, "Origin"]))]


def refuse_other_sites(environ: Mapping[str, Any]) -> None:
    """Refuse a state change that another site's page makes a browser send; clients send none of these headers."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    origin = environ.get("HTTP_ORIGIN")
    ours = [str(environ.get(key) or "").lower() for key in ("HTTP_HOST", SEEN_HOST)]
    if site not in (None, "same-origin", "none") or (origin is not None and (_authority(origin) or "-") not in ours):
        raise Forbidden("A page of another site may not change anything here.")


def _authority(origin: str) -> str | None:
    """The host and port of an Origin header; None for one that is no address, or longer than any."""
    try:
        # The library remembers what it has split.
        return urlsplit(origin).netloc.lower() if len(origin) <= MAX_ORIGIN else None
    except ValueError:
        return None
