"""Responses that any handler may return: redirects, short plain texts, and failures.

**Invariants:** one place maps a failure to its response; a reason is one line of ASCII, so that it fits the reason
phrase; a redirect is temporary (clients cache permanent ones without end) and keeps the query.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

import bottle

from ...errors import MethodNotAllowed, PypiServerError, Unauthorized, Unavailable
from ...request_info import NOTE
from ...text import MAX_SENTENCE, cut, printable
from .prepared_response import Header, PreparedResponse

_LOG = logging.getLogger(__name__)
_ACCESS = logging.getLogger("pypiserver.access")
REALM = 'Basic realm="pypi", charset="UTF-8"'
MAX_REASON = 200
# Why an old page is sent, as a token of RFC 9211.
CATALOG_UNAVAILABLE = "catalog-unavailable"
# The most characters of a path in the log; a path may have a hundred kilobytes.
MAX_SHOWN = 500


def text(body: str, *, status: int | str = 200, headers: dict[str, str] | None = None) -> bottle.HTTPResponse:
    """A short plain-text response."""
    # A folder's name may contain bytes that are not UTF-8.
    encoded = (body.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(encoded)),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "X-Accel-Expires": "0",
    }
    return bottle.HTTPResponse(encoded, status=status, headers={**fields, **(headers or {})})


def for_mirrors(last_serial: int) -> dict[str, str]:
    """The header by which mirrors (bandersnatch, pulp) see whether a page is as new as they expect; no header for 0."""
    return {"X-PyPI-Last-Serial": str(last_serial)} if last_serial else {}


def revalidated(*, private: bool) -> str:
    """The Cache-Control of content that may change at any time; no shared cache may store it if ``private``."""
    return "max-age=0, must-revalidate" + (", private" if private else "")


def unkept(cache_control: str) -> dict[str, str]:
    """The header that keeps a private response out of nginx's cache, even if nginx is told to ignore Cache-Control."""
    return {"X-Accel-Expires": "0"} if "private" in cache_control else {}


def aged(answer: bottle.HTTPResponse, age: float | None) -> bottle.HTTPResponse:
    """Mark a response that was right ``age`` seconds ago and is served while the catalog fails; None means it is
    current.

    RFC 9111 section 5.1, RFC 9211.
    """
    if age is None:
        return answer
    headers = [*answer.headerlist, *stale_headers(age, CATALOG_UNAVAILABLE)]
    return PreparedResponse(answer.body, headers, status=answer.status_line)


def stale_headers(age: float, detail: str) -> list[Header]:
    """The headers of a response that was right ``age`` seconds ago; ``detail`` is a token that says why it is sent."""
    return [("Age", str(int(age))), ("Cache-Status", f"pypiserver; hit; ttl=-{int(age)}; detail={detail}")]


def redirect(location: str, *, cache_control: str = "max-age=0, must-revalidate") -> bottle.HTTPResponse:
    """A temporary redirect; a relative ``location`` keeps the request's query, an absolute one is unchanged."""
    query = bottle.request.environ.get("QUERY_STRING", "")
    if query and "://" not in location:
        location = f"{location}?{quote(query, safe='=&%+;,/:@!$*()~._-')}"
    headers = {"Location": location, "Cache-Control": cache_control, "Vary": "Accept, Accept-Encoding"}
    headers |= unkept(cache_control)
    return bottle.HTTPResponse(b"", status=302, headers={**headers, "Content-Length": "0"})


def failure(error: PypiServerError) -> bottle.HTTPResponse:
    """The response to one of our failures: what clients may know of it; the log gets all of it on one line."""
    # It may contain names that a client or a package chose.
    message = cut(error.public, MAX_SENTENCE)
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = REALM
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if isinstance(error, Unavailable) and error.is_passing:
        headers["Retry-After"] = str(error.retry_after)
    if error.is_told:
        bottle.request.environ[NOTE] = message
    # Where the client is told less than the whole reason, the log gets it at any log level; what the client is told is
    # in the access log.
    if not error.is_told or (error.status >= 500 and not _ACCESS.isEnabledFor(logging.INFO)):
        level = logging.ERROR if error.status >= 500 else logging.WARNING
        _LOG.log(level, "%s %s: %d %s", *_asked(), error.status, printable(cut(str(error), MAX_SENTENCE)))
    return text(message, status=f"{error.status} {reason_phrase(message)}", headers=headers)


def overloaded() -> bottle.HTTPResponse:
    """The answer where too many requests wait already; not logged, as there are many of them."""
    message = "Too many requests are being answered right now. Try again in a moment."
    return text(message, status=f"503 {message}", headers={"Retry-After": "2"})


def mistake(error: BaseException | None) -> bottle.HTTPResponse:
    """The response to a bug; its traceback goes to the log only."""
    _LOG.error("%s %s: 500", *_asked(), exc_info=error)
    return text("Something went wrong in the server; its log says what.", status=500)


def _asked() -> tuple[str, str]:
    """The method and the path of this request, as the log shows them."""
    return printable(cut(bottle.request.method, MAX_SHOWN)), printable(cut(bottle.request.path, MAX_SHOWN))


def reason_phrase(message: str) -> str:
    """The message as a reason phrase (RFC 9112 section 4): one line of printable ASCII, cut to a maximum length."""
    line = " ".join(message.encode("ascii", "replace").decode().split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "..."
