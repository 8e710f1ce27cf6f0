"""Answers every handler may give: redirects, short plain texts, and failures.

The rules to keep: one place maps a failure to its answer; a reason is one line of ASCII, so it can stand in the
reason phrase; a redirect is temporary (clients keep permanent ones for good) and carries the query along.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

import bottle

from ...errors import MethodNotAllowed, PypiServerError, Unauthorized, Unavailable
from ...request_info import NOTE
from ...text import MAX_SENTENCE, cut, printable
from .prepared_response import PreparedResponse

_LOG = logging.getLogger(__name__)
REALM = 'Basic realm="pypi", charset="UTF-8"'
MAX_REASON = 200
# Characters of a path in the log; it may have a hundred kilobytes.
MAX_SHOWN = 500


def text(body: str, *, status: int | str = 200, headers: dict[str, str] | None = None) -> bottle.HTTPResponse:
    """A short plain-text answer."""
    # The name of a folder may have bytes that are not UTF-8.
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
    """The header by which mirrors (bandersnatch, pulp) see whether a page is as new as they expect; none for 0."""
    return {"X-PyPI-Last-Serial": str(last_serial)} if last_serial else {}


def revalidated(*, private: bool) -> str:
    """The Cache-Control of what may change at any time; what is protected is for no cache that people share."""
    return "max-age=0, must-revalidate" + (", private" if private else "")


def unkept(cache_control: str) -> dict[str, str]:
    """What keeps an answer that is private out of nginx's cache, which may have been told to ignore Cache-Control."""
    return {"X-Accel-Expires": "0"} if "private" in cache_control else {}


def aged(answer: bottle.HTTPResponse, age: float | None) -> bottle.HTTPResponse:
    """The answer, marked as one that was right ``age`` seconds ago, while the catalog fails; None says it is now.

    RFC 9111 section 5.1, RFC 9211.
    """
    if age is None:
        return answer
    status = f"pypiserver; hit; ttl=-{int(age)}; detail=catalog-unavailable"
    headers = [*answer.headerlist, ("Age", str(int(age))), ("Cache-Status", status)]
    return PreparedResponse(answer.body, headers, status=answer.status_line)


def redirect(location: str, *, cache_control: str = "max-age=0, must-revalidate") -> bottle.HTTPResponse:
    """A temporary redirect; a relative ``location`` keeps the request's query, an absolute one is taken as it is."""
    query = bottle.request.environ.get("QUERY_STRING", "")
    if query and "://" not in location:
        location = f"{location}?{quote(query, safe='=&%+;,/:@!$*()~._-')}"
    headers = {"Location": location, "Cache-Control": cache_control, "Vary": "Accept, Accept-Encoding"}
    headers |= unkept(cache_control)
    return bottle.HTTPResponse(b"", status=302, headers={**headers, "Content-Length": "0"})


def failure(error: PypiServerError) -> bottle.HTTPResponse:
    """The answer to one of our failures: what clients may know of it, while the log has all of it on one line."""
    # What a client or a package named may be in it.
    message = cut(error.public, MAX_SENTENCE)
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = REALM
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if isinstance(error, Unavailable) and error.is_passing:
        headers["Retry-After"] = "2"
    if error.is_told:
        bottle.request.environ[NOTE] = message
    # Where clients are told less than there is to know, the log has it, however little is logged.
    if error.status >= 500 or not error.is_told:
        level = logging.ERROR if error.status >= 500 else logging.WARNING
        _LOG.log(level, "%s %s: %d %s", *_asked(), error.status, printable(cut(str(error), MAX_SENTENCE)))
    return text(message, status=f"{error.status} {reason_phrase(message)}", headers=headers)


def mistake(error: BaseException | None, *, status: int = 500) -> bottle.HTTPResponse:
    """The answer to what is no failure of ours but a bug; its traceback goes to the log only."""
    _LOG.error("%s %s: %d", *_asked(), status, exc_info=error)
    return text("Something went wrong in the server; its log says what.", status=status)


def _asked() -> tuple[str, str]:
    """The method and the path of this request, as a log shows them."""
    return printable(cut(bottle.request.method, MAX_SHOWN)), printable(cut(bottle.request.path, MAX_SHOWN))


def reason_phrase(message: str) -> str:
    """The message as a reason phrase (RFC 9112 section 4): one line of printable ASCII, not too long."""
    line = " ".join(message.encode("ascii", "replace").decode().split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "..."
