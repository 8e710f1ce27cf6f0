"""Pages of other origins: what they may read when the operator allows it, and that they change nothing.

They may read what programs read: simple pages, JSON, files (CORS, defined by the Fetch Standard). micropip in Pyodide,
JupyterLite and PyScript runs in such pages.

**Invariants:** CORS is off by default, and then costs a request nothing; only origins that the operator names may read,
and never with cookies; a preflight is answered before any login, because browsers send no credentials with it.
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
# '*' does not include Authorization (Fetch Standard, section 4.9, "CORS non-wildcard request-header name").
HEADERS = "Authorization, Accept, Cache-Control, If-Modified-Since, If-None-Match, If-Range, Pragma, Range"
EXPOSED = "Accept-Ranges, Content-Range, ETag, Retry-After, WWW-Authenticate, X-PyPI-Last-Serial"
# Characters of an Origin header: a scheme, a host and a port.
MAX_ORIGIN = 300
# Chromium caches a preflight for two hours at most.
SECONDS = "7200"


class CrossOrigin:
    """Grants read access to ``origins``: ``*`` means every origin, an empty list none."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.is_on = bool(origins)
        self._origins = frozenset(origins)
        self._fixed = ANY if ANY in self._origins else origins[0] if len(self._origins) == 1 else None

    def readable(self, handler: Callable[..., bottle.HTTPResponse]) -> Callable[..., bottle.HTTPResponse]:
        """Wrap the handler so that these origins may read its every response, redirects and refusals too."""

        @functools.wraps(handler)
        def answer(**arguments: str) -> bottle.HTTPResponse:
            made = handler(**arguments)
            headers = [*made.headerlist, *self._allowed(bottle.request.environ)]
            headers.append(("Access-Control-Expose-Headers", EXPOSED))
            # The response may be cached and shared, so it is copied, not changed.
            return PreparedResponse(made.body, _varied(headers, self._fixed is None), status=made.status_line)

        return answer

    def preflight(self, **arguments: str) -> bottle.HTTPResponse:
        """Answer a browser's preflight, which has no credentials: which methods and headers it may send."""
        headers = self._allowed(bottle.request.environ)
        headers += [("Access-Control-Allow-Methods", METHODS), ("Access-Control-Allow-Headers", HEADERS)]
        headers += [("Access-Control-Max-Age", SECONDS), ("Cache-Control", "no-store")]
        return PreparedResponse(b"", _varied(headers, self._fixed is None), status="204 No Content")

    def _allowed(self, environ: Mapping[str, Any]) -> list[Header]:
        origin = self._fixed or environ.get("HTTP_ORIGIN", "")
        return [("Access-Control-Allow-Origin", origin)] if self._fixed or origin in self._origins else []


def _varied(headers: Sequence[Header], by_origin: bool) -> list[Header]:
    """The headers, with ``Vary: Origin`` where the response depends on the origin of the request."""
    if not by_origin:
        return list(headers)
    known = [value for name, value in headers if name == "Vary"]
    return [*(each for each in headers if each[0] != "Vary"), ("Vary", ", ".join([*known, "Origin"]))]


def refuse_other_sites(environ: Mapping[str, Any]) -> None:
    """Refuse a state change that a page of another site makes a browser send; clients send none of these headers."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    origin = environ.get("HTTP_ORIGIN")
    ours = [str(environ.get(key) or "").lower() for key in ("HTTP_HOST", SEEN_HOST)]
    if site not in (None, "same-origin", "none") or (origin is not None and (_authority(origin) or "-") not in ours):
        raise Forbidden("A page of another site may not change anything here.")


def _authority(origin: str) -> str | None:
    """The host and port of an Origin header; None for a value that is not a URL or is longer than any origin."""
    try:
        # urlsplit caches its arguments, so it gets no long values.
        return urlsplit(origin).netloc.lower() if len(origin) <= MAX_ORIGIN else None
    except ValueError:
        return None
