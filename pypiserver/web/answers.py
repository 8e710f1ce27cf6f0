"""Answers every handler may give: redirects and short texts.

The rule to keep: a redirect is temporary (clients keep permanent ones for good) and carries the query along.
"""

from __future__ import annotations

from urllib.parse import quote

import bottle

from .ready import Ready


def text(body: str, *, status: int | str = 200, headers: dict[str, str] | None = None) -> bottle.HTTPResponse:
    """A short answer, in plain text unless its ``headers`` say another type."""
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
    return Ready(answer.body, headers, status=answer.status_line)


def redirect(location: str, *, cache_control: str = "max-age=0, must-revalidate") -> bottle.HTTPResponse:
    """A temporary redirect; a relative ``location`` keeps the request's query, an absolute one is taken as it is."""
    query = bottle.request.environ.get("QUERY_STRING", "")
    if query and "://" not in location:
        location = f"{location}?{quote(query, safe='=&%+;,/:@!$*()~._-')}"
    headers = {"Location": location, "Cache-Control": cache_control, "Vary": "Accept, Accept-Encoding"}
    headers |= unkept(cache_control)
    return bottle.HTTPResponse(b"", status=302, headers={**headers, "Content-Length": "0"})
